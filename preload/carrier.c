/* The sw8 header; see carrier.h. In preload/ because both halves need it and it touches nothing. */
#include "preload/carrier.h"

static const char alphabet[64] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/* One more than what a character stands for; 0: it is none of the alphabet. */
static const uint8_t values[256] = {
	0,  0,	0,  0,	0,  0,	0,  0,	0,  0,	0,  0,	0,  0,	0,  0,	0,  0,	0,  0,	0,  0,
	0,  0,	0,  0,	0,  0,	0,  0,	0,  0,	0,  0,	0,  0,	0,  0,	0,  0,	0,  0,	0,  63,
	0,  0,	0,  64, 53, 54, 55, 56, 57, 58, 59, 60, 61, 62, 0,  0,	0,  0,	0,  0,	0,  1,
	2,  3,	4,  5,	6,  7,	8,  9,	10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23,
	24, 25, 26, 0,	0,  0,	0,  0,	0,  27, 28, 29, 30, 31, 32, 33, 34, 35, 36, 37, 38, 39,
	40, 41, 42, 43, 44, 45, 46, 47, 48, 49, 50, 51, 52, 0,	0,  0,	0,  0,
};

static int value_of(uint8_t c)
{
	return values[c] - 1;
}

/* Of at least a byte: one character stands for none, and nobody can be told of such a parent. */
static bool is_base64(struct sw_bytes text)
{
	for (int pad = 0; pad < 2 && text.len && text.at[text.len - 1] == '='; pad++)
		text.len--;
	for (size_t i = 0; i < text.len; i++) {
		if (value_of(text.at[i]) < 0)
			return false;
	}
	return text.len > 0 && text.len % 4 != 1;
}

/* A span id fits an int32 (specification 3.4). */
static bool is_span_id(struct sw_bytes text)
{
	if (text.len == 0 || text.len > 9)
		return false;
	for (size_t i = 0; i < text.len; i++) {
		if (text.at[i] < '0' || text.at[i] > '9')
			return false;
	}
	return true;
}

static size_t split(struct sw_bytes carrier, struct sw_bytes field[SW_CARRIER_FIELDS])
{
	size_t count = 0, from = 0;

	for (size_t i = 0; i <= carrier.len; i++) {
		if (i < carrier.len && carrier.at[i] != '-')
			continue;
		if (count < SW_CARRIER_FIELDS)
			field[count] = sw_bytes_slice(carrier, from, i);
		count++;
		from = i + 1;
	}
	return count;
}

enum sw_carried sw_carrier_read(struct sw_bytes carrier,
				struct sw_bytes ret_field[SW_CARRIER_FIELDS])
{
	if (carrier.len == 0)
		return SW_CARRIED_NOTHING;
	if (carrier.len > SW_CARRIER_MAX || split(carrier, ret_field) != SW_CARRIER_FIELDS ||
	    !sw_bytes_equal(ret_field[SW_CARRIER_FLAG], SW_BYTES("1")))
		return SW_CARRIED_SUPPRESSED;
	for (int i = SW_CARRIER_TRACE; i < SW_CARRIER_FIELDS; i++) {
		if (!(i == SW_CARRIER_SPAN ? is_span_id(ret_field[i]) : is_base64(ret_field[i])))
			return SW_CARRIED_SUPPRESSED;
	}
	return SW_CARRIED_SAMPLED;
}

static void write_quad(uint32_t v, uint8_t ret_quad[4])
{
	ret_quad[0] = (uint8_t)alphabet[v >> 18];
	ret_quad[1] = (uint8_t)alphabet[v >> 12 & 63];
	ret_quad[2] = (uint8_t)alphabet[v >> 6 & 63];
	ret_quad[3] = (uint8_t)alphabet[v & 63];
}

/* Whole groups for which there is certainly room. Every call that is traced writes some 60. */
static size_t write_quads(const uint8_t *in, size_t groups, uint8_t *out)
{
	for (size_t i = 0; i < groups; i++, in += 3, out += 4)
		write_quad((uint32_t)in[0] << 16 | (uint32_t)in[1] << 8 | in[2], out);
	return groups * 4;
}

void sw_write_base64(struct sw_writer *w, struct sw_bytes in)
{
	size_t groups = SW_MIN(in.len / 3, (w->room - w->len) / 4);
	uint8_t quad[4];

	w->len += write_quads(in.at, groups, w->at + w->len);
	for (in = sw_bytes_from(in, groups * 3); in.len; in = sw_bytes_from(in, 3)) {
		uint32_t v = (uint32_t)in.at[0] << 16;

		v |= in.len > 1 ? (uint32_t)in.at[1] << 8 : 0;
		v |= in.len > 2 ? in.at[2] : 0;
		write_quad(v, quad);
		memset(quad + 1 + SW_MIN(in.len, 3), '=', 3 - SW_MIN(in.len, 3));
		sw_write(w, sw_bytes(quad, sizeof(quad)));
	}
}

/* Three bytes of four characters; false: one is none of the alphabet. */
static bool read_quad(const uint8_t *at, uint8_t ret_bytes[3])
{
	int a = value_of(at[0]), b = value_of(at[1]), c = value_of(at[2]), d = value_of(at[3]);
	uint32_t bits = (uint32_t)a << 18 | (uint32_t)b << 12 | (uint32_t)c << 6 | (uint32_t)d;

	ret_bytes[0] = (uint8_t)(bits >> 16);
	ret_bytes[1] = (uint8_t)(bits >> 8);
	ret_bytes[2] = (uint8_t)bits;
	return (a | b | c | d) >= 0;
}

/* The end: up to three characters, of which the bits of a byte that is not whole are forgotten. */
static bool read_rest(struct sw_bytes text, struct sw_writer *ret_bytes)
{
	uint8_t quad[4] = {'A', 'A', 'A', 'A'}, bytes[3];

	memcpy(quad, text.at, text.len);
	if (!read_quad(quad, bytes))
		return false;
	sw_write(ret_bytes, sw_bytes(bytes, text.len * 6 / 8));
	return true;
}

bool sw_read_base64(struct sw_bytes text, struct sw_writer *ret_bytes)
{
	uint8_t bytes[3];

	while (text.len && text.at[text.len - 1] == '=')
		text.len--;
	for (; text.len >= 4; text = sw_bytes_from(text, 4)) {
		if (!read_quad(text.at, bytes))
			return false;
		sw_write(ret_bytes, sw_bytes(bytes, sizeof(bytes)));
	}
	return text.len == 0 || read_rest(text, ret_bytes);
}
