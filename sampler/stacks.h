/* From what was seen of a thread to a stack of all its frames. The sampler's thread only. */
#pragma once

#include "sampler/stack.h"
#include "sampler/threads.h"

/* Bytes of a thread's stack to be asked for with a look; 0: native frames are not wanted. Those of
 * CPython are some 5 to 15 KiB. */
uint32_t sw_stacks_wanted(void);

/* The sampler begins. files: it may open some, which have no number in the program's table; else
 * native frames are not to be had. */
void sw_stacks_begin(bool files);

/* Once before the stacks of a tick. */
void sw_stacks_refresh(void);

/* Python's frames alone where no piece of the native stack was taken, or the two do not match. */
void sw_stacks_of(const struct sw_sampled *thread, struct sw_stack *ret_stack);

/* When a profile ends: what only names need is given back. */
void sw_stacks_clear(void);
/* In a child. */
void sw_stacks_forked(void);
