/*
 * Asking threads that run for shots (hooks/shot.h). The sampler's thread only.
 *
 * A signal ends poll, usleep, epoll_wait and others early whatever its handler does, so none may
 * ever meet a thread in a call of the kernel. To look first is not enough: of a thread that slept
 * 1 ms again and again, and was signalled only while the kernel said that it runs, every sleep
 * was cut short (measured: 268 of 268), because it also runs while it wakes and falls asleep.
 *
 * By TIMER the thread signals itself: a timer on its own processor clock, of one shot, goes off at
 * the kernel's next tick in which it runs, and since Linux sends such signals where it returns to
 * the program's code (CONFIG_POSIX_CPU_TIMERS_TASK_WORK), no call is in progress then. Measured: 0
 * of 226. It comes up to one tick (1 to 10 ms) later, and not at all if the thread waits before.
 *
 * DIRECT is tgkill: an answer within microseconds, whatever the kernel's ticks. Only threads are
 * asked so that have computed and not slept since the look before; but one may come to its first
 * sleep in the very microseconds that the signal takes (measured at 1000 looks a second: 13 of 8758
 * calls after 3 ms of computing, where without the condition none of the sleeps was left whole).
 *
 * Either meets a thread that runs, and one that works in short bursts hardly ever at a look. What
 * it does while it runs can still be told: its timer is set while it sleeps too, and goes off when
 * it has run into a tick (`later`). By DIRECT only threads are asked so that have not computed for
 * long without a sleep: of one that is asked at once in the midst of a burst, and never at its
 * beginning, the beginnings would be missing.
 */
#pragma once

#include "hooks/shot.h"

/* Of one thread; all zero: nothing yet. */
struct sw_signal {
	struct sw_shot *shot; /* Owned; NULL: none */
	bool direct;	      /* it was asked last by tgkill, not by its timer */
	int stat;	      /* descriptor of /proc/self/task/TID/stat, if there is a shot */
	int delays;	      /* descriptor of /proc/self/task/TID/schedstat; -1: none */
	/* When it was last to be asked at once; its time on a processor then; the time that it had
	 * waited for one when that was read last, and what it may have waited for since. */
	uint64_t now_ns, used_ns, delay_ns, gap_ns;
	uint64_t owed_ns;  /* neither used nor waited for, the last time: a sleep, perhaps */
	uint64_t awake_ns; /* since when it has computed, or waited for a processor, without a sleep
			    */
	int call;	   /* descriptor of /proc/self/task/TID/syscall; -1: none yet */
	bool refused;	   /* not to be had for this thread */
};

/* The sampler begins. alone: its thread has a table of descriptors of its own. False: no shots. */
bool sw_signal_begin(bool alone);

/* The sampler ends, the process goes on. The handler stays: a late signal must find it. */
void sw_signal_end(void);

/* May threads be asked now? Once per look: the program may have taken the signal for itself; or
 * somebody traces it, which is looked for once a second. */
bool sw_signal_usable(uint64_t now_ns);

/* Asks the thread, if it runs and the signal is not blocked there, unless it is being asked.
 * used_ns: of a processor, until now. later: also one that waits, which answers once it runs. */
bool sw_signal_ask(struct sw_signal *s, int tid, uint64_t used_ns, uint32_t stack_max, bool later);

/* Once more, just after an answer. */
bool sw_signal_ask_again(struct sw_signal *s, int tid);

/* It has not answered yet, but will: it runs, or waits for a processor. */
bool sw_signal_is_pending(const struct sw_signal *s);

/* It has not answered, but will when it has run into a tick, unless somebody blocks the signal. */
bool sw_signal_is_asked(const struct sw_signal *s);

/* It waits, for something else than a processor. False also where that cannot be known. */
bool sw_signal_waits(struct sw_signal *s, int tid);

/* It can be asked, if not always: what it does while it runs need not be guessed. */
bool sw_signal_reaches(const struct sw_signal *s);

/* Waits until `asked` threads have answered since that many shots were taken, or it is not worth to
 * wait longer, or sw_shots_look_up is called and *leave, if that is not NULL. */
void sw_signal_wait(unsigned asked, uint32_t since, const _Atomic uint32_t *leave);

/* Its answer, or NULL: none yet. Good until it is asked again. */
const struct sw_shot *sw_signal_answer(struct sw_signal *s);

/* Of a thread that waits: where, and its stack, as if it had written them down; no frames, no
 * entry. NULL: it runs. What was read is of one moment only if its processor clock stood still. */
const struct sw_shot *sw_signal_read_waiting(struct sw_signal *s, int tid, uint32_t stack_max);

/* It has not answered, if it was asked at all: it need not, if that can be. */
void sw_signal_cancel(struct sw_signal *s);

/* The thread is not looked at any more. */
void sw_signal_drop(struct sw_signal *s);

/* What /proc/TID/syscall says: "NUMBER six-arguments SP PC", or "-1 SP PC". False: of one that
 * runs, "running". */
bool sw_signal_parse_call(const char *text, uint64_t *ret_sp, uint64_t *ret_pc);
