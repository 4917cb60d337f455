/* The control socket; see control.h. */
#include "reporter/control.h"

#include <stddef.h>
#include <sys/un.h>

#include "preload/config.h"
#include "preload/counters.h"
#include "preload/fds.h"
#include "preload/profile.h"
#include "preload/sys.h"
#include "reporter/bell.h"
#include "reporter/reporter.h"
#include "reporter/say.h"

/* Who comes rings (bell.h). Where there is no bell it is looked at every 10 s, and where the
 * program was started to be profiled more often. At first, when who started it wants its first
 * moments, all the time. */
#define IDLE_NS 10000000000ull
#define READY_NS 2500000000ull
#define EARLY_NS 5000000ull
#define YOUNG_NS 1000000000ull
#define BUSY_NS 50000000ull
#define SOON_NS 2000000ull
#define SILENT_NS 5000000000ull /* who connects says what it wants within that */
#define STUCK_NS 10000000000ull /* who takes nothing for so long is given up */
#define CLIENTS_A_TURN 16
#define USER_UNKNOWN 65534
#define BACKLOG 16
#define OUT_BYTES (64u << 10)

enum state {
	NOBODY,
	ASKING,	   /* connected, and has not said all of what it wants */
	PROFILING, /* gets records */
	ENDING,	   /* the profile ends: what the sampler still has is waited for */
	CLOSING,   /* all is said; it is not read any more */
};

static struct {
	uint32_t births; /* of this process: what a parent had is not ours */
	int listener;	 /* 0: none */
	uint64_t cookie;
	uint64_t opened_ns; /* also when it could not be */
	bool refused;
	bool bell; /* who comes can wake us */

	enum state state;
	int fd;
	uint64_t fd_cookie;
	uint64_t since_ns;
	uint64_t sent_ns; /* when it took something last, or there was nothing to take */
	uint64_t end_ns;  /* when the profile was ended */
	uint32_t profile; /* its number */
	uint64_t start_ns;
	bool goes_on;
	union {
		struct sw_control_ask ask;
		uint8_t in[sizeof(struct sw_control_ask)];
	};
	size_t in_len;
	size_t out_len, out_at;
	uint64_t counted_ns; /* when counts were said last */
} control;

static _Alignas(8) uint8_t out[OUT_BYTES];

/* ---- opening ---- */

static socklen_t make_name(struct sockaddr_un *name)
{
	struct sw_writer w = sw_writer(name->sun_path + 1, sizeof(name->sun_path) - 1);

	name->sun_family = AF_UNIX;
	name->sun_path[0] = '\0';
	sw_write(&w, SW_BYTES(SW_CONTROL_NAME));
	sw_write_number(&w, (uint64_t)sw_sys(getpid));
	return (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + w.len);
}

static void open_listener(const struct sw_agent *a)
{
	struct sockaddr_un name = {0};
	socklen_t len = make_name(&name);
	long fd = sw_sys(socket, AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), error;

	control.opened_ns = a->now_ns;
	control.refused = true;
	if (fd < 0)
		return;
	error = sw_sys(bind, fd, &name, len);
	if (!error)
		error = sw_sys(listen, fd, BACKLOG);
	if (error) {
		sw_say(SW_LEVEL_DEBUG, "no control socket: %s", sw_say_error(error));
		sw_sys(close, fd);
		return;
	}
	control.listener = sw_fd_adopt((int)fd);
	if (control.listener < 0)
		control.listener = 0;
	control.cookie = sw_fd_cookie(control.listener);
	control.refused = false;
	control.bell = sw_bell_open();
}

/* ---- what is said ---- */

static void *room_for(size_t size)
{
	if (control.out_at) {
		memmove(out, out + control.out_at, control.out_len - control.out_at);
		control.out_len -= control.out_at;
		control.out_at = 0;
	}
	return OUT_BYTES - control.out_len >= size ? out + control.out_len : NULL;
}

static void say(const void *message, size_t size)
{
	void *room = room_for(size);

	if (room) {
		memcpy(room, message, size);
		control.out_len += size;
	}
}

static void answer(enum sw_control_status status)
{
	struct sw_control_answer message = {
		.size = sizeof(message),
		.kind = SW_CONTROL_ANSWER,
		.status = status,
		.version = SW_CONTROL_VERSION,
		.start_ms = (int64_t)(sw_clock_ns(CLOCK_REALTIME) / 1000000u),
		.start_ns = control.start_ns,
	};

	say(&message, sizeof(message));
}

static void say_counts(void)
{
	const struct sw_profile_counts *c = &sw_profile_counts;
	struct sw_control_counts message = {.size = sizeof(message), .kind = SW_CONTROL_COUNTS};

	message.duration_ns = sw_clock_ns(CLOCK_MONOTONIC) - control.start_ns;
	message.due = atomic_load(&c->due);
	message.taken = atomic_load(&c->taken);
	message.missed = atomic_load(&c->missed);
	message.lost = atomic_load(&c->lost);
	message.shared = atomic_load(&c->shared);
	message.missed_ns = atomic_load(&c->missed_ns);
	message.used_ns = atomic_load(&c->used_ns);
	say(&message, sizeof(message));
}

static void say_end(void)
{
	struct sw_bytes why = sw_bytes_text(atomic_load(&sw_profile_why_not));
	size_t size = sizeof(struct sw_control_end) + ((why.len + 7) & ~7ul);
	struct sw_control_end *message = room_for(size);

	if (!message)
		return;
	memset(message, 0, size);
	*message = (struct sw_control_end){(uint32_t)size, SW_CONTROL_END, control.goes_on,
					   (uint32_t)why.len};
	memcpy(message + 1, why.at, why.len);
	control.out_len += size;
}

/* ---- the client ---- */

static void let_go(void)
{
	if (control.state == PROFILING)
		sw_profile_whole_end();
	if (control.state != NOBODY && sw_fd_same(control.fd, control.fd_cookie))
		sw_fd_close_ours(control.fd);
	control.state = NOBODY;
	control.out_len = control.out_at = 0;
}

/* False: it has gone. */
static bool send_out(void)
{
	long sent = 0;

	while (control.out_at < control.out_len && sent >= 0) {
		sent = sw_sys(sendto, control.fd, out + control.out_at,
			      control.out_len - control.out_at, MSG_DONTWAIT | MSG_NOSIGNAL, NULL,
			      0);
		control.out_at += sent > 0 ? (size_t)sent : 0;
		if (sent > 0)
			control.sent_ns = sw_clock_ns(CLOCK_MONOTONIC);
	}
	return sent >= 0 || sent == -EAGAIN || sent == -EINTR;
}

static void refuse(enum sw_control_status status)
{
	answer(status);
	control.state = CLOSING;
}

static bool makes_sense(const struct sw_control_ask *ask)
{
	return ask->magic == SW_CONTROL_MAGIC && ask->version == SW_CONTROL_VERSION &&
	       ask->want == SW_CONTROL_PROFILE && ask->mode < SW_PROFILE_MODES &&
	       ask->period_ns >= SW_PROFILE_PERIOD_LEAST_NS &&
	       ask->period_ns <= SW_PROFILE_PERIOD_MOST_NS;
}

static void begin(void)
{
	if (!makes_sense(&control.ask)) {
		refuse(SW_CONTROL_UNKNOWN);
		return;
	}
	if (atomic_load(&sw_profile_whole_current)) {
		refuse(SW_CONTROL_BUSY);
		return;
	}
	control.profile = sw_profile_whole_begin((enum sw_profile_mode)control.ask.mode,
						 control.ask.period_ns);
	if (!control.profile) {
		refuse(SW_CONTROL_NO_MEMORY);
		return;
	}
	control.start_ns = control.counted_ns = sw_profile_whole()->start_ns;
	control.state = PROFILING;
	answer(SW_CONTROL_YES);
}

static void end(bool goes_on)
{
	sw_profile_whole_end();
	control.goes_on = goes_on;
	control.end_ns = sw_clock_ns(CLOCK_MONOTONIC);
	control.state = ENDING;
}

/* Everything that it may say has the same size. */
static void hear(void)
{
	bool profiling = control.state == PROFILING;

	control.in_len = 0;
	if (!profiling)
		begin();
	else if (control.ask.magic == SW_CONTROL_MAGIC && control.ask.want == SW_CONTROL_ENOUGH)
		end(true);
	else
		let_go();
}

static void listen_to(void)
{
	long got = 1;

	while ((control.state == ASKING || control.state == PROFILING) && got > 0) {
		got = sw_sys(recvfrom, control.fd, control.in + control.in_len,
			     sizeof(control.in) - control.in_len, MSG_DONTWAIT, NULL, NULL);
		if (got == 0 || (got < 0 && got != -EAGAIN && got != -EINTR)) {
			let_go();
			return;
		}
		control.in_len += got > 0 ? (size_t)got : 0;
		if (control.in_len == sizeof(control.in))
			hear();
	}
}

/* As many as there is room for. False: some are left. */
static bool hand_out(void)
{
	const struct sw_profiled *record;
	void *room;

	while ((record = sw_profiled_oldest())) {
		room = room_for(record->size);
		if (!room && (!send_out() || !(room = room_for(record->size))))
			return false;
		memcpy(room, record, record->size);
		control.out_len += record->size;
		sw_profiled_release(record);
	}
	return true;
}

/* Nor is the sampler waited for longer. */
static bool is_stuck(const struct sw_agent *a)
{
	return a->now_ns > control.sent_ns + STUCK_NS ||
	       (control.state == ENDING && a->now_ns > control.end_ns + STUCK_NS);
}

static void serve(const struct sw_agent *a)
{
	if (control.state == PROFILING) {
		hand_out();
		if (a->now_ns - control.counted_ns >= SW_SECOND_NS / 5) {
			control.counted_ns = a->now_ns;
			say_counts();
		}
	}
	if (control.state == ENDING && sw_profile_whole_over(control.profile) && hand_out() &&
	    room_for(1024)) {
		say_counts();
		say_end();
		control.state = CLOSING;
	}
	if (control.out_at == control.out_len)
		control.sent_ns = a->now_ns;
	if (!send_out() || is_stuck(a) ||
	    (control.state == CLOSING && control.out_at == control.out_len))
		let_go();
}

/* ---- who comes ---- */

/* In the user namespace that all others come from, or in one that knows all of its users. */
static bool knows_all_users(void)
{
	char map[128] = {0};
	long fd = sw_sys(openat, AT_FDCWD, "/proc/self/uid_map", O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return false;
	sw_sys(read, fd, map, sizeof(map) - 1);
	sw_sys(close, fd);
	return strstr(map, " 4294967295\n") != NULL;
}

/* Whom a user namespace does not know is USER_UNKNOWN there, and so may we be. */
static bool is_permitted(int fd)
{
	struct ucred peer;
	socklen_t len = sizeof(peer);

	if (sw_sys(getsockopt, fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) != 0)
		return false;
	return peer.uid == 0 || (peer.uid == (uid_t)sw_sys(geteuid) &&
				 (peer.uid != USER_UNKNOWN || knows_all_users()));
}

/* Says it and closes, without waiting. */
static void turn_away(int fd, enum sw_control_status status)
{
	struct sw_control_answer message = {.size = sizeof(message),
					    .kind = SW_CONTROL_ANSWER,
					    .status = status,
					    .version = SW_CONTROL_VERSION};

	sw_sys(sendto, fd, &message, sizeof(message), MSG_DONTWAIT | MSG_NOSIGNAL, NULL, 0);
	sw_sys(close, fd);
}

static void welcome(int fd, uint64_t now_ns)
{
	if (!is_permitted(fd)) {
		turn_away(fd, SW_CONTROL_FORBIDDEN);
	} else if (control.state != NOBODY) {
		turn_away(fd, SW_CONTROL_BUSY);
	} else {
		control.fd = sw_fd_adopt(fd);
		if (control.fd < 0)
			return;
		control.fd_cookie = sw_fd_cookie(control.fd);
		control.state = ASKING;
		control.since_ns = control.sent_ns = now_ns;
		control.in_len = control.out_len = control.out_at = 0;
	}
}

static void accept_some(uint64_t now_ns)
{
	long fd = 0;

	if (!sw_fd_same(control.listener, control.cookie)) {
		control.listener = 0; /* the program has closed it unseen */
		return;
	}
	for (int i = 0; i < CLIENTS_A_TURN && fd >= 0; i++) {
		fd = sw_sys(accept4, control.listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
		if (fd >= 0)
			welcome((int)fd, now_ns);
	}
}

static void attend(const struct sw_agent *a)
{
	if (!sw_fd_same(control.fd, control.fd_cookie)) {
		control.fd = -1;
		let_go();
		return;
	}
	listen_to();
	if (control.state == ASKING && a->now_ns - control.since_ns > SILENT_NS)
		let_go();
	if (a->ending && (control.state == PROFILING || control.state == ASKING))
		end(true);
	if (control.state != NOBODY)
		serve(a);
}

static uint64_t pause_ns(const struct sw_agent *a)
{
	if (control.state != NOBODY)
		return control.state == PROFILING ? BUSY_NS : SOON_NS;
	if (sw_config.control == SW_CONTROL_START && a->now_ns - control.opened_ns < YOUNG_NS)
		return EARLY_NS;
	if (control.bell)
		return UINT64_MAX - a->now_ns;
	return sw_config.control == SW_CONTROL_START ? READY_NS : IDLE_NS;
}

static void notice_birth(void)
{
	uint32_t births = atomic_load(&sw_process_births);

	if (births != control.births) {
		sw_bell_forked();
		memset(&control, 0, sizeof(control));
	}
	control.births = births;
}

void sw_control_tick(struct sw_agent *a)
{
	notice_birth();
	if (sw_config.control == SW_CONTROL_OFF || (control.refused && !control.listener)) {
		a->control_ns = UINT64_MAX;
		return;
	}
	if (!control.listener)
		open_listener(a);
	if (control.listener)
		accept_some(a->now_ns);
	if (control.state != NOBODY)
		attend(a);
	a->control_ns = a->now_ns + pause_ns(a);
}

bool sw_control_busy(void)
{
	return control.state != NOBODY;
}

void sw_control_moved(int from, int to)
{
	if (control.listener == from)
		control.listener = to;
	if (control.state != NOBODY && control.fd == from)
		control.fd = to;
}

/* The sampler has left before us: all that it took is there. */
void sw_control_pause(void)
{
	if (control.state == PROFILING) {
		end(true);
		hand_out();
		say_counts();
		say_end();
		send_out();
	}
	let_go();
	if (control.listener)
		sw_fd_close_ours(control.listener);
	control.listener = 0;
	control.opened_ns = 0;
	sw_bell_close();
}

/* Where ours share the program's table, they are in the child's too, and would keep the name. */
void sw_control_forked(void)
{
	if (control.listener)
		sw_fd_close_ours(control.listener);
	if (control.state != NOBODY)
		sw_fd_close_ours(control.fd);
	sw_bell_forked();
	memset(&control, 0, sizeof(control));
	control.births = atomic_load(&sw_process_births);
}
