/* Rows from unwind tables made by hand: what the oracle's programs do not have, and AArch64's. */
#include "sampler/native/row.h"

#include <criterion/criterion.h>
#include <string.h>

#define AT 0x10000
#define CODE (AT + 0x1000)

static uint8_t header[64], frames[512];
static size_t frames_len;

static void add(const void *bytes, size_t len)
{
	memcpy(frames + frames_len, bytes, len);
	frames_len += len;
}

static void add_word(uint32_t word)
{
	add(&word, sizeof(word));
}

/* From behind the length that stands at `from`. */
static void finish(size_t from)
{
	uint32_t len;

	while (frames_len % 4)
		frames[frames_len++] = 0;
	len = (uint32_t)(frames_len - from - 4);
	memcpy(frames + from, &len, sizeof(len));
}

/* One function of 256 bytes at CODE, and its program. */
static struct sw_cfi tables(struct sw_bytes letters, uint8_t ra, struct sw_bytes shared,
			    struct sw_bytes own)
{
	uint64_t frames_at = AT + sizeof(header);
	uint32_t table[] = {0x3b031b01, sizeof(header) - 4, 1, CODE - AT, 0};
	size_t entry;

	frames_len = 0;
	add_word(0);
	add_word(0);
	add("\1", 1);
	add(letters.at, letters.len + 1);
	add("\1\x78", 2); /* factors 1 and -8 */
	add(&ra, 1);
	add("\1\x1b", 2); /* addresses in 4 bytes, relative to where they stand */
	add(shared.at, shared.len);
	finish(0);
	entry = frames_len;
	table[4] = (uint32_t)(frames_at + entry - AT);
	add_word(0);
	add_word((uint32_t)(entry + 4));
	add_word((uint32_t)(CODE - (frames_at + entry + 8)));
	add_word(256);
	add("", 1);
	add(own.at, own.len);
	finish(entry);
	memcpy(header, table, sizeof(table));
	return (struct sw_cfi){sw_bytes(header, sizeof(header)), sw_bytes(frames, frames_len), AT,
			       frames_at};
}

#define X86_SHARED SW_BYTES("\x0c\x07\x08\x90\x01") /* rsp + 8; the return address at -8 */
#define ARM_SHARED SW_BYTES("\x0c\x1f\x00")	    /* sp */

static struct sw_row x86(struct sw_bytes own, unsigned offset)
{
	struct sw_cfi cfi = tables(SW_BYTES("zR"), 16, X86_SHARED, own);

	return sw_row_of(&cfi, &sw_arch_x86_64, CODE + offset);
}

static struct sw_row arm(struct sw_bytes own, unsigned offset)
{
	struct sw_cfi cfi = tables(SW_BYTES("zR"), 30, ARM_SHARED, own);

	return sw_row_of(&cfi, &sw_arch_aarch64, CODE + offset);
}

static void check(struct sw_row row, enum sw_row_cfa cfa, int at, enum sw_row_saved fp, int fp_at)
{
	cr_assert_eq(row.cfa, cfa, "%d", row.cfa);
	cr_assert_eq(row.cfa_at, at, "%d", row.cfa_at);
	cr_assert_eq(row.fp, fp, "%d", row.fp);
	cr_assert_eq(row.fp_at, fp_at, "%d", row.fp_at);
}

/* push rbp; mov rbp, rsp; ... pop rbp; ret; and more behind it. */
#define PUSHED SW_BYTES("\x41\x0e\x10\x86\x02\x43\x0d\x06\x4a\x0a\x0c\x07\x08\x41\x0b")

Test(cfi, a_function_with_a_frame_pointer)
{
	check(x86(PUSHED, 0), SW_CFA_SP, 8, SW_SAVED_SAME, 0);
	check(x86(PUSHED, 1), SW_CFA_SP, 16, SW_SAVED_CFA, -16);
	check(x86(PUSHED, 4), SW_CFA_FP, 16, SW_SAVED_CFA, -16);
	check(x86(PUSHED, 14), SW_CFA_SP, 8, SW_SAVED_CFA, -16);
	check(x86(PUSHED, 15), SW_CFA_FP, 16, SW_SAVED_CFA, -16);
	check(x86(PUSHED, 255), SW_CFA_FP, 16, SW_SAVED_CFA, -16);
	cr_assert_eq(x86(PUSHED, 256).cfa, SW_CFA_NONE);
	cr_assert_eq(x86(PUSHED, (unsigned)-1).cfa, SW_CFA_NONE);
	cr_assert_eq(x86(PUSHED, 4).ra, SW_SAVED_CFA);
	cr_assert_eq(x86(PUSHED, 4).ra_at, -8);
}

Test(cfi, functions_that_align_their_stack)
{
	struct sw_bytes own =
		SW_BYTES("\x45\x0c\x0a\x00\x49\x10\x06\x02\x76\x00\x44\x0f\x03\x76\x78\x06");

	check(x86(own, 5), SW_CFA_LR, 0, SW_SAVED_SAME, 0);
	check(x86(own, 14), SW_CFA_LR, 0, SW_SAVED_FP, 0);
	check(x86(own, 18), SW_CFA_FP_AT, -8, SW_SAVED_FP, 0);
}

Test(cfi, what_ours_cannot_express_is_odd)
{
	cr_assert_eq(x86(SW_BYTES("\x0f\x02\x77\x08"), 0).cfa, SW_CFA_ODD, "another expression");
	cr_assert_eq(x86(SW_BYTES("\x09\x10\x02"), 0).cfa, SW_CFA_ODD, "it returns by rcx");
	cr_assert_eq(x86(SW_BYTES("\x0c\x21\x10"), 0).cfa, SW_CFA_BROKEN, "no such register");
	cr_assert_eq(x86(SW_BYTES("\x3a"), 0).cfa, SW_CFA_BROKEN, "no instruction of ours");
	cr_assert_eq(x86(SW_BYTES("\x0b"), 0).cfa, SW_CFA_BROKEN, "nothing was remembered");
	cr_assert_eq(x86(SW_BYTES("\x0e\xff"), 0).cfa, SW_CFA_SP, "zeros behind a number end it");
	cr_assert_eq(x86(SW_BYTES("\x10\x10\x02\x77\x08"), 0).cfa, SW_CFA_ODD,
		     "where to return to");
	cr_assert_eq(x86(SW_BYTES("\x09\x06\x03"), 0).fp, SW_SAVED_GONE, "rbp in another register");
	cr_assert_eq(x86(SW_BYTES("\x09\x06\x03"), 0).cfa, SW_CFA_SP, "and all else is known");
}

Test(cfi, of_assembly)
{
	struct sw_row row = x86(SW_BYTES("\x0f\x06\x77\x98\x01\x06\x23\x38"), 0);

	check(row, SW_CFA_SP_AT, 152, SW_SAVED_SAME, 0);
	cr_assert_eq(row.more, 56);
	row = x86(SW_BYTES("\x0f\x05\x76\x78\x06\x23\x08"), 0);
	check(row, SW_CFA_FP_AT, -8, SW_SAVED_SAME, 0);
	cr_assert_eq(row.more, 8);
	cr_assert_eq(x86(SW_BYTES("\x0f\x06\x77\x28\x06\x23\x80\x02"), 0).cfa, SW_CFA_ODD);
	cr_assert_eq(x86(SW_BYTES("\x0c\x03\x10"), 0).cfa, SW_CFA_ODD, "rbx");
}

Test(cfi, the_first_function_has_no_caller)
{
	cr_assert_eq(x86(SW_BYTES("\x07\x10"), 0).cfa, SW_CFA_OUTER);
}

Test(cfi, stubs_and_signal_frames)
{
	struct sw_bytes plt = SW_BYTES("\x0f\x0b\x77\x08\x80\x00\x3f\x1a\x3b\x2a\x33\x24\x22");
	struct sw_cfi cfi;

	check(x86(plt, 0), SW_CFA_PLT, 11, SW_SAVED_SAME, 0);
	cfi = tables(SW_BYTES("zRS"), 16, X86_SHARED, SW_BYTES("\x0f\x04\x77\xa0\x01\x06"));
	cr_assert_eq(sw_row_of(&cfi, &sw_arch_x86_64, CODE).cfa, SW_CFA_SIGNAL);
	cfi = tables(SW_BYTES("zRS"), 16, X86_SHARED, SW_BYTES(""));
	cr_assert_eq(sw_row_of(&cfi, &sw_arch_x86_64, CODE).cfa, SW_CFA_BROKEN, "not the kernel's");
	cfi = tables(SW_BYTES("zRS"), 30, ARM_SHARED, SW_BYTES("\x0c\x1d\x00"));
	cr_assert_eq(sw_row_of(&cfi, &sw_arch_aarch64, CODE).cfa, SW_CFA_SIGNAL);
}

Test(cfi, of_aarch64)
{
	/* paciasp; stp x29, x30, [sp, -32]!; ...; ldp; autiasp; ret */
	struct sw_bytes own =
		SW_BYTES("\x44\x2d\x44\x0e\x20\x9d\x04\x9e\x03\x50\xde\xdd\x0e\x00\x44\x2d");

	check(arm(own, 0), SW_CFA_SP, 0, SW_SAVED_SAME, 0);
	cr_assert_eq(arm(own, 4).ra, SW_SAVED_SAME);
	check(arm(own, 8), SW_CFA_SP, 32, SW_SAVED_CFA, -32);
	cr_assert_eq(arm(own, 8).ra, SW_SAVED_CFA);
	cr_assert_eq(arm(own, 8).ra_at, -24);
	check(arm(own, 24), SW_CFA_SP, 0, SW_SAVED_SAME, 0);
	cr_assert_eq(arm(own, 28).ra, SW_SAVED_SAME);
}

Test(cfi, a_range_is_that_of_its_entry)
{
	struct sw_cfi cfi = tables(SW_BYTES("zR"), SW_ARCH.ra, X86_SHARED, PUSHED);
	uint64_t from, to;

	cr_assert(sw_cfi_range(&cfi, CODE + 9, &from, &to));
	cr_assert_eq(from, CODE);
	cr_assert_eq(to, CODE + 256);
	cr_assert_not(sw_cfi_range(&cfi, CODE + 256, &from, &to));
}

Test(cfi, a_call_stands_before_a_return_address)
{
	cr_assert(sw_arch_x86_64.is_call((const uint8_t *)"\0\0\0\xe8\1\2\3\4"));
	cr_assert(sw_arch_x86_64.is_call((const uint8_t *)"\0\0\0\0\0\0\xff\xd0"));
	cr_assert(sw_arch_x86_64.is_call((const uint8_t *)"\0\0\xff\x15\1\2\3\4"));
	cr_assert_not(sw_arch_x86_64.is_call((const uint8_t *)"\0\0\0\0\0\0\0\xc3"));
	cr_assert(sw_arch_aarch64.is_call((const uint8_t *)"\0\0\0\0\x10\0\0\x94"));
	cr_assert(sw_arch_aarch64.is_call((const uint8_t *)"\0\0\0\0\0\1\x3f\xd6"));
	cr_assert_not(sw_arch_aarch64.is_call((const uint8_t *)"\0\0\0\0\xc0\3\x5f\xd6"));
}
