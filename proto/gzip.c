/*
 * One deflate block (RFC 1951) of fixed codes from the first byte to the last: there is no second
 * pass over the bytes, nor a code to be sent. Where a run of bytes was seen before is found by a
 * hash of its first four and a chain of those with the same one; the first match that is long
 * enough is taken.
 *
 * The bytes wait in a buffer: the last 32 KiB that were written, and after them up to 64 KiB that
 * are to be. When it is full these are written and the last 32 KiB go to its front, so that all
 * positions move by 64 KiB, and a position's place in the ring of chains stays what it was.
 */
#include "proto/gzip.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "preload/bytes.h"

#define WINDOW 32768u
#define BLOCK 65536u
#define HASH_BITS 15
#define CHAIN_MAX 24 /* looked at for one match; more is slower and hardly smaller */
#define MATCH_MIN 4u
#define MATCH_MAX 258u
#define CODE_END 256
#define CODES 288
#define CODE_LENGTHS 257 /* the first of those that say how long a match is */
#define OUT_MAX 16384

struct sw_gzip {
	bool (*put)(void *arg, const void *at, size_t len);
	void *arg;
	bool failed;
	uint32_t crc, length; /* of all bytes, as the end of the file tells them */
	uint64_t bits;	      /* not yet a byte, the first one lowest */
	unsigned bit_count;
	size_t out_len;
	uint32_t next, have; /* the first byte that is not written yet; bytes in `in` */
	uint32_t head[1 << HASH_BITS], chain[WINDOW]; /* positions + 1; 0: none */
	uint32_t crc_of[256];
	uint16_t code[CODES]; /* as they are sent, first bit lowest */
	uint8_t code_bits[CODES];
	uint8_t out[OUT_MAX];
	uint8_t in[WINDOW + BLOCK];
};

/* ---- bits ---- */

static void flush(struct sw_gzip *g)
{
	if (!g->failed && g->out_len)
		g->failed = !g->put(g->arg, g->out, g->out_len);
	g->out_len = 0;
}

static void put_byte(struct sw_gzip *g, uint8_t byte)
{
	if (g->out_len == OUT_MAX)
		flush(g);
	g->out[g->out_len++] = byte;
}

/* At most 32 at once. */
static void put_bits(struct sw_gzip *g, uint32_t bits, unsigned count)
{
	g->bits |= (uint64_t)bits << g->bit_count;
	for (g->bit_count += count; g->bit_count >= 8; g->bit_count -= 8) {
		put_byte(g, (uint8_t)g->bits);
		g->bits >>= 8;
	}
}

static void put_number(struct sw_gzip *g, uint32_t n)
{
	for (int i = 0; i < 4; i++, n >>= 8)
		put_byte(g, (uint8_t)n);
}

static uint16_t reversed(unsigned code, unsigned bits)
{
	unsigned back = 0;

	while (bits--) {
		back = back << 1 | (code & 1);
		code >>= 1;
	}
	return (uint16_t)back;
}

static void put_code(struct sw_gzip *g, unsigned code)
{
	put_bits(g, g->code[code], g->code_bits[code]);
}

/* RFC 1951, 3.2.5: numbers come in classes that each add so many low bits of theirs. */
static void put_match(struct sw_gzip *g, unsigned length, unsigned distance)
{
	unsigned l = length - 3, d = distance - 1;
	unsigned extra = l < 8 || length == MATCH_MAX ? 0 : (unsigned)(31 - __builtin_clz(l)) - 2;

	/* the longest has a code of its own */
	put_code(g, length == MATCH_MAX ? CODES - 3 : CODE_LENGTHS + 4 * extra + (l >> extra));
	put_bits(g, l & ((1u << extra) - 1), extra);
	extra = d < 4 ? 0 : (unsigned)(31 - __builtin_clz(d)) - 1;
	put_bits(g, reversed(2 * extra + (d >> extra), 5), 5);
	put_bits(g, d & ((1u << extra) - 1), extra);
}

/* ---- matches ---- */

static uint32_t *bucket(struct sw_gzip *g, uint32_t at)
{
	uint32_t four;

	memcpy(&four, g->in + at, sizeof(four));
	return &g->head[four * 2654435761u >> (32 - HASH_BITS)];
}

/* Those who come later can find what begins here. */
static void remember(struct sw_gzip *g, uint32_t at)
{
	uint32_t *head;

	if (g->have - at < MATCH_MIN)
		return;
	head = bucket(g, at);
	g->chain[at % WINDOW] = *head;
	*head = at + 1;
}

static unsigned common(const uint8_t *a, const uint8_t *b, unsigned most)
{
	unsigned n = 0;

	while (n < most && a[n] == b[n])
		n++;
	return n;
}

/* The longest run before `at` that is the same; 0: none is worth it. */
static unsigned longest(struct sw_gzip *g, uint32_t at, unsigned *ret_distance)
{
	unsigned most = SW_MIN(g->have - at, MATCH_MAX), best = MATCH_MIN - 1;
	uint32_t from;

	if (most < MATCH_MIN)
		return 0;
	from = *bucket(g, at);
	for (int i = 0; i < CHAIN_MAX && from && at - (from - 1) <= WINDOW && best < most; i++) {
		const uint8_t *before = g->in + from - 1;
		uint32_t older = g->chain[(from - 1) % WINDOW];

		/* the byte that would make it longer decides most cases */
		bool longer = before[best] == g->in[at + best];
		unsigned length = longer ? common(before, g->in + at, most) : 0;

		if (length > best) {
			best = length;
			*ret_distance = at - (from - 1);
		}
		from = older < from ? older : 0; /* a place of the ring that is another's now */
	}
	return best >= MATCH_MIN ? best : 0;
}

static void write_block(struct sw_gzip *g)
{
	while (g->next < g->have) {
		unsigned distance = 0, length = longest(g, g->next, &distance);

		if (length)
			put_match(g, length, distance);
		else
			put_code(g, g->in[g->next]);
		for (length = length ? length : 1; length; length--)
			remember(g, g->next++);
	}
}

static void move(uint32_t *positions, size_t count)
{
	for (size_t i = 0; i < count; i++)
		positions[i] = positions[i] > BLOCK ? positions[i] - BLOCK : 0;
}

static void slide(struct sw_gzip *g)
{
	memmove(g->in, g->in + BLOCK, WINDOW);
	g->have = g->next = WINDOW;
	move(g->head, SW_COUNT_OF(g->head));
	move(g->chain, SW_COUNT_OF(g->chain));
}

/* ---- the file ---- */

static void make_codes(struct sw_gzip *g)
{
	for (unsigned i = 0; i < CODES; i++) {
		unsigned bits = i < 144 ? 8 : i < 256 ? 9 : i < 280 ? 7 : 8;
		unsigned code = i < 144	  ? 0x30 + i
				: i < 256 ? 0x190 + i - 144
				: i < 280 ? i - 256
					  : 0xc0 + i - 280;

		g->code[i] = reversed(code, bits);
		g->code_bits[i] = (uint8_t)bits;
	}
}

static void make_crcs(struct sw_gzip *g)
{
	for (uint32_t i = 0; i < 256; i++) {
		uint32_t crc = i;

		for (int bit = 0; bit < 8; bit++)
			crc = crc >> 1 ^ (crc & 1 ? 0xedb88320u : 0);
		g->crc_of[i] = crc;
	}
}

struct sw_gzip *sw_gzip_new(bool (*put)(void *arg, const void *at, size_t len), void *arg)
{
	/* deflate, nothing else said, of an unknown system; then one block, the last, of fixed
	 * codes */
	static const uint8_t head[] = {0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255};
	struct sw_gzip *g = calloc(1, sizeof(*g));

	if (!g)
		return NULL;
	g->put = put;
	g->arg = arg;
	g->crc = UINT32_MAX;
	make_codes(g);
	make_crcs(g);
	memcpy(g->out, head, sizeof(head));
	g->out_len = sizeof(head);
	put_bits(g, 1 | 1 << 1, 3);
	return g;
}

void sw_gzip_free(struct sw_gzip *gzip)
{
	free(gzip);
}

bool sw_gzip_add(struct sw_gzip *g, const void *at, size_t len)
{
	const uint8_t *from = at;

	g->length += (uint32_t)len;
	for (size_t i = 0; i < len; i++)
		g->crc = g->crc >> 8 ^ g->crc_of[(g->crc ^ from[i]) & 255];
	while (len && !g->failed) {
		size_t some = SW_MIN(len, sizeof(g->in) - g->have);

		memcpy(g->in + g->have, from, some);
		g->have += (uint32_t)some;
		from += some;
		len -= some;
		if (g->have == sizeof(g->in)) {
			write_block(g);
			slide(g);
		}
	}
	return !g->failed;
}

bool sw_gzip_end(struct sw_gzip *g)
{
	write_block(g);
	put_code(g, CODE_END);
	put_bits(g, 0, 7); /* to the end of the byte */
	put_number(g, ~g->crc);
	put_number(g, g->length);
	flush(g);
	return !g->failed;
}
