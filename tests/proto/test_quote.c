/* Texts as JSON: byte by byte what the rule says, wherever an odd byte is and whatever is beside
 * it. */
#include "proto/quote.h"

#include <criterion/criterion.h>
#include <inttypes.h>
#include <stdio.h>

#include "proto/text.h"

#define LEN_MAX 40

/* The rule, in the plainest words. */
static size_t by_rule(const uint8_t *text, size_t len, uint8_t *ret_quoted)
{
	uint8_t mended[LEN_MAX], *at = ret_quoted;

	memcpy(mended, text, len);
	sw_text_mend(mended, len);
	*at++ = '"';
	for (size_t i = 0; i < len; i++) {
		if (mended[i] == '"' || mended[i] == '\\')
			*at++ = '\\';
		if (mended[i] < 0x20)
			at += sprintf((char *)at, "\\u%04x", mended[i]);
		else
			*at++ = mended[i];
	}
	*at++ = '"';
	return (size_t)(at - ret_quoted);
}

static void check(const uint8_t *text, size_t len)
{
	uint8_t expected[6 * LEN_MAX + 8], quoted[6 * LEN_MAX + 8];
	size_t want = by_rule(text, len, expected);
	uint8_t *end;

	memset(quoted, 0xee, sizeof(quoted));
	end = sw_quote(quoted, sw_bytes(text, len));
	cr_assert_eq(end - quoted, (ptrdiff_t)want, "\"%.*s\"", (int)len, (const char *)text);
	cr_assert_arr_eq(quoted, expected, want, "\"%.*s\"", (int)len, (const char *)text);
	cr_assert_leq(want, sw_quote_most(len));
	cr_assert_eq(quoted[sw_quote_most(len)], 0xee, "never beyond what it may take");
}

Test(quote, every_byte_at_every_place_of_every_length)
{
	uint8_t text[LEN_MAX];

	for (size_t len = 0; len <= 26; len++) {
		memset(text, 'x', len);
		check(text, len);
		for (size_t at = 0; at < len; at++) {
			for (unsigned c = 0; c < 256; c++) {
				text[at] = (uint8_t)c;
				check(text, len);
			}
			text[at] = 'x';
		}
	}
}

/* Whole characters, halves of them, and what tears them apart. */
Test(quote, neighbours)
{
	static const char pieces[][8] = {"a",
					 "\"",
					 "\\",
					 "\n",
					 "\xc3\xa4",
					 "\xe4\xb8\xad",
					 "\xf0\x9f\x90\x8d",
					 "\xe4\xb8",
					 "\xed\xa0\x80",
					 "\xff",
					 "\xc0\x80",
					 "1234567"};
	const size_t n = SW_COUNT_OF(pieces);

	for (size_t i = 0; i < n * n * n * n; i++) {
		char text[LEN_MAX];
		int len = snprintf(text, sizeof(text), "%s%s%s%s", pieces[i % n], pieces[i / n % n],
				   pieces[i / n / n % n], pieces[i / n / n / n]);

		check((const uint8_t *)text, (size_t)len);
	}
}

static void check_number(int64_t n)
{
	uint8_t ours[SW_QUOTE_NUMBER + 1] = "";
	char theirs[32];

	*sw_quote_signed(ours, n) = '\0';
	snprintf(theirs, sizeof(theirs), "%" PRId64, n);
	cr_assert_str_eq((const char *)ours, theirs);
	*sw_quote_unsigned(ours, (uint64_t)n) = '\0';
	snprintf(theirs, sizeof(theirs), "%" PRIu64, (uint64_t)n);
	cr_assert_str_eq((const char *)ours, theirs);
}

Test(quote, numbers_of_every_length)
{
	static const int64_t ends[] = {0, -1, INT64_MAX, INT64_MIN};

	for (size_t i = 0; i < SW_COUNT_OF(ends); i++)
		check_number(ends[i]);
	for (int64_t power = 1, digits = 1; digits < 19; digits++, power *= 10) {
		check_number(power - 1);
		check_number(power);
		check_number(-power);
		check_number(power + 7);
	}
}
