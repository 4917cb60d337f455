/* The JSON mapping, field kind by field kind; check_messages.py has the real reader's word. */
#include <criterion/criterion.h>
#include <limits.h>
#include <locale.h>
#include <math.h>
#include <stdio.h>

#include "proto/json.h"
#include "tests/proto/sample.h"

static void cr_json(const struct sample *sample, const char *expected)
{
	struct sw_buffer out = {NULL, 0, 0, false};

	cr_assert(sw_json_message(&sample->base, &out));
	sw_buffer_add(&out, sw_bytes("", 1));
	cr_assert_str_eq((const char *)out.at, expected);
	sw_buffer_free(&out);
}

Test(json, defaults_are_left_out)
{
	struct sample sample = sample_of_nothing();

	cr_json(&sample, "{}");
}

Test(json, names_are_lower_camel_case)
{
	struct sample sample = sample_of_nothing();

	sample.camelCase = 1;
	sample.with_digit_2_after = 2;
	sample.small_zigzag = 3;
	cr_json(&sample, "{\"smallZigzag\":3,\"camelCase\":1,\"withDigit2After\":2}");
}

Test(json, numbers_of_32_bits_are_numbers)
{
	struct sample sample = sample_of_nothing();

	sample.small = INT32_MIN;
	sample.small_zigzag = -1;
	sample.small_fixed = INT32_MAX;
	sample.count = UINT32_MAX;
	sample.count_fixed = 10;
	cr_json(&sample, "{\"small\":-2147483648,\"smallZigzag\":-1,\"smallFixed\":2147483647,"
			 "\"count\":4294967295,\"countFixed\":10}");
}

Test(json, numbers_of_64_bits_are_text)
{
	struct sample sample = sample_of_nothing();

	sample.wide = INT64_MIN;
	sample.wide_zigzag = -1;
	sample.wide_fixed = INT64_MAX;
	sample.long_count = UINT64_MAX;
	sample.long_count_fixed = 1;
	cr_json(&sample,
		"{\"wide\":\"-9223372036854775808\",\"wideZigzag\":\"-1\","
		"\"wideFixed\":\"9223372036854775807\",\"longCount\":\"18446744073709551615\","
		"\"longCountFixed\":\"1\"}");
}

static const struct {
	double n;
	const char *text;
} doubles[] = {
	{0.5, "0.5"},
	{0.1, "0.1"},
	{-2.25, "-2.25"},
	{1.0 / 3, "0.3333333333333333"},
	{3, "3"},
	{-9007199254740992.0, "-9007199254740992"},
	{1e21, "1e+21"},
	{1.5e300, "1.5e+300"},
	{5e-324, "4.94065645841247e-324"},
	{1.7976931348623157e308, "1.7976931348623157e+308"},
	{INFINITY, "\"Infinity\""},
	{-INFINITY, "\"-Infinity\""},
	{NAN, "\"NaN\""},
};

static void all_doubles(void)
{
	for (size_t i = 0; i < SW_COUNT_OF(doubles); i++) {
		struct sample sample = sample_of_nothing();
		char expected[64];

		sample.twice = doubles[i].n;
		snprintf(expected, sizeof(expected), "{\"twice\":%s}", doubles[i].text);
		cr_json(&sample, expected);
	}
}

Test(json, doubles_are_short_and_exact)
{
	all_doubles();
}

/* ps_AF has a decimal mark of two bytes. */
Test(json, doubles_do_not_show_the_locale)
{
	const char *const names[] = {"de_DE.UTF-8", "fr_FR.UTF-8", "ru_RU.UTF-8", "ps_AF.UTF-8",
				     "ps_AF",	    "de_DE",	   "fa_IR.UTF-8"};
	bool any = false;

	for (size_t i = 0; i < SW_COUNT_OF(names); i++) {
		if (!setlocale(LC_ALL, names[i]))
			continue;
		any = any || strcmp(localeconv()->decimal_point, ".") != 0;
		all_doubles();
	}
	if (!any)
		cr_skip_test("no locale with another decimal mark is installed");
}

Test(json, floats)
{
	struct sample sample = sample_of_nothing();

	sample.single = 0.25f;
	cr_json(&sample, "{\"single\":0.25}");
}

Test(json, minus_zero_is_a_default_that_keeps_its_sign)
{
	struct sample sample = sample_of_nothing();
	double list[] = {-0.0};

	sample.twice = -0.0;
	cr_json(&sample, "{}");
	sample.n_doubles = 1;
	sample.doubles = list;
	cr_json(&sample, "{\"doubles\":[-0.0]}");
}

Test(json, bools_and_enums)
{
	struct sample sample = sample_of_nothing();

	sample.yes = 1;
	sample.colour = COLOUR_DEEP_BLUE;
	cr_json(&sample, "{\"yes\":true,\"colour\":\"DeepBlue\"}");
	sample.colour = 5;
	cr_json(&sample, "{\"yes\":true,\"colour\":5}");
}

static struct {
	const char *raw;
	const char *text;
} texts[] = {
	{"plain", "plain"},
	{"a\"b\\c/d", "a\\\"b\\\\c/d"},
	{"\n\r\t\b\f\x01\x1f", "\\u000a\\u000d\\u0009\\u0008\\u000c\\u0001\\u001f"},
	{"\x7f", "\x7f"},
	{"Gr\xc3\xbc\xc3\x9f \xe2\x82\xac \xf0\x9f\x98\x80", "Gr\xc3\xbc\xc3\x9f \xe2\x82\xac "
							     "\xf0\x9f\x98\x80"},
	{"\"", "\\\""},
};

Test(json, texts_are_escaped)
{
	for (size_t i = 0; i < SW_COUNT_OF(texts); i++) {
		struct sample sample = sample_of_nothing();
		char expected[128];

		sample.text = texts[i].raw;
		snprintf(expected, sizeof(expected), "{\"text\":\"%s\"}", texts[i].text);
		cr_json(&sample, expected);
	}
}

Test(json, numbers_of_every_length)
{
	uint64_t power = 1;

	for (int digits = 1; digits < 20; digits++, power *= 10) {
		const uint64_t numbers[] = {power, power * 10 - 1, power + 1,
					    power * 10 - power / 10};

		for (size_t i = 0; i < SW_COUNT_OF(numbers); i++) {
			struct sample sample = sample_of_nothing();
			char expected[64];

			sample.long_count = numbers[i];
			snprintf(expected, sizeof(expected), "{\"longCount\":\"%llu\"}",
				 (unsigned long long)numbers[i]);
			cr_json(&sample, expected);
		}
	}
}

Test(json, bytes_are_base64)
{
	uint8_t raw[] = {0, 0xff, 0x10, 'a'};
	static const char *const expected[] = {"{}", "{\"raw\":\"AA==\"}", "{\"raw\":\"AP8=\"}",
					       "{\"raw\":\"AP8Q\"}", "{\"raw\":\"AP8QYQ==\"}"};

	for (size_t len = 0; len <= sizeof(raw); len++) {
		struct sample sample = sample_of_nothing();

		sample.raw.data = raw;
		sample.raw.len = len;
		cr_json(&sample, expected[len]);
	}
}

Test(json, repeated_scalars_keep_their_defaults)
{
	struct sample sample = sample_of_nothing();
	int32_t smalls[] = {0, -1};
	int64_t wides[] = {0, 5};
	double list[] = {0, 0.5};
	protobuf_c_boolean flags[] = {0, 1};
	int32_t colours[] = {COLOUR_NONE, COLOUR_RED};

	sample.n_smalls = sample.n_wides = sample.n_doubles = 2;
	sample.n_flags = sample.n_colours = 2;
	sample.smalls = smalls;
	sample.wides = wides;
	sample.doubles = list;
	sample.flags = flags;
	sample.colours = colours;
	cr_json(&sample, "{\"smalls\":[0,-1],\"wides\":[\"0\",\"5\"],\"doubles\":[0,0.5],"
			 "\"flags\":[false,true],\"colours\":[\"None\",\"Red\"]}");
}

Test(json, repeated_texts_bytes_and_messages)
{
	struct sample sample = sample_of_nothing();
	const char *list[] = {"a", ""};
	uint8_t raw[] = {1};
	ProtobufCBinaryData raws[] = {{1, raw}, {0, NULL}};
	struct inner inner = inner_of("x"), empty = inner_of(NULL);
	struct inner *inners[] = {&inner, &empty, NULL};

	sample.n_texts = sample.n_raws = 2;
	sample.texts = list;
	sample.raws = raws;
	sample.n_inners = 3;
	sample.inners = inners;
	cr_json(&sample, "{\"texts\":[\"a\",\"\"],\"raws\":[\"AQ==\",\"\"],"
			 "\"inners\":[{\"name\":\"x\"},{},{}]}");
}

Test(json, a_message_that_is_there_shows_even_when_empty)
{
	struct sample sample = sample_of_nothing();
	struct inner empty = inner_of(NULL);

	sample.inner = &empty;
	cr_json(&sample, "{\"inner\":{}}");
}

Test(json, the_chosen_one_shows_even_at_its_default)
{
	struct sample sample = sample_of_nothing();

	sample.choice_case = CHOICE_NUMBER;
	cr_json(&sample, "{\"numberChoice\":0}");
	sample.choice_case = CHOICE_TEXT;
	sample.text_choice = "";
	cr_json(&sample, "{\"textChoice\":\"\"}");
	sample.choice_case = CHOICE_INNER;
	sample.inner_choice = NULL;
	cr_json(&sample, "{}");
}

Test(json, appends_to_what_is_there)
{
	struct sw_buffer out = {NULL, 0, 0, false};
	struct sample sample = sample_of_nothing();

	sw_buffer_add(&out, SW_BYTES("[1,"));
	sample.small = 1;
	cr_assert(sw_json_message(&sample.base, &out));
	sw_buffer_add(&out, sw_bytes("", 1));
	cr_assert_str_eq((const char *)out.at, "[1,{\"small\":1}");
	sw_buffer_free(&out);
}

Test(json, without_memory_nothing_is_appended)
{
	struct sw_buffer out = {NULL, 0, 0, false};
	struct sample sample = sample_of_nothing();

	sw_buffer_add(&out, SW_BYTES("kept"));
	out.failed = true;
	cr_assert_not(sw_json_message(&sample.base, &out));
	cr_assert_eq(out.len, 4);
	sw_buffer_free(&out);
}
