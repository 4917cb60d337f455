/* What differs between machines; each is one constant in arch.c. Both are built everywhere, so that
 * a test of either runs on the other. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#define SW_ARCH_CALL_MAX 8 /* bytes of a call instruction, at most */

struct sw_arch {
	/* Numbers of registers in DWARF; those of the machine are below SW_NATIVE_REGISTERS. */
	uint8_t sp, fp, ra, lr;
	uint32_t all;	    /* a bit for each register of the machine */
	uint32_t kept;	    /* a bit for each register that a function leaves as it was */
	bool plt;	    /* stubs of the PLT have rows by an expression (SW_CFA_PLT) */
	bool signal_by_cfa; /* the signal frame is told by its expression, not by its mark alone */
	/* Bits of a return address that are a signature of it, to be cleared. */
	uint64_t signature;
	uint16_t align; /* of a CFA */
	/* Whether the bytes before a return address may be a call. */
	bool (*is_call)(const uint8_t before[SW_ARCH_CALL_MAX]);
	/* Where the kernel's signal frame has them, from sp as it is when the handler returned. */
	uint16_t signal_pc, signal_sp, signal_fp, signal_lr;
};

extern const struct sw_arch sw_arch_x86_64, sw_arch_aarch64;

#if defined(__aarch64__)
#define SW_ARCH sw_arch_aarch64
#else
#define SW_ARCH sw_arch_x86_64
#endif
