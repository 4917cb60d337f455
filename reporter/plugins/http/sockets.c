/*
 * The sockets that curl works with; see sockets.h. Few: one for each call underway, two while IPv4
 * and IPv6 race to connect, and those kept for the next calls.
 */
#include "reporter/plugins/http/sockets.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>

#include "preload/sys.h"

#define SOCKETS_MAX 16

static struct one {
	struct sw_watch watch; /* fd -1: free */
	uint32_t events;       /* watched for */
	uint64_t cookie;       /* SO_COOKIE, in a shared table */
	_Atomic bool gone;     /* the program has its number */
} sockets[SOCKETS_MAX];

static struct sw_loop *loop;
static sw_sockets_ready *tell;
static unsigned patience_ms;

static struct one *find(int fd)
{
	for (int i = 0; i < SOCKETS_MAX; i++) {
		if (sockets[i].watch.fd == fd)
			return &sockets[i];
	}
	return NULL;
}

/* After an event on another socket this one may be closed: then its number is -1. */
static void ready(struct sw_watch *watch, uint32_t events)
{
	if (watch->fd >= 0)
		tell(watch->fd, events);
}

void sw_sockets_start(struct sw_loop *of_agent, sw_sockets_ready *to_tell, unsigned ms)
{
	loop = of_agent;
	tell = to_tell;
	patience_ms = ms;
	for (int i = 0; i < SOCKETS_MAX; i++)
		sockets[i].watch = (struct sw_watch){-1, ready};
}

static void set_up(struct one *one)
{
	one->events = 0;
	one->cookie = sw_http_host->fd_cookie(one->watch.fd);
	atomic_store(&one->gone, false);
	/* a peer that vanished is found out by data that it does not acknowledge */
	sw_sys(setsockopt, one->watch.fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &patience_ms,
	       sizeof(patience_ms));
}

int sw_sockets_open(int family, int type, int protocol)
{
	struct one *one = find(-1);
	long fd = -EMFILE;

	if (one)
		fd = sw_sys(socket, family, type | SOCK_NONBLOCK | SOCK_CLOEXEC, protocol);
	if (fd >= 0)
		fd = sw_http_host->fd_adopt((int)fd);
	if (fd < 0) {
		errno = (int)-fd; /* our thread's, for curl */
		return -1;
	}
	one->watch.fd = (int)fd;
	set_up(one);
	return (int)fd;
}

static bool is_ours(const struct one *one)
{
	return !atomic_load(&one->gone) && sw_http_host->fd_same(one->watch.fd, one->cookie);
}

bool sw_sockets_ours(int fd)
{
	const struct one *one = find(fd);

	return one && is_ours(one);
}

void sw_sockets_close(int fd)
{
	struct one *one = find(fd);

	if (!one)
		return;
	sw_sockets_watch(fd, 0);
	if (is_ours(one))
		sw_http_host->fd_close(fd);
	else
		sw_http_host->fd_lost(fd);
	one->watch.fd = -1;
}

void sw_sockets_watch(int fd, uint32_t events)
{
	struct one *one = find(fd);

	if (!one || one->events == events)
		return;
	if (loop->backend->watch(loop, &one->watch, events) == 0 || !events)
		one->events = events;
}

bool sw_sockets_writing(void)
{
	for (int i = 0; i < SOCKETS_MAX; i++) {
		if (sockets[i].watch.fd >= 0 && (sockets[i].events & EPOLLOUT))
			return true;
	}
	return false;
}

void sw_sockets_moved(int from, int to)
{
	struct one *one = from >= 0 ? find(from) : NULL;

	if (!one)
		return;
	atomic_store(&one->gone, true);
	if (to >= 0)
		sw_http_host->fd_close(to);
}

void sw_sockets_forget(void)
{
	for (int i = 0; i < SOCKETS_MAX; i++) {
		if (sockets[i].watch.fd >= 0 && loop)
			sw_http_host->fd_close(sockets[i].watch.fd);
		sockets[i].watch.fd = -1;
	}
}
