/* Frames that rows cannot express, by rules of any kind, following all registers: some 2 us for
 * each frame below it. The same thread, after the same sw_native_refresh. */
#pragma once

#include "sampler/native/native.h"

struct sw_beyond_frame {
	uint64_t pc; /* the return address */
	uint64_t sp, fp;
	bool fp_known;
};

/* Where the last one of `stack`, which was unwound so far from `from`, was called from. False: it
 * is not known. */
bool sw_beyond_leave(const struct sw_native_registers *from, const struct sw_native_piece *piece,
		     const struct sw_native_stack *stack, struct sw_beyond_frame *ret_frame);
