/*
 * DWARF expressions as they stand in unwind tables (DWARF 5 section 2.5). A pure function of its
 * arguments; whatever the bytes are, the work is bounded, and no memory is read but a copy.
 */
#pragma once

#include "preload/bytes.h"
#include "sampler/native/native.h"

/* What an expression may ask for. All Borrowed. */
struct sw_expression_room {
	const uint64_t *registers; /* SW_NATIVE_REGISTERS of them, by DWARF's numbers */
	uint32_t known;		   /* a bit for each of which that is so */
	const struct sw_native_piece *piece;
};

/* The word that the copy has of `address`; false: it lies outside. */
static inline bool sw_expression_word(const struct sw_native_piece *piece, uint64_t address,
				      uint64_t *ret_word)
{
	uint64_t offset = address - piece->at;

	if (SW_UNLIKELY(piece->len < 8 || offset > piece->len - 8))
		return false;
	memcpy(ret_word, (const uint8_t *)piece->bytes + offset, 8);
	return true;
}

/* With `first` on its stack, if that is not NULL. False: it asks for what is not known, or has
 * operations that have no place in unwind tables. */
bool sw_expression_value(struct sw_bytes expression, const uint64_t *first,
			 const struct sw_expression_room *room, uint64_t *ret_value);
