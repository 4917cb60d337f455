/*
 * Fuzzes the reader of unwind tables. The input: a byte that chooses the machine, two bytes of how
 * long .eh_frame_hdr is, .eh_frame_hdr, .eh_frame. They lie behind each other at 0x10000, as in a
 * library.
 *
 * Watched: no byte beyond the two is touched; a row is of the pc that was asked for, says one of
 * the things that rows say, and is the same when it is asked for again; a row of a function is
 * given only within the range that it says.
 */
#include <stdio.h>
#include <stdlib.h>

#include "sampler/native/expression.h"
#include "sampler/native/row.h"

#define AT 0x10000

int LLVMFuzzerTestOneInput(const uint8_t *at, size_t len);

static void must(bool holds, const char *promise)
{
	if (!holds) {
		fprintf(stderr, "broken: %s\n", promise);
		abort();
	}
}

/* Its expressions, with all that they could ask for. */
static void evaluate(const struct sw_cfi *cfi, const struct sw_arch *arch, uint64_t pc)
{
	uint64_t words[SW_NATIVE_REGISTERS] = {0}, value;
	struct sw_native_piece piece = {words, 0, sizeof(words)};
	struct sw_expression_room room = {words, ~0u, &piece};
	struct sw_cfi_rules rules;

	if (sw_cfi_find(cfi, arch, pc, &rules) != SW_CFI_FOUND)
		return;
	sw_expression_value(rules.cfa_expression, NULL, &room, &value);
	for (unsigned i = 0; i < SW_CFI_REGISTERS; i++) {
		const struct sw_cfi_saved *saved = &rules.of[i];

		must(saved->how <= SW_CFI_GONE, "a register has a rule");
		if (saved->how == SW_CFI_AT_EXPRESSION || saved->how == SW_CFI_IS_EXPRESSION)
			sw_expression_value(sw_bytes(saved->expression, saved->len), &words[0],
					    &room, &value);
	}
}

static void check(const struct sw_cfi *cfi, const struct sw_arch *arch, uint64_t pc)
{
	struct sw_row row = sw_row_of(cfi, arch, pc), again = sw_row_of(cfi, arch, pc);
	uint64_t from, to;

	must(row.pc == pc, "a row is of its pc");
	must(row.cfa <= SW_CFA_BROKEN && row.fp <= SW_SAVED_GONE && row.ra <= SW_SAVED_GONE,
	     "a row says what rows say");
	must(!memcmp(&row, &again, sizeof(row)), "an answer is always the same");
	evaluate(cfi, arch, pc);
	if (arch == &SW_ARCH && sw_cfi_range(cfi, pc, &from, &to))
		must(pc >= from && pc < to, "a range has what was asked for");
	else if (arch == &SW_ARCH)
		must(row.cfa == SW_CFA_NONE, "no function has no row");
}

/* A copy that ends where it ends. */
static struct sw_bytes copy(const uint8_t *at, size_t len)
{
	uint8_t *room = malloc(len ? len : 1);

	memcpy(room, at, len);
	return sw_bytes(room, len);
}

int LLVMFuzzerTestOneInput(const uint8_t *at, size_t len)
{
	const struct sw_arch *arch;
	struct sw_cfi cfi;
	size_t header;

	if (len < 3)
		return 0;
	arch = at[0] & 1 ? &sw_arch_aarch64 : &sw_arch_x86_64;
	header = SW_MIN((size_t)(at[1] | at[2] << 8), len - 3);
	cfi = (struct sw_cfi){copy(at + 3, header), copy(at + 3 + header, len - 3 - header), AT,
			      AT + header};
	sw_cfi_frames(cfi.header, AT);
	for (uint64_t pc = AT - 64; pc < AT + 512; pc += 5)
		check(&cfi, arch, pc);
	check(&cfi, arch, 0);
	check(&cfi, arch, UINT64_MAX);
	free((void *)(uintptr_t)cfi.header.at);
	free((void *)(uintptr_t)cfi.frames.at);
	return 0;
}
