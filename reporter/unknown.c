/*
 * Names that are nobody's; see unknown.h.
 *
 * The distance of two names is the least number of letters to leave out, to put in, to replace, or
 * to swap with their neighbour, that makes one the other.
 */
#include "reporter/unknown.h"

#include "preload/config.h"
#include "reporter/say.h"

/* Longer than any key, and than what is kept of a name. */
#define LETTERS_MAX 96
/* A name is near when so many letters of it, at most, are wrong: one in four. */
#define NEAR 4

/* Lists as one text each, a NUL after each name: pointers would cost every start of a program. */
static const char known[] = {
#define SW_ALIAS(alias, env) alias "\0"
#define SW_KEY(type, field, env, value, least, most, doc) env "\0"
#include "preload/config.def"
#undef SW_KEY
#undef SW_ALIAS
};

/* One that ends with an underscore is the beginning of a family's. */
static const char others[] = {
#define SW_OTHER(name, doc) name "\0"
#include "reporter/others.def"
#undef SW_OTHER
};

bool sw_unknown_is_others(struct sw_bytes name)
{
	for (const char *at = others; *at; at += strlen(at) + 1) {
		struct sw_bytes other = sw_bytes_text(at);
		bool family = other.at[other.len - 1] == '_';

		if (sw_bytes_equal(family ? sw_bytes_slice(name, 0, other.len) : name, other))
			return true;
	}
	return false;
}

/* The last three rows of the table of distances between beginnings of `a` and those of `b`. */
struct rows {
	unsigned cell[3][LETTERS_MAX + 1];
};

static unsigned least(unsigned a, unsigned b)
{
	return SW_MIN(a, b);
}

/* Row i: a's first i letters against each beginning of b. */
static void fill_row(struct rows *rows, struct sw_bytes a, size_t i, struct sw_bytes b)
{
	unsigned *row = rows->cell[i % 3], *above = rows->cell[(i + 2) % 3];
	const unsigned *two_above = rows->cell[(i + 1) % 3];

	row[0] = (unsigned)i;
	for (size_t j = 1; j <= b.len; j++) {
		bool same = a.at[i - 1] == b.at[j - 1];

		row[j] = least(least(above[j], row[j - 1]) + 1, above[j - 1] + !same);
		if (i > 1 && j > 1 && a.at[i - 1] == b.at[j - 2] && a.at[i - 2] == b.at[j - 1])
			row[j] = least(row[j], two_above[j - 2] + 1);
	}
}

static unsigned distance(struct sw_bytes a, struct sw_bytes b)
{
	struct rows rows;

	for (size_t j = 0; j <= b.len; j++)
		rows.cell[0][j] = (unsigned)j;
	for (size_t i = 1; i <= a.len; i++)
		fill_row(&rows, a, i, b);
	return rows.cell[a.len % 3][b.len];
}

const char *sw_unknown_nearest(struct sw_bytes name)
{
	const char *nearest = NULL;
	unsigned best;

	name = sw_bytes_slice(name, 0, LETTERS_MAX);
	best = (unsigned)name.len / NEAR + 1;
	for (const char *at = known; *at; at += strlen(at) + 1) {
		struct sw_bytes key = sw_bytes_slice(sw_bytes_text(at), 0, LETTERS_MAX);
		unsigned far = distance(name, key);

		if (far < best) {
			best = far;
			nearest = at;
		}
	}
	return nearest;
}

static void say_one(const char *name)
{
	const char *nearest = sw_unknown_nearest(sw_bytes_text(name));

	if (nearest)
		sw_say(SW_LEVEL_WARNING, "%s is not known; did you mean %s?", name, nearest);
	else
		sw_say(SW_LEVEL_WARNING, "%s is not known", name);
}

void sw_unknown_say(void)
{
	const char *name;
	unsigned i;

	for (i = 0; (name = sw_config_unknown(i)); i++) {
		if (!sw_unknown_is_others(sw_bytes_text(name)))
			say_one(name);
	}
	if (sw_config_unknown_count() > i)
		sw_say(SW_LEVEL_WARNING,
		       "%u more names that begin with SW_ were too many to look at",
		       sw_config_unknown_count() - i);
}
