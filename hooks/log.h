/*
 * What the program says in lines: descriptors that lead to a stream of log, and what was written to
 * them, copied into records of the ring. Lines are made of it by reporter/logs/.
 *
 * Nothing is captured before the process first accepts or connects (preload/module.h): shells and
 * compilers pay one lookup. Called inside the guest unless it says otherwise; nothing here makes a
 * system call for a write, waits, or changes errno.
 */
#pragma once

#include <sys/socket.h>
#include <sys/uio.h>

#include "preload/arena.h"
#include "preload/fds.h"
#include "preload/guard.h"
#include "preload/record.h"

/* Logs are captured in this process, and some stream may be. Never true before the first accept or
 * connect, but for files that are captured by name (their descriptors are marked when opened). */
extern _Atomic bool sw_log_on;

static inline bool sw_log_active(void)
{
	return SW_UNLIKELY(atomic_load_explicit(&sw_log_on, memory_order_relaxed));
}

/* The entry of a descriptor that leads to a stream, else 0. Taken before the real call, for the
 * number may be another's afterwards. */
static inline uint32_t sw_log_entry(int fd)
{
	uint32_t entry = sw_fd_entry(fd);

	return entry & SW_FD_LOG ? entry : 0;
}

/* `total` bytes at the start of the vector were written to the stream of `entry`. */
void sw_log_wrote(struct sw_guest *g, uint32_t entry, const struct iovec *iov, size_t count,
		  ssize_t total);

/*
 * What a logging library says of a text that the calling thread is about to write, for as long as
 * the library's own call lasts; hooks/log.c gives it to those bytes that are the text, which may
 * come after others in one write, or in several. Plain functions of the thread, outside the guest.
 */
struct sw_log_told {
	const void *of; /* the record: only to be compared */
	struct sw_bytes level, logger, thread;
	uint8_t severity; /* as in syslog(3), or SW_LOG_NO_SEVERITY */
	struct sw_bytes text;
};

/* Copies. What is too long is left out. */
void sw_log_told_begin(const struct sw_log_told *told);
/* What was told last was of this record, and goes on. False: it was not. */
bool sw_log_told_again(const void *of);
void sw_log_told_end(void);
/* Another record may stand where one did of which this was told. */
void sw_log_told_forget(void);

/* One message that has a severity of its own (syslog(3)). */
void sw_log_said(struct sw_guest *g, enum sw_log_source source, uint8_t severity,
		 struct sw_bytes text);

/*
 * For SW_AGENT_LOG_INJECT_CONTEXT: writes the bytes of one buffer with the request's ids in its
 * first line, in one call. True: *ret_sent is what the program gets (errno set). False: nothing was
 * done.
 */
bool sw_log_inject(struct sw_guest *g, uint32_t entry, int fd, const struct iovec *iov,
		   ssize_t *ret_sent);

/* Bytes of which `seen` could be looked at; the others of `total` are left out and counted. */
void sw_log_formatted(struct sw_guest *g, uint32_t entry, struct sw_bytes seen, size_t total);

/* One byte of a stream that is written byte by byte: it leaves with its line. */
void sw_log_char(struct sw_guest *g, uint32_t entry, uint8_t byte);

/* May what was printed be formatted once more? (hooks/stdio.c) */
bool sw_stdio_formats_again(void);

/* Buffers for text that is formatted once more, of SW_LOG_TEXT_MAX bytes. */
#define SW_LOG_TEXT_MAX 65536
extern struct sw_pool sw_log_texts;

/*
 * The sockets of syslog and of journald. A datagram socket of the machine's own is watched from its
 * beginning: journald's library never connects it, but says with each message where it goes.
 */
void sw_log_socket(int fd, int domain, int type);
/* It was connected to this address, which the kernel has read. */
void sw_log_connected(int fd, const void *addr, socklen_t len);
/* Is a message on it, to `addr` (NULL: to where it is connected), one for a log? */
bool sw_log_addressed(uint32_t entry, const void *addr, socklen_t len);

/* Makes `fd` lead to a stream of its own. False: there are too many, which is counted. */
bool sw_log_begin(int fd, enum sw_log_source source);

/* If `fd` is stdout or stderr and wanted (no terminal, no connection) it leads to a stream from now
 * on. Asks the kernel. */
void sw_log_look(int fd);

/* `entry` is no longer that of one more descriptor, or is also that of `to`. */
void sw_log_left(uint32_t entry);
void sw_log_duplicated(uint32_t entry, int to);

/* A write passed by: a signal handler's, inside ours. Async-signal-safe, outside the guest. */
void sw_log_unseen(uint32_t entry);
