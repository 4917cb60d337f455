/*
 * Prints docs/reference/ from the tables.
 *
 * Every .def file is included here as it is included by the code that it drives, so the manual
 * cannot say anything else than the program does. A page is one row of `pages`; a row of a table
 * is one line of its page. Nothing is typed twice: what is fixed text here is only headings and how
 * to read the columns.
 *
 * usage: tables NAME       prints one page (configuration, hooks, ...)
 *        tables DIRECTORY  writes every page as DIRECTORY/NAME.md
 *        tables oap DIRECTORY  writes what an OAP needs for our meters (examples/oap)
 */
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "docs/oap.h"
#include "preload/config.h"
#include "reporter/queue.h"

/* ---- one line of Markdown at a time ---- */

/* A bar would end the cell. */
static void print_text(FILE *out, const char *text)
{
	for (; *text; text++) {
		if (*text == '|')
			fputc('\\', out);
		fputc(*text, out);
	}
}

static void print_code(FILE *out, const char *text)
{
	fputc('`', out);
	print_text(out, text);
	fputc('`', out);
}

static void print_cell(FILE *out, const char *text)
{
	fputs(" | ", out);
	print_text(out, text);
}

static void print_head(FILE *out, const char *cells, unsigned columns)
{
	fprintf(out, "\n| %s |\n|", cells);
	while (columns--)
		fputs("---|", out);
	fputc('\n', out);
}

/* `code` | sentence |, the shape of most tables. */
static void print_pair(FILE *out, const char *name, const char *doc)
{
	fputs("| ", out);
	print_code(out, name);
	print_cell(out, doc);
	fputs(" |\n", out);
}

/* ---- configuration ---- */

enum key_type { KEY_flag, KEY_number, KEY_text, KEY_choice, KEY_family };

static const char *const type_names[] = {"flag", "number", "text", "choice", "family"};

struct key {
	const char *env, *doc;
	enum key_type type;
	const char *text;	  /* default of a text; names of a choice */
	unsigned long long value; /* default of everything else */
	unsigned long long least, most;
};

/* The columns of a row mean something else in each type; see preload/config.def. */
#define KEY_VALUE_flag(value, least, most) NULL, value, 0, 1
#define KEY_VALUE_number(value, least, most) NULL, value, least, most
#define KEY_VALUE_text(value, least, most) value, 0, 0, most
#define KEY_VALUE_choice(value, least, most) most, value, 0, 0
#define KEY_VALUE_family(value, least, most) value, 0, 0, most

static const struct key keys[] = {
#define SW_ALIAS(alias, env)
#define SW_KEY(type, field, env, value, least, most, doc)                                          \
	{env, doc, KEY_##type, KEY_VALUE_##type(value, least, most)},
#include "preload/config.def"
#undef SW_KEY
#undef SW_ALIAS
};

static const struct {
	const char *alias, *env;
} aliases[] = {
#define SW_ALIAS(alias, env) {alias, env},
#define SW_KEY(type, field, env, value, least, most, doc)
#include "preload/config.def"
#undef SW_KEY
#undef SW_ALIAS
};

/* The n-th of a comma separated list. */
static void print_choice(FILE *out, const char *names, unsigned long long n)
{
	while (n--)
		names += strcspn(names, ",") + 1;
	fprintf(out, "`%.*s`", (int)strcspn(names, ",|"), names); /* its first spelling */
}

static void print_default(FILE *out, const struct key *key)
{
	switch (key->type) {
	case KEY_flag:
		print_code(out, key->value ? "true" : "false");
		break;
	case KEY_number:
		fprintf(out, "`%llu`", key->value);
		break;
	case KEY_text:
	case KEY_family:
		if (key->text[0])
			print_code(out, key->text);
		else
			fputs("empty", out);
		break;
	case KEY_choice:
		print_choice(out, key->text, key->value);
		break;
	}
}

static void print_choices(FILE *out, const char *names)
{
	for (bool first = true; *names; first = false) {
		size_t len = strcspn(names, ",");

		fputs(first ? "`" : ", `", out);
		for (size_t i = 0; i < len; i++) /* a|b: two names of one choice */
			names[i] == '|' ? fputs("` or `", out) : fputc(names[i], out);
		fputc('`', out);
		names += len + (names[len] == ',');
	}
}

static void print_range(FILE *out, const struct key *key)
{
	switch (key->type) {
	case KEY_flag:
		fputs("`true`, `false`", out);
		break;
	case KEY_number:
		fprintf(out, "%llu to %llu", key->least, key->most);
		break;
	case KEY_text:
		fprintf(out, "at most %llu bytes", key->most);
		break;
	case KEY_family:
		fprintf(out, "all together at most %llu bytes", key->most);
		break;
	case KEY_choice:
		print_choices(out, key->text);
		break;
	}
}

static void print_key(FILE *out, const struct key *key)
{
	fputs("| ", out);
	print_code(out, key->env);
	print_cell(out, type_names[key->type]);
	fputs(" | ", out);
	print_default(out, key);
	fputs(" | ", out);
	print_range(out, key);
	print_cell(out, key->doc);
	fputs(" |\n", out);
}

/* A group is what comes before the second underscore; rows are sorted, so a group is a run. */
static size_t group_len(const char *env)
{
	const char *second = strchr(env, '_');

	second = second ? strchr(second + 1, '_') : NULL;
	return second ? (size_t)(second - env) + 1 : strlen(env);
}

static void page_configuration(FILE *out)
{
	const char *group = "";
	size_t len = 0;

	fputs("Environment variables, read once when the library is loaded. Flags, choices and\n"
	      "numbers that cannot be used, and texts that are too long, leave the default and "
	      "one\n"
	      "warning on stderr. So does a name that begins with SW_ and is known neither here "
	      "nor\n"
	      "in [the names of others](others.md).\n",
	      out);
	for (size_t i = 0; i < SW_COUNT_OF(keys); i++) {
		if (group_len(keys[i].env) != len || strncmp(keys[i].env, group, len) != 0) {
			group = keys[i].env;
			len = group_len(group);
			fprintf(out, "\n## %.*s*\n", (int)len, group);
			print_head(out, "variable | type | default | range | meaning", 5);
		}
		print_key(out, &keys[i]);
	}
	fputs("\n## Other names\n\nRead when the variable itself is not set.\n", out);
	print_head(out, "name | stands for", 2);
	for (size_t i = 0; i < SW_COUNT_OF(aliases); i++)
		fprintf(out, "| `%s` | `%s` |\n", aliases[i].alias, aliases[i].env);
}

/* ---- hooks ---- */

enum hook_kind { HOOK_FD, HOOK_CALL, HOOK_PLAIN, HOOK_MANUAL };

static const char *const hook_kinds[] = {"fd", "call", "plain", "manual"};

static const struct hook {
	const char *family;
	enum hook_kind kind;
	const char *type, *name, *params, *doc;
} hooks[] = {
#define SW_HOOK_FD(family, type, name, params, args, doc)                                          \
	{#family, HOOK_FD, #type, #name, #params, doc},
#define SW_HOOK(family, type, name, params, args, doc)                                             \
	{#family, HOOK_CALL, #type, #name, #params, doc},
#define SW_HOOK_PLAIN(family, type, name, params, args, doc)                                       \
	{#family, HOOK_PLAIN, #type, #name, #params, doc},
#define SW_HOOK_MANUAL(family, type, name, params, doc)                                            \
	{#family, HOOK_MANUAL, #type, #name, #params, doc},
#define SW_HOOK_FOREIGN SW_HOOK_MANUAL
#include "hooks/hooks.def"
#undef SW_HOOK_FD
#undef SW_HOOK
#undef SW_HOOK_PLAIN
#undef SW_HOOK_MANUAL
#undef SW_HOOK_FOREIGN
};

static void print_hook(FILE *out, const struct hook *hook)
{
	size_t len = strlen(hook->type);

	fputs("| ", out);
	print_code(out, hook->name);
	print_cell(out, hook_kinds[hook->kind]);
	fprintf(out, " | `%s%s%s%s`", hook->type, hook->type[len - 1] == '*' ? "" : " ", hook->name,
		hook->params);
	print_cell(out, hook->doc);
	fputs(" |\n", out);
}

static bool family_seen(size_t before, const char *family)
{
	for (size_t i = 0; i < before; i++) {
		if (strcmp(hooks[i].family, family) == 0)
			return true;
	}
	return false;
}

static void page_hooks(FILE *out)
{
	fputs("Every symbol of the C library that the program reaches through us.\n\n"
	      "* **fd**: the first parameter is a descriptor; one that we do not know costs a "
	      "lookup.\n"
	      "* **call**: always looked at.\n"
	      "* **plain**: the body itself decides whether to look.\n"
	      "* **manual**: written by hand in `preload/exports_manual.c` or `preload/vfork.S`.\n",
	      out);
	for (size_t i = 0; i < SW_COUNT_OF(hooks); i++) {
		if (family_seen(i, hooks[i].family))
			continue;
		fprintf(out, "\n## %s\n", hooks[i].family);
		print_head(out, "symbol | shape | prototype | why", 4);
		for (size_t k = i; k < SW_COUNT_OF(hooks); k++) {
			if (strcmp(hooks[k].family, hooks[i].family) == 0)
				print_hook(out, &hooks[k]);
		}
	}
}

/* ---- tables of two columns ---- */

static void page_counters(FILE *out)
{
	fputs("What the agent counts about itself, per process.\n", out);
	print_head(out, "counter | meaning", 2);
#define SW_COUNTER(id, name, doc) print_pair(out, name, doc);
#include "preload/counters.def"
#undef SW_COUNTER
}

static void page_tallies(FILE *out)
{
	fputs("What the agent counts of the program, on its threads; the source of meters.\n", out);
	print_head(out, "tally | meaning", 2);
#define SW_TALLY(id, doc) print_pair(out, #id, doc);
#include "preload/tallies.def"
#undef SW_TALLY
}

static void page_parsers(FILE *out)
{
	fputs("Wire formats that are understood in what the program sends and receives.\n", out);
	print_head(out, "parser | what it reads", 2);
#define SW_PARSER(name, doc) print_pair(out, #name, doc);
#include "hooks/parsers.def"
#undef SW_PARSER
}

static void page_transports(FILE *out)
{
	fputs("How records leave; chosen by `SW_AGENT_PROTOCOL`.\n", out);
	print_head(out, "transport | how", 2);
#define SW_TRANSPORT(name, doc) print_pair(out, #name, doc);
#include "reporter/transports.def"
#undef SW_TRANSPORT
}

static void page_plugins(FILE *out)
{
	fputs("Objects beside `libswagent.so`, each loaded when it is used, with its libraries "
	      "inside.\n",
	      out);
	print_head(out, "plug-in | libraries inside | what it does", 3);
#define SW_PLUGIN(name, inside, doc)                                                               \
	fprintf(out, "| `libswagent-%s.so` | %s | %s |\n", #name, inside, doc);
#include "reporter/plugins.def"
#undef SW_PLUGIN
}

static const char *const protocol_names[] = {"gRPC", "HTTP", "Kafka", "file"};

static void print_kind(FILE *out, const char *name, const char *method, int messages,
		       unsigned protocols, const char *doc)
{
	const char *between = "";

	fprintf(out, "| `%s` | `%s` | %d | ", name, method, messages);
	for (size_t i = 0; i < SW_COUNT_OF(protocol_names); i++) {
		if (!(protocols >> i & 1))
			continue;
		fprintf(out, "%s%s", between, protocol_names[i]);
		between = ", ";
	}
	print_cell(out, doc);
	fputs(" |\n", out);
}

static void page_kinds(FILE *out)
{
	fputs("What is sent, in the order in which it leaves. What a protocol does not take is not "
	      "made; when somebody makes it all the same it is counted as dropped.\n",
	      out);
	print_head(out, "kind | gRPC method | most in a batch | protocols | meaning", 5);
#define SW_KIND(id, name, method, messages, protocols, doc)                                        \
	print_kind(out, name, method, messages, protocols, doc);
#define SW_KIND_COUNTED(id, name, method, messages, protocols, limit, doc)                         \
	print_kind(out, name, method, messages, protocols, doc);
#include "reporter/kinds.def"
#undef SW_KIND
#undef SW_KIND_COUNTED
}

static void page_formats(FILE *out)
{
	fputs("How the profile of a process is written; the ending of the file's name chooses.\n",
	      out);
	print_head(out, "ending | what it is", 2);
#define SW_RECORDING_FORMAT(name, id, ending, doc) print_pair(out, ending, doc);
#include "reporter/formats.def"
#undef SW_RECORDING_FORMAT
}

static void page_loops(FILE *out)
{
	fputs("How the thread of the agent waits (`SW_AGENT_LOOP`); `auto` is the first.\n", out);
	print_head(out, "loop | what it needs", 2);
#define SW_LOOP(name, doc) print_pair(out, #name, doc);
#include "reporter/loops.def"
#undef SW_LOOP
}

static void page_others(FILE *out)
{
	fputs("Environment variables that begin with `SW_` and mean nothing here, but to somebody "
	      "else; one\nthat ends with an underscore stands for all that begin so. Any other "
	      "name "
	      "that begins so and is\nnot in [configuration](configuration.md) is warned of once, "
	      "with the nearest one that is.\n",
	      out);
	print_head(out, "name | whose", 2);
#define SW_OTHER(name, doc) print_pair(out, name, doc);
#include "reporter/others.def"
#undef SW_OTHER
}

/* The environment name of the key that is in this field. */
static const char *flag_env(const char *field)
{
#define SW_ALIAS(alias, env)
#define SW_KEY(type, name, env, value, least, most, doc)                                           \
	if (strcmp(field, #name) == 0)                                                             \
		return env;
#include "preload/config.def"
#undef SW_KEY
#undef SW_ALIAS
	return "";
}

static void print_meter(FILE *out, const char *name, const char *type, const char *unit,
			const char *labels, const char *doc)
{
	fputs("| ", out);
	print_code(out, name);
	fputs(" | ", out);
	for (; *type; type++)
		fputc(*type | 0x20, out);
	print_cell(out, unit);
	print_cell(out, labels);
	print_cell(out, doc);
	fputs(" |\n", out);
}

static void page_meters(FILE *out)
{
	fputs("What is measured and sent every `SW_AGENT_METER_REPORTER_PERIOD` seconds; what is "
	      "not known is not sent. [metrics.md](../metrics.md) tells how to see it.\n\n"
	      "* **gauge**: as it is now.\n"
	      "* **counter**: since the process began, only growing.\n"
	      "* **histogram**: counters by least value.\n",
	      out);
	print_head(out, "name | type | unit | labels | meaning", 5);
#define SW_METER(id, name, type, unit, labels, doc)                                                \
	print_meter(out, name, #type, unit, labels, doc);
#include "reporter/meters.def"
#undef SW_METER
	fputs("\nWho measures, and what switches that on beside "
	      "`SW_AGENT_METER_REPORTER_ACTIVE`:\n",
	      out);
	print_head(out, "source | key | meaning", 3);
#define SW_METER_SOURCE(name, active, doc)                                                         \
	fprintf(out, "| `%s` | `%s` | %s |\n", #name, flag_env(#active), doc);
#include "reporter/meter_sources.def"
#undef SW_METER_SOURCE
}

static void page_modules(FILE *out)
{
	fputs("The parts of the agent that have a lifetime, in the order in which they start.\n",
	      out);
	print_head(out, "module | what it keeps", 2);
#define SW_MODULE(name, doc) print_pair(out, #name, doc);
#include "preload/modules.def"
#undef SW_MODULE
}

static void page_tags(FILE *out)
{
	fputs("Tags that spans bear.\n", out);
	print_head(out, "tag | value", 2);
#define SW_TAG(id, name, doc) print_pair(out, name, doc);
#include "preload/tags.def"
#undef SW_TAG
}

/* ---- pages ---- */

static const struct page {
	const char *name, *title, *table;
	void (*print)(FILE *out);
} pages[] = {
	{"configuration", "Configuration", "preload/config.def", page_configuration},
	{"counters", "Counters", "preload/counters.def", page_counters},
	{"formats", "Formats of profiles", "reporter/formats.def", page_formats},
	{"hooks", "Hooks", "hooks/hooks.def", page_hooks},
	{"kinds", "Kinds of records", "reporter/kinds.def", page_kinds},
	{"loops", "Loops", "reporter/loops.def", page_loops},
	{"meters", "Meters", "reporter/meters.def", page_meters},
	{"modules", "Modules", "preload/modules.def", page_modules},
	{"others", "Names of others", "reporter/others.def", page_others},
	{"parsers", "Parsers", "hooks/parsers.def", page_parsers},
	{"plugins", "Plug-ins", "reporter/plugins.def", page_plugins},
	{"tags", "Tags", "preload/tags.def", page_tags},
	{"tallies", "Tallies", "preload/tallies.def", page_tallies},
	{"transports", "Transports", "reporter/transports.def", page_transports},
};

static void print_page(FILE *out, const struct page *page)
{
	fprintf(out, "<!-- Generated from %s by docs/tables.c. Do not edit. -->\n# %s\n\n",
		page->table, page->title);
	page->print(out);
}

static int write_page(const char *directory, const struct page *page)
{
	char path[4096];
	FILE *out;

	if (snprintf(path, sizeof(path), "%s/%s.md", directory, page->name) >= (int)sizeof(path))
		return 1;
	out = fopen(path, "w");
	if (!out) {
		perror(path);
		return 1;
	}
	print_page(out, page);
	if (fclose(out)) {
		perror(path);
		return 1;
	}
	return 0;
}

int main(int argc, char **argv)
{
	int failed = 0;

	if (argc == 3 && strcmp(argv[1], "oap") == 0)
		return write_oap(argv[2]);
	if (argc != 2) {
		fprintf(stderr, "usage: %s NAME | DIRECTORY | oap DIRECTORY\n", argv[0]);
		return 2;
	}
	for (size_t i = 0; i < SW_COUNT_OF(pages); i++) {
		if (strcmp(pages[i].name, argv[1]) == 0) {
			print_page(stdout, &pages[i]);
			return fflush(stdout) ? 1 : 0;
		}
	}
	for (size_t i = 0; i < SW_COUNT_OF(pages); i++)
		failed |= write_page(argv[1], &pages[i]);
	return failed;
}
