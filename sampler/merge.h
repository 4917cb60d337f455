/*
 * Native and Python frames of one moment in their true order. Pure; the sampler's thread only.
 *
 * CPython runs Python by one function of C. Each of its native frames runs one frame of Python's
 * (to 3.10) or several that called each other without C in between (`entry` of struct sw_frame
 * marks the outermost of those): there a native frame stands for its group, and is not shown
 * itself. Both stacks end at the thread's first function, so they are matched from there.
 */
#pragma once

#include "sampler/eval.h"
#include "sampler/native/native.h"
#include "sampler/stack.h"

/* Stands between two frames of which only the order is known. */
#define SW_MERGE_GAP "(native frames not known)"

enum sw_merged {
	SW_MERGED_WHOLE,  /* all frames of both */
	SW_MERGED_LEAVES, /* one is cut: all of Python's, and the native ones that the innermost
			   * called; those between Python's are left out. Counted as profile_leaves
			   */
	SW_MERGED_PYTHON, /* they do not match: Python's alone; counted as profile_unmerged */
};

/* Frames of one thread that were taken at once, in a handler on it or while it stood still.
 * `python` may be NULL: the thread runs none. */
enum sw_merged sw_merge(const struct sw_eval *eval, const struct sw_frames *python,
			const struct sw_native_stack *native, struct sw_stack *ret_stack);
