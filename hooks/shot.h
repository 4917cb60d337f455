/*
 * Shots: a thread that runs is asked, by a signal, to write down itself what it does.
 *
 * Read from beside, the frames of a thread that calls and returns all the time seldom agree with
 * themselves; in a handler on it they stand still. The handler copies and judges nothing: Python's
 * frames, whose request it is, the registers, and as much of the stack as it was asked for. No
 * lock, no allocation, no unwinding, and no load of what may not be there. Every signal that can be
 * is blocked while it runs, so that nobody jumps out of it.
 *
 * The signal is SIGSTKFLT: Linux never sends it, and among those below 32 it is the one that
 * programs have no use for. sampler/signal.h says when it is sent, and how calls are not cut short
 * by it. Once it was used our handler stays, and does for signals from elsewhere what the default
 * does; a program that looks sees the default (sigaction, signal), and one that sets a handler of
 * its own has the signal for itself from then on.
 */
#pragma once

#include <signal.h>

#include "hooks/python/frames.h"
#include "preload/guard.h"
#include "preload/sys.h"

#define SW_SHOT_SIGNAL SIGSTKFLT
#define SW_SHOT_STACK_MAX (64u << 10)
#define SW_SHOT_REGISTERS 32
#define SW_SHOTS_MAX 512 /* threads that may be asked at once */

enum sw_shot_state {
	SW_SHOT_IDLE,
	SW_SHOT_ASKING, /* set by the sampler, which is about to look whether it may, and to ask */
	SW_SHOT_ASKED,	/* set by the sampler */
	SW_SHOT_TAKING, /* by the handler; nobody else touches it until it is TAKEN */
	SW_SHOT_TAKEN,	/* by the handler: the rest may be read */
};

struct sw_shot {
	_Atomic uint32_t state; /* enum sw_shot_state. Pairs: TAKEN is stored after the rest */
	/* The sampler is about to look whether it may ask, or to ask. Not the same as ASKING: a
	 * signal of before may come then, and what it writes down is TAKEN. */
	_Atomic bool asking;
	int timer;	    /* the kernel's number; -1: none. Set before it is asked by */
	uint32_t stack_max; /* bytes of the stack that are wanted, at most SW_SHOT_STACK_MAX */
	uint32_t stack_len; /* those there are, from `sp` up */
	sw_ref entry;	    /* the request that the thread works for, 0: none */
	uint64_t time_ns;   /* CLOCK_MONOTONIC */
	uint32_t spent_ns;  /* in the handler, but for entering it */
	uint64_t pc, sp;    /* where it was interrupted, or waits */
	uint64_t fp, lr;    /* rbp and r10, x29 and x30; of one that waits unknown, 0 */
	/* The machine's, by DWARF's numbers: what is known if `told`. */
	uint64_t registers[SW_SHOT_REGISTERS];
	bool told; /* `frames` are Python's; false: interrupted where they cannot be told */
	struct sw_frames frames;
	struct sw_frames spare; /* the handler's */
	uint8_t stack[SW_SHOT_STACK_MAX];
};

/* Where they are, SW_SHOTS_MAX of them; NULL: none. The sampler's to set, once. */
extern struct sw_shot *_Atomic sw_shots;
/* Whom each is for; 0: nobody. And all in use are below. The sampler's to set; pairs: it is stored
 * before the shot is ASKING. */
extern _Atomic int sw_shot_tids[SW_SHOTS_MAX];
extern _Atomic unsigned sw_shots_high;

/* How often a shot was taken, or the sampler was to look up: a futex. */
extern _Atomic uint32_t sw_shots_taken;
/* The sampler sleeps on it; else nobody needs to be woken. Pairs: it is stored before the sampler
 * compares how many were taken, and loaded after one was counted. */
extern _Atomic bool sw_shots_awaited;
void sw_shots_look_up(void);

/*
 * The process is about to exec: a signal that is under way would meet the next image, and kill it.
 * From now on none is sent for SW_SHOT_HELD_NS (an exec may fail); who calls waits for one that is
 * just being sent, some us. Signals of timers need no care: the kernel takes them back.
 */
#define SW_SHOT_HELD_NS (5 * SW_SECOND_NS)
void sw_shots_hold(void);
/* The sampler's, around sending. False: not now. */
bool sw_shots_begin_sending(uint64_t now_ns);
void sw_shots_end_sending(void);

/*
 * A thread that blocks the signal would find it pending (sigwait, signalfd). So who asks stores
 * `asking`, and then looks at the thread's mask; who blocks it looks after that whether somebody is
 * asking, waits for him, and takes back what is ASKED. One of the two sees the other.
 */

/*
 * A call that waits with a mask of its own (ppoll, sigsuspend), or for signals, lets the signal
 * through for so long, and who asks cannot know that the thread blocks it else. So after it the
 * thread takes back what was asked meanwhile; and what is sent into the midst of a wait for signals
 * does not end that.
 */
void sw_shot_unmasked(void);

/* The program wants the signal for itself, and has it; or one of its threads has a stack for
 * handlers in which ours has no room. Nobody is asked any more, for ever. */
extern _Atomic bool sw_shots_given_up;

/* The handler. A signal that is not ours does what it would do without us: it ends the process. */
void sw_shot_handler(int signal, siginfo_t *info, void *context);

/* `stack` and its length, from `sp` on, as far as `stack_max` says and there is memory. */
void sw_shot_copy_stack(struct sw_shot *shot);

/* In a child: nobody asks. */
void sw_shots_forked(void);
