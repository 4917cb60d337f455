/* Sockets that begin: connect, accept, and numbers that mean something new. */
#include <errno.h>
#include <netinet/tcp.h>

#include "hooks/flow.h"
#include "hooks/log.h"
#include "hooks/python/python.h"
#include "preload/exports.h"
#include "preload/fds.h"
#include "preload/process.h"
#include "preload/ring.h"
#include "preload/sys.h"
#include "preload/tallies.h"

int sw_hook_socket(struct sw_guest *g, int domain, int type, int protocol)
{
	int fd = sw_call(g, socket, domain, type, protocol);

	if (fd >= 0) { /* its last user may have been closed unseen (fclose, raw system calls) */
		sw_flow_replaced(g, fd);
		sw_log_socket(fd, domain, type);
	}
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
	if (!begins && result == 0)
		sw_log_connected(fd, addr, addr_len);
	return result;
}

#define ASK_NS 100000000ull

/*
 * How many connections wait with the one that is about to be accepted: of a listening socket the
 * kernel tells it as if it were bytes. A call of its own, so some times a second at most, whatever
 * the number of sockets. True: it has told.
 */
static bool ask_backlog(int fd)
{
	uint64_t now_ns = sw_clock_ns(CLOCK_MONOTONIC_COARSE);
	uint64_t asked_ns = atomic_load_explicit(&sw_backlog.asked_ns, memory_order_relaxed);
	struct tcp_info info = {0};
	socklen_t len = sizeof(info);
	uint32_t most;

	if (now_ns - asked_ns < ASK_NS ||
	    !atomic_compare_exchange_strong(&sw_backlog.asked_ns, &asked_ns, now_ns) ||
	    sw_sys(getsockopt, fd, IPPROTO_TCP, TCP_INFO, &info, &len) != 0 ||
	    info.tcpi_state != TCP_LISTEN)
		return false;
	atomic_store(&sw_backlog.last, info.tcpi_unacked);
	atomic_store(&sw_backlog.room, info.tcpi_sacked);
	most = atomic_load(&sw_backlog.most);
	if (info.tcpi_unacked > most)
		atomic_compare_exchange_strong(&sw_backlog.most, &most, info.tcpi_unacked);
	return true;
}

/*
 * How long the one that was taken had waited: nothing has been written to it yet, and until then
 * "since the last data" counts from when its handshake was completed. The queue is served in the
 * order in which it filled, so of those that piled up the first, which is asked, waited longest.
 */
static void ask_waited(int fd)
{
	struct tcp_info info = {0};
	socklen_t len = sizeof(info);

	if (sw_sys(getsockopt, fd, IPPROTO_TCP, TCP_INFO, &info, &len) == 0)
		sw_tally_most(&sw_backlog.waited_ms, info.tcpi_last_data_sent);
}

/* A server that waits here must not be without heartbeats because it has forked. True: how long the
 * connection had waited is to be asked, too. */
static bool about_to_accept(struct sw_guest *g, int fd)
{
	g->kick |= atomic_load(&sw_ring_reader) == SW_READER_LEFT;
	return ask_backlog(fd);
}

static int accepted(struct sw_guest *g, int fd, bool ask)
{
	if (fd < 0)
		return fd;
	if (ask)
		ask_waited(fd);
	sw_flow_accepted(g, fd);
	return fd;
}

int sw_hook_accept(struct sw_guest *g, int fd, void *addr, socklen_t *addr_len)
{
	bool ask = about_to_accept(g, fd);

	return accepted(g, sw_call(g, accept, fd, addr, addr_len), ask);
}

int sw_hook_accept4(struct sw_guest *g, int fd, void *addr, socklen_t *addr_len, int flags)
{
	bool ask = about_to_accept(g, fd);

	return accepted(g, sw_call(g, accept4, fd, addr, addr_len, flags), ask);
}
