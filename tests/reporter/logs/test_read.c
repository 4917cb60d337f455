/* What lines say of themselves: every row of the table by its own example, JSON, hostile bytes. */
#include "reporter/logs/read.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>

static struct sw_log_facts read_text(const char *text)
{
	struct sw_log_facts facts;

	sw_log_read(sw_bytes_text(text), &facts);
	return facts;
}

static void is(struct sw_bytes view, const char *text)
{
	cr_assert(sw_bytes_equal(view, sw_bytes_text(text)), "%.*s, not %s", (int)view.len,
		  (const char *)view.at, text);
}

Test(read, each_layout_is_the_first_to_fit_its_example)
{
	static const struct {
		const char *id, *example;
	} rows[] = {
#define SW_LAYOUT(id, pattern, level, example, doc) {#id, example},
#include "reporter/logs/layouts.def"
#undef SW_LAYOUT
	};

	for (size_t i = 0; i < SW_COUNT_OF(rows); i++) {
		struct sw_log_facts facts = read_text(rows[i].example);

		cr_assert_not_null(facts.layout, "%s: no layout", rows[i].example);
		cr_assert_str_eq(facts.layout, rows[i].id, "%s: %s", rows[i].example, facts.layout);
		cr_assert(facts.levelled, "%s", rows[i].example);
	}
}

Test(read, names)
{
	struct sw_log_facts facts = read_text("WARNING:app.db:slow");

	is(facts.level, "WARNING");
	is(facts.logger, "app.db");
	cr_assert_eq(facts.severity, SW_LEVEL_WARNING);
	facts = read_text(
		"2024-05-06 07:08:09,123 [Thread-1 (worker)] ERROR a.b - no: it - failed");
	is(facts.thread, "Thread-1 (worker)");
	is(facts.logger, "a.b");
	facts = read_text("time=2024-05-06T07:08:09.000Z level=WARN msg=\"x y\" logger=a");
	is(facts.level, "WARN");
	is(facts.logger, "a");
	cr_assert_eq(facts.time_ms, 1714979289000);
}

/* Written to stderr, where what says no level would be a warning. */
Test(read, access_lines_of_pythons_server)
{
	struct sw_log_facts facts =
		read_text("127.0.0.1 - - [22/Nov/2026 14:25:40] \"GET /a.txt HTTP/1.1\" 200 -");

	is(facts.level, "INFO");
	facts = read_text("::1 - - [22/Nov/2026 14:25:40] \"GET / HTTP/1.1\" 404 -");
	is(facts.level, "INFO");
	facts = read_text("127.0.0.1 - - [22/Nov/2026 14:25:40] code 404, message File not found");
	cr_assert_not(facts.levelled, "not an access line");
}

Test(read, what_says_nothing_has_no_level)
{
	static const char *const lines[] = {
		"",
		" ",
		"hello",
		"Information about errors follows",
		"error",
		"ERRORS: 5",
		"INFO2: no",
		"%",
		"[",
		"[2024-05-06",
		"Error opening the file",
		"{\"level\": \"ERROR\"",
		"12:00:00",
		"2024-05-06 07:08:09 hello",
	};

	for (size_t i = 0; i < SW_COUNT_OF(lines); i++) {
		struct sw_log_facts facts = read_text(lines[i]);

		cr_assert(!facts.levelled, "%s: %s", lines[i], facts.layout);
	}
}

Test(read, json)
{
	struct sw_log_facts facts =
		read_text("{\"level\":\"error\",\"name\":\"a.b\",\"msg\":\"x\","
			  "\"ts\":1714979289.5,\"more\":[1,{\"level\":\"x\"}]}");

	cr_assert(facts.json && facts.levelled);
	cr_assert_eq(facts.severity, SW_LEVEL_ERROR);
	is(facts.logger, "a.b");
	cr_assert_eq(facts.time_ms, 1714979289500);
	facts = read_text(
		"{\"text\": \"t\\n\", \"record\": {\"level\": {\"icon\": \"i\", \"name\": "
		"\"SUCCESS\", \"no\": 25}, \"name\": \"m\", \"thread\": {\"id\": 1, \"name\": "
		"\"MainThread\"}}} ");
	is(facts.level, "SUCCESS");
	is(facts.logger, "m");
	is(facts.thread, "MainThread");
	facts = read_text("{\"level\":50,\"time\":1714979289123,\"logger\":\"esc\\u0041ped\"}");
	is(facts.level, "ERROR");
	is(facts.logger, "");
	cr_assert_eq(facts.time_ms, 1714979289123);
	facts = read_text(
		"{\"log.level\":\"warn\",\"@timestamp\":\"2024-05-06T07:08:09.5+02:00\"}");
	is(facts.level, "warn");
	cr_assert_eq(facts.time_ms, 1714979289500 - 7200000);
}

Test(read, broken_json_is_text)
{
	static const char *const lines[] = {
		"{",
		"{}x",
		"{\"a\"}",
		"{\"a\":}",
		"{\"a\":1,}",
		"{\"a\":\"\\x\"}",
		"{\"a\":\"\\u12\"}",
		"{\"a\":\"\n\"}",
		"{\"a\":[1,2}",
		"{a:1}",
		"{\"a\":\"",
		"{\"a\":1]",
	};

	for (size_t i = 0; i < SW_COUNT_OF(lines); i++)
		cr_assert(!read_text(lines[i]).json, "%s", lines[i]);
	cr_assert(read_text("{}").json);
}

Test(read, depth_is_bounded)
{
	char deep[4096] = {0};

	for (int levels = 1; levels < 600; levels += 50) {
		size_t at = 0;

		for (int i = 0; i < levels; i++)
			at += (size_t)sprintf(deep + at, "{\"a\":");
		deep[at++] = '1';
		memset(deep + at, '}', (size_t)levels);
		deep[at + (size_t)levels] = 0;
		cr_assert_eq(read_text(deep).json, levels <= 31, "%d", levels);
	}
}

/* Cut anywhere, nothing is read beyond the end (the sanitized build looks). */
Test(read, cut_everywhere)
{
	static const char *const rows[] = {
#define SW_LAYOUT(id, pattern, level, example, doc) example,
#include "reporter/logs/layouts.def"
#undef SW_LAYOUT
		"{\"level\":\"error\",\"ts\":1714979289.5,\"a\":[1,{\"b\":null}],\"c\":"
		"\"\\u0041\"}",
	};

	for (size_t i = 0; i < SW_COUNT_OF(rows); i++) {
		for (size_t len = 0; len < strlen(rows[i]); len++) {
			char *copy = malloc(len + 1);
			struct sw_log_facts facts;

			memcpy(copy, rows[i], len);
			sw_log_read(sw_bytes(copy, len), &facts);
			cr_assert(facts.logger.len <= SW_FACT_MAX);
			free(copy);
		}
	}
}
