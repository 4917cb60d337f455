/*
 * Where our thread and the program's meet beside the ring: these ask (kick, flush, leave), ours
 * answers. Private to reporter.c, which runs on the program's threads, and thread.c, which is ours.
 */
#pragma once

#include <pthread.h>

#include "reporter/reporter.h"

enum thread_state {
	THREAD_NONE,
	THREAD_STARTING, /* from here on it may run */
	THREAD_GONE,	 /* left; to be joined */
};

/* Does this process look how many threads it has when it forks? */
enum counting {
	COUNTING_UNKNOWN,
	COUNTING_NOT,
	COUNTING_PYTHON, /* CPython from 3.12 on warns when it forks with a second thread */
};

extern struct sw_shared {
	_Atomic uint32_t state;		 /* enum thread_state; a futex */
	_Atomic uint32_t leave;		 /* asked to leave (fork) */
	_Atomic uint64_t refused_end_ns; /* pthread_create was refused: not again before */
	_Atomic uint64_t fork_end_ns;	 /* no thread is started before: the process is forking */
	_Atomic uint32_t waited;	 /* the stay that a fork has waited for in vain */
	_Atomic uint32_t delicate;     /* odd: our thread may hold a lock that a child would miss */
	_Atomic uint32_t counts;       /* enum counting */
	_Atomic uint32_t asked;	       /* flushes asked for */
	_Atomic uint32_t flushed;      /* of these, done; a futex */
	_Atomic uint32_t why;	       /* enum sw_leaving of the last one */
	_Atomic bool holding;	       /* our thread keeps records that have not been sent */
	_Atomic bool failed;	       /* no thread, or no loop: records are dropped from now on */
	_Atomic bool in_vain;	       /* the last flush was answered because time was up */
	_Atomic uint64_t flush_end_ns; /* the last one waits no longer */
	_Atomic uint32_t users;	       /* threads that have kicked us */
	_Atomic uint64_t spent_ns;     /* by flushes in vain */
	_Atomic uint32_t doubts;       /* starts put off because a handler seemed to run */
	_Atomic int tid;	       /* of our last thread */
	pthread_t thread;
	bool registered; /* atexit */
	bool complained;
} sw_shared;

/* Touched by our thread alone, but for `alive` and the word that wakes the loop. */
extern struct sw_agent sw_agent;

/* The whole life of our thread. */
void *sw_thread_main(void *none);

/* Threads of this process, ended ones that are not reaped included; -errno: unknown (no /proc). */
long sw_thread_tasks(void);

/* Of these, ours: our thread and those that a library has made for it. */
long sw_thread_ours(void);

/* Is this process at its end for such a reason? (enum sw_leaving) */
bool sw_thread_is_end(uint32_t why);

/* Time before the end of a flush at which it is answered in any case. */
#define SW_LATE_NS 10000000ull
