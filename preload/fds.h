/*
 * One word per descriptor: unknown, a conversation of hooks/flow.c, a stream of hooks/log.c, or
 * ours.
 *
 * Two levels, the second mapped on demand, up to 2^20 descriptors (pitfall 56); above that all are
 * unknown. The lookup is what every read and write of the program pays.
 */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "preload/bytes.h"

#define SW_FD_PAGE 4096
#define SW_FD_LIMIT (1 << 20)

/* 0 is unknown. Otherwise one of these marks, and for a talk its index in the pool of talks, for a
 * stream what hooks/log.c knows it by. */
#define SW_FD_TALK 0x80000000u
#define SW_FD_OURS 0x40000000u
#define SW_FD_LOG 0x20000000u
#define SW_FD_INDEX 0x00ffffffu

extern _Atomic uint32_t *_Atomic sw_fd_pages[SW_FD_LIMIT / SW_FD_PAGE];

static inline uint32_t sw_fd_entry(int fd)
{
	_Atomic uint32_t *page;

	if ((unsigned)fd >= SW_FD_LIMIT)
		return 0;
	page = atomic_load_explicit(&sw_fd_pages[(unsigned)fd / SW_FD_PAGE], memory_order_acquire);
	if (!page)
		return 0;
	return atomic_load_explicit(&page[(unsigned)fd % SW_FD_PAGE], memory_order_acquire);
}

static inline bool sw_fd_known(int fd)
{
	return SW_UNLIKELY(sw_fd_entry(fd) != 0);
}

static inline bool sw_fd_ours(int fd)
{
	return sw_fd_entry(fd) == SW_FD_OURS;
}

/* Sets the word and returns the old one. False when the number is beyond the table or memory is
 * refused; then nothing is known of the descriptor. */
bool sw_fd_swap(int fd, uint32_t entry, uint32_t *ret_old);

/* Makes the word 0 if it is still `entry`. */
bool sw_fd_clear(int fd, uint32_t entry);

/*
 * Gives our thread, which calls it, a descriptor table of its own, empty (close_range with
 * CLOSE_RANGE_UNSHARE, Linux 5.9). Then nothing of ours has a number in the program's table: it can
 * neither close nor see it, no limit of its is used up, and what it closes is closed. False: not to
 * be had; ours share the program's table, high up and hidden.
 */
bool sw_fd_go_private(void);
/* The same for another thread of ours, whose table is empty then. What it opens is not told from
 * the program's: it must not be handed to anything of this file. */
bool sw_fd_part(void);
/* Until this call the private table still has stderr, for what goes wrong at the start. */
void sw_fd_leave_stderr(void);
/* In the child of a fork, and when the thread that was private has left: its table is gone. */
void sw_fd_forget_private(void);
bool sw_fd_private(void);

/*
 * Takes `fd` (any number) over as ours: moved to the highest free number below min(soft limit,
 * 1024) with CLOEXEC (pitfall 55), marked, and the old number closed. Returns the new number or
 * -errno; `fd` is closed either way. In a private table it stays as it is.
 */
int sw_fd_adopt(int fd);

/*
 * Which socket a number stands for, SO_COOKIE, to be noted when it is opened; 0: before Linux 4.12
 * there is none.
 */
uint64_t sw_fd_cookie(int fd);

/*
 * Is that socket of ours still behind its number? Where we share the program's table the program
 * may have closed it unseen, and the number be a file of its own by now. Where cookies are unknown
 * that cannot be told, and it is taken for ours: who gave it up for want of proof would never have
 * a connection there.
 */
bool sw_fd_same(int fd, uint64_t cookie);

/* Closes one of ours and forgets it. */
void sw_fd_close_ours(int fd);

/* Moves ours out of the way of a program that wants exactly this number (dup2). */
void sw_fd_move_ours(int fd);

/* Lowest of ours that is >= from, or -1. */
int sw_fd_next_ours(int from);

/* Notes what stderr is; in the constructor. */
void sw_stderr_note(void);
/* Can writing to it wait for somebody (a pipe, a terminal)? */
bool sw_stderr_waits(void);
/* Is `fd` that? A program that closed stderr may have a client there by now. */
bool sw_stderr_is(long fd);

/* Called when one of ours got another number, or (to -1) was lost; set by the
 * reporter. */
extern void (*sw_fd_moved)(int from, int to);
