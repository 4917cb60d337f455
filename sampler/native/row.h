/*
 * One unwind row: how to get from a function, stopped at one instruction, to its caller. What
 * .eh_frame says by a program is run once for each pc and kept in 24 bytes.
 *
 * The frame's address (CFA) is what sp was before the call. Only sp, fp and the return address are
 * followed; a row that needs another register is odd, and left to beyond.h.
 */
#pragma once

#include <stdint.h>

#include "sampler/native/cfi.h"

enum sw_row_cfa {
	SW_CFA_NONE,	/* no function, or none with rows */
	SW_CFA_SP,	/* sp + cfa_at */
	SW_CFA_FP,	/* fp + cfa_at */
	SW_CFA_FP_AT,	/* what lies at fp + cfa_at, + more: functions that align their stack */
	SW_CFA_SP_AT,	/* what lies at sp + cfa_at, + more: likewise, in assembly (OpenSSL) */
	SW_CFA_LR,	/* lr + cfa_at: such functions, at their ends */
	SW_CFA_PLT,	/* x86-64: sp + 8, and 8 more from byte cfa_at of a stub of 16 on */
	SW_CFA_SIGNAL,	/* a signal handler returns to here: the kernel's frame lies at sp */
	SW_CFA_OUTER,	/* the first function of a thread */
	SW_CFA_ODD,	/* rules that a row cannot express; see beyond.h */
	SW_CFA_BROKEN,	/* nonsense */
	SW_CFA_NO_CODE, /* of no library, and nothing that returns to there */
};

enum sw_row_saved {
	SW_SAVED_SAME, /* as it is */
	SW_SAVED_CFA,  /* at CFA + ..._at */
	SW_SAVED_FP,   /* at fp + ..._at */
	SW_SAVED_GONE, /* not known to us */
};

struct sw_row {
	uint64_t pc; /* what the row is of; 0: none */
	int32_t cfa_at;
	int16_t fp_at, ra_at;
	uint8_t cfa; /* enum sw_row_cfa */
	uint8_t fp;  /* enum sw_row_saved */
	uint8_t ra;  /* likewise */
	uint8_t more;
	uint16_t library, generation; /* whose it is; see libraries.h */
};

_Static_assert(sizeof(struct sw_row) == 24, "a row's size is what its table is planned for");

/* That of the instruction at `pc`. SW_CFA_NONE where there is no function. */
struct sw_row sw_row_of(const struct sw_cfi *cfi, const struct sw_arch *arch, uint64_t pc);
