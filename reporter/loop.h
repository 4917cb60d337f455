/*
 * The contract of a loop: how our one thread waits for sockets, and how it sleeps and is woken.
 *
 * These are two things. The program's threads wake us by a futex: our descriptors are in a table of
 * our own, where they could not reach an eventfd, and a signal would not do (a signalfd takes
 * signals from the program that are sent to the process). So we sleep on the futex, look at the
 * sockets when something is due, and wait on them, for a moment at a time, only while an event
 * there matters now.
 *
 * Two whole-file backends are meant to stand behind the first (epoll now); they are probed in the
 * order of loops.def. Everything runs on our thread, but for sw_loop_wake.
 */
#pragma once

#include <stdatomic.h>
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
	/* Waits until something is ready or timeout_ns has passed (0: only looks), then calls what
	 * is ready. 0 or -errno; an interruption is 0. */
	int (*wait)(struct sw_loop *loop, int64_t timeout_ns);
	/* Closes what open made. In the child of a fork nothing may reach the parent's object:
	 * descriptors are closed, never used. */
	void (*close)(struct sw_loop *loop);
};

struct sw_loop {
	const struct sw_loop_backend *backend;
	int fd;			/* the backend's; ours (preload/fds.h) */
	_Atomic uint32_t woken; /* a futex */
};

/* Opens the first backend that works. 0 or -errno. */
int sw_loop_open(struct sw_loop *loop);
void sw_loop_close(struct sw_loop *loop);
/* Sleeps until woken or timeout_ns has passed. One that was woken since the last sleep returns. */
void sw_loop_sleep(struct sw_loop *loop, int64_t timeout_ns);
/* Any thread, at any moment: the memory of `loop` outlives our thread. */
void sw_loop_wake(struct sw_loop *loop);
