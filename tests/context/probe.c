/*
 * The agent, and a note of each byte that leaves: for whom does the thread that sends it work?
 *
 * For tests/context alone, where clients speak what no parser reads yet, so that no span tells. The
 * question is the one that a span would ask (sw_talk_request): what was noted for the descriptor by
 * sw_flow_writes, else sw_context_whom. A conversation that no parser reads is forgotten together
 * with its note, hence the table here.
 *
 * The pointers to the real calls are exchanged right after they were found. Answers of the server
 * itself are noted with the request that their *connection* has open, which does not depend on
 * threads and contexts: that ties a handle to the request it stands for.
 *
 *     SW_PROBE_FILE   appended to, one line per call: KIND PID PORT TALK ENTRY BYTES, the last in
 * hex SW_PROBE_PORTS  of the peers to note (KIND C) SW_PROBE_OWN    the port of the server under
 * test (KIND A)
 */
#include <arpa/inet.h>
#include <limits.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

#include "hooks/context.h"
#include "hooks/flow.h"
#include "preload/real.h"
#include "preload/sys.h"

#define PORTS 4
#define PAYLOAD 320
#define DESCRIPTORS 8192

static struct {
	char file[PATH_MAX];
	unsigned ports[PORTS]; /* 0: no more */
	unsigned own;
} asked;

static struct sw_real found;		  /* what was found before ours went in */
static _Atomic sw_ref noted[DESCRIPTORS]; /* whose bytes come next, where they are sent later */

struct note {
	char kind; /* 0: nothing to note */
	unsigned port;
	struct sw_whom whom;
};

/* ---- whom ---- */

static unsigned port_of(int fd, bool peer)
{
	struct sockaddr_in at;
	socklen_t len = sizeof(at);
	long result =
		peer ? sw_sys(getpeername, fd, &at, &len) : sw_sys(getsockname, fd, &at, &len);

	return result < 0 || at.sin_family != AF_INET ? 0 : ntohs(at.sin_port);
}

static bool is_asked(unsigned port)
{
	for (int i = 0; i < PORTS && asked.ports[i]; i++) {
		if (port == asked.ports[i])
			return true;
	}
	return false;
}

static struct sw_whom whose(int fd)
{
	sw_ref later = (unsigned)fd < DESCRIPTORS ? atomic_exchange(&noted[fd], 0) : 0;

	return later ? (struct sw_whom){.entry = later} : sw_context_whom(&sw_guest_self);
}

/* Before the call: while it lasts others may go on. */
static struct note look(int fd)
{
	const struct sw_guest *g = &sw_guest_self;
	struct note note = {0, port_of(fd, true), {0}};
	sw_ref talk = g->call_fd == fd ? g->call : 0;

	if (!note.port || sw_guest_hidden())
		return note;
	if (is_asked(note.port)) {
		note.kind = 'C';
		note.whom = whose(fd);
	} else if (asked.own && port_of(fd, false) == asked.own) {
		note.kind = 'A';
		note.whom = (struct sw_whom){.talk = talk, .entry = sw_flow_unanswered(talk)};
	}
	return note;
}

/* ---- a line ---- */

struct line {
	size_t len;
	char text[2 * PAYLOAD + 96];
};

static void put_hex(struct line *line, uint64_t number, int digits)
{
	while (digits--)
		line->text[line->len++] = "0123456789abcdef"[number >> (4 * digits) & 15];
}

static void put_bytes(struct line *line, const struct iovec *iov, size_t count, size_t total)
{
	size_t room = total < PAYLOAD ? total : PAYLOAD;

	for (size_t i = 0; i < count && room; i++) {
		const uint8_t *at = iov[i].iov_base;

		for (size_t k = 0; k < iov[i].iov_len && room; k++, room--)
			put_hex(line, at[k], 2);
	}
}

static void put_fields(struct line *line, const struct note *note)
{
	uint64_t fields[] = {(uint64_t)sw_sys(getpid), note->port, note->whom.talk,
			     note->whom.entry};

	line->text[line->len++] = note->kind;
	for (size_t i = 0; i < sizeof(fields) / sizeof(fields[0]); i++) {
		line->text[line->len++] = ' ';
		put_hex(line, fields[i], 16);
	}
	line->text[line->len++] = ' ';
}

/* What the kernel took, in one write to a descriptor of its own: nothing of ours stays open. */
static void say(const struct note *note, const struct iovec *iov, size_t count, ssize_t sent)
{
	struct line line = {.len = 0};
	long fd;

	if (!note->kind || sent <= 0)
		return;
	put_fields(&line, note);
	put_bytes(&line, iov, count, (size_t)sent);
	line.text[line.len++] = '\n';
	fd = sw_sys(openat, AT_FDCWD, asked.file, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0644);
	if (fd >= 0) {
		sw_sys(write, fd, line.text, line.len);
		sw_sys(close, fd);
	}
}

/* ---- the calls ---- */

static ssize_t noted_write(int fd, const void *buf, size_t len)
{
	struct iovec iov = {(void *)(uintptr_t)buf, len};
	struct note note = look(fd);
	ssize_t sent = found.write(fd, buf, len);

	say(&note, &iov, 1, sent);
	return sent;
}

static ssize_t noted_writev(int fd, const struct iovec *iov, int count)
{
	struct note note = look(fd);
	ssize_t sent = found.writev(fd, iov, count);

	say(&note, iov, (size_t)count, sent);
	return sent;
}

static ssize_t noted_send(int fd, const void *buf, size_t len, int flags)
{
	struct iovec iov = {(void *)(uintptr_t)buf, len};
	struct note note = look(fd);
	ssize_t sent = found.send(fd, buf, len, flags);

	say(&note, &iov, 1, sent);
	return sent;
}

static ssize_t noted_sendto(int fd, const void *buf, size_t len, int flags, const void *addr,
			    socklen_t addr_len)
{
	struct iovec iov = {(void *)(uintptr_t)buf, len};
	struct note note = look(fd);
	ssize_t sent = found.sendto(fd, buf, len, flags, addr, addr_len);

	say(&note, &iov, 1, sent);
	return sent;
}

static ssize_t noted_sendmsg(int fd, const struct msghdr *msg, int flags)
{
	struct note note = look(fd);
	ssize_t sent = found.sendmsg(fd, msg, flags);

	if (sent > 0)
		say(&note, msg->msg_iov, msg->msg_iovlen, sent);
	return sent;
}

/* ---- going in: these names are exchanged by the linker (--wrap) ---- */

void __real_sw_real_resolve(void);
void __wrap_sw_real_resolve(void);
void __real_sw_flow_writes(int fd, sw_ref entry);
void __wrap_sw_flow_writes(int fd, sw_ref entry);
void __real_sw_flow_connected(struct sw_guest *g, int fd);
void __wrap_sw_flow_connected(struct sw_guest *g, int fd);

static void read_ports(const char *text)
{
	for (int i = 0; i < PORTS && text && *text; i++) {
		char *end;

		asked.ports[i] = (unsigned)strtoul(text, &end, 10);
		text = *end ? end + 1 : end;
	}
}

void __wrap_sw_real_resolve(void)
{
	const char *file = getenv("SW_PROBE_FILE"), *own = getenv("SW_PROBE_OWN");

	__real_sw_real_resolve();
	if (!file || strlen(file) >= sizeof(asked.file))
		return;
	memcpy(asked.file, file, strlen(file) + 1);
	read_ports(getenv("SW_PROBE_PORTS"));
	asked.own = own ? (unsigned)strtoul(own, NULL, 10) : 0;
	found = sw_real;
	sw_real.write = noted_write;
	sw_real.writev = noted_writev;
	sw_real.send = noted_send;
	sw_real.sendto = noted_sendto;
	sw_real.sendmsg = noted_sendmsg;
}

void __wrap_sw_flow_writes(int fd, sw_ref entry)
{
	if ((unsigned)fd < DESCRIPTORS && is_asked(port_of(fd, true)))
		atomic_store(&noted[fd], entry);
	__real_sw_flow_writes(fd, entry);
}

void __wrap_sw_flow_connected(struct sw_guest *g, int fd)
{
	if ((unsigned)fd < DESCRIPTORS)
		atomic_store(&noted[fd], 0);
	__real_sw_flow_connected(g, fd);
}
