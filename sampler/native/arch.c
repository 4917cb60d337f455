/*
 * The machines; see arch.h.
 *
 * x86-64: at sp lies a ucontext, whose registers begin at byte 40 (r8 to r15, rdi, rsi, rbp, rbx,
 * rdx, rax, rcx, rsp, rip).
 * AArch64: at sp lie a siginfo of 128 bytes and a ucontext, whose registers x0 to x30, sp, pc begin
 * at its byte 184. Addresses of a program have 48 bits, or 52; above are signatures (PAC) and tags.
 */
#include "sampler/native/arch.h"

/* By address (e8 and 4 bytes), or by register or memory (ff /2, of 2 to 7 bytes). */
static bool is_call_x86_64(const uint8_t before[SW_ARCH_CALL_MAX])
{
	const uint8_t *end = before + SW_ARCH_CALL_MAX;

	for (unsigned len = 2; len <= 7; len++) {
		if (end[-(int)len] == 0xff && (end[1 - (int)len] & 0x38) == 0x10)
			return true;
	}
	return end[-5] == 0xe8;
}

/* bl; blr and its relatives that check signatures. */
static bool is_call_aarch64(const uint8_t before[SW_ARCH_CALL_MAX])
{
	uint32_t word = (uint32_t)before[4] | (uint32_t)before[5] << 8 | (uint32_t)before[6] << 16 |
			(uint32_t)before[7] << 24;

	return word >> 26 == 0x25 || (word & 0xfefff000) == 0xd63f0000;
}

const struct sw_arch sw_arch_x86_64 = {
	.sp = 7,
	.fp = 6,
	.ra = 16,
	.lr = 10,
	.all = 0xffff,
	.kept = 1u << 3 | 1u << 6 | 1u << 7 | 0xfu << 12, /* rbx, rbp, rsp, r12 to r15 */
	.plt = true,
	.signal_by_cfa = true,
	.align = 8,
	.is_call = is_call_x86_64,
	.signal_pc = 40 + 16 * 8,
	.signal_sp = 40 + 15 * 8,
	.signal_fp = 40 + 10 * 8,
	.signal_lr = 40 + 2 * 8,
};

const struct sw_arch sw_arch_aarch64 = {
	.sp = 31,
	.fp = 29,
	.ra = 30,
	.lr = 30,
	.all = ~0u,
	.kept = 0x7ffu << 19 | 1u << 31, /* x19 to x29, sp */
	.signature = 0xfff0000000000000,
	.align = 16,
	.is_call = is_call_aarch64,
	.signal_pc = 128 + 184 + 32 * 8,
	.signal_sp = 128 + 184 + 31 * 8,
	.signal_fp = 128 + 184 + 29 * 8,
	.signal_lr = 128 + 184 + 30 * 8,
};
