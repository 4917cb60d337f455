/* What is written is what zlib reads, whatever the bytes and however they came. */
#include <criterion/criterion.h>
#include <zlib.h>

#include "proto/buffer.h"
#include "proto/gzip.h"

static bool keep(void *arg, const void *at, size_t len)
{
	sw_buffer_add(arg, sw_bytes(at, len));
	return true;
}

static struct sw_buffer packed(const uint8_t *at, size_t len, size_t step)
{
	struct sw_buffer out = {0};
	struct sw_gzip *gzip = sw_gzip_new(keep, &out);

	for (size_t from = 0; from < len; from += step)
		cr_assert(sw_gzip_add(gzip, at + from, SW_MIN(step, len - from)));
	cr_assert(sw_gzip_end(gzip));
	sw_gzip_free(gzip);
	return out;
}

/* zlib checks the sum and the length at the end. */
static void assert_zlib_reads(const struct sw_buffer *file, const uint8_t *at, size_t len)
{
	uint8_t *back = malloc(len + 1);
	z_stream z = {.next_in = file->at,
		      .avail_in = (unsigned)file->len,
		      .next_out = back,
		      .avail_out = (unsigned)len + 1};

	cr_assert_eq(inflateInit2(&z, 15 + 16), Z_OK);
	cr_assert_eq(inflate(&z, Z_FINISH), Z_STREAM_END, "%s", z.msg ? z.msg : "");
	cr_assert_eq(z.avail_in, 0);
	cr_assert_eq(z.total_out, len);
	cr_assert(len == 0 || memcmp(back, at, len) == 0);
	inflateEnd(&z);
	free(back);
}

static size_t round_trip(const uint8_t *at, size_t len, size_t step)
{
	struct sw_buffer file = packed(at, len, step);
	size_t size = file.len;

	assert_zlib_reads(&file, at, len);
	sw_buffer_free(&file);
	return size;
}

static uint32_t next_random(uint32_t *state)
{
	return *state = *state * 1664525u + 1013904223u;
}

Test(gzip, nothing_is_a_file_too)
{
	round_trip((const uint8_t *)"", 0, 1);
}

Test(gzip, texts_of_all_short_lengths)
{
	const char *text = "abcabcabcabcabcabcabcabcabcabcabcabc\xff\xfe\x90";

	for (size_t len = 0; len <= strlen(text); len++)
		round_trip((const uint8_t *)text, len, 7);
}

Test(gzip, runs_of_every_length_that_a_match_can_have)
{
	static uint8_t at[400 * 300];
	size_t len = 0;

	for (unsigned run = 1; run < 400; run++) {
		memset(at + len, (int)run, run);
		len += run;
	}
	cr_assert_lt(round_trip(at, len, len), len / 20);
}

/* Repeated after each distance that deflate can tell, and after some that it cannot. */
Test(gzip, matches_at_every_distance)
{
	uint8_t *at = malloc(1 << 21);
	uint32_t state = 1;
	size_t len = 0;

	for (size_t distance = 8; distance < 40000; distance = distance * 5 / 4 + 1) {
		for (size_t i = 0; i < distance; i++)
			at[len++] = (uint8_t)(next_random(&state) >> 24);
		memcpy(at + len, at + len - distance, 16);
		len += 16;
	}
	round_trip(at, len, 4096);
	free(at);
}

Test(gzip, noise_grows_by_an_eighth_at_most)
{
	static uint8_t at[300000];
	uint32_t state = 7;

	for (size_t i = 0; i < sizeof(at); i++)
		at[i] = (uint8_t)(next_random(&state) >> 24);
	cr_assert_lt(round_trip(at, sizeof(at), 1000), sizeof(at) * 9 / 8 + 32);
}

/* Words of few letters, so that there are matches of all kinds, over several blocks. */
Test(gzip, the_same_bytes_however_they_were_cut)
{
	static uint8_t at[400000];
	uint32_t state = 3;
	struct sw_buffer whole;

	for (size_t i = 0; i < sizeof(at); i++)
		at[i] = (uint8_t)('a' + (next_random(&state) >> 24) % 3);
	whole = packed(at, sizeof(at), sizeof(at));
	assert_zlib_reads(&whole, at, sizeof(at));
	for (size_t step = 1; step < 200000; step = step * 7 + 3) {
		struct sw_buffer pieces = packed(at, sizeof(at), step);

		cr_assert_eq(pieces.len, whole.len);
		cr_assert_arr_eq(pieces.at, whole.at, whole.len);
		sw_buffer_free(&pieces);
	}
	sw_buffer_free(&whole);
}

/* Random mixtures of noise, runs and repetition of random lengths. */
Test(gzip, mixtures)
{
	static uint8_t at[250000];
	uint32_t state = 11;

	for (int turn = 0; turn < 60; turn++) {
		size_t len = 0, most = next_random(&state) % sizeof(at);

		while (len < most) {
			uint32_t kind = next_random(&state) >> 30;
			size_t some = SW_MIN(next_random(&state) >> 8 & 0x3ff, most - len);
			size_t back = len ? next_random(&state) % len + 1 : 0;

			for (size_t i = 0; i < some; i++, len++)
				at[len] = kind == 0   ? (uint8_t)(next_random(&state) >> 24)
					  : kind == 1 ? (uint8_t)turn
					  : back      ? at[len - back]
						      : 0;
			len += len < most; /* whatever was there before */
		}
		round_trip(at, len, 1 + next_random(&state) % 70000);
	}
}

static bool refuse(void *arg, const void *at, size_t len)
{
	(void)at;
	(void)len;
	(*(int *)arg)++;
	return false;
}

Test(gzip, who_refuses_once_is_not_asked_again)
{
	static uint8_t at[300000];
	uint32_t state = 7;
	int asked = 0;
	struct sw_gzip *gzip = sw_gzip_new(refuse, &asked);

	for (size_t i = 0; i < sizeof(at); i++)
		at[i] = (uint8_t)(next_random(&state) >> 24);
	cr_assert_not(sw_gzip_add(gzip, at, sizeof(at)));
	cr_assert_not(sw_gzip_add(gzip, at, sizeof(at)));
	cr_assert_not(sw_gzip_end(gzip));
	cr_assert_eq(asked, 1);
	sw_gzip_free(gzip);
}
