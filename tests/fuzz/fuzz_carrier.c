/*
 * Fuzzes the sw8 header, and base64. The input is a header as a stranger sent it.
 *
 * Watched: a valid one can be told to a collector, so each of its fields but the number decodes to
 * something; its fields are the header again; base64 means the same to a decoder that takes it bit
 * by bit; what is written in base64 is read as what it was.
 */
#include <stdio.h>
#include <stdlib.h>

#include "preload/carrier.h"

#define ROOM 8192

int LLVMFuzzerTestOneInput(const uint8_t *at, size_t len);

static void must(bool holds, const char *promise)
{
	if (!holds) {
		fprintf(stderr, "broken: %s\n", promise);
		abort();
	}
}

static int bits_of(uint8_t c)
{
	static const char alphabet[] =
		"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	const char *hit = c ? strchr(alphabet, c) : NULL;

	return hit ? (int)(hit - alphabet) : -1;
}

/* False: not base64. */
static bool decode_by_bits(struct sw_bytes text, struct sw_writer *ret_bytes)
{
	uint32_t bits = 0;
	unsigned count = 0;

	while (text.len && text.at[text.len - 1] == '=')
		text.len--;
	for (size_t i = 0; i < text.len; i++) {
		int six = bits_of(text.at[i]);
		uint8_t byte;

		if (six < 0)
			return false;
		bits = bits << 6 | (uint32_t)six;
		count += 6;
		if (count < 8)
			continue;
		count -= 8;
		byte = (uint8_t)(bits >> count);
		sw_write(ret_bytes, sw_bytes(&byte, 1));
	}
	return true;
}

static void check_base64(struct sw_bytes text)
{
	static uint8_t ours[ROOM], theirs[ROOM];
	struct sw_writer have = sw_writer(ours, sizeof(ours));
	struct sw_writer want = sw_writer(theirs, sizeof(theirs));
	bool is = decode_by_bits(text, &want);

	must(sw_read_base64(text, &have) == is, "base64 is what is of its alphabet");
	must(!is || sw_bytes_equal(sw_written(&have), sw_written(&want)), "it means what it means");
}

static void check_written(struct sw_bytes bytes)
{
	static uint8_t code_at[2 * ROOM], back_at[ROOM];
	struct sw_writer code = sw_writer(code_at, sizeof(code_at));
	struct sw_writer back = sw_writer(back_at, sizeof(back_at));

	sw_write_base64(&code, bytes);
	must(!code.cut && code.len == (bytes.len + 2) / 3 * 4, "base64 has a known length");
	must(sw_read_base64(sw_written(&code), &back) && !back.cut &&
		     sw_bytes_equal(sw_written(&back), bytes),
	     "what was written is read");
}

static void check_number(struct sw_bytes field)
{
	must(field.len && field.len < 10, "a span's number fits");
	for (size_t i = 0; i < field.len; i++)
		must(field.at[i] >= '0' && field.at[i] <= '9', "and is one");
}

static void check_name(struct sw_bytes field)
{
	static uint8_t at[ROOM];
	struct sw_writer w = sw_writer(at, sizeof(at));

	must(sw_read_base64(field, &w) && w.len, "a name decodes to something");
}

static void check_valid(struct sw_bytes carrier, const struct sw_bytes field[SW_CARRIER_FIELDS])
{
	const uint8_t *at = carrier.at;

	must(carrier.len <= SW_CARRIER_MAX, "a header has a longest");
	must(sw_bytes_equal(field[SW_CARRIER_FLAG], SW_BYTES("1")), "the flag says yes");
	for (int i = 0; i < SW_CARRIER_FIELDS; i++) {
		must(field[i].at == at, "the fields are the header");
		at += field[i].len;
		must(i == SW_CARRIER_FIELDS - 1 || *at++ == '-', "between them is a dash");
		if (i == SW_CARRIER_SPAN)
			check_number(field[i]);
		else if (i != SW_CARRIER_FLAG)
			check_name(field[i]);
	}
	must(at == carrier.at + carrier.len, "and nothing is left");
}

int LLVMFuzzerTestOneInput(const uint8_t *at, size_t len)
{
	struct sw_bytes field[SW_CARRIER_FIELDS], carrier;
	uint8_t *exact = malloc(len ? len : 1); /* for the sanitizer */

	if (len)
		memcpy(exact, at, len);
	carrier = sw_bytes(exact, SW_MIN(len, ROOM));
	if (sw_carrier_read(carrier, field) == SW_CARRIED_SAMPLED)
		check_valid(carrier, field);
	must((sw_carrier_read(carrier, field) == SW_CARRIED_NOTHING) == !len, "nothing is nothing");
	check_base64(carrier);
	check_written(carrier);
	free(exact);
	return 0;
}
