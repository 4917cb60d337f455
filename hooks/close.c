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

int sw_hook_dup2(struct sw_guest *g, int fd, int to)
{
	int result;

	if (sw_fd_ours(to))
		sw_fd_move_ours(to);
	result = sw_call(g, dup2, fd, to);
	if (result >= 0)
		sw_flow_duplicated(g, fd, to);
	return result;
}

int sw_hook_dup3(struct sw_guest *g, int fd, int to, int flags)
{
	int result;

	if (sw_fd_ours(to))
		sw_fd_move_ours(to);
	result = sw_call(g, dup3, fd, to, flags);
	if (result >= 0)
		sw_flow_duplicated(g, fd, to);
	return result;
}

/* Calls `real` on the stretches between ours. Returns the first failure or 0. */
static int around_ours(struct sw_guest *g, unsigned first, unsigned last, int flags)
{
	int result = 0;

	for (int ours; (ours = sw_fd_next_ours((int)SW_MIN(first, INT32_MAX))) >= 0 &&
		       (unsigned)ours <= last;
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

/* ---- by number: syscall(2) ---- */

void sw_raw_before(struct sw_guest *g, long number, const long *arg)
{
	int fd = (int)arg[0];

	switch (number) {
	case SYS_close:
		if (!sw_fd_ours(fd))
			sw_flow_closed(g, fd);
		break;
	case SYS_close_range:
		if (!(arg[2] & CLOSE_RANGE_CLOEXEC))
			sw_flow_closed_range(g, (unsigned)arg[0], (unsigned)arg[1]);
		break;
	case SYS_connect:
		if (!sw_fd_known(fd))
			sw_flow_connected(g, fd, (const void *)arg[1], (size_t)arg[2]);
		break;
	default:
		break;
	}
}

static void raw_moved(struct sw_guest *g, long number, const long *arg, ssize_t len)
{
	struct iovec one = {(void *)arg[1], (size_t)arg[2]};
	const struct iovec *iov = &one;
	const struct msghdr *msg = (const void *)arg[1];
	size_t count = 1;
	enum sw_direction direction = SW_IN;

	switch (number) {
	case SYS_write:
	case SYS_sendto:
		direction = SW_OUT;
		break;
	case SYS_writev:
		direction = SW_OUT;
		/* fall through */
	case SYS_readv:
		iov = (const void *)arg[1];
		count = (size_t)arg[2];
		break;
	case SYS_sendmsg:
		direction = SW_OUT;
		/* fall through */
	case SYS_recvmsg:
		iov = msg->msg_iov;
		count = msg->msg_iovlen;
		break;
	default:
		break;
	}
	if (len > 0)
		sw_flow_bytes(g, (int)arg[0], direction, iov, count, len);
}

static int raw_flags(long number, const long *arg)
{
	if (number == SYS_recvfrom)
		return (int)arg[3];
	return number == SYS_recvmsg ? (int)arg[2] : 0;
}

void sw_raw_after(struct sw_guest *g, long number, const long *arg, long result)
{
	if (result < 0)
		return;
	switch (number) {
	case SYS_accept:
	case SYS_accept4:
		sw_flow_accepted(g, (int)result, NULL, 0);
		break;
	case SYS_socket:
		sw_flow_closed(g, (int)result);
		break;
	case SYS_dup:
#ifdef SYS_dup2
	case SYS_dup2:
#endif
	case SYS_dup3:
		sw_flow_duplicated(g, (int)arg[0], (int)result);
		break;
	case SYS_sendfile:
		sw_flow_unread(g, (int)arg[0], SW_OUT, result);
		break;
	case SYS_read:
	case SYS_readv:
	case SYS_recvfrom:
	case SYS_recvmsg:
	case SYS_write:
	case SYS_writev:
	case SYS_sendto:
	case SYS_sendmsg:
		if (!(raw_flags(number, arg) & (MSG_PEEK | MSG_ERRQUEUE | MSG_OOB)))
			raw_moved(g, number, arg, result);
		break;
	case SYS_recvmmsg:
	case SYS_sendmmsg:
	case SYS_splice:
		sw_flow_blind((int)arg[0]);
		break;
	default:
		break;
	}
}
