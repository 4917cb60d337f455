/* The sw8 header; see carrier.h. In preload/ because both halves need it and it touches nothing. */
#include "preload/carrier.h"

static const char alphabet[64] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

static int value_of(uint8_t c)
{
	if (c >= 'A' && c <= 'Z')
		return c - 'A';
	if (c >= 'a' && c <= 'z')
		return c - 'a' + 26;
	if (c >= '0' && c <= '9')
		return c - '0' + 52;
	return c == '+' ? 62 : c == '/' ? 63 : -1;
}

static bool is_base64(struct sw_bytes text)
{
	for (int pad = 0; pad < 2 && text.len && text.at[text.len - 1] == '='; pad++)
		text.len--;
	for (size_t i = 0; i < text.len; i++) {
		if (value_of(text.at[i]) < 0)
			return false;
	}
	return text.len > 0;
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

void sw_write_base64(struct sw_writer *w, struct sw_bytes in)
{
	for (size_t i = 0; i < in.len; i += 3) {
		size_t n = SW_MIN(in.len - i, 3);
		uint32_t v = (uint32_t)in.at[i] << 16;
		uint8_t quad[4];

		if (n > 1)
			v |= (uint32_t)in.at[i + 1] << 8;
		if (n > 2)
			v |= in.at[i + 2];
		quad[0] = (uint8_t)alphabet[v >> 18];
		quad[1] = (uint8_t)alphabet[v >> 12 & 63];
		quad[2] = (uint8_t)(n > 1 ? alphabet[v >> 6 & 63] : '=');
		quad[3] = (uint8_t)(n > 2 ? alphabet[v & 63] : '=');
		if (w->room - w->len >= sizeof(quad)) {
			memcpy(w->at + w->len, quad, sizeof(quad));
			w->len += sizeof(quad);
		} else {
			sw_write(w, sw_bytes(quad, sizeof(quad)));
		}
	}
}

bool sw_read_base64(struct sw_bytes text, struct sw_writer *ret_bytes)
{
	uint32_t bits = 0;
	int have = 0;

	while (text.len && text.at[text.len - 1] == '=')
		text.len--;
	for (size_t i = 0; i < text.len; i++) {
		int v = value_of(text.at[i]);
		uint8_t byte;

		if (v < 0)
			return false;
		bits = bits << 6 | (uint32_t)v;
		have += 6;
		if (have < 8)
			continue;
		have -= 8;
		byte = (uint8_t)(bits >> have);
		sw_write(ret_bytes, sw_bytes(&byte, 1));
	}
	return true;
}
