/* The loop on epoll; see loop.h. */
#include <sys/epoll.h>

#include "preload/fds.h"
#include "preload/sys.h"
#include "reporter/loop.h"

#define EVENTS 16

/* What one wait has found; what is told to one watch may concern another one. */
static struct {
	struct epoll_event event[EVENTS];
	long count;
} found;

/* It is unwatched, or watched for something else: what was found for it is nobody's. */
static void forget(const struct sw_watch *watch)
{
	for (long i = 0; i < found.count; i++) {
		if (found.event[i].data.ptr == watch)
			found.event[i].data.ptr = NULL;
	}
}

static int epoll_open(struct sw_loop *loop)
{
	long fd = sw_sys(epoll_create1, EPOLL_CLOEXEC);

	if (fd < 0)
		return (int)fd;
	found.count = 0; /* perhaps a parent's */
	loop->fd = sw_fd_adopt((int)fd);
	return loop->fd < 0 ? loop->fd : 0;
}

static int epoll_watch(struct sw_loop *loop, struct sw_watch *watch, uint32_t events)
{
	struct epoll_event event = {.events = events, .data.ptr = watch};
	long error;

	forget(watch);
	if (!events)
		return (int)sw_sys(epoll_ctl, loop->fd, EPOLL_CTL_DEL, watch->fd, &event);
	error = sw_sys(epoll_ctl, loop->fd, EPOLL_CTL_ADD, watch->fd, &event);
	if (error == -EEXIST)
		error = sw_sys(epoll_ctl, loop->fd, EPOLL_CTL_MOD, watch->fd, &event);
	return (int)error;
}

/* Rounded up: a loop that wakes a little early would spin until its time has come. */
static int milliseconds(int64_t timeout_ns)
{
	int64_t ms = (timeout_ns + 999999) / 1000000;

	if (timeout_ns < 0)
		return -1;
	return ms > INT32_MAX ? INT32_MAX : (int)ms;
}

static int epoll_sleep(struct sw_loop *loop, int64_t timeout_ns)
{
	long count = sw_sys(epoll_pwait, loop->fd, found.event, EVENTS, milliseconds(timeout_ns),
			    NULL, 8);

	if (count < 0)
		return count == -EINTR ? 0 : (int)count;
	found.count = count;
	for (long i = 0; i < count; i++) {
		struct sw_watch *watch = found.event[i].data.ptr;

		if (watch)
			watch->ready(watch, found.event[i].events);
	}
	found.count = 0;
	return 0;
}

static void epoll_shut(struct sw_loop *loop)
{
	sw_fd_close_ours(loop->fd);
	loop->fd = -1;
	found.count = 0;
}

const struct sw_loop_backend sw_loop_epoll = {
	.name = "epoll",
	.open = epoll_open,
	.watch = epoll_watch,
	.wait = epoll_sleep,
	.close = epoll_shut,
};
