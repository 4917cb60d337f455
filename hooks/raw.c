/*
 * What passes by number: syscall(2). Old libuv accepts, closes and, in places, moves bytes so. The
 * arguments are those of the kernel; results and errno stay syscall's own.
 */
#include <linux/sched.h>

#include "hooks/flow.h"
#include "hooks/inject.h"
#include "hooks/log.h"
#include "preload/exports.h"
#include "preload/fds.h"
#include "preload/sys.h"

bool sw_raw_instead(long number, const long *arg, long *ret_result)
{
	switch (number) {
	case SYS_close:
		if (!sw_fd_ours((int)arg[0]) || sw_guest_hidden())
			return false;
		errno = EBADF;
		*ret_result = -1;
		return true;
	case SYS_close_range:
		*ret_result = sw_plain_close_range((unsigned)arg[0], (unsigned)arg[1], (int)arg[2]);
		return true;
#ifdef SYS_dup2
	case SYS_dup2:
		*ret_result = sw_plain_dup2((int)arg[0], (int)arg[1]);
		return true;
#endif
	case SYS_dup3:
		*ret_result = sw_plain_dup3((int)arg[0], (int)arg[1], (int)arg[2]);
		return true;
	default:
		return false;
	}
}

static bool clone3_forks(const void *at)
{
	struct clone_args args = {0};

	return sw_sys_peek(&args, at, CLONE_ARGS_SIZE_VER0) && !args.stack &&
	       sw_clone_forks(args.flags);
}

/* fork by number. A child that shares our memory, or begins on another stack, is no affair of C. */
bool sw_raw_forks(long number, const long *arg)
{
	switch (number) {
#ifdef SYS_fork
	case SYS_fork:
		return sw_clone_forks(0);
#endif
	case SYS_clone:
		return !arg[1] && sw_clone_forks((unsigned long)arg[0]);
	case SYS_clone3:
		return clone3_forks((const void *)arg[0]);
	default:
		return false;
	}
}

void sw_raw_before(struct sw_guest *g, long number, const long *arg)
{
	int fd = (int)arg[0];

	switch (number) {
	case SYS_close:
		sw_flow_closed(g, fd);
		break;
	case SYS_connect:
		if (!sw_fd_known(fd))
			sw_flow_connected(g, fd);
		break;
	default:
		break;
	}
}

/* The bytes of a call as a vector. `one` is storage for the calls that take a buffer. */
static struct sw_outgoing raw_bytes(long number, const long *arg, struct iovec *one)
{
	const struct msghdr *msg = (const void *)arg[1];

	*one = (struct iovec){(void *)arg[1], (size_t)arg[2]};
	switch (number) {
	case SYS_writev:
	case SYS_readv:
		return (struct sw_outgoing){(const void *)arg[1], (size_t)arg[2], 0, true, NULL, 0};
	case SYS_sendmsg:
	case SYS_recvmsg:
		return (struct sw_outgoing){msg->msg_iov,  msg->msg_iovlen,
					    (int)arg[2],   !msg->msg_name && !msg->msg_controllen,
					    msg->msg_name, msg->msg_namelen};
	case SYS_sendto:
	case SYS_recvfrom:
		return (struct sw_outgoing){
			one, 1, (int)arg[3], !arg[4], (const void *)arg[4], (socklen_t)arg[5]};
	default:
		return (struct sw_outgoing){one, 1, 0, true, NULL, 0};
	}
}

static bool is_send(long number)
{
	return number == SYS_write || number == SYS_writev || number == SYS_sendto ||
	       number == SYS_sendmsg;
}

bool sw_raw_send(struct sw_guest *g, long number, const long *arg, long *ret_result)
{
	struct sw_outgoing out;
	struct msghdr msg;
	struct iovec one;
	ssize_t result;

	if (!is_send(number) ||
	    (number == SYS_sendmsg && !sw_sys_peek(&msg, (const void *)arg[1], sizeof(msg))))
		return false;
	out = raw_bytes(number, arg, &one);
	if (!sw_inject_send(g, (int)arg[0], &out, &result))
		return false;
	*ret_result = result;
	return true;
}

static void raw_moved(struct sw_guest *g, long number, const long *arg, ssize_t len)
{
	struct iovec one;
	struct sw_outgoing bytes = raw_bytes(number, arg, &one);

	if (is_send(number) && len > 0 &&
	    sw_log_addressed(sw_log_entry((int)arg[0]), bytes.name, bytes.name_len))
		sw_log_wrote(g, sw_log_entry((int)arg[0]), bytes.iov, bytes.count, len);
	if (len > 0 && !(bytes.flags & (MSG_PEEK | MSG_ERRQUEUE | MSG_OOB)))
		sw_flow_bytes(g, (int)arg[0], is_send(number) ? SW_OUT : SW_IN, bytes.iov,
			      bytes.count, len);
}

void sw_raw_after(struct sw_guest *g, long number, const long *arg, long result)
{
	if (result < 0)
		return;
	switch (number) {
	case SYS_accept:
	case SYS_accept4:
		sw_flow_accepted(g, (int)result);
		break;
	case SYS_socket:
		sw_flow_replaced(g, (int)result);
		break;
	case SYS_dup:
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
