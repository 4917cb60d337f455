/*
 * The contract of a loop: how our one thread waits for sockets, and how it sleeps and is woken.
 *
 * These are two things. The program's threads wake us by a futex: our descriptors are in a table of
 * our own, where they could not reach an eventfd, and a signal would not do (a signalfd takes
 * signals from the program that are sent to the process). So we sleep on the futex, look at the
 * sockets when something is due, and wait on them, for a moment at a time, only while an event
 * there matters now.
 *
 * Two whole-file backends stand behind the first (loops.def; SW_AGENT_LOOP). Everything runs on our
 * thread, but for sw_loop_wake.
 */
#pragma once

#include <stdatomic.h>
#include <stdint.h>

struct sw_loop;

/*
 * A descriptor that the loop looks at; one watch for each. Memory is the caller's from the moment
 * it is unwatched: nothing that has happened by then reaches it, not even in the same wait. A
 * descriptor is unwatched before it is closed, or its connection would live on in the loop.
 */
struct sw_watch {
	int fd; /* the same for as long as it is watched */
	/*
	 * Called from wait, on our thread, with those of EPOLLIN and EPOLLOUT that were asked for,
	 * EPOLLERR, EPOLLHUP; again by each wait for as long as one of them holds (by level, not by
	 * edge). What is told may just be over, and what else holds is told by the next wait: read
	 * and write until EAGAIN. EPOLLERR may mean that it is no descriptor. May watch, unwatch
	 * and close anything.
	 */
	void (*ready)(struct sw_watch *watch, uint32_t events);
};

struct sw_loop_backend {
	const char *name;
	/* 0, or -errno: this kernel or sandbox has it not. */
	int (*open)(struct sw_loop *loop);
	/* Watches, watches for other events, or with events 0 no more. 0 or -errno: as before;
	 * -ENOENT: it was not watched. */
	int (*watch)(struct sw_loop *loop, struct sw_watch *watch, uint32_t events);
	/* Waits until something is ready or timeout_ns has passed (0: only looks; negative: has no
	 * end), then calls what is ready, some of it if it is much. 0 or -errno; an interruption is
	 * 0, so it may return early and never says why. */
	int (*wait)(struct sw_loop *loop, int64_t timeout_ns);
	/* Closes what open made, whatever is still watched. Not in the child of a fork, where
	 * nothing may reach the parent's object: there `fd` is closed if it is to be seen at all,
	 * and the next open begins afresh, whatever state it finds (reporter.c). */
	void (*close)(struct sw_loop *loop);
};

struct sw_loop {
	const struct sw_loop_backend *backend;
	int fd;			/* the backend's; ours (preload/fds.h) */
	_Atomic uint32_t woken; /* a futex */
};

/* Opens the backend that SW_AGENT_LOOP names, or else the first of loops.def. 0 or -errno. */
int sw_loop_open(struct sw_loop *loop);
void sw_loop_close(struct sw_loop *loop);
/* Sleeps until woken, timeout_ns has passed or somebody has rung (bell.h), which counts as being
 * woken again. One that was woken since the last sleep returns. */
void sw_loop_sleep(struct sw_loop *loop, int64_t timeout_ns);
/* Any thread, at any moment: the memory of `loop` outlives our thread. */
void sw_loop_wake(struct sw_loop *loop);
