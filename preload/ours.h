/* What making and ending a thread of ours takes, whichever it is: the reporter, the sampler, those
 * of a plug-in's library. Outside the guest. */
#pragma once

#include <pthread.h>
#include <stddef.h>
#include <stdint.h>

/* What libc puts on a thread's stack beside it: thread-local variables of the program and of its
 * libraries. By the loader's own figure, where it has one; else 0. May allocate. */
size_t sw_ours_thread_room(const pthread_attr_t *attr);

/* A joined thread is counted among the process's until the kernel has done with it: waits for that,
 * until end_ns (CLOCK_MONOTONIC) at most. 0: there was none. */
void sw_ours_wait_unlisted(int tid, uint64_t end_ns);

/* First of all on the thread. Nothing, but for AddressSanitizer: it
 * is not told of our threads, and thinks that a stack is still divided as the thread that had it
 * left it, so that in a forked child it takes ours for broken. */
#ifdef __SANITIZE_ADDRESS__
void sw_ours_fresh_stack(void);
#else
static inline void sw_ours_fresh_stack(void)
{
}
#endif
