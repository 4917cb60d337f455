/*
 * The Huffman code of HPACK; see huffman.h.
 *
 * The code is canonical: codes of one length are consecutive numbers, given out in order of length
 * and, within a length, of the symbol. So a symbol's place in that order and its length say what
 * its code is, and the tables need not hold the codes: a code is its place plus what is the same
 * for all codes of its length. Most text is coded in 5 to 8 bits; these are looked up by eight
 * bits, all others by trying one length after the other.
 */
#include "proto/huffman.h"

#define BITS_MAX 30
/* Its place in the order is the last. No text may contain it. */
#define END_OF_STRING 256

/* Bits of the code of each byte. */
static const uint8_t bits_of[256] = {
	13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28,
	30, 28, 28, 28, 28, 28, 28, 28, 28, 28, 6,  10, 10, 12, 13, 6,	8,  11, 10, 10, 8,  11,
	8,  6,	6,  6,	5,  5,	5,  6,	6,  6,	6,  6,	6,  6,	7,  8,	15, 6,	12, 10, 13, 6,
	7,  7,	7,  7,	7,  7,	7,  7,	7,  7,	7,  7,	7,  7,	7,  7,	7,  7,	7,  7,	7,  7,
	8,  7,	8,  13, 19, 13, 14, 6,	15, 5,	6,  5,	6,  5,	6,  6,	6,  5,	7,  7,	6,  6,
	6,  5,	6,  7,	6,  5,	5,  6,	7,  7,	7,  7,	7,  15, 11, 14, 13, 28, 20, 22, 20, 20,
	22, 22, 22, 23, 22, 23, 23, 23, 23, 23, 24, 23, 24, 24, 22, 23, 24, 23, 23, 23, 23, 21,
	22, 23, 22, 23, 23, 24, 22, 21, 20, 22, 22, 23, 23, 21, 23, 22, 22, 24, 21, 22, 23, 23,
	21, 21, 22, 21, 23, 22, 23, 23, 20, 22, 22, 22, 23, 22, 22, 23, 26, 26, 20, 19, 22, 23,
	22, 25, 26, 26, 26, 27, 27, 26, 24, 25, 19, 21, 26, 27, 27, 26, 27, 24, 21, 21, 26, 26,
	28, 27, 27, 27, 20, 24, 20, 21, 22, 21, 21, 23, 22, 22, 25, 25, 24, 24, 26, 23, 26, 27,
	26, 26, 27, 27, 27, 27, 27, 28, 27, 27, 27, 27, 27, 26,
};

/* Place of each byte in the order of codes. */
static const uint8_t place_of[256] = {
	84,  145, 224, 225, 226, 227, 228, 229, 230, 174, 253, 231, 232, 254, 233, 234, 235, 236,
	237, 238, 239, 240, 255, 241, 242, 243, 244, 245, 246, 247, 248, 249, 10,  74,	75,  82,
	85,  11,  68,  79,  76,	 77,  69,  80,	70,  12,  13,  14,  0,	 1,   2,   15,	16,  17,
	18,  19,  20,  21,  36,	 71,  92,  22,	83,  78,  86,  23,  37,	 38,  39,  40,	41,  42,
	43,  44,  45,  46,  47,	 48,  49,  50,	51,  52,  53,  54,  55,	 56,  57,  58,	72,  59,
	73,  87,  95,  88,  90,	 24,  93,  3,	25,  4,	  26,  5,   27,	 28,  29,  6,	60,  61,
	30,  31,  32,  7,   33,	 62,  34,  8,	9,   35,  63,  64,  65,	 66,  67,  94,	81,  91,
	89,  250, 98,  119, 99,	 100, 120, 121, 122, 146, 123, 147, 148, 149, 150, 151, 175, 152,
	176, 177, 124, 153, 178, 154, 155, 156, 157, 106, 125, 158, 126, 159, 160, 179, 127, 107,
	101, 128, 129, 161, 162, 108, 163, 130, 131, 180, 109, 132, 164, 165, 110, 111, 133, 112,
	166, 134, 167, 168, 102, 135, 136, 137, 169, 138, 139, 170, 190, 191, 103, 96,	140, 171,
	141, 186, 192, 193, 194, 205, 206, 195, 181, 187, 97,  113, 196, 207, 208, 197, 209, 182,
	114, 115, 198, 199, 251, 210, 211, 212, 104, 183, 105, 116, 142, 117, 118, 172, 143, 144,
	188, 189, 184, 185, 200, 173, 201, 213, 202, 203, 214, 215, 216, 217, 218, 252, 219, 220,
	221, 222, 223, 204,
};

/* The byte at each place. */
static const uint8_t byte_at[256] = {
	48,  49,  50,  97,  99,	 101, 105, 111, 115, 116, 32,  37,  45,	 46,  47,  51,	52,  53,
	54,  55,  56,  57,  61,	 65,  95,  98,	100, 102, 103, 104, 108, 109, 110, 112, 114, 117,
	58,  66,  67,  68,  69,	 70,  71,  72,	73,  74,  75,  76,  77,	 78,  79,  80,	81,  82,
	83,  84,  85,  86,  87,	 89,  106, 107, 113, 118, 119, 120, 121, 122, 38,  42,	44,  59,
	88,  90,  33,  34,  40,	 41,  63,  39,	43,  124, 35,  62,  0,	 36,  64,  91,	93,  126,
	94,  125, 60,  96,  123, 92,  195, 208, 128, 130, 131, 162, 184, 194, 224, 226, 153, 161,
	167, 172, 176, 177, 179, 209, 216, 217, 227, 229, 230, 129, 132, 133, 134, 136, 146, 154,
	156, 160, 163, 164, 169, 170, 173, 178, 181, 185, 186, 187, 189, 190, 196, 198, 228, 232,
	233, 1,	  135, 137, 138, 139, 140, 141, 143, 147, 149, 150, 151, 152, 155, 157, 158, 165,
	166, 168, 174, 175, 180, 182, 183, 188, 191, 197, 231, 239, 9,	 142, 144, 145, 148, 159,
	171, 206, 215, 225, 236, 237, 199, 207, 234, 235, 192, 193, 200, 201, 202, 205, 210, 213,
	218, 219, 238, 240, 242, 243, 255, 203, 204, 211, 212, 214, 221, 222, 223, 241, 244, 245,
	246, 247, 248, 250, 251, 252, 253, 254, 2,   3,	  4,   5,   6,	 7,   8,   11,	12,  14,
	15,  16,  17,  18,  19,	 20,  21,  23,	24,  25,  26,  27,  28,	 29,  30,  31,	127, 220,
	249, 10,  13,  22,
};

/* By length: the first number, in 30 bits, that is too large to begin with a code so short. */
static const uint32_t code_end[BITS_MAX + 1] = {
	0x0,	    0x0,	0x0,	    0x0,	0x0,	    0x14000000, 0x2e000000,
	0x3e000000, 0x3f800000, 0x3f800000, 0x3fd00000, 0x3fe80000, 0x3ff00000, 0x3ffc0000,
	0x3ffe0000, 0x3fff8000, 0x3fff8000, 0x3fff8000, 0x3fff8000, 0x3fff9800, 0x3fffb800,
	0x3fffd200, 0x3fffec00, 0x3ffffa80, 0x3ffffd80, 0x3ffffe00, 0x3ffffef0, 0x3fffff88,
	0x3ffffffc, 0x3ffffffc, 0x40000000,
};

/* By length: what a code is more than its place. */
static const uint32_t code_minus_place[BITS_MAX + 1] = {
	0x0,	  0x0,	     0x0,	0x0,	   0x0,	      0x0,	0xa,	    0x38,
	0xb4,	  0x0,	     0x3ae,	0x7ab,	   0xfa8,     0x1fa4,	0x3fa2,	    0x7fa0,
	0x0,	  0x0,	     0x0,	0x7ff91,   0xfff84,   0x1fff72, 0x3fff5b,   0x7fff47,
	0xffff3c, 0x1ffff32, 0x3ffff22, 0x7ffff11, 0xfffff02, 0x0,	0x3ffffeff,
};

/* By the next eight bits: length and byte when the code is no longer than that. */
#define T8(c) (0x800 | (c))
#define T7(c) (0x700 | (c)), (0x700 | (c))
#define T6_(c) (0x600 | (c)), (0x600 | (c))
#define T6(c) T6_(c), T6_(c)
#define T5_(c) (0x500 | (c)), (0x500 | (c))
#define T5(c) T5_(c), T5_(c), T5_(c), T5_(c)
static const uint16_t short_code[256] = {
	T5('0'), T5('1'), T5('2'), T5('a'), T5('c'), T5('e'), T5('i'), T5('o'), T5('s'), T5('t'),
	T6(' '), T6('%'), T6('-'), T6('.'), T6('/'), T6('3'), T6('4'), T6('5'), T6('6'), T6('7'),
	T6('8'), T6('9'), T6('='), T6('A'), T6('_'), T6('b'), T6('d'), T6('f'), T6('g'), T6('h'),
	T6('l'), T6('m'), T6('n'), T6('p'), T6('r'), T6('u'), T7(':'), T7('B'), T7('C'), T7('D'),
	T7('E'), T7('F'), T7('G'), T7('H'), T7('I'), T7('J'), T7('K'), T7('L'), T7('M'), T7('N'),
	T7('O'), T7('P'), T7('Q'), T7('R'), T7('S'), T7('T'), T7('U'), T7('V'), T7('W'), T7('Y'),
	T7('j'), T7('k'), T7('q'), T7('v'), T7('w'), T7('x'), T7('y'), T7('z'), T8('&'), T8('*'),
	T8(','), T8(';'), T8('X'), T8('Z'), 0,	     0,
};

size_t sw_huffman_size(struct sw_bytes text)
{
	size_t bits = 0;

	for (size_t i = 0; i < text.len; i++)
		bits += bits_of[text.at[i]];
	return (bits + 7) / 8;
}

void sw_huffman_write(struct sw_writer *out, struct sw_bytes text)
{
	uint64_t bits = 0; /* the lowest `count` are still to be written */
	unsigned count = 0;

	for (size_t i = 0; i < text.len && !out->cut; i++) {
		unsigned len = bits_of[text.at[i]];

		bits = bits << len | (place_of[text.at[i]] + code_minus_place[len]);
		for (count += len; count >= 8; count -= 8) {
			uint8_t byte = (uint8_t)(bits >> (count - 8));

			sw_write(out, sw_bytes(&byte, 1));
		}
	}
	if (count) {
		uint8_t byte = (uint8_t)(bits << (8 - count) | 0xff >> count);

		sw_write(out, sw_bytes(&byte, 1));
	}
}

/* Bits that are left of a code, the next one on top; below them are zeros. */
struct reader {
	struct sw_bytes code;
	uint64_t bits;
	unsigned count;
};

static void fill(struct reader *r)
{
	while (r->count <= 56 && r->code.len) {
		r->bits |= (uint64_t)r->code.at[0] << (56 - r->count);
		r->count += 8;
		r->code.at++;
		r->code.len--;
	}
}

/* Length of the next code, which is longer than eight bits. */
static unsigned find_length(uint32_t next)
{
	unsigned len = 10;

	while (len < BITS_MAX && next >= code_end[len])
		len++;
	return len;
}

/* Takes one symbol. 0 where the bits end before it does. */
static unsigned take(struct reader *r, unsigned *ret_symbol)
{
	uint16_t hit = short_code[r->bits >> 56];
	unsigned len = hit >> 8, symbol = hit & 0xff;

	if (!len) {
		uint32_t place;

		len = find_length((uint32_t)(r->bits >> (64 - BITS_MAX)));
		place = (uint32_t)(r->bits >> (64 - len)) - code_minus_place[len];
		symbol = place < END_OF_STRING ? byte_at[place] : END_OF_STRING;
	}
	if (len > r->count)
		return 0;
	r->bits <<= len;
	r->count -= len;
	*ret_symbol = symbol;
	return len;
}

/* Less than a byte of ones, the beginning of the code that ends a string (section 5.2). */
static bool is_padding(const struct reader *r)
{
	return r->count < 8 && r->bits >> 56 == (uint8_t) ~(0xff >> r->count);
}

bool sw_huffman_read(struct sw_bytes code, struct sw_writer *text, size_t *ret_len)
{
	struct reader r = {.code = code};
	size_t len = 0;
	unsigned symbol;

	for (;; len++) {
		if (r.count < BITS_MAX)
			fill(&r);
		if (!take(&r, &symbol))
			break;
		if (symbol == END_OF_STRING)
			return false;
		if (text->len < text->room)
			text->at[text->len++] = (uint8_t)symbol;
		else
			text->cut = true;
	}
	if (!is_padding(&r))
		return false;
	*ret_len = len;
	return true;
}
