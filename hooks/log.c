/*
 * Streams of log and what is written to them; see log.h.
 *
 * A stream is what descriptors lead to: duplicates share one, and what is opened anew begins one.
 * Its number has a generation, so that bytes of a file that took a number over are never joined to
 * those of the old one. Each record has the stream's next sequence number: rings are not ordered
 * among each other, and the agent half puts them in order again.
 */
#include "hooks/log.h"

#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <termios.h>

#include "hooks/context.h"
#include "hooks/log_writing.h"
#include "preload/config.h"
#include "preload/counters.h"
#include "preload/module.h"
#include "preload/ring.h"
#include "preload/sys.h"

#define STREAMS 256
#define PARTS 8
#define PARTS_BEFORE 2 /* of ours */
#define TEXTS 64
/* Where a NUL among the first bytes of a write makes it data rather than text, and after how many
 * such writes the stream is taken for one of data. */
#define LOOK 64
#define ODD_MAX 16

struct stream {
	_Atomic uint32_t
		users;	      /* generation << 16 | descriptors that lead here; 0 of these: free */
	_Atomic uint32_t odd; /* writes that were data */
	_Atomic uint64_t sequence;
	_Atomic bool amid; /* the last byte was no line end; kept for injection only */
	uint8_t source;	   /* enum sw_log_source */
	bool connected;	   /* of a socket: every message is one for the log */
} __attribute__((aligned(64)));

_Atomic bool sw_log_on;

struct sw_pool sw_log_texts;

static struct stream streams[STREAMS];

static uint32_t entry_of(uint32_t users, uint32_t index)
{
	return SW_FD_LOG | (users >> 16) << 8 | index;
}

/* NULL: it is another one by now. */
static struct stream *stream_of(uint32_t entry)
{
	struct stream *stream = &streams[entry % STREAMS];
	uint32_t users = atomic_load_explicit(&stream->users, memory_order_relaxed);

	return entry & SW_FD_LOG && entry_of(users, entry % STREAMS) == entry ? stream : NULL;
}

/* ---- streams that begin and end ---- */

/* Sockets may be many, and most are for no log: room is left for the others. */
static uint32_t take_stream(enum sw_log_source source)
{
	for (uint32_t i = source >= SW_LOG_SYSLOG ? STREAMS / 4 : 0; i < STREAMS; i++) {
		uint32_t users = atomic_load(&streams[i].users),
			 next = (users & 0xffff0000) + 0x10001;

		if ((users & 0xffff) ||
		    !atomic_compare_exchange_strong(&streams[i].users, &users, next))
			continue;
		streams[i].source = (uint8_t)source;
		streams[i].connected = false;
		atomic_store(&streams[i].amid, false);
		atomic_store(&streams[i].odd, 0);
		atomic_store(&streams[i].sequence, 0);
		return entry_of(next, i);
	}
	sw_count(LOG_STREAMS);
	return 0;
}

void sw_log_left(uint32_t entry)
{
	struct stream *stream = stream_of(entry);

	if (stream && (atomic_load(&stream->users) & 0xffff))
		atomic_fetch_sub(&stream->users, 1);
}

static bool lead(int fd, uint32_t entry)
{
	uint32_t old = 0;

	if (!sw_fd_swap(fd, entry, &old))
		return false;
	sw_log_left(old);
	return true;
}

bool sw_log_begin(int fd, enum sw_log_source source)
{
	uint32_t entry = take_stream(source);

	if (!entry)
		return false;
	if (lead(fd, entry))
		return true;
	sw_log_left(entry);
	return false;
}

void sw_log_duplicated(uint32_t entry, int to)
{
	struct stream *stream = stream_of(entry);
	uint32_t users = stream ? atomic_load(&stream->users) : 0;

	if (stream && (users & 0xffff) < 0xffff &&
	    atomic_compare_exchange_strong(&stream->users, &users, users + 1) && !lead(to, entry))
		sw_log_left(entry);
}

/* ---- stdout and stderr ---- */

static bool is_local_socket(int fd)
{
	int domain = 0;
	socklen_t len = sizeof(domain);

	return sw_sys(getsockopt, fd, SOL_SOCKET, SO_DOMAIN, &domain, &len) == 0 &&
	       domain == AF_UNIX;
}

static bool is_terminal(int fd)
{
	struct termios settings; /* the kernel's is shorter */

	return sw_sys(ioctl, fd, TCGETS, &settings) == 0;
}

/* Files, pipes, and the sockets of supervisors and of journald. */
static bool is_wanted(int fd)
{
	struct stat about;

	if (sw_sys(fstat, fd, &about))
		return false;
	switch (about.st_mode & S_IFMT) {
	case S_IFREG:
	case S_IFIFO:
		return true;
	case S_IFSOCK:
		return is_local_socket(fd);
	case S_IFCHR:
		return sw_config.log_terminal && is_terminal(fd);
	default:
		return false;
	}
}

void sw_log_look(int fd)
{
	if (!sw_log_active() || (fd != STDOUT_FILENO && fd != STDERR_FILENO) || sw_fd_known(fd))
		return;
	if ((fd == STDOUT_FILENO ? sw_config.log_stdout : sw_config.log_stderr) && is_wanted(fd))
		sw_log_begin(fd, fd == STDOUT_FILENO ? SW_LOG_STDOUT : SW_LOG_STDERR);
}

/* ---- sockets of logs ---- */

static const struct {
	const char *path;
	enum sw_log_source source;
} places[] = {
	{"/dev/log", SW_LOG_DEVLOG},
	{"/run/systemd/journal/dev-log", SW_LOG_DEVLOG},
	{"/run/systemd/journal/socket", SW_LOG_JOURNAL},
};

/* What is behind an address; SW_LOG_SOURCE_COUNT: no log. */
static enum sw_log_source source_of(const void *addr, socklen_t len)
{
	const struct sockaddr_un *un = addr;
	size_t head = offsetof(struct sockaddr_un, sun_path);

	if (len <= head || un->sun_family != AF_UNIX)
		return SW_LOG_SOURCE_COUNT;
	for (size_t i = 0; i < SW_COUNT_OF(places); i++) {
		size_t room = SW_MIN(len - head, sizeof(un->sun_path));
		struct sw_bytes path = sw_bytes(un->sun_path, strnlen(un->sun_path, room));

		if (sw_bytes_equal(path, sw_bytes_text(places[i].path)))
			return places[i].source;
	}
	return SW_LOG_SOURCE_COUNT;
}

void sw_log_socket(int fd, int domain, int type)
{
	int kind = type & ~(SOCK_NONBLOCK | SOCK_CLOEXEC);

	if (domain == AF_UNIX && kind == SOCK_DGRAM && sw_config.log_active && sw_config.log_syslog)
		sw_log_begin(fd, SW_LOG_JOURNAL);
}

void sw_log_connected(int fd, const void *addr, socklen_t len)
{
	struct stream *stream = stream_of(sw_log_entry(fd));
	enum sw_log_source source = stream ? source_of(addr, len) : SW_LOG_SOURCE_COUNT;

	if (source == SW_LOG_SOURCE_COUNT)
		return;
	stream->source = (uint8_t)source;
	stream->connected = true;
}

/* A datagram of a protocol, which may have any bytes in it. */
static bool is_message(const struct stream *stream)
{
	return stream->source >= SW_LOG_SYSLOG;
}

bool sw_log_addressed(uint32_t entry, const void *addr, socklen_t len)
{
	struct stream *stream = stream_of(entry);

	if (!stream || !is_message(stream) || stream->connected)
		return stream != NULL;
	return addr && source_of(addr, len) == (enum sw_log_source)stream->source;
}

/* ---- what was written ---- */

/* The next parts, of at most `room` bytes together. Returns how many parts. */
static size_t next_parts(struct sw_log_cursor *c, size_t room, struct sw_bytes part[PARTS],
			 uint32_t *ret_len)
{
	size_t parts = 0;

	*ret_len = 0;
	while (c->left && c->count && room && parts < PARTS) {
		size_t len = SW_MIN(SW_MIN(c->iov->iov_len - c->at, c->left), room);

		if (len) {
			part[parts++] = sw_bytes((const uint8_t *)c->iov->iov_base + c->at, len);
			*ret_len += (uint32_t)len;
			c->at += len;
			c->left -= len;
			room -= len;
		}
		if (c->at == c->iov->iov_len) {
			c->iov++;
			c->count--;
			c->at = 0;
		}
	}
	return parts;
}

bool sw_log_aim(struct sw_log_writing *w, uint32_t entry, enum sw_log_source *ret_source)
{
	w->stream = stream_of(entry);
	if (!w->stream)
		return false;
	*ret_source = w->stream->source;
	return true;
}

/* Text has no NUL. A stream that has had many of them carries data. */
static bool is_odd(struct stream *stream, const struct iovec *iov, size_t count, size_t total)
{
	uint32_t odd = atomic_load_explicit(&stream->odd, memory_order_relaxed);
	size_t len = count ? SW_MIN(SW_MIN(iov->iov_len, total), LOOK) : 0;

	if (odd < ODD_MAX) {
		if (!len || !memchr(iov->iov_base, 0, len))
			return false;
		atomic_store_explicit(&stream->odd, odd + 1, memory_order_relaxed);
	}
	sw_count(LOG_BINARY);
	return true;
}

void sw_log_begin_writing(struct sw_guest *g, struct sw_log_writing *w, enum sw_log_source source)
{
	struct sw_words *words = &w->words;

	memset(&w->head, 0, sizeof(w->head));
	w->head.record.kind = SW_RECORD_LOG;
	w->head.source = (uint8_t)source;
	w->head.severity = SW_LOG_NO_SEVERITY;
	w->head.time_ns = (int64_t)sw_clock_ns(CLOCK_REALTIME);
	w->head.thread = (uint32_t)sw_guest_tid(g);
	w->told = sw_bytes(NULL, 0);
	words->trace_len = words->endpoint_len = 0;
	if (!sw_words_find(sw_context_request(g), words))
		return;
	w->head.segment = words->segment;
	w->head.trace = words->trace_len;
	w->head.endpoint = words->endpoint_len;
}

static bool put(struct sw_guest *g, struct sw_log_writing *w, struct sw_log_cursor *c)
{
	size_t words = (size_t)w->words.trace_len + w->words.endpoint_len;
	struct sw_bytes part[PARTS_BEFORE + PARTS] = {sw_bytes(w->words.text, words), w->told};
	size_t room = SW_RECORD_MAX - 8 - sizeof(w->head) - words - w->told.len;
	size_t parts = next_parts(c, room, part + PARTS_BEFORE, &w->head.text);

	w->head.flags = c->left ? SW_LOG_MORE : 0;
	if (!c->left && w->skipped)
		w->head.flags = SW_LOG_SKIPPED;
	if (w->stream)
		w->head.sequence =
			atomic_fetch_add_explicit(&w->stream->sequence, 1, memory_order_relaxed);
	return sw_ring_put_some(g, &w->head.record, sizeof(w->head), part, PARTS_BEFORE + parts,
				atomic_load_explicit(&sw_process_serves, memory_order_relaxed));
}

void sw_log_put_writing(struct sw_guest *g, struct sw_log_writing *w, struct sw_log_cursor *c)
{
	if (w->skipped)
		sw_count(LOG_SKIPPED);
	do {
		if (!put(g, w, c)) {
			sw_count(LOG_RING_FULL);
			return;
		}
	} while (c->left && c->count);
}

bool sw_log_at_start(uint32_t entry)
{
	struct stream *stream = stream_of(entry);

	return stream && !is_message(stream) && !atomic_load(&stream->amid);
}

static void note_end(struct stream *stream, const struct iovec *iov, size_t count, size_t total)
{
	for (; count && total > iov->iov_len; iov++, count--)
		total -= iov->iov_len;
	if (count && total)
		atomic_store(&stream->amid, ((const char *)iov->iov_base)[total - 1] != '\n');
}

/* The next bytes of a write. */
static void put_range(struct sw_guest *g, struct sw_log_writing *w, struct sw_log_cursor *c,
		      size_t len)
{
	c->left = SW_MIN(len, sw_config.log_write_max);
	w->skipped = len - c->left;
	sw_log_put_writing(g, w, c);
}

void sw_log_wrote(struct sw_guest *g, uint32_t entry, const struct iovec *iov, size_t count,
		  ssize_t total)
{
	struct stream *stream = total > 0 && sw_log_active() ? stream_of(entry) : NULL;
	struct sw_log_writing w; /* not cleared: its texts are long */
	struct sw_log_cursor c = {iov, count, 0, 0};
	size_t len = (size_t)total, from;

	if (!stream || (!is_message(stream) && is_odd(stream, iov, count, len)))
		return;
	if (sw_config.log_inject)
		note_end(stream, iov, count, len);
	sw_log_chars_leave(g);
	w.stream = stream;
	sw_log_begin_writing(g, &w, stream->source);
	w.head.stream = entry & SW_FD_INDEX;
	from = is_message(stream) ? len : sw_log_told_from(entry, iov, count, len);
	if (from)
		put_range(g, &w, &c, from);
	if (from == len)
		return;
	c = (struct sw_log_cursor){iov, count, from, 0};
	w.told = sw_log_told_take(&w.head, entry, len - from);
	put_range(g, &w, &c, len - from);
}

void sw_log_formatted(struct sw_guest *g, uint32_t entry, struct sw_bytes seen, size_t total)
{
	struct iovec iov = {(void *)(uintptr_t)seen.at, seen.len};
	struct stream *stream = sw_log_active() ? stream_of(entry) : NULL;
	struct sw_log_writing w; /* not cleared: its texts are long */
	struct sw_log_cursor c = {&iov, 1, 0, SW_MIN(seen.len, sw_config.log_write_max)};

	if (!stream || !total)
		return;
	sw_log_chars_leave(g);
	w.stream = stream;
	sw_log_begin_writing(g, &w, stream->source);
	w.head.stream = entry & SW_FD_INDEX;
	w.skipped = total - c.left;
	sw_log_put_writing(g, &w, &c);
}

void sw_log_said(struct sw_guest *g, enum sw_log_source source, uint8_t severity,
		 struct sw_bytes text)
{
	struct iovec iov = {(void *)(uintptr_t)text.at, text.len};
	struct sw_log_writing w;
	struct sw_log_cursor c = {&iov, 1, 0, SW_MIN(text.len, SW_RECORD_MAX / 2)};

	w.stream = NULL;
	sw_log_begin_writing(g, &w, source);
	w.head.severity = severity;
	w.skipped = text.len - c.left;
	sw_log_put_writing(g, &w, &c);
}

void sw_log_unseen(uint32_t entry)
{
	if (entry && sw_log_active() && !sw_guest_hidden())
		sw_count(LOG_UNSEEN);
}

/* ---- lifetime ---- */

static bool log_start(void)
{
	if (!sw_config.log_active || sw_config.log_least == SW_LEVEL_OFF)
		return true;
	if (!sw_pool_map(&sw_log_texts, SW_LOG_TEXT_MAX, TEXTS))
		return false;
	atomic_store(&sw_log_on, true);
	sw_log_look(STDOUT_FILENO);
	sw_log_look(STDERR_FILENO);
	return true;
}

/* What was written byte by byte and has no line end. */
static void log_flush(enum sw_leaving why, uint64_t budget_ns)
{
	struct sw_guest *g = why == SW_LEAVING_EXIT ? sw_guest_enter() : NULL;

	(void)budget_ns;
	if (!g)
		return;
	sw_log_chars_leave_all(g);
	sw_guest_leave(g);
}

/* The child's records are its own, from the first on. */
static void log_fork_child(void)
{
	sw_log_chars_forget();
	for (uint32_t i = 0; i < STREAMS; i++)
		atomic_store_explicit(&streams[i].sequence, 0, memory_order_relaxed);
}

const struct sw_module sw_module_log = {
	.name = "log",
	.start = log_start,
	.flush = log_flush,
	.fork_child = log_fork_child,
};
