/*
 * Views of bytes, and the small vocabulary that every other file uses.
 *
 * A view never owns: it is good until the callee returns. Nothing here touches a global, so both
 * halves and the pure parsers share it.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define SW_LIKELY(x) __builtin_expect(!!(x), 1)
#define SW_UNLIKELY(x) __builtin_expect(!!(x), 0)
/* Nothing is ever mapped below: a pointer there is a mistake of the program, for the kernel to say.
 */
#define SW_PAGE 4096
#define SW_COUNT_OF(a) (sizeof(a) / sizeof((a)[0]))
#define SW_MAX(a, b) ((a) > (b) ? (a) : (b))
#define SW_MIN(a, b) ((a) < (b) ? (a) : (b))

struct sw_bytes {
	const uint8_t *at; /* Borrowed */
	size_t len;
};

static inline struct sw_bytes sw_bytes(const void *at, size_t len)
{
	return (struct sw_bytes){at, len};
}

/* A view of a string literal. */
#define SW_BYTES(literal) sw_bytes("" literal, sizeof(literal) - 1)

static inline struct sw_bytes sw_bytes_text(const char *text)
{
	return sw_bytes(text, text ? strlen(text) : 0);
}

/* The part from `from` up to but without `to`; both are clipped to the view. */
static inline struct sw_bytes sw_bytes_slice(struct sw_bytes b, size_t from, size_t to)
{
	to = SW_MIN(to, b.len);
	from = SW_MIN(from, to);
	return sw_bytes(b.at + from, to - from);
}

static inline struct sw_bytes sw_bytes_from(struct sw_bytes b, size_t from)
{
	return sw_bytes_slice(b, from, b.len);
}

static inline bool sw_bytes_equal(struct sw_bytes a, struct sw_bytes b)
{
	return a.len == b.len && (a.len == 0 || memcmp(a.at, b.at, a.len) == 0);
}

static inline bool sw_bytes_starts(struct sw_bytes b, struct sw_bytes prefix)
{
	return b.len >= prefix.len && (prefix.len == 0 || memcmp(b.at, prefix.at, prefix.len) == 0);
}

static inline bool sw_bytes_ends(struct sw_bytes b, struct sw_bytes suffix)
{
	return b.len >= suffix.len &&
	       (suffix.len == 0 || memcmp(b.at + b.len - suffix.len, suffix.at, suffix.len) == 0);
}

/* Position of the first `c`, or the length when there is none. */
static inline size_t sw_bytes_find(struct sw_bytes b, uint8_t c)
{
	const uint8_t *hit = b.len ? memchr(b.at, c, b.len) : NULL;

	return hit ? (size_t)(hit - b.at) : b.len;
}

/* ASCII only: the program's locale must never decide what a header name is. */
static inline uint8_t sw_lower(uint8_t c)
{
	return c >= 'A' && c <= 'Z' ? (uint8_t)(c | 0x20) : c;
}

static inline bool sw_bytes_equal_nocase(struct sw_bytes a, struct sw_bytes b)
{
	if (a.len != b.len)
		return false;
	for (size_t i = 0; i < a.len; i++) {
		if (sw_lower(a.at[i]) != sw_lower(b.at[i]))
			return false;
	}
	return true;
}

/* A bounded writer over the caller's memory. What does not fit is left out and remembered. */
struct sw_writer {
	uint8_t *at; /* Borrowed */
	size_t room;
	size_t len;
	bool cut;
};

static inline struct sw_writer sw_writer(void *at, size_t room)
{
	return (struct sw_writer){at, room, 0, false};
}

static inline void sw_write(struct sw_writer *w, struct sw_bytes b)
{
	size_t n = SW_MIN(b.len, w->room - w->len);

	if (n)
		memcpy(w->at + w->len, b.at, n);
	w->len += n;
	w->cut |= n < b.len;
}

static inline struct sw_bytes sw_written(const struct sw_writer *w)
{
	return sw_bytes(w->at, w->len);
}

/* Digits of our own: printf would ask the program's locale (pitfall 60). */
static inline void sw_write_number(struct sw_writer *w, uint64_t n)
{
	uint8_t digits[20];
	size_t at = sizeof(digits);

	do {
		digits[--at] = (uint8_t)('0' + n % 10);
		n /= 10;
	} while (n);
	sw_write(w, sw_bytes(digits + at, sizeof(digits) - at));
}

/* Eight digits of 32 bits at once, as they stand in memory on a little-endian machine: each nibble
 * goes into a byte of its own, and those above 9 up to the letters. */
static inline uint64_t sw_hex_digits(uint32_t n)
{
	const uint64_t ones = 0x0101010101010101;
	uint64_t x = n, letters;

	x = (x << 16 & 0x0000ffff00000000) | (x & 0x0000ffff);
	x = (x << 8 & 0x00ff000000ff0000) | (x & 0x000000ff000000ff);
	x = (x << 4 & 0x0f000f000f000f00) | (x & 0x000f000f000f000f);
	letters = (x + 6 * ones) >> 4 & ones;
	return __builtin_bswap64(x + '0' * ones + letters * ('a' - '0' - 10));
}

static inline void sw_write_hex(struct sw_writer *w, uint64_t n)
{
	uint64_t digits[2] = {sw_hex_digits((uint32_t)(n >> 32)), sw_hex_digits((uint32_t)n)};

	sw_write(w, sw_bytes(digits, sizeof(digits)));
}
