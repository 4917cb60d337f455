/* The table of descriptors; see fds.h. */
#include "preload/fds.h"

#include <sched.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include "preload/guard.h"
#include "preload/proc.h"
#include "preload/sys.h"

#define HIGHEST 1024
#define OURS_MAX 32

#ifndef CLOSE_RANGE_UNSHARE
#define CLOSE_RANGE_UNSHARE (1u << 1)
#endif

_Atomic uint32_t *_Atomic sw_fd_pages[SW_FD_LIMIT / SW_FD_PAGE];
void (*sw_fd_moved)(int from, int to);

/* The few that are ours, for close_range and the like. Written by our thread or before it runs. */
static _Atomic int ours[OURS_MAX]; /* number + 1, 0: free */

static _Atomic uint32_t *page_of(unsigned fd)
{
	_Atomic uint32_t *_Atomic *slot = &sw_fd_pages[fd / SW_FD_PAGE];
	_Atomic uint32_t *page = atomic_load_explicit(slot, memory_order_acquire);
	_Atomic uint32_t *none = NULL;

	if (page)
		return page;
	page = sw_sys_map(sizeof(*page) * SW_FD_PAGE);
	if (page && !atomic_compare_exchange_strong(slot, &none, page)) {
		sw_sys(munmap, page, sizeof(*page) * SW_FD_PAGE);
		page = none; /* another thread was first */
	}
	return page;
}

bool sw_fd_swap(int fd, uint32_t entry, uint32_t *ret_old)
{
	_Atomic uint32_t *page;

	if ((unsigned)fd >= SW_FD_LIMIT)
		return false;
	if (!entry && !sw_fd_entry(fd)) {
		*ret_old = 0;
		return true;
	}
	page = page_of((unsigned)fd);
	if (!page)
		return false;
	*ret_old = atomic_exchange(&page[(unsigned)fd % SW_FD_PAGE], entry);
	return true;
}

static bool list_replace(int from, int to)
{
	for (int i = 0; i < OURS_MAX; i++) {
		int expected = from + 1;

		if (atomic_compare_exchange_strong(&ours[i], &expected, to + 1))
			return true;
	}
	return false;
}

bool sw_fd_clear(int fd, uint32_t entry)
{
	_Atomic uint32_t *page;

	if (!entry || sw_fd_entry(fd) != entry)
		return false;
	page = page_of((unsigned)fd);
	return atomic_compare_exchange_strong(&page[(unsigned)fd % SW_FD_PAGE], &entry, 0);
}

/* fcntl(F_DUPFD_CLOEXEC) gives the lowest free number from a bound on, so look downwards. */
static long dup_high(int fd)
{
	struct rlimit limit = {HIGHEST, HIGHEST};
	long top;

	sw_sys(prlimit64, 0, RLIMIT_NOFILE, NULL, &limit);
	top = limit.rlim_cur < HIGHEST ? (long)limit.rlim_cur : HIGHEST;
	for (long want = top - 1; want > STDERR_FILENO; want--) {
		long got = sw_sys(fcntl, fd, F_DUPFD_CLOEXEC, want);

		if (got >= 0 && got < top)
			return got;
		if (got >= top) /* the number was taken and the next free one is beyond */
			sw_sys(close, got);
	}
	return -EMFILE;
}

static bool mark_ours(int fd)
{
	uint32_t old;

	if (!list_replace(-1, fd))
		return false;
	if (sw_fd_swap(fd, SW_FD_OURS, &old))
		return true;
	list_replace(fd, -1);
	return false;
}

static _Atomic bool private_table;

static void close_listed(void *closed, int fd, int dir)
{
	if (fd > STDERR_FILENO && fd != dir)
		*(long *)closed += sw_sys(close, fd) == 0;
}

/* One look into our own table. How many were closed; -errno: it cannot be listed. */
static long close_all_listed(void)
{
	long closed = 0, error = sw_proc_numbers("/proc/thread-self/fd", close_listed, &closed);

	return error ? error : closed;
}

/* Without /proc: every number that there may be. */
static void close_numbers(void)
{
	struct rlimit limit = {0, 0};

	sw_sys(prlimit64, 0, RLIMIT_NOFILE, NULL, &limit);
	for (uint64_t fd = STDERR_FILENO + 1; fd < SW_MIN(limit.rlim_cur, SW_FD_LIMIT); fd++)
		sw_sys(close, fd);
}

/* Before Linux 5.9: a copy of the table, of which all but the first three is closed. */
static bool copy_and_close(void)
{
	long closed;

	if (sw_sys(unshare, CLONE_FILES))
		return false;
	while ((closed = close_all_listed()) > 0) /* closing disturbs the listing */
		;
	if (closed < 0)
		close_numbers();
	return true;
}

/* A table of the calling thread's own, of which all but the first three is closed. */
static bool part(void)
{
	return sw_sys(close_range, STDERR_FILENO + 1, ~0u, CLOSE_RANGE_UNSHARE) == 0 ||
	       copy_and_close();
}

bool sw_fd_part(void)
{
	bool ok = part();

	for (int fd = STDIN_FILENO; ok && fd <= STDERR_FILENO; fd++)
		sw_sys(close, fd);
	return ok;
}

bool sw_fd_go_private(void)
{
	bool ok = part();

	if (ok) {
		sw_sys(close, STDIN_FILENO);
		sw_sys(close, STDOUT_FILENO);
		if (!sw_stderr_is(STDERR_FILENO))
			sw_sys(close, STDERR_FILENO); /* somebody's connection, perhaps */
	}
	atomic_store(&private_table, ok);
	return ok;
}

/* Whoever reads the program's stderr waits for its last holder, which we must not be. */
void sw_fd_leave_stderr(void)
{
	if (sw_fd_private() && sw_stderr_is(STDERR_FILENO))
		sw_sys(close, STDERR_FILENO);
}

void sw_fd_forget_private(void)
{
	atomic_store(&private_table, false);
}

bool sw_fd_private(void)
{
	return atomic_load(&private_table);
}

int sw_fd_adopt(int fd)
{
	long high;

	if (sw_fd_private())
		return fd;
	high = dup_high(fd);
	if (high < 0)
		high = fd; /* all others are taken: stay */
	else
		sw_sys(close, fd);
	if (!mark_ours((int)high)) {
		sw_sys(close, high);
		return -EMFILE;
	}
	return (int)high;
}

static void forget(int fd)
{
	uint32_t old;

	sw_fd_swap(fd, 0, &old);
	list_replace(fd, -1);
}

uint64_t sw_fd_cookie(int fd)
{
	uint64_t cookie = 0;
	socklen_t len = sizeof(cookie);

	return sw_sys(getsockopt, fd, SOL_SOCKET, SO_COOKIE, &cookie, &len) == 0 ? cookie : 0;
}

bool sw_fd_same(int fd, uint64_t cookie)
{
	return sw_fd_private() || !cookie || sw_fd_cookie(fd) == cookie;
}

void sw_fd_close_ours(int fd)
{
	if (fd < 0)
		return;
	if (!sw_fd_private()) {
		forget(fd);
		sw_sys(close, fd);
	} else if (sw_guest_self.ours) {
		sw_sys(close, fd); /* elsewhere the number is the program's */
	}
}

void sw_fd_move_ours(int fd)
{
	long moved = dup_high(fd);

	if (moved < 0)
		moved = sw_sys(fcntl, fd, F_DUPFD_CLOEXEC, 0);
	forget(fd);
	if (moved >= 0 && !mark_ours((int)moved)) {
		sw_sys(close, moved);
		moved = -1;
	}
	if (sw_fd_moved)
		sw_fd_moved(fd, moved < 0 ? -1 : (int)moved);
}

static struct {
	dev_t dev;
	ino_t ino;
	bool known, waits;
} stderr_was;

void sw_stderr_note(void)
{
	struct stat now;

	stderr_was.known = sw_sys(fstat, STDERR_FILENO, &now) == 0;
	stderr_was.dev = stderr_was.known ? now.st_dev : 0;
	stderr_was.ino = stderr_was.known ? now.st_ino : 0;
	stderr_was.waits = stderr_was.known && (S_ISFIFO(now.st_mode) || S_ISCHR(now.st_mode));
}

bool sw_stderr_waits(void)
{
	return stderr_was.waits;
}

bool sw_stderr_is(long fd)
{
	struct stat now;

	return stderr_was.known && sw_sys(fstat, fd, &now) == 0 && now.st_dev == stderr_was.dev &&
	       now.st_ino == stderr_was.ino;
}

int sw_fd_next_ours(int from)
{
	int next = -1;

	for (int i = 0; i < OURS_MAX; i++) {
		int fd = atomic_load(&ours[i]) - 1;

		if (fd >= from && fd >= 0 && (next < 0 || fd < next))
			next = fd;
	}
	return next;
}
