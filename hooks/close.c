/*
 * Descriptors that end or get a second number, and ours, which the program cannot touch
 * (pitfall 27): close gives EBADF, close_range and closefrom go around them, dup2 onto one moves it
 * out of the way first.
 */
#include <errno.h>
#include <stdarg.h>
#include <unistd.h>

#include "hooks/flow.h"
#include "preload/exports.h"
#include "preload/fds.h"
#include "preload/sys.h"

#ifndef CLOSE_RANGE_CLOEXEC
#define CLOSE_RANGE_CLOEXEC (1u << 2)
#endif

int sw_hook_close(struct sw_guest *g, int fd)
{
	if (sw_fd_ours(fd)) {
		errno = EBADF;
		return -1;
	}
	/* Before the call: the number may be another thread's the moment it is free. */
	sw_flow_closed(g, fd);
	return sw_call(g, close, fd);
}

int sw_hook_dup(struct sw_guest *g, int fd)
{
	int to = sw_call(g, dup, fd);

	if (to >= 0)
		sw_flow_duplicated(g, fd, to);
	return to;
}

void sw_duplicated(struct sw_guest *g, int fd, int to)
{
	sw_flow_duplicated(g, fd, to);
}

int sw_plain_dup2(int fd, int to)
{
	struct sw_guest *g = sw_guest_enter();
	int result;

	if (!g)
		return sw_real.dup2(fd, to);
	if (sw_fd_ours(to))
		sw_fd_move_ours(to);
	result = sw_call(g, dup2, fd, to);
	if (result >= 0)
		sw_flow_duplicated(g, fd, to);
	sw_guest_leave(g);
	return result;
}

int sw_plain_dup3(int fd, int to, int flags)
{
	struct sw_guest *g = sw_guest_enter();
	int result;

	if (!g)
		return sw_real.dup3(fd, to, flags);
	if (sw_fd_ours(to))
		sw_fd_move_ours(to);
	result = sw_call(g, dup3, fd, to, flags);
	if (result >= 0)
		sw_flow_duplicated(g, fd, to);
	sw_guest_leave(g);
	return result;
}

/* Calls `real` on the stretches between ours. Returns the first failure or 0. */
static int around_ours(struct sw_guest *g, unsigned first, unsigned last, int flags)
{
	int result = 0;

	for (int ours;
	     (ours = sw_fd_next_ours((int)SW_MIN(first, INT32_MAX))) >= 0 && (unsigned)ours <= last;
	     first = (unsigned)ours + 1) {
		if ((unsigned)ours > first)
			result = sw_call(g, close_range, first, (unsigned)ours - 1, flags);
		if (result < 0)
			return result;
	}
	return first <= last ? sw_call(g, close_range, first, last, flags) : result;
}

int sw_plain_close_range(unsigned first, unsigned last, int flags)
{
	struct sw_guest *g = first <= last ? sw_guest_enter() : NULL;
	int result;

	if (!g)
		return sw_real.close_range(first, last, flags);
	if (!(flags & (int)CLOSE_RANGE_CLOEXEC))
		sw_flow_closed_range(g, first, last);
	result = around_ours(g, first, last, flags);
	sw_guest_leave(g);
	return result;
}

void sw_plain_closefrom(int from)
{
	unsigned first = from > 0 ? (unsigned)from : 0;
	struct sw_guest *g = sw_guest_enter();

	if (!g || sw_fd_next_ours((int)first) < 0) {
		if (g)
			sw_flow_closed_range(g, first, UINT32_MAX);
		if (g)
			sw_guest_leave(g);
		sw_real.closefrom(from);
		return;
	}
	sw_flow_closed_range(g, first, UINT32_MAX);
	if (around_ours(g, first, UINT32_MAX, 0) < 0)
		sw_real.closefrom(from); /* no close_range(2): then ours go too, and we notice */
	sw_guest_leave(g);
}
