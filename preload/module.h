/*
 * Things with a lifetime. Rows in modules.def, in start order; stop and fork_prepare walk it
 * backwards. agent.c walks; no other file handles load, fork, exec or exit.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

/* Why the process is about to lose its image. */
enum sw_leaving {
	SW_LEAVING_EXIT, /* exit: an ordinary moment, threads may still be made */
	SW_LEAVING_BARE, /* _exit and the like: as a rule an ordinary moment, perhaps in a handler
			  */
	SW_LEAVING_NOW,	 /* abort, a fatal signal to itself: perhaps in a handler, or in malloc */
	SW_LEAVING_EXEC, /* exec, which may yet fail: everything must go on working after it */
};

/* What is about to copy or move the process. */
enum sw_forking {
	SW_FORKING_COPY,  /* fork(3): libc brings its own locks over */
	SW_FORKING_BARE,  /* whatever copies the process and takes no such care */
	SW_FORKING_ALONE, /* what fails, or kills us, where a second thread is: waiting is better */
};

struct sw_guest;

/* Every slot may be NULL. Nothing here may touch the program's errno (the walker saves it). */
struct sw_module {
	const char *name;
	/* Maps memory. Called once, on the first accept or connect of the process, on an
	 * application thread, inside the guest. False: we disarm. */
	bool (*start)(void);
	/* Records are waiting. Application thread, outside the guest. */
	void (*kick)(void);
	/* Something that must not be done inside the guest, asked for by `g->left`. Application
	 * thread, outside the guest, after the call that asked; also before start. */
	void (*left)(struct sw_guest *g);
	/* Hand out what is left, within `budget_ns`. Application thread, outside the guest; may
	 * wait, bounded. May be called more than once. */
	void (*flush)(enum sw_leaving why, uint64_t budget_ns);
	/* Our thread, after each of its turns and when it was asked for: looks at the program's
	 * threads. When to look again (CLOCK_MONOTONIC), 0: not before something else wakes us.
	 * Touches no program's errno; may use what a guest may. */
	uint64_t (*watch)(uint64_t now_ns);
	/* Our thread, after all `watch`. What takes the loader's lock does it between
	 * delicate(true) and delicate(false), which may wait while the process forks. */
	void (*work)(void (*delicate)(bool delicate));
	/* The main thread ends, other threads go on (pthread_exit). */
	void (*main_left)(void);
	/* Around fork() and the like on the thread that calls it. prepare may wait: 5 ms,
	 * or until we have gone where a second thread would be noticed. */
	void (*fork_prepare)(enum sw_forking how);
	void (*fork_parent)(void);
	/* In the child, also when prepare never ran (raw clone): only this thread exists. */
	void (*fork_child)(void);
};

/* Maps everything once; true when the guest may work. Cheap when done. */
bool sw_modules_start(void);
void sw_modules_kick(void);
/* At load, and in the child of a fork(3): begins at once where somebody has asked for it by a key
 * (SW_AGENT_CONTROL=start, SW_AGENT_PROFILE_OUTPUT), else nothing. */
void sw_modules_wanted(void);
/* Has somebody? */
bool sw_modules_are_wanted(void);
void sw_modules_left(struct sw_guest *g);
void sw_modules_main_left(void);
/* Our thread: the earliest moment that a module wants to look again, or 0. */
uint64_t sw_modules_watch(uint64_t now_ns);
/* Our thread, after it. */
void sw_modules_work(void (*delicate)(bool delicate));
void sw_modules_flush(enum sw_leaving why);
/* True: modules were told, and sw_modules_fork_parent must follow in the parent. */
bool sw_modules_fork_prepare(enum sw_forking how);
void sw_modules_fork_parent(void);
/* Runs fork_child once per child, however the child was made. */
void sw_modules_forked(void);
