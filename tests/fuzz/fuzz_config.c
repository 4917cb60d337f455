/*
 * Fuzzes what is read from an environment: the configuration, and whose image this one follows.
 * The input is a list of entries, each ended by a 0:
 *
 *   0x80..    first in an entry: one of the names below and its '='
 *   0x02 N    first in an entry: the entry before it N times more
 *   0x01 N    the byte before it 16 * N times more
 *   else      itself
 *
 * Watched: of each key the first entry counts, as with getenv, and its other names only without
 * one; its value or the default, and a complaint for each that is no good, up to a number; nothing
 * is borrowed. Names of no key are kept, up to a number, and nothing else is. What is told to an
 * image is what it then knows, and it sees no entry of ours.
 */
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

#include "preload/config.h"
#include "preload/lineage.h"

#define ENTRIES 1200
#define BYTES (192u << 10)
#define COMPLAINTS 8
#define VALUE_MAX 64
#define OURS "SW_AGENT_EXEC_OF"
/* What sw_lineage_env copies at most, by its test. */
#define TOLD_MAX 1022

int LLVMFuzzerTestOneInput(const uint8_t *at, size_t len);

/* Keys' names, their other names, and from OURS on what looks like them. */
static const char *const names[] = {
#define SW_ALIAS(alias, env) alias,
#define SW_KEY(type, field, env, value, least, most, doc) env,
#include "preload/config.def"
#undef SW_KEY
#undef SW_ALIAS
	OURS,  "LD_PRELOAD", "LD_PRELOAD=/x/libswagent.so:", "SW_AGENT",
	"SW_", "PATH",	     "SW_KAFKA_REPORTER_CONFIG_a",   "SW_KAFKA_REPORTER_CONFIG_",
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

#define SW_ALIAS(alias, env)
#define SW_KEY(type, field, env, value, least, most, doc) .field = value,
static const struct sw_config defaults = {
#include "preload/config.def"
};
#undef SW_KEY
#undef SW_ALIAS

/* A copy of each entry is what is read; it is gone when what was read is looked at. */
static struct environment {
	struct sw_bytes entry[ENTRIES], once[ENTRIES];
	size_t count, once_count; /* once: without repeated ones, or looking takes too long */
	uint8_t at[BYTES];
	struct sw_writer text;
} given;

static unsigned refused;

static void must(bool holds, const char *promise)
{
	if (!holds) {
		fprintf(stderr, "broken: %s\n", promise);
		abort();
	}
}

/* ---- the input ---- */

static uint8_t take(struct sw_bytes *in)
{
	uint8_t byte = in->len ? in->at[0] : 0;

	*in = sw_bytes_from(*in, 1);
	return byte;
}

static void add_entry(struct sw_bytes entry)
{
	if (given.count == ENTRIES)
		return;
	if (!given.count || memcmp(&entry, &given.entry[given.count - 1], sizeof(entry)) != 0)
		given.once[given.once_count++] = entry;
	given.entry[given.count++] = entry;
}

static void repeat_byte(unsigned times)
{
	for (; times && given.text.len; times--)
		sw_write(&given.text, sw_bytes(given.text.at + given.text.len - 1, 1));
}

static void decode_entry(struct sw_bytes *in)
{
	size_t from = given.text.len;
	uint8_t byte;

	if (in->at[0] >= 0x80) {
		sw_write(&given.text, sw_bytes_text(names[take(in) % SW_COUNT_OF(names)]));
		sw_write(&given.text, SW_BYTES("="));
	}
	while ((byte = take(in))) {
		if (byte != 1)
			sw_write(&given.text, sw_bytes(&byte, 1));
		else if (given.text.len > from)
			repeat_byte(take(in) * 16u);
	}
	add_entry(sw_bytes(given.at + from, given.text.len - from));
}

static void decode(struct sw_bytes in)
{
	given.count = given.once_count = 0;
	given.text = sw_writer(given.at, sizeof(given.at));
	while (in.len) {
		if (in.at[0] != 2 || given.count == 0) {
			decode_entry(&in);
			continue;
		}
		take(&in);
		for (unsigned times = take(&in); times; times--)
			add_entry(given.entry[given.count - 1]);
	}
}

/* In blocks of their exact size, for the sanitizer. */
static char **copy_environment(void)
{
	char **list = calloc(given.count + 1, sizeof(*list));

	for (size_t i = 0; i < given.count; i++)
		list[i] = strndup((const char *)given.entry[i].at, given.entry[i].len);
	return list;
}

static void free_environment(char **list)
{
	for (size_t i = 0; i < given.count; i++)
		free(list[i]);
	free(list);
}

/* ---- the configuration ---- */

static bool value_of(struct sw_bytes entry, const char *name, struct sw_bytes *ret_value)
{
	size_t len = strlen(name);

	if (entry.len <= len || entry.at[len] != '=' || memcmp(entry.at, name, len) != 0)
		return false;
	*ret_value = sw_bytes_from(entry, len + 1);
	return true;
}

static bool value_of_alias(struct sw_bytes entry, const char *env, struct sw_bytes *ret_value)
{
	for (size_t i = 0; i < SW_COUNT_OF(aliases); i++) {
		if (strcmp(aliases[i].env, env) == 0 &&
		    value_of(entry, aliases[i].alias, ret_value))
			return true;
	}
	return false;
}

static bool value_of_name(const char *name, struct sw_bytes *ret_value)
{
	for (size_t i = 0; i < given.once_count; i++) {
		if (value_of(given.once[i], name, ret_value))
			return true;
	}
	return false;
}

static bool value_of_key(const char *env, struct sw_bytes *ret_value)
{
	if (value_of_name(env, ret_value))
		return true;
	for (size_t i = 0; i < given.once_count; i++) {
		if (value_of_alias(given.once[i], env, ret_value))
			return true;
	}
	return false;
}

static bool is_name(struct sw_bytes value, const char *name, size_t len)
{
	return value.len == len && strncasecmp((const char *)value.at, name, len) == 0;
}

static void complained(const char *env, struct sw_bytes shown)
{
	const struct sw_config_complaint *c;
	bool found = false;

	shown = sw_bytes_slice(shown, 0, VALUE_MAX);
	for (unsigned i = 0; (c = sw_config_complaint(i)); i++) {
		if (strcmp(c->env, env) != 0)
			continue;
		must(!found, "a key has one complaint");
		found = true;
		must(sw_bytes_equal(sw_bytes_text(c->value), shown), "a complaint shows the value");
		must(c->want && c->want[0], "a complaint says what it should have been");
	}
	must(found || sw_config_complaint(COMPLAINTS - 1), "what is no good has a complaint");
	refused++;
}

static bool is_flag(struct sw_bytes value)
{
	return is_name(value, "true", 4) || is_name(value, "false", 5);
}

/* Of a switch's other names any may turn it on; each that is no good has a complaint. */
static bool flag_of_aliases(const char *env, bool otherwise)
{
	unsigned good = 0, on = 0, bad = 0, complaints = 0;
	const struct sw_config_complaint *c;
	struct sw_bytes value;

	for (size_t i = 0; i < SW_COUNT_OF(aliases); i++) {
		if (strcmp(aliases[i].env, env) != 0 || !value_of_name(aliases[i].alias, &value))
			continue;
		good += is_flag(value);
		on += is_name(value, "true", 4);
		bad += !is_flag(value);
	}
	for (unsigned i = 0; (c = sw_config_complaint(i)); i++)
		complaints += strcmp(c->env, env) == 0;
	must(complaints == bad || (complaints < bad && sw_config_complaint(COMPLAINTS - 1)),
	     "a switch has a complaint for each bad one of its other names");
	refused += bad;
	return good ? on > 0 : otherwise;
}

static void check_flag(const char *env, bool have, bool want)
{
	struct sw_bytes value;

	if (!value_of_name(env, &value))
		want = flag_of_aliases(env, want);
	else if (is_flag(value))
		want = value.len == 4;
	else
		complained(env, value);
	must(have == want, "a flag is its value or the default");
}

static bool is_number(struct sw_bytes value)
{
	for (size_t i = 0; i < value.len; i++) {
		if (value.at[i] < '0' || value.at[i] > '9')
			return false;
	}
	return value.len > 0 && value.len <= 18;
}

static void check_number(const char *env, uint64_t have, uint64_t want, uint64_t least,
			 uint64_t most)
{
	struct sw_bytes value;
	uint64_t n = UINT64_MAX;
	char digits[32] = "";

	if (value_of_key(env, &value)) {
		if (is_number(value))
			n = strtoull(memcpy(digits, value.at, value.len), NULL, 10);
		if (n >= least && n <= most)
			want = n;
		else
			complained(env, value);
	}
	must(have == want, "a number is its value or the default");
	must(have >= least && have <= most, "a number is in its range");
}

static int choice_of(struct sw_bytes value, const char *choices)
{
	for (int i = 0;; i++) {
		size_t len = strcspn(choices, ",|");

		if (is_name(value, choices, len))
			return i;
		if (!choices[len])
			return -1;
		i -= choices[len] == '|';
		choices += len + 1;
	}
}

static void check_choice(const char *env, int have, int want, const char *choices)
{
	struct sw_bytes value;

	if (value_of_key(env, &value)) {
		int choice = choice_of(value, choices);

		if (choice >= 0)
			want = choice;
		else
			complained(env, value);
	}
	if (strcmp(env, "SW_AGENT_LOGGING_LEVEL") == 0 &&
	    value_of_key("SW_AGENT_SW_PYTHON_CLI_DEBUG_ENABLED", &value) &&
	    sw_bytes_equal_nocase(value, SW_BYTES("true")))
		want = SW_LEVEL_DEBUG;
	must(have == want, "a choice is its value or the default");
}

static void check_text(const char *env, const char *have, const char *otherwise, size_t most)
{
	struct sw_bytes value, want = sw_bytes_text(otherwise);

	if (value_of_key(env, &value)) {
		while (value.len && strchr("\r\n", value.at[value.len - 1]))
			value.len--;
		if (value.len <= most)
			want = value;
		else
			complained(env, SW_BYTES("(not shown)"));
	}
	must(have && sw_bytes_equal(sw_bytes_text(have), want),
	     "a text is its value, or the default");
}

/* ---- names that are nobody's ---- */

/* A family's name ends in a star. */
static bool is_called(struct sw_bytes name, struct sw_bytes key)
{
	if (sw_bytes_ends(key, SW_BYTES("*")))
		return name.len >= key.len &&
		       sw_bytes_starts(name, sw_bytes_slice(key, 0, key.len - 1));
	return sw_bytes_equal(name, key);
}

static bool is_key(struct sw_bytes name)
{
	for (size_t i = 0; strcmp(names[i], OURS) != 0; i++) {
		if (is_called(name, sw_bytes_text(names[i])))
			return true;
	}
	return false;
}

/* The name of an entry that is nobody's, as it is kept. */
static bool nobodys(struct sw_bytes entry, struct sw_bytes *ret_name)
{
	size_t eq = sw_bytes_find(entry, '=');
	struct sw_bytes name = sw_bytes_slice(entry, 0, eq);

	if (eq == entry.len || !sw_bytes_starts(name, SW_BYTES("SW_")) || is_key(name))
		return false;
	*ret_name = sw_bytes_slice(name, 0, SW_CONFIG_UNKNOWN_CUT);
	return true;
}

static void check_unknown(void)
{
	struct sw_bytes name;
	unsigned count = 0;

	for (size_t i = 0; i < given.once_count && count < SW_CONFIG_UNKNOWN_MAX; i++) {
		bool before = false;

		if (!nobodys(given.once[i], &name))
			continue;
		for (unsigned k = 0; k < count; k++)
			before |= sw_bytes_equal(name, sw_bytes_text(sw_config_unknown(k)));
		if (before)
			continue;
		if (!sw_config_unknown(count))
			break; /* no room in the store */
		must(sw_bytes_equal(name, sw_bytes_text(sw_config_unknown(count))),
		     "an unknown name is kept, in its order");
		count++;
	}
	must(!sw_config_unknown(count), "there are no other unknown names");
	must(sw_config_unknown_count() >= count, "all are counted");
}

/* The entries that have room, in their order, and an empty one. */
static void check_family(const char *env, const char *have, size_t most)
{
	size_t begin = strlen(env) - 1, left = most;
	bool all = true;

	for (size_t i = 0; i < given.count; i++) {
		struct sw_bytes entry = given.entry[i];
		size_t eq = sw_bytes_find(entry, '=');

		if (eq == entry.len || eq <= begin || memcmp(entry.at, env, begin) != 0)
			continue;
		entry = sw_bytes_from(entry, begin);
		if (entry.len >= left) {
			all = false;
			continue;
		}
		must(sw_bytes_equal(sw_bytes_text(have), entry), "a family has its entries");
		have += entry.len + 1;
		left -= entry.len + 1;
	}
	must(!*have, "a family has nothing else");
	if (!all)
		complained(env, SW_BYTES("(not shown)"));
}

static void check_config(const struct sw_config *config)
{
	unsigned count = 0;

	refused = 0;
#define CHECK_flag(field, env, least, most) check_flag(env, config->field, defaults.field)
#define CHECK_number(field, env, least, most)                                                      \
	check_number(env, config->field, defaults.field, least, most)
#define CHECK_choice(field, env, least, most) check_choice(env, config->field, defaults.field, most)
#define CHECK_text(field, env, least, most) check_text(env, config->field, defaults.field, most)
#define CHECK_family(field, env, least, most) check_family(env, config->field, most)
#define SW_ALIAS(alias, env)
#define SW_KEY(type, field, env, value, least, most, doc) CHECK_##type(field, env, least, most);
#include "preload/config.def"
#undef SW_KEY
#undef SW_ALIAS
	while (sw_config_complaint(count))
		count++;
	must(count == SW_MIN(refused, COMPLAINTS), "there are no other complaints");
	check_unknown();
}

/* ---- the lineage ---- */

static bool is_lineage(struct sw_bytes value)
{
	size_t tabs = 0;

	for (size_t i = 0; i < value.len; i++)
		tabs += value.at[i] == '\t';
	return tabs == 1 && value.len < SW_LINEAGE_MAX && value.at[0] != '\t' &&
	       value.at[value.len - 1] != '\t';
}

/* What is known of the ancestor, as it stands in an entry. */
static struct sw_bytes known(void)
{
	static char at[SW_LINEAGE_MAX];
	struct sw_writer w = sw_writer(at, sizeof(at));
	struct sw_bytes instance, service;

	if (sw_lineage_of(&instance, &service)) {
		sw_write(&w, instance);
		sw_write(&w, SW_BYTES("\t"));
		sw_write(&w, service);
	}
	must(!w.cut, "a lineage has a longest");
	return sw_written(&w);
}

/* Nobody is forgotten but for somebody else, since a process has one environment. */
static void check_load(char **list, size_t *ret_count)
{
	struct sw_bytes value, want = known();
	char before[SW_LINEAGE_MAX];
	size_t count = 0;

	memcpy(before, want.at, want.len);
	want = sw_bytes(before, want.len);
	sw_lineage_load(list);
	for (size_t i = 0; i < given.count; i++) {
		if (!value_of(given.entry[i], OURS, &value)) {
			must(list[count] &&
				     sw_bytes_equal(sw_bytes_text(list[count]), given.entry[i]),
			     "the others stay, in their order");
			count++;
		} else if (is_lineage(value)) {
			want = value;
		}
	}
	must(!list[count], "ours are taken out");
	must(sw_bytes_equal(known(), want), "the ancestor is the one of the entry");
	*ret_count = count;
}

static bool names_us(const char *entry)
{
	const char *hit = strncmp(entry, "LD_PRELOAD=", 11) == 0 ? entry + 10 : NULL;

	while (hit && (hit = strstr(hit + 1, "libswagent.so"))) {
		if (!hit[13] || hit[13] == ':' || hit[13] == ' ')
			return true;
	}
	return false;
}

/* What a new image makes of it. */
static void check_told(const char *entry, const struct sw_config *config)
{
	char *copy = strdup(entry), *list[] = {copy, NULL};
	struct sw_bytes instance = {NULL, 0}, service = {NULL, 0};

	sw_lineage_load(list);
	must(!list[0] && sw_lineage_of(&instance, &service), "what is told is understood");
	must(sw_bytes_equal(instance, sw_bytes_text(config->instance_name)) &&
		     sw_bytes_equal(service, sw_bytes_text(config->service_name)),
	     "what is told is what is known");
	free(copy);
}

static void check_env(char **list, size_t count, const struct sw_config *config)
{
	char value[300];
	struct sw_lineage_env env;
	bool tell = false;

	snprintf(value, sizeof(value), "%s\t%s", config->instance_name, config->service_name);
	for (size_t i = 0; i < count; i++)
		tell |= names_us(list[i]);
	tell &= count <= TOLD_MAX && is_lineage(sw_bytes_text(value));
	sw_lineage_tell(sw_bytes_text(config->instance_name), sw_bytes_text(config->service_name));
	sw_lineage_env(list, &env);
	must(tell == (env.environment != list), "told when it should be");
	if (tell) {
		must(memcmp(env.environment, list, count * sizeof(*list)) == 0, "all is passed on");
		must(env.environment[count] && !env.environment[count + 1], "and one entry more");
		check_told(env.environment[count], config);
	}
	must(sw_lineage_done(&env) == tell, "it is known whether it was told");
}

int LLVMFuzzerTestOneInput(const uint8_t *at, size_t len)
{
	struct sw_config config;
	char **list, **original;
	size_t count;

	decode(sw_bytes(at, len));
	list = copy_environment();
	sw_config_read(list, &config);
	free_environment(list);
	check_config(&config);
	list = copy_environment();
	original = calloc(given.count + 1, sizeof(*original));
	memcpy(original, list, (given.count + 1) * sizeof(*list));
	check_load(list, &count);
	check_env(list, count, &config);
	free(list);
	free_environment(original);
	return 0;
}
