/*
 * Which line of which source an instruction was compiled from: .debug_line (DWARF 2 to 5). Pure but
 * for the index, which is a mapping; whatever the bytes are, nothing beyond them is touched.
 */
#pragma once

#include "preload/bytes.h"

struct sw_lines {
	struct sw_bytes programs;	    /* Owned copy of .debug_line */
	struct sw_bytes texts;		    /* Owned copy of .debug_line_str */
	struct sw_line_sequence *sequences; /* Owned: a mapping */
	size_t count, count_max, map_bytes;
};

/* Takes both copies over. Without memory, or where they are nonsense, nothing will be found. */
void sw_lines_make(struct sw_lines *lines, struct sw_bytes programs, struct sw_bytes texts);
void sw_lines_free(struct sw_lines *lines);

/*
 * The line of the instruction at `address` of the function that begins at `start` (as the file
 * numbers them). Where it was inlined from another file than the function begins in, that of the
 * last instruction before it that was not. `ret_file` as the compiler wrote it, which may be
 * without its folder. False: not known.
 */
bool sw_lines_find(const struct sw_lines *lines, uint64_t address, uint64_t start,
		   struct sw_bytes *ret_file, uint32_t *ret_line);
