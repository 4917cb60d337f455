/* Texts of others, made the UTF-8 that protobuf and JSON demand. Pure. */
#pragma once

#include "preload/bytes.h"

/* Bytes of the character of two or more bytes that begins at `at`; 0: none does. */
static inline size_t sw_text_character(const uint8_t *at, size_t left)
{
	uint8_t c = at[0];
	uint8_t least = c == 0xe0 ? 0xa0 : c == 0xf0 ? 0x90 : 0x80; /* not longer than needed */
	uint8_t most = c == 0xed ? 0x9f : c == 0xf4 ? 0x8f : 0xbf;  /* no surrogate, <= U+10FFFF */
	size_t len = c < 0xc2 ? 0 : c < 0xe0 ? 2 : c < 0xf0 ? 3 : c < 0xf5 ? 4 : 0;

	if (len == 0 || len > left || at[1] < least || at[1] > most)
		return 0;
	for (size_t i = 2; i < len; i++) {
		if ((at[i] & 0xc0) != 0x80)
			return 0;
	}
	return len;
}

/* Each byte that is not UTF-8 becomes '?', and so does NUL, where protobuf-c would end. */
static inline void sw_text_mend(uint8_t *at, size_t len)
{
	for (size_t i = 0; i < len;) {
		size_t step = 1;

		if (at[i] >= 0x80)
			step = sw_text_character(at + i, len - i);
		if (step == 0 || at[i] == 0)
			at[i] = '?';
		i += step ? step : 1;
	}
}

/* Has bytes that are NUL or above ASCII in it; a NUL borrows into its top bit. */
static inline uint64_t sw_text_odd(const uint8_t *at)
{
	const uint64_t ones = 0x0101010101010101, tops = 0x8080808080808080;
	uint64_t word;

	memcpy(&word, at, sizeof(word));
	return (word | (word - ones)) & tops;
}

/* True when mend has nothing to do, which is nearly always. Eight bytes at a time, the last eight
 * perhaps seen twice. */
static inline bool sw_text_is_ascii(const uint8_t *at, size_t len)
{
	uint64_t odd = 0;

	if (len >= sizeof(odd)) {
		for (size_t i = 0; i < len - sizeof(odd); i += sizeof(odd))
			odd |= sw_text_odd(at + i);
		return !(odd | sw_text_odd(at + len - sizeof(odd)));
	}
	if (len >= sizeof(uint32_t)) {
		uint32_t first, last;

		memcpy(&first, at, sizeof(first));
		memcpy(&last, at + len - sizeof(last), sizeof(last));
		odd = (uint64_t)first << 32 | last;
		return !sw_text_odd((const uint8_t *)&odd);
	}
	for (size_t i = 0; i < len; i++)
		odd |= at[i] == 0 || at[i] >= 0x80;
	return !odd;
}
