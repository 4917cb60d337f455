/* Choosing a loop, and the wake descriptor that all of them share; see loop.h. */
#include "reporter/loop.h"

#include <signal.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>

#include "preload/bytes.h"
#include "preload/fds.h"
#include "preload/sys.h"

#define SW_LOOP(name, doc) extern const struct sw_loop_backend sw_loop_##name;
#include "reporter/loops.def"
#undef SW_LOOP

static const struct sw_loop_backend *const backends[] = {
#define SW_LOOP(name, doc) &sw_loop_##name,
#include "reporter/loops.def"
#undef SW_LOOP
};

static void woken(struct sw_watch *watch, uint32_t events)
{
	struct sw_loop *loop = (struct sw_loop *)((char *)watch - offsetof(struct sw_loop, wake));
	uint8_t any[sizeof(struct signalfd_siginfo)];

	(void)events;
	loop->woken = true;
	sw_sys(read, watch->fd, any, sizeof(any));
}

static long open_wake(struct sw_loop *loop)
{
	uint64_t urgent = 1ull << (SIGURG - 1);

	loop->pid = (int)sw_sys(getpid);
	loop->tid = (int)sw_sys(gettid);
	if (sw_fd_private())
		return sw_sys(signalfd4, -1, &urgent, 8, SFD_CLOEXEC | SFD_NONBLOCK);
	return sw_sys(eventfd2, 0, EFD_CLOEXEC | EFD_NONBLOCK);
}

static int open_backend(struct sw_loop *loop)
{
	int error = -ENOSYS;

	for (size_t i = 0; i < SW_COUNT_OF(backends); i++) {
		loop->backend = backends[i];
		error = loop->backend->open(loop);
		if (error == 0)
			return 0;
	}
	return error;
}

int sw_loop_open(struct sw_loop *loop)
{
	long fd = open_wake(loop);
	int error;

	if (fd < 0)
		return (int)fd;
	loop->wake_fd = sw_fd_adopt((int)fd);
	if (loop->wake_fd < 0)
		return loop->wake_fd;
	error = open_backend(loop);
	if (error) {
		sw_fd_close_ours(loop->wake_fd);
		return error;
	}
	loop->wake = (struct sw_watch){loop->wake_fd, woken};
	return loop->backend->watch(loop, &loop->wake, EPOLLIN);
}

void sw_loop_close(struct sw_loop *loop)
{
	loop->backend->close(loop);
	sw_fd_close_ours(loop->wake_fd);
}

void sw_loop_wake(const struct sw_loop *loop)
{
	uint64_t one = 1;

	if (sw_fd_private())
		sw_sys(tgkill, loop->pid, loop->tid, SIGURG);
	else
		sw_sys(write, loop->wake_fd, &one, sizeof(one));
}
