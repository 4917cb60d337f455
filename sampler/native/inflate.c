/*
 * See inflate.h. Codes are read bit by bit from counts of codes of each length (canonical Huffman
 * codes: those of one length are consecutive numbers), which is slow and small: some 20 ms for the
 * lines of libc.
 */
#include "sampler/native/inflate.h"

#define BITS_MAX 15
#define LITERALS 288
#define DISTANCES 30

struct code {
	uint16_t count[BITS_MAX + 1]; /* of codes of that length */
	uint16_t symbol[LITERALS];    /* in the order of their codes */
};

struct stream {
	struct sw_bytes in;
	size_t at;
	uint32_t bits;
	unsigned held;
	uint8_t *to;
	size_t done, len;
	bool bad;
};

static unsigned take_bits(struct stream *s, unsigned count)
{
	unsigned value;

	while (s->held < count) {
		if (s->at == s->in.len) {
			s->bad = true;
			return 0;
		}
		s->bits |= (uint32_t)s->in.at[s->at++] << s->held;
		s->held += 8;
	}
	value = s->bits & ((1u << count) - 1);
	s->bits >>= count;
	s->held -= count;
	return value;
}

static unsigned take_symbol(struct stream *s, const struct code *code)
{
	int number = 0, first = 0, index = 0;

	for (unsigned len = 1; len <= BITS_MAX && !s->bad; len++) {
		int count = code->count[len];

		number |= (int)take_bits(s, 1);
		if (number - first < count)
			return code->symbol[index + number - first];
		index += count;
		first = (first + count) << 1;
		number <<= 1;
	}
	s->bad = true;
	return 0;
}

static void make_code(struct code *code, const uint8_t *lengths, unsigned count)
{
	uint16_t from[BITS_MAX + 2] = {0};

	memset(code->count, 0, sizeof(code->count));
	for (unsigned i = 0; i < count; i++)
		code->count[lengths[i]]++;
	code->count[0] = 0;
	for (unsigned len = 1; len <= BITS_MAX; len++)
		from[len + 1] = (uint16_t)(from[len] + code->count[len]);
	for (unsigned i = 0; i < count; i++) {
		if (lengths[i])
			code->symbol[from[lengths[i]]++] = (uint16_t)i;
	}
}

static void put(struct stream *s, uint8_t byte)
{
	if (s->done == s->len)
		s->bad = true;
	else
		s->to[s->done++] = byte;
}

static void copy_back(struct stream *s, unsigned len, unsigned distance)
{
	if (distance > s->done) {
		s->bad = true;
		return;
	}
	for (; len && !s->bad; len--)
		put(s, s->to[s->done - distance]);
}

/* Symbols 257 to 285: how long, and how far back. */
static void take_copy(struct stream *s, unsigned symbol, const struct code *distances)
{
	static const uint16_t lengths[] = {3,  4,  5,  6,   7,	 8,   9,   10,	11, 13,
					   15, 17, 19, 23,  27,	 31,  35,  43,	51, 59,
					   67, 83, 99, 115, 131, 163, 195, 227, 258};
	unsigned more, len, distance;

	symbol -= 257;
	if (symbol >= SW_COUNT_OF(lengths)) {
		s->bad = true;
		return;
	}
	more = symbol < 8 || symbol == 28 ? 0 : symbol / 4 - 1;
	len = lengths[symbol] + take_bits(s, more);
	symbol = take_symbol(s, distances);
	if (symbol >= DISTANCES) {
		s->bad = true;
		return;
	}
	more = symbol < 4 ? 0 : symbol / 2 - 1;
	distance = symbol < 4 ? symbol + 1 : ((2 + symbol % 2) << more) + 1;
	copy_back(s, len, distance + take_bits(s, more));
}

static void take_block(struct stream *s, const struct code *literals, const struct code *distances)
{
	while (!s->bad) {
		unsigned symbol = take_symbol(s, literals);

		if (symbol == 256)
			return;
		if (symbol < 256)
			put(s, (uint8_t)symbol);
		else
			take_copy(s, symbol, distances);
	}
}

static void take_fixed(struct stream *s)
{
	uint8_t lengths[LITERALS];
	struct code literals, distances;

	memset(lengths, 8, 144);
	memset(lengths + 144, 9, 112);
	memset(lengths + 256, 7, 24);
	memset(lengths + 280, 8, 8);
	make_code(&literals, lengths, LITERALS);
	memset(lengths, 5, DISTANCES);
	make_code(&distances, lengths, DISTANCES);
	take_block(s, &literals, &distances);
}

/* Lengths of codes, themselves coded: 16 repeats the last, 17 and 18 repeat 0. */
static void take_lengths(struct stream *s, const struct code *code, uint8_t *lengths,
			 unsigned count)
{
	for (unsigned at = 0; at < count && !s->bad;) {
		unsigned symbol = take_symbol(s, code), times;

		if (symbol < 16) {
			lengths[at++] = (uint8_t)symbol;
			continue;
		}
		times = symbol == 16   ? 3 + take_bits(s, 2)
			: symbol == 17 ? 3 + take_bits(s, 3)
				       : 11 + take_bits(s, 7);
		s->bad |= times > count - at || (symbol == 16 && !at);
		if (s->bad)
			return;
		memset(lengths + at, symbol == 16 ? lengths[at - 1] : 0, times);
		at += times;
	}
}

static void take_dynamic(struct stream *s)
{
	static const uint8_t order[] = {16, 17, 18, 0, 8,  7, 9,  6, 10, 5,
					11, 4,	12, 3, 13, 2, 14, 1, 15};
	unsigned literal_count = take_bits(s, 5) + 257, distance_count = take_bits(s, 5) + 1,
		 count = take_bits(s, 4) + 4;
	uint8_t lengths[LITERALS + 32] = {0};
	struct code literals, distances;

	if (literal_count > LITERALS || distance_count > DISTANCES) {
		s->bad = true;
		return;
	}
	for (unsigned i = 0; i < count; i++)
		lengths[order[i]] = (uint8_t)take_bits(s, 3);
	make_code(&literals, lengths, 19);
	memset(lengths, 0, sizeof(lengths));
	take_lengths(s, &literals, lengths, literal_count + distance_count);
	if (s->bad)
		return;
	make_code(&literals, lengths, literal_count);
	make_code(&distances, lengths + literal_count, distance_count);
	take_block(s, &literals, &distances);
}

static void take_stored(struct stream *s)
{
	unsigned len;

	s->bits = s->held = 0;
	len = take_bits(s, 16);
	take_bits(s, 16);
	while (len-- && !s->bad)
		put(s, (uint8_t)take_bits(s, 8));
}

bool sw_inflate(struct sw_bytes packed, uint8_t *to, size_t len)
{
	struct stream s = {.in = packed, .at = 2, .to = to, .len = len};
	bool last = false;

	if (packed.len < 2 || (packed.at[0] & 15) != 8 || packed.at[1] & 0x20)
		return false;
	while (!last && !s.bad) {
		unsigned kind;

		last = take_bits(&s, 1);
		kind = take_bits(&s, 2);
		if (kind == 0)
			take_stored(&s);
		else if (kind == 1)
			take_fixed(&s);
		else if (kind == 2)
			take_dynamic(&s);
		else
			s.bad = true;
	}
	return !s.bad && s.done == len;
}
