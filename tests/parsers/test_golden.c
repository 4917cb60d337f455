/*
 * Runs every golden conversation of every parser: whole, byte by byte, and cut in two at every
 * position. Here to catch facts that depend on how the bytes were cut, a change of behaviour that
 * nobody meant, and two parsers that claim the same bytes.
 *
 * SW_TESTS_PARSERS names the directory that holds one directory for each row of hooks/parsers.def.
 */
#include <criterion/criterion.h>
#include <dirent.h>

#include "tests/parsers/script.h"

#define WHOLE ((struct cuts){SIZE_MAX, 0})
#define EVERY_BYTE ((struct cuts){1, 0})
/* Longer conversations are cut at a sample of positions; an odd step meets every residue. */
#define CUT_ALL_MAX 8192
#define CUT_SAMPLE_STEP 257

#define SW_PARSER(name, doc) extern const struct sw_parser sw_parser_##name;
#include "hooks/parsers.def"
#undef SW_PARSER

static const struct sw_parser *const parsers[] = {
#define SW_PARSER(name, doc) &sw_parser_##name,
#include "hooks/parsers.def"
#undef SW_PARSER
};

struct golden {
	const struct sw_parser *parser;
	char name[512]; /* path without suffix */
	struct script script;
	char *facts; /* Owned; NULL when there is no such file */
};

typedef void golden_fn(const struct golden *golden);

static char *read_with_suffix(const struct golden *golden, const char *suffix)
{
	char path[600];

	(void)snprintf(path, sizeof(path), "%s%s", golden->name, suffix);
	return script_read(path);
}

static void with_golden(const struct sw_parser *parser, const char *folder, const char *file,
			golden_fn *fn)
{
	static struct golden golden;
	size_t len = strlen(file) - strlen(".bytes");
	char path[600];

	golden.parser = parser;
	(void)snprintf(golden.name, sizeof(golden.name), "%s/%.*s", folder, (int)len, file);
	(void)snprintf(path, sizeof(path), "%s.bytes", golden.name);
	cr_assert(script_init(&golden.script, path), "%s cannot be read", path);
	golden.facts = read_with_suffix(&golden, ".facts");
	cr_assert_not_null(golden.facts, "%s.facts is missing", golden.name);
	fn(&golden);
	free(golden.facts);
	script_deinit(&golden.script);
}

static bool ends(const char *text, const char *suffix)
{
	return sw_bytes_ends(sw_bytes_text(text), sw_bytes_text(suffix));
}

static size_t with_folder(const struct sw_parser *parser, const char *folder, golden_fn *fn)
{
	DIR *dir = opendir(folder);
	struct dirent *entry;
	size_t goldens = 0, facts = 0;

	cr_assert_not_null(dir, "%s cannot be opened", folder);
	while ((entry = readdir(dir))) {
		facts += ends(entry->d_name, ".facts");
		if (!ends(entry->d_name, ".bytes"))
			continue;
		goldens++;
		with_golden(parser, folder, entry->d_name, fn);
	}
	(void)closedir(dir);
	cr_assert_eq(goldens, facts, "%s: %zu conversations, %zu facts", folder, goldens, facts);
	return goldens;
}

static void with_all(golden_fn *fn)
{
	const char *root = getenv("SW_TESTS_PARSERS");
	char folder[400];

	cr_assert_not_null(root, "SW_TESTS_PARSERS is not set");
	for (size_t i = 0; i < SW_COUNT_OF(parsers); i++) {
		(void)snprintf(folder, sizeof(folder), "%s/%s", root, parsers[i]->name);
		cr_expect_gt(with_folder(parsers[i], folder, fn), 0, "%s is empty", folder);
	}
}

static void expect_facts(const struct golden *golden, struct cuts cuts)
{
	struct play play;

	play_init(&play, golden->parser);
	script_play(&golden->script, &play, cuts);
	cr_expect_str_eq(play.facts.at, golden->facts,
			 "%s, steps of %zu, cut before %zu\n--- wanted\n%s--- seen\n%s",
			 golden->name, cuts.step, cuts.at, golden->facts, play.facts.at);
	play_deinit(&play);
}

static void whole(const struct golden *golden)
{
	expect_facts(golden, WHOLE);
}

static void every_byte(const struct golden *golden)
{
	expect_facts(golden, EVERY_BYTE);
}

static void in_two(const struct golden *golden)
{
	size_t step = golden->script.total <= CUT_ALL_MAX ? 1 : CUT_SAMPLE_STEP;

	for (size_t at = 1; at < golden->script.total; at += step)
		expect_facts(golden, (struct cuts){SIZE_MAX, at});
}

/* An answer other than MORE must survive every byte that follows. */
static void sniff_prefixes(const struct golden *golden, struct sw_bytes first)
{
	size_t step = first.len <= CUT_ALL_MAX ? 1 : CUT_SAMPLE_STEP;

	for (size_t p = 0; p < SW_COUNT_OF(parsers); p++) {
		enum sw_sniff last = parsers[p]->sniff(first);

		cr_expect_eq(last, parsers[p] == golden->parser ? SW_SNIFF_YES : SW_SNIFF_NO,
			     "%s: %s says %d", golden->name, parsers[p]->name, (int)last);
		for (size_t len = 1; len < first.len; len += step) {
			enum sw_sniff answer = parsers[p]->sniff(sw_bytes_slice(first, 0, len));

			cr_expect(answer == SW_SNIFF_MORE || answer == last,
				  "%s: %s says %d to the first %zu bytes", golden->name,
				  parsers[p]->name, (int)answer, len);
		}
	}
}

static void sniff(const struct golden *golden)
{
	for (size_t i = 0; i < golden->script.count; i++) {
		const struct event *e = &golden->script.event[i];

		if (e->kind == EVENT_BYTES && e->side == SW_REQUESTS) {
			sniff_prefixes(golden, sw_bytes(e->bytes.at, e->bytes.len));
			return;
		}
	}
	cr_expect_fail("%s has no request", golden->name);
}

Test(golden, facts_when_whole)
{
	with_all(whole);
}

Test(golden, facts_when_byte_by_byte)
{
	with_all(every_byte);
}

Test(golden, facts_when_cut_in_two)
{
	with_all(in_two);
}

Test(golden, one_parser_says_yes)
{
	with_all(sniff);
}
