/* For test_symbols.c: what is inlined from here has this file in the line table. */
#pragma once

extern volatile unsigned inlined_sink;

static inline __attribute__((always_inline)) void inlined_here(void *(*where)(void))
{
	inlined_sink += where() != 0;
}
