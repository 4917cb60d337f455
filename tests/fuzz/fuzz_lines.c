/*
 * Fuzzes the reader of line tables and the decompression before it. The input: a byte that chooses,
 * two bytes of a length; then either .debug_line of that length and .debug_line_str, or a
 * compressed stream that is to become that length.
 *
 * Watched: no byte beyond them is touched or written; a file's name lies within one of them, a line
 * is not 0; what is decompressed has the length that was asked for.
 */
#include <stdio.h>
#include <stdlib.h>

#include "preload/check.h"
#include "sampler/native/elf.h"
#include "sampler/native/inflate.h"
#include "sampler/native/lines.h"

int LLVMFuzzerTestOneInput(const uint8_t *at, size_t len);

_Atomic bool sw_stood_down;

/* Ours are not mapped. */
void sw_elf_free(struct sw_bytes copy)
{
	free((void *)(uintptr_t)copy.at);
}

static void must(bool holds, const char *promise)
{
	if (!holds) {
		fprintf(stderr, "broken: %s\n", promise);
		abort();
	}
}

static struct sw_bytes copy(const uint8_t *at, size_t len)
{
	uint8_t *room = malloc(len ? len : 1);

	memcpy(room, at, len);
	return sw_bytes(room, len);
}

static bool within(struct sw_bytes text, struct sw_bytes whole)
{
	return text.at >= whole.at && text.at + text.len <= whole.at + whole.len;
}

static void check_lines(struct sw_bytes programs, struct sw_bytes texts)
{
	struct sw_lines lines;
	struct sw_bytes file;
	uint32_t line;

	sw_lines_make(&lines, programs, texts);
	for (uint64_t address = 0x1000; address < 0x1200; address += 7) {
		if (!sw_lines_find(&lines, address, address & ~63ull, &file, &line))
			continue;
		must(line > 0, "a line is not 0");
		must(file.len && (within(file, programs) || within(file, texts)),
		     "a name is of its section");
	}
	sw_lines_free(&lines);
}

int LLVMFuzzerTestOneInput(const uint8_t *at, size_t len)
{
	size_t first;

	if (len < 3)
		return 0;
	first = (size_t)(at[1] | at[2] << 8);
	if (at[0] & 1) {
		uint8_t *room = malloc(first ? first : 1);

		sw_inflate(sw_bytes(at + 3, len - 3), room, first);
		free(room);
		return 0;
	}
	first = SW_MIN(first, len - 3);
	check_lines(copy(at + 3, first), copy(at + 3 + first, len - 3 - first));
	return 0;
}
