/*
 * The contract of a loop: how our one thread sleeps and is woken.
 *
 * Two whole-file backends are meant to stand behind it (epoll now); they are probed in the order of
 * loops.def. Everything runs on our thread, but for the wake descriptor, which any thread may
 * write.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct sw_loop;

/* A descriptor that the loop looks at. Memory is the caller's until it is unwatched. */
struct sw_watch {
	int fd;
	/* Called from wait, on our thread, with EPOLLIN, EPOLLOUT, EPOLLERR, EPOLLHUP. */
	void (*ready)(struct sw_watch *watch, uint32_t events);
};

struct sw_loop_backend {
	const char *name;
	/* 0, or -errno: this kernel or sandbox has it not, try the next. */
	int (*open)(struct sw_loop *loop);
	/* events 0: stop watching. 0 or -errno. */
	int (*watch)(struct sw_loop *loop, struct sw_watch *watch, uint32_t events);
	/* Sleeps until something is ready or timeout_ns has passed (-1: no limit), then calls
	 * what is ready. 0 or -errno; an interruption is 0. */
	int (*wait)(struct sw_loop *loop, int64_t timeout_ns);
	/* Closes what open made. In the child of a fork nothing may reach the parent's object:
	 * descriptors are closed, never used. */
	void (*close)(struct sw_loop *loop);
};

struct sw_loop {
	const struct sw_loop_backend *backend;
	int fd;	      /* the backend's; ours (preload/fds.h) */
	int wake_fd;  /* an eventfd, or in a private table a signalfd: see sw_loop_wake */
	int pid, tid; /* private table: whom to wake */
	struct sw_watch wake;
	bool woken; /* by sw_loop_wake; the reader makes it false again */
};

/* Opens the first backend that works, and its wake descriptor. 0 or -errno. */
int sw_loop_open(struct sw_loop *loop);
void sw_loop_close(struct sw_loop *loop);
/*
 * Any thread. Where the program's threads cannot reach our table, they send SIGURG to our thread
 * alone, which has it blocked and reads it from a signalfd; should the thread be gone, nobody minds
 * a SIGURG (its default is to be ignored).
 */
void sw_loop_wake(const struct sw_loop *loop);
