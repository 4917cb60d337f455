/* The flat JSON object of the configuration. */
#include <criterion/criterion.h>

#include "proto/object.h"

static bool reads(const char *text, const char *want, size_t want_len)
{
	struct sw_buffer out = {NULL, 0, 0, false};
	bool ok = sw_json_object(sw_bytes_text(text), &out);
	bool same = ok && out.len == want_len && (want_len == 0 || memcmp(out.at, want, want_len) == 0);

	sw_buffer_free(&out);
	return same;
}

static bool refuses(const char *text)
{
	struct sw_buffer out = {NULL, 0, 0, false};
	bool ok = sw_json_object(sw_bytes_text(text), &out);

	sw_buffer_free(&out);
	return !ok;
}

#define READS(text, want) cr_assert(reads(text, want, sizeof(want) - 1), "%s", text)

Test(object, members)
{
	READS("{}", "");
	READS(" { } ", "");
	READS("{\"a\":\"b\"}", "a\0b\0");
	READS("{\"a\" : \"b\" , \"c\":1.5e3,\"d\":true,\"e\":null}", "a\0b\0c\0"
								     "1.5e3\0d\0true\0");
	READS("{\"a\":\"\\\"\\\\\\n\\u00e9\\ud83d\\ude00\"}", "a\0\"\\\n\xc3\xa9\xf0\x9f\x98\x80\0");
}

Test(object, anything_else_is_refused)
{
	const char *bad[] = {"", "x", "{", "{\"a\"}", "{\"a\":}", "{\"a\":[]}", "{\"a\":{}}", "{\"a\":\"b\"",
			     "{\"a\":\"b\",}", "{\"a\":\"b\"} x", "{\"a\":\"\\q\"}", "{\"a\":\"\\u0000\"}",
			     "{\"a\":\"\\ud800\"}", "{\"a\":\"\\udc00\"}", "{\"a\":yes}", "{\"a\":\"\n\"}"};

	for (size_t i = 0; i < SW_COUNT_OF(bad); i++)
		cr_assert(refuses(bad[i]), "%s", bad[i]);
}
