/*
 * One stack as it is shown: Python's and native frames in their true order, or the awaits that a
 * suspended task stands in. The sampler's thread only.
 */
#pragma once

#include "hooks/python/frames.h"

/* Innermost first; enough for both kinds. */
#define SW_STACK_MAX 512

enum sw_stack_kind {
	SW_STACK_PYTHON, /* a frame that ran */
	SW_STACK_NATIVE, /* a function of a library or of the program */
	SW_STACK_AWAIT,	 /* a frame of Python's that is suspended, waiting for the one inside it */
	SW_STACK_NOTE,	 /* no frame: what stands for one, as "(waiting on no thread)" */
};

struct sw_stack_frame {
	enum sw_stack_kind kind;
	union {
		struct sw_frame python; /* PYTHON, AWAIT */
		uint64_t pc;	  /* NATIVE: of the instruction; of a caller's, within its call */
		const char *note; /* NOTE: constant text */
	};
};

struct sw_stack {
	uint32_t count;
	bool cut; /* there were more; the outermost are missing */
	struct sw_stack_frame at[SW_STACK_MAX];
};
