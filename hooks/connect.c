/* Sockets that begin: connect, accept, and numbers that mean something new. */
#include <errno.h>

#include "hooks/flow.h"
#include "hooks/python/python.h"
#include "preload/exports.h"
#include "preload/fds.h"
#include "preload/process.h"
#include "preload/ring.h"

int sw_hook_socket(struct sw_guest *g, int domain, int type, int protocol)
{
	int fd = sw_call(g, socket, domain, type, protocol);

	if (fd >= 0) /* its last user may have been closed unseen (fclose, raw system calls) */
		sw_flow_closed(g, fd);
	return fd;
}

int sw_hook_listen(struct sw_guest *g, int fd, int backlog)
{
	int result = sw_call(g, listen, fd, backlog);

	if (result == 0) {
		sw_flow_closed(g, fd);
		atomic_store(&sw_process_listens, true);
		sw_python_listens(g);
	}
	return result;
}

int sw_hook_connect(struct sw_guest *g, int fd, const void *addr, socklen_t addr_len)
{
	bool begins = !sw_fd_known(fd);
	int result, error;

	/* Before the call: bytes may be sent by another thread as soon as it is connected. */
	if (begins)
		sw_flow_connected(g, fd);
	result = sw_call(g, connect, fd, addr, addr_len);
	error = errno;
	if (begins && result < 0 && error != EINPROGRESS && error != EISCONN && error != EALREADY &&
	    error != EINTR && error != EAGAIN)
		sw_flow_closed(g, fd);
	return result;
}

static int accepted(struct sw_guest *g, int fd)
{
	if (fd >= 0)
		sw_flow_accepted(g, fd);
	return fd;
}

/* A server that waits here must not be without heartbeats because it has forked. */
static void about_to_accept(struct sw_guest *g)
{
	g->kick |= atomic_load(&sw_ring_reader) == SW_READER_LEFT;
}

int sw_hook_accept(struct sw_guest *g, int fd, void *addr, socklen_t *addr_len)
{
	about_to_accept(g);
	return accepted(g, sw_call(g, accept, fd, addr, addr_len));
}

int sw_hook_accept4(struct sw_guest *g, int fd, void *addr, socklen_t *addr_len, int flags)
{
	about_to_accept(g);
	return accepted(g, sw_call(g, accept4, fd, addr, addr_len, flags));
}
