/*
 * The command's end of the control socket (reporter/control.h). Who answers is asked of the kernel,
 * and what he says is checked all the same.
 */
#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "reporter/cli/cli.h"
#include "reporter/control.h"
#include "reporter/gather.h"

/* Nobody else can have taken its name: he would have another process id. */
static bool is_himself(int fd, pid_t pid)
{
	struct ucred peer;
	socklen_t len = sizeof(peer);

	return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) == 0 && peer.pid == pid;
}

/* Many may stand in line for a moment. */
static int reach_patiently(int fd, const struct sockaddr_un *name, socklen_t len)
{
	static const struct timespec moment = {0, 20000000};
	int error = -1;

	for (int i = 0; i < 100 && error; i++) {
		error = connect(fd, (const struct sockaddr *)name, len);
		if (error && errno != EAGAIN)
			break;
		if (error)
			nanosleep(&moment, NULL);
	}
	return error;
}

static int reach(pid_t pid)
{
	struct sockaddr_un name = {.sun_family = AF_UNIX};
	int len = snprintf(name.sun_path + 1, sizeof(name.sun_path) - 1, SW_CONTROL_NAME "%d",
			   (int)pid);
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	if (fd >= 0 && reach_patiently(fd, &name,
				       (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 +
						   (size_t)len))) {
		close(fd);
		fd = -1;
	}
	return fd;
}

static bool ask(const struct sw_cli_target *t, enum sw_control_want want)
{
	struct sw_control_ask message = {SW_CONTROL_MAGIC, SW_CONTROL_VERSION, want,
					 t->mode,	   t->period_ns,       0};

	return send(t->fd, &message, sizeof(message), MSG_NOSIGNAL) == sizeof(message);
}

enum sw_cli_attached sw_cli_attach(struct sw_cli_target *t)
{
	t->fd = reach(t->pid);
	if (t->fd < 0)
		return SW_CLI_NOT_YET;
	t->answered = t->over = t->goes_on = false;
	t->len = 0;
	if (!is_himself(t->fd, t->pid)) {
		sw_cli_say("who answers for process %d is somebody else", (int)t->pid);
		sw_cli_detach(t);
		return SW_CLI_NEVER;
	}
	if (!ask(t, SW_CONTROL_PROFILE)) {
		sw_cli_detach(t);
		return SW_CLI_NOT_YET;
	}
	sw_cli_ring(t->pid);
	return SW_CLI_ATTACHED;
}

void sw_cli_enough(struct sw_cli_target *t)
{
	if (t->fd >= 0)
		ask(t, SW_CONTROL_ENOUGH);
}

static void add(struct sw_cli_counts *to, const struct sw_cli_counts *more)
{
	to->duration_ns += more->duration_ns;
	to->due += more->due;
	to->taken += more->taken;
	to->missed += more->missed;
	to->lost += more->lost;
	to->shared += more->shared;
	to->missed_ns += more->missed_ns;
	to->used_ns += more->used_ns;
}

/* What was due when it ended without a word, and had no stack yet, has none. */
static void miss_the_rest(struct sw_cli_counts *c)
{
	uint64_t known = c->taken + c->missed + c->lost;

	if (c->due > known)
		c->missed += c->due - known;
}

void sw_cli_detach(struct sw_cli_target *t)
{
	if (t->fd >= 0)
		close(t->fd);
	t->fd = -1;
	t->answered = false;
	miss_the_rest(&t->counts);
	add(&t->before, &t->counts);
	memset(&t->counts, 0, sizeof(t->counts));
}

/* ---- what comes ---- */

static bool take_answer(struct sw_cli_target *t, const struct sw_control_answer *a)
{
	static const char *const why[] = {
		[SW_CONTROL_BUSY] = "is being profiled already",
		[SW_CONTROL_FORBIDDEN] = "is another user's",
		[SW_CONTROL_UNKNOWN] = "has an agent of another version",
		[SW_CONTROL_NO_MEMORY] = "has no memory for a profile",
	};

	if (a->size < sizeof(*a))
		return false;
	if (a->status != SW_CONTROL_YES) {
		sw_cli_say("process %d %s", (int)t->pid,
			   a->status < SW_COUNT_OF(why) ? why[a->status] : "refuses");
		t->refused = true;
		return false;
	}
	if (!t->from_ns)
		t->from_ns = a->start_ns;
	sw_gather_restart(t->gather, a->start_ns - SW_MIN(t->from_ns, a->start_ns));
	t->answered = true;
	return true;
}

static bool take_counts(struct sw_cli_target *t, const struct sw_control_counts *c)
{
	if (c->size < sizeof(*c))
		return false;
	t->counts = (struct sw_cli_counts){c->duration_ns, c->due,	 c->taken,  c->missed,
					   c->lost,	   c->missed_ns, c->shared, c->used_ns};
	return true;
}

static bool take_end(struct sw_cli_target *t, const struct sw_control_end *e)
{
	if (e->size < sizeof(*e) || e->size - sizeof(*e) < e->text_len)
		return false;
	t->over = true;
	t->goes_on = e->goes_on;
	if (e->text_len) /* what was so of one connection is, whatever a later one saw */
		snprintf(t->why, sizeof(t->why), "%.*s",
			 (int)SW_MIN(e->text_len, sizeof(t->why) - 1), (const char *)(e + 1));
	return true;
}

static bool take(struct sw_cli_target *t, const struct sw_profiled *message)
{
	const void *whole = message;

	if (message->kind == SW_CONTROL_ANSWER)
		return take_answer(t, whole);
	if (!t->answered)
		return false;
	if (message->kind == SW_CONTROL_COUNTS)
		return take_counts(t, whole);
	if (message->kind == SW_CONTROL_END)
		return take_end(t, whole);
	return sw_gather_take(t->gather, message);
}

/* False: what came makes no sense, or is an end. */
static bool take_all(struct sw_cli_target *t)
{
	size_t at = 0;
	bool ok = true;

	while (ok && !t->over && t->len - at >= sizeof(struct sw_profiled)) {
		const struct sw_profiled *message = (const struct sw_profiled *)(t->in + at);

		if (message->size < sizeof(*message) || message->size % 8 ||
		    message->size > SW_CONTROL_MESSAGE_MAX)
			return false;
		if (t->len - at < message->size)
			break;
		ok = take(t, message);
		at += message->size;
	}
	memmove(t->in, t->in + at, t->len - at);
	t->len -= at;
	return ok && !t->over;
}

bool sw_cli_read(struct sw_cli_target *t)
{
	for (;;) {
		ssize_t got = recv(t->fd, t->in + t->len, sizeof(t->in) - t->len, MSG_DONTWAIT);

		if (got == 0 || (got < 0 && errno != EAGAIN && errno != EINTR))
			return false;
		if (got < 0)
			return true;
		t->len += (size_t)got;
		if (take_all(t))
			continue;
		if (!t->over && !t->refused)
			sw_cli_say("process %d says what makes no sense", (int)t->pid);
		t->refused |= !t->over;
		return false;
	}
}
