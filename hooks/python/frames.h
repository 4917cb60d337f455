/*
 * The Python frames of a thread, read from memory: CPython 3.6 to 3.13, without the GIL, without
 * locks or allocation, on any thread and in signal handlers.
 *
 * A thread reads its own frames by plain loads: inside one of our hooks, or in a handler on it,
 * they stand still. Those of another thread are read by the kernel's answer, never by a load. Of
 * one that did not run meanwhile (the clock of its processor time stood still) they are right at
 * once. Of one that runs they are believed when many readings agree, which a thread that calls and
 * returns all the time hardly ever grants: "not read" is an ordinary answer.
 *
 * What is known of the interpreter is a table (frames.def), checked in the running one before it is
 * believed. Unknown or unsound: no frames for the rest of the process, counted as frames_off.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SW_FRAMES_MAX 256 /* frames of one stack; the innermost are kept */

struct sw_frame {
	const void *frame; /* valid while its thread stands still; else only to be compared */
	const void *code;  /* likewise: with `print` the name of a code object */
	uint64_t print;	   /* of the code object; one made later at its address has another */
	int32_t at;	   /* bytes into its instructions; negative: not begun */
	bool entry;	   /* C called it; those before it, up to here, call each other without C */
};

struct sw_frames {
	uint32_t count; /* innermost first */
	bool cut;	/* there were more; the outermost are missing */
	struct sw_frame at[SW_FRAMES_MAX];
};

/* There is a CPython whose frames can be read. Cheap when that is known; until then each call tries
 * to check the table, on the caller's own frames where it has some. */
bool sw_frames_ready(void);

/* The same on a thread of ours, which CPython does not know: tries on the frames of its main
 * thread. False also once CPython has come to its end. */
bool sw_frames_beside(void);

/* The same without trying: for signal handlers. */
bool sw_frames_is_ready(void);

/* Why not, for ever; NULL: ready, not tried, or no CPython. */
const char *sw_frames_why_not(void);

/* The calling thread's, innermost first, at most `max`. 0: none. Some 10 ns a frame. */
unsigned sw_frames_mine(struct sw_frame *frames, unsigned max, bool *ret_cut);

/* The same in a signal handler, which interrupted the thread at `pc`, anywhere; `spare` is for
 * work. False: it was interrupted where they cannot be told. As quick, but for 3.11 and 3.12 amid
 * the interpreter's loop, where the innermost frames, up to the first that C called, cost 0.3 us
 * each.
 */
bool sw_frames_interrupted(uint64_t pc, struct sw_frames *ret_frames, struct sw_frames *spare);

/* There are several interpreters, or there were at the last look: a thread may have several states,
 * and frames in each. For signal handlers too; there it is as the last sw_frames_threads found it,
 * or true where another interpreter was made since. */
bool sw_frames_several(void);

/* CPython's state of the thread with this id in the kernel, or NULL. Linear in threads: keep it, as
 * sw_frames_of checks again whose it is. */
const void *sw_frames_state(int tid);

/* Calls `each` for every thread that CPython knows, at most 4096; those that come or go meanwhile
 * may be missed. False: there may be more, the walk came to no end. */
bool sw_frames_threads(void (*each)(void *arg, int tid, const void *state), void *arg);

/* What the thread has used of a processor, ns: its frames are the same while this is. False: gone.
 */
bool sw_frames_used(int tid, uint64_t *ret_ns);

/* The frames of the thread `tid` with that state; `spare` is for work. False: not read, or it is
 * another thread's by now. No frame at all is an ordinary answer. About 1 us a frame
 * of a thread that stands still, ten times as much of one that runs. */
bool sw_frames_of(const void *state, int tid, struct sw_frames *ret_frames,
		  struct sw_frames *spare);

/* The same; but of one that runs and cannot be read those that it does not leave meanwhile, some
 * 0.2 ms: what these call is not there, nor said to be missing. Where the innermost of them stood
 * is as the first reading found it. */
bool sw_frames_lasting(const void *state, int tid, struct sw_frames *ret_frames,
		       struct sw_frames *spare);
