/*
 * Bytes on descriptors that we know. Each body makes the real call and tells the flow what passed.
 *
 * Receiving: what was peeked at will come again and is not counted; what the kernel discarded
 * (MSG_TRUNC on a stream) or sent beside the stream (urgent data, the error queue) is no part of
 * the conversation or ends our certainty. Sending: injection is asked first.
 */
#include <errno.h>

#include "hooks/flow.h"
#include "hooks/inject.h"
#include "hooks/log.h"
#include "preload/config.h"
#include "preload/exports.h"
#include "preload/fds.h"

/* ---- receiving ---- */

static void received(struct sw_guest *g, int fd, const struct iovec *iov, size_t count, int flags,
		     ssize_t len)
{
	if (flags & (MSG_PEEK | MSG_ERRQUEUE | MSG_OOB))
		return;
	if (len > 0 && (flags & MSG_TRUNC))
		sw_flow_blind(fd);
	/* 0 of 0 wanted is not the end of the stream */
	if (len > 0 || (len == 0 && count && iov[0].iov_len))
		sw_flow_bytes(g, fd, SW_IN, iov, count, len);
}

static void received_one(struct sw_guest *g, int fd, void *buf, size_t len, int flags, ssize_t got)
{
	struct iovec iov = {buf, len};

	received(g, fd, &iov, 1, flags, got);
}

ssize_t sw_hook_read(struct sw_guest *g, int fd, void *buf, size_t len)
{
	ssize_t got = sw_call(g, read, fd, buf, len);

	received_one(g, fd, buf, len, 0, got);
	return got;
}

ssize_t sw_hook___read_chk(struct sw_guest *g, int fd, void *buf, size_t len, size_t size)
{
	ssize_t got = sw_call(g, __read_chk, fd, buf, len, size);

	received_one(g, fd, buf, len, 0, got);
	return got;
}

ssize_t sw_hook_readv(struct sw_guest *g, int fd, const struct iovec *iov, int count)
{
	ssize_t got = sw_call(g, readv, fd, iov, count);

	received(g, fd, iov, got >= 0 ? (size_t)count : 0, 0, got);
	return got;
}

ssize_t sw_hook_recv(struct sw_guest *g, int fd, void *buf, size_t len, int flags)
{
	ssize_t got = sw_call(g, recv, fd, buf, len, flags);

	received_one(g, fd, buf, len, flags, got);
	return got;
}

ssize_t sw_hook___recv_chk(struct sw_guest *g, int fd, void *buf, size_t len, size_t size,
			   int flags)
{
	ssize_t got = sw_call(g, __recv_chk, fd, buf, len, size, flags);

	received_one(g, fd, buf, len, flags, got);
	return got;
}

ssize_t sw_hook_recvfrom(struct sw_guest *g, int fd, void *buf, size_t len, int flags, void *addr,
			 void *addr_len)
{
	ssize_t got = sw_call(g, recvfrom, fd, buf, len, flags, addr, addr_len);

	received_one(g, fd, buf, len, flags, got);
	return got;
}

ssize_t sw_hook___recvfrom_chk(struct sw_guest *g, int fd, void *buf, size_t len, size_t size,
			       int flags, void *addr, void *addr_len)
{
	ssize_t got = sw_call(g, __recvfrom_chk, fd, buf, len, size, flags, addr, addr_len);

	received_one(g, fd, buf, len, flags, got);
	return got;
}

ssize_t sw_hook_recvmsg(struct sw_guest *g, int fd, struct msghdr *msg, int flags)
{
	ssize_t got = sw_call(g, recvmsg, fd, msg, flags);

	if (got >= 0)
		received(g, fd, msg->msg_iov, msg->msg_iovlen, flags, got);
	return got;
}

int sw_hook_recvmmsg(struct sw_guest *g, int fd, struct mmsghdr *vec, unsigned count, int flags,
		     struct timespec *timeout)
{
	int got = sw_call(g, recvmmsg, fd, vec, count, flags, timeout);

	for (int i = 0; i < got; i++)
		received(g, fd, vec[i].msg_hdr.msg_iov, vec[i].msg_hdr.msg_iovlen, flags,
			 vec[i].msg_len);
	return got;
}

ssize_t sw_plain_splice(int fd, off64_t *offset, int out, off64_t *out_offset, size_t len,
			unsigned flags)
{
	struct sw_guest *g = sw_fd_known(fd) || sw_fd_known(out) ? sw_guest_enter() : NULL;
	ssize_t moved;

	if (!g) {
		sw_refused(fd);
		sw_refused(out);
		return sw_real.splice(fd, offset, out, out_offset, len, flags);
	}
	moved = sw_call(g, splice, fd, offset, out, out_offset, len, flags);
	sw_flow_unread(g, fd, SW_IN, moved);
	sw_flow_unread(g, out, SW_OUT, moved);
	sw_guest_leave(g);
	return moved;
}

/* ---- sending ---- */

static struct sw_outgoing outgoing(const struct iovec *iov, size_t count, int flags, bool plain)
{
	return (struct sw_outgoing){.iov = iov, .count = count, .flags = flags, .plain = plain};
}

/* Bytes beside the stream are no part of the conversation. */
static void sent_some(struct sw_guest *g, int fd, const struct sw_outgoing *out, ssize_t sent)
{
	if (sent < 0)
		sw_inject_failed(g, fd);
	else if (!(out->flags & MSG_OOB))
		sw_flow_bytes(g, fd, SW_OUT, out->iov, out->count, sent);
}

/* What was sent on a descriptor that leads to a stream of log. */
static void sent_log(struct sw_guest *g, uint32_t entry, const struct sw_outgoing *out,
		     ssize_t sent)
{
	if (sent > 0 && sw_log_addressed(entry, out->name, out->name_len))
		sw_log_wrote(g, entry, out->iov, out->count, sent);
}

/* Injects, or makes the program's own call `real` and reports it. */
#define SEND(g, fd, out, real)                                                                     \
	({                                                                                         \
		uint32_t log_ = sw_log_entry(fd);                                                  \
		ssize_t sent_;                                                                     \
                                                                                                   \
		if (log_) {                                                                        \
			sent_ = (real);                                                            \
			sent_log((g), log_, (out), sent_);                                         \
		} else if (!sw_inject_send((g), (fd), (out), &sent_)) {                            \
			sent_ = (real);                                                            \
			sent_some((g), (fd), (out), sent_);                                        \
		}                                                                                  \
		sent_;                                                                             \
	})

ssize_t sw_hook_send(struct sw_guest *g, int fd, const void *buf, size_t len, int flags)
{
	struct iovec iov = {(void *)(uintptr_t)buf, len};
	struct sw_outgoing out = outgoing(&iov, 1, flags, true);

	return SEND(g, fd, &out, sw_call(g, send, fd, buf, len, flags));
}

ssize_t sw_hook_sendto(struct sw_guest *g, int fd, const void *buf, size_t len, int flags,
		       const void *addr, socklen_t addr_len)
{
	struct iovec iov = {(void *)(uintptr_t)buf, len};
	struct sw_outgoing out = outgoing(&iov, 1, flags, addr == NULL);

	out.name = addr;
	out.name_len = addr_len;

	return SEND(g, fd, &out, sw_call(g, sendto, fd, buf, len, flags, addr, addr_len));
}

ssize_t sw_hook_write(struct sw_guest *g, int fd, const void *buf, size_t len)
{
	struct iovec iov = {(void *)(uintptr_t)buf, len};
	struct sw_outgoing out = outgoing(&iov, 1, 0, true);
	uint32_t log;
	ssize_t sent;

	/* Only a write of one buffer: any other call may not do what this one does. */
	if (SW_UNLIKELY(sw_config.log_inject) && (log = sw_log_entry(fd)) &&
	    sw_log_inject(g, log, fd, &iov, &sent)) {
		sent_log(g, log, &out, sent);
		return sent;
	}
	return SEND(g, fd, &out, sw_call(g, write, fd, buf, len));
}

ssize_t sw_hook_writev(struct sw_guest *g, int fd, const struct iovec *iov, int count)
{
	struct sw_outgoing out = outgoing(iov, count > 0 ? (size_t)count : 0, 0, true);

	return SEND(g, fd, &out, sw_call(g, writev, fd, iov, count));
}

static struct sw_outgoing outgoing_msg(const struct msghdr *msg, int flags)
{
	struct sw_outgoing out;

	if ((uintptr_t)msg < SW_PAGE) /* the kernel will say EFAULT */
		return outgoing(NULL, 0, flags, false);
	out = outgoing(msg->msg_iov, msg->msg_iovlen, flags,
		       msg->msg_name == NULL && msg->msg_controllen == 0);
	out.name = msg->msg_name;
	out.name_len = msg->msg_namelen;
	return out;
}

ssize_t sw_hook_sendmsg(struct sw_guest *g, int fd, const struct msghdr *msg, int flags)
{
	uint32_t log = sw_log_entry(fd);
	struct sw_outgoing out;
	ssize_t sent;

	if (!log) {
		out = outgoing_msg(msg, flags);
		return SEND(g, fd, &out, sw_call(g, sendmsg, fd, msg, flags));
	}
	sent = sw_call(g, sendmsg, fd, msg, flags);
	if (sent > 0) { /* so the kernel could read it */
		out = outgoing_msg(msg, flags);
		sent_log(g, log, &out, sent);
	}
	return sent;
}

/* Several messages on one stream: one call, no injection into it. */
int sw_hook_sendmmsg(struct sw_guest *g, int fd, struct mmsghdr *vec, unsigned count, int flags)
{
	uint32_t log = sw_log_entry(fd);
	int sent = sw_call(g, sendmmsg, fd, vec, count, flags);

	for (int i = 0; i < sent; i++) {
		struct sw_outgoing out = outgoing_msg(&vec[i].msg_hdr, flags);

		if (log)
			sent_log(g, log, &out, vec[i].msg_len);
		else
			sent_some(g, fd, &out, vec[i].msg_len);
	}
	return sent;
}

ssize_t sw_hook_sendfile(struct sw_guest *g, int fd, int in, off_t *offset, size_t count)
{
	ssize_t sent = sw_call(g, sendfile, fd, in, offset, count);

	sw_flow_unread(g, fd, SW_OUT, sent);
	return sent;
}

ssize_t sw_hook_sendfile64(struct sw_guest *g, int fd, int in, off64_t *offset, size_t count)
{
	ssize_t sent = sw_call(g, sendfile64, fd, in, offset, count);

	sw_flow_unread(g, fd, SW_OUT, sent);
	return sent;
}

int sw_hook_shutdown(struct sw_guest *g, int fd, int how)
{
	int result = sw_call(g, shutdown, fd, how);

	if (result == 0 && how != SHUT_RD)
		sw_flow_ended(g, fd, SW_OUT);
	if (result == 0 && how != SHUT_WR)
		sw_flow_ended(g, fd, SW_IN);
	return result;
}
