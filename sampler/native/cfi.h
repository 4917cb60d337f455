/*
 * Reading unwind tables (.eh_frame_hdr, .eh_frame; DWARF 5 section 6.4 and the Linux Standard Base)
 * from copies of them. A pure function of its arguments; whatever the bytes are, nothing beyond the
 * copies is touched, and the work is bounded by their length.
 */
#pragma once

#include "preload/bytes.h"
#include "sampler/native/arch.h"

#define SW_CFI_REGISTERS 32 /* by DWARF's numbers; x86-64's return address is one */

struct sw_cfi {
	struct sw_bytes header, frames; /* Borrowed */
	uint64_t header_at, frames_at;	/* where they lie in the program */
};

/* Where .eh_frame begins, by the first bytes of .eh_frame_hdr. 0: it does not say. */
uint64_t sw_cfi_frames(struct sw_bytes header, uint64_t header_at);

/* What the caller has in a register. */
enum sw_cfi_how {
	SW_CFI_UNSAID, /* as the machine's rules of calls say */
	SW_CFI_SAME,
	SW_CFI_AT,	      /* what lies at CFA + `at` */
	SW_CFI_IS,	      /* CFA + `at` */
	SW_CFI_REGISTER,      /* what is in register `at` */
	SW_CFI_AT_EXPRESSION, /* what lies where that leads, with CFA on its stack */
	SW_CFI_IS_EXPRESSION, /* what that gives */
	SW_CFI_GONE,	      /* of the return address: there is no caller */
};

struct sw_cfi_saved {
	uint8_t how;  /* enum sw_cfi_how */
	uint32_t len; /* of the expression */
	union {
		int64_t at;
		const uint8_t *expression; /* Borrowed from the tables */
	};
};

/* How to get from one instruction to the function's caller. */
struct sw_cfi_rules {
	uint64_t cfa_register;
	int64_t cfa_at;
	struct sw_bytes cfa_expression; /* Borrowed; empty: by register */
	struct sw_cfi_saved of[SW_CFI_REGISTERS];
	bool signal; /* the function was not called, but interrupted another */
};

enum sw_cfi_found {
	SW_CFI_NONE,   /* there is no function */
	SW_CFI_BROKEN, /* nonsense */
	SW_CFI_FOUND,
};

enum sw_cfi_found sw_cfi_find(const struct sw_cfi *cfi, const struct sw_arch *arch, uint64_t pc,
			      struct sw_cfi_rules *ret_rules);

/* The entry (a function, or a part of one that the compiler has put elsewhere) that `pc` lies in.
 */
bool sw_cfi_range(const struct sw_cfi *cfi, uint64_t pc, uint64_t *ret_from, uint64_t *ret_to);
