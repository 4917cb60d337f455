/*
 * The bell: how another process wakes our thread.
 *
 * Our thread sleeps on a futex of the program's memory (loop.h), which nobody outside reaches. So
 * there is a second one, in a page of a memory file that is open in our thread's own table of
 * descriptors: who may read that table in /proc (the same user, root) opens the file by it, maps
 * it, counts the word up and wakes who sleeps on it. Our thread waits on both words at once, which
 * Linux does since 5.16 (futex_waitv).
 *
 * All of ours here is our thread's. There is none where the kernel is older, where our thread has
 * no table of its own, and under a filter of system calls, which may kill for one it does not know.
 */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

/* The memory file's, as readlink says it in /proc/PID/task/TID/fd. */
#define SW_BELL_LINK "/memfd:swagent-bell"
#define SW_BELL_BYTES 4096

/* Hangs it, if it does not hang; false: it cannot be had. */
bool sw_bell_open(void);
/* Our thread leaves; the file ends with its table. */
void sw_bell_close(void);
/* In the child of a fork, which has neither the page nor the file. */
void sw_bell_forked(void);

/* As sw_sys_futex_wait(word, 0, timeout_ns), but also until the bell is rung. True: it was, since
 * it was listened to last. */
bool sw_bell_sleep(_Atomic uint32_t *word, uint64_t timeout_ns);
