/*
 * Which request a thread of a CPython process works for, by a context variable of our own.
 *
 * Each connection that is accepted, and each request head that is read, is written into the
 * current contextvars context: struct sw_whom, as bytes. What Python copies on its own
 * when it makes tasks, callbacks and worker calls carries it along; the hooked send reads it from
 * memory, without the GIL. hooks/context.c asks here first.
 *
 * Only what has been verified at run time is trusted: layout.c looks for the few offsets it needs
 * and checks them. On any doubt the mechanism is off for the rest of the process, which is said
 * once and counted; threads then answer for themselves (hooks/context.h), tasks get "none".
 */
#pragma once

#include "preload/guard.h"

/* The calling thread runs Python code as a plain thread does: in no context that was entered, where
 * no greenlets are. */
bool sw_python_plain(void);

/* It was given up. */
bool sw_python_is_off(void);

/* This process holds a CPython of a version with contexts. */
bool sw_python_present(void);

/* Does this process hold a CPython, and is the mechanism at work? */
bool sw_python_ready(void);

enum sw_python_found {
	SW_PYTHON_NOTHING,
	SW_PYTHON_HERE,	 /* in the current context */
	SW_PYTHON_OUTER, /* in one that was entered before it: an empty context inside a request */
};

/* What the calling thread's context says. Any thread, with or without the GIL; some 20 ns. */
enum sw_python_found sw_python_current(struct sw_whom *ret_whom);

/* The context that is current on the calling thread, only to be compared; NULL: none yet. */
const void *sw_python_here(void);

enum sw_python_apart {
	SW_PYTHON_SAME,
	SW_PYTHON_FIRST, /* the thread had none when it waited: a greenlet's, or its own first one
			  */
	SW_PYTHON_APART, /* one that was entered (a task's, a callback's), or another greenlet's */
};

/* How the context that is current compares with the one in which the calling thread waits. */
enum sw_python_apart sw_python_apart(const void *waits);

/* What CPython's GIL lies in; size 0 until it is found. */
extern _Atomic uintptr_t sw_python_runtime, sw_python_runtime_size;

/* Who waits for this condition with an end in time waits for the GIL. */
static inline bool sw_python_is_gil(const void *cond)
{
	uintptr_t from = atomic_load_explicit(&sw_python_runtime, memory_order_relaxed);

	return (uintptr_t)cond - from <
	       atomic_load_explicit(&sw_python_runtime_size, memory_order_relaxed);
}

/* The state that CPython keeps of the calling thread, or NULL. Good until the thread ends. */
const void *sw_python_thread(void);

/* CPython is being taken down, or was, or has not begun yet. Any thread. */
bool sw_python_is_over(void);

/* What the context of another thread says, by its state. Its memory is read by the kernel's answer:
 * that thread may go on meanwhile, and only the caller can tell whether it has. Any thread. */
bool sw_python_current_of(const void *thread, struct sw_whom *ret_whom);

/* That thread is in a context that was entered. Read likewise. */
bool sw_python_entered_of(const void *thread);
/* As sw_python_plain, of that thread. Read likewise. */
bool sw_python_plain_of(const void *thread);

/* The calling thread begins to serve `whom`, inside the guest; the context is written once it has
 * been left. */
void sw_python_serves(struct sw_guest *g, struct sw_whom whom);

/* The calling thread waits for events: what it read before is behind it. */
void sw_python_waits(void);

/* The process begins to listen, or to serve: a good moment to find the layout. */
void sw_python_listens(struct sw_guest *g);

/* This thread is about to wait for a semaphore or a condition. True: to be told what to do next. */
bool sw_python_waits_to_be_told(void);

/* A thread is about to be made by the code at `caller`. True: by Python itself, which a new
 * thread's context may be told by; C libraries make threads that outlive any request. */
bool sw_python_makes_thread(const void *caller);
