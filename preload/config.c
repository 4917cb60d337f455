/*
 * Reads the configuration table from the environment.
 *
 * One pass over the environment: a process without SW_* variables pays a prefix comparison per
 * variable and nothing else. Runs in the constructor of a stranger's process, so: no allocation,
 * no locale, no exit. A value that cannot be used leaves the default and a complaint.
 */
#include "preload/config.h"

#include <stddef.h>

#define STORE_BYTES 28672
#define FAMILY_BYTES 8192 /* of all families together */
#define COMPLAINTS_MAX 8
#define CUT_VALUE 64

enum key_type { KEY_flag, KEY_number, KEY_text, KEY_choice, KEY_family };

struct key {
	const char *env;
	size_t env_len;
	enum key_type type;
	size_t offset;
	uint64_t least, most; /* number; text: most = longest; family: bytes of all */
	const char *names;    /* choice: comma separated, in the order of the enum */
};

#define KEY_ROW_flag(field, env, least, most)                                                      \
	{                                                                                          \
		env, sizeof(env) - 1, KEY_flag, offsetof(struct sw_config, field), 0, 1, NULL      \
	}
#define KEY_ROW_number(field, env, least, most)                                                    \
	{                                                                                          \
		env, sizeof(env) - 1, KEY_number, offsetof(struct sw_config, field), least, most,  \
			NULL                                                                       \
	}
#define KEY_ROW_text(field, env, least, most)                                                      \
	{                                                                                          \
		env, sizeof(env) - 1, KEY_text, offsetof(struct sw_config, field), least, most,    \
			NULL                                                                       \
	}
#define KEY_ROW_choice(field, env, type, names)                                                    \
	{                                                                                          \
		env, sizeof(env) - 1, KEY_choice, offsetof(struct sw_config, field), 0, 0, names   \
	}

#define KEY_ROW_family(field, env, least, most)                                                    \
	{                                                                                          \
		env, sizeof(env) - 1, KEY_family, offsetof(struct sw_config, field), least, most,  \
			NULL                                                                       \
	}

static const struct key keys[] = {
#define SW_ALIAS(alias, env)
#define SW_KEY(type, field, env, value, least, most, doc) KEY_ROW_##type(field, env, least, most),
#include "preload/config.def"
#undef SW_KEY
#undef SW_ALIAS
};

static const struct alias {
	const char *alias;
	size_t alias_len;
	const char *env;
} aliases[] = {
#define SW_ALIAS(alias, env) {alias, sizeof(alias) - 1, env},
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
struct sw_config sw_config = {
#include "preload/config.def"
};
#undef SW_KEY
#undef SW_ALIAS

static char store[STORE_BYTES];
static size_t store_used;
static char families[FAMILY_BYTES + 1]; /* entries of the family, then an empty one */
static size_t families_used;
static struct sw_config_complaint complaints[COMPLAINTS_MAX];
static unsigned complaint_count;
static enum { UNSEEN, BY_NAME, BY_ALIAS } seen[SW_COUNT_OF(keys)];
static const char *unknown[SW_CONFIG_UNKNOWN_MAX];
static unsigned unknown_kept, unknown_count;

/* A NUL-terminated copy in the store, or NULL when it is full. */
static const char *keep(struct sw_bytes text)
{
	char *at = store + store_used;

	if (text.len >= STORE_BYTES - store_used)
		return NULL;
	if (text.len)
		memcpy(at, text.at, text.len);
	at[text.len] = 0;
	store_used += text.len + 1;
	return at;
}

static void complain(const struct key *key, struct sw_bytes value, const char *want)
{
	const char *copy = keep(sw_bytes_slice(value, 0, CUT_VALUE));

	if (complaint_count < COMPLAINTS_MAX)
		complaints[complaint_count++] =
			(struct sw_config_complaint){key->env, copy ? copy : "", want};
}

const struct sw_config_complaint *sw_config_complaint(unsigned i)
{
	return i < complaint_count ? &complaints[i] : NULL;
}

static bool parse_flag(struct sw_bytes value, bool *ret_flag)
{
	if (sw_bytes_equal_nocase(value, SW_BYTES("true")))
		*ret_flag = true;
	else if (sw_bytes_equal_nocase(value, SW_BYTES("false")))
		*ret_flag = false;
	else
		return false;
	return true;
}

static bool parse_number(struct sw_bytes value, uint64_t *ret_number)
{
	uint64_t n = 0;

	if (value.len == 0 || value.len > 18) /* 18 digits cannot overflow */
		return false;
	for (size_t i = 0; i < value.len; i++) {
		if (value.at[i] < '0' || value.at[i] > '9')
			return false;
		n = n * 10 + (value.at[i] - '0');
	}
	*ret_number = n;
	return true;
}

/* Names are separated by commas, other spellings of one by bars. */
static bool parse_choice(struct sw_bytes value, const char *names, int *ret_choice)
{
	struct sw_bytes rest = sw_bytes_text(names);

	for (int i = 0; rest.len;) {
		size_t end = SW_MIN(sw_bytes_find(rest, ','), sw_bytes_find(rest, '|'));

		if (sw_bytes_equal_nocase(value, sw_bytes_slice(rest, 0, end))) {
			*ret_choice = i;
			return true;
		}
		i += end < rest.len && rest.at[end] == ',';
		rest = sw_bytes_from(rest, end + 1);
	}
	return false;
}

static void set_number(const struct key *key, struct sw_bytes value, void *field)
{
	uint64_t n;

	if (!parse_number(value, &n))
		complain(key, value, "a whole number");
	else if (n < key->least || n > key->most)
		complain(key, value, "a number within its range (docs/reference/configuration.md)");
	else
		*(uint64_t *)field = n;
}

/* Secrets come from files, which end in a line end: in a header it would end that, or the call. */
static struct sw_bytes without_line_end(struct sw_bytes text)
{
	while (text.len && (text.at[text.len - 1] == '\n' || text.at[text.len - 1] == '\r'))
		text.len--;
	return text;
}

static void set_text(const struct key *key, struct sw_bytes value, void *field)
{
	struct sw_bytes text = without_line_end(value);
	const char *copy = text.len <= key->most ? keep(text) : NULL;

	if (copy)
		*(const char **)field = copy;
	else
		complain(key, SW_BYTES("(not shown)"), "a text short enough");
}

/* `entry` without the common beginning. What has no room is left out whole, said once. */
static void add_to_family(const struct key *key, struct sw_bytes entry, void *field)
{
	size_t room = SW_MIN(key->most, FAMILY_BYTES) - families_used;

	if (entry.len < room) {
		memcpy(families + families_used, entry.at, entry.len);
		families_used += entry.len + 1;
		*(const char **)field = families;
	} else if (!seen[key - keys]) {
		seen[key - keys] = BY_NAME;
		complain(key, SW_BYTES("(not shown)"), "short enough, all together");
	}
}

static void set(const struct key *key, struct sw_bytes value, struct sw_config *config)
{
	void *field = (char *)config + key->offset;

	switch (key->type) {
	case KEY_flag:
		if (!parse_flag(value, field))
			complain(key, value, "true or false");
		break;
	case KEY_number:
		set_number(key, value, field);
		break;
	case KEY_choice:
		if (!parse_choice(value, key->names, field))
			complain(key, value, key->names);
		break;
	case KEY_text:
		set_text(key, value, field);
		break;
	case KEY_family:
		break;
	}
}

/* Of a family: what its name says before the star. */
static struct sw_bytes beginning(const struct key *key)
{
	return sw_bytes(key->env, key->env_len - 1);
}

/* Lengths first: most names differ there, and this is what the start of each program waits for. */
static bool is_name(struct sw_bytes name, const char *text, size_t len)
{
	return name.len == len && memcmp(name.at, text, len) == 0;
}

static bool is_called(const struct key *key, struct sw_bytes name)
{
	if (SW_UNLIKELY(key->type == KEY_family))
		return name.len >= key->env_len && sw_bytes_starts(name, beginning(key));
	return is_name(name, key->env, key->env_len);
}

static const struct key *find(struct sw_bytes name)
{
	for (size_t i = 0; i < SW_COUNT_OF(keys); i++) {
		if (is_called(&keys[i], name))
			return &keys[i];
	}
	return NULL;
}

static const struct alias *find_alias(struct sw_bytes name)
{
	for (size_t i = 0; i < SW_COUNT_OF(aliases); i++) {
		if (is_name(name, aliases[i].alias, aliases[i].alias_len))
			return &aliases[i];
	}
	return NULL;
}

/* What a key's name begins with. */
static bool perhaps_ours(const char *line)
{
	return line[0] == 'S' &&
	       (strncmp(line, "SW_", 3) == 0 || strncmp(line, "SSL_CERT_", 9) == 0);
}

/* NAME=VALUE whose name begins as those of keys do. */
static bool cut_entry(const char *entry, struct sw_bytes *ret_name, struct sw_bytes *ret_value)
{
	struct sw_bytes line;
	size_t eq;

	if (!perhaps_ours(entry))
		return false;
	line = sw_bytes_text(entry);
	eq = sw_bytes_find(line, '=');
	if (eq == line.len)
		return false;
	*ret_name = sw_bytes_slice(line, 0, eq);
	*ret_value = sw_bytes_from(line, eq + 1);
	return true;
}

/* The first of two entries counts, as with getenv, be it good or bad. */
static void read_names(char *const *environment, struct sw_config *config)
{
	for (; *environment; environment++) {
		struct sw_bytes name, value;
		const struct key *key;

		if (!cut_entry(*environment, &name, &value) || !(key = find(name)))
			continue;
		if (key->type == KEY_family) {
			add_to_family(
				key, sw_bytes_from(sw_bytes_text(*environment), beginning(key).len),
				(char *)config + key->offset);
		} else if (!seen[key - keys]) {
			seen[key - keys] = BY_NAME;
			set(key, value, config);
		}
	}
}

/* Of several other names for one switch any may turn it on: the frameworks that they are named for
 * are one to us, and who wanted it for one of them shall have it. */
static void set_switch(const struct key *key, struct sw_bytes value, struct sw_config *config)
{
	bool *field = (bool *)((char *)config + key->offset);
	bool before = seen[key - keys] == BY_ALIAS && *field, on;

	if (!parse_flag(value, &on)) {
		set(key, value, config); /* complains */
		return;
	}
	*field = on || before;
	seen[key - keys] = BY_ALIAS;
}

/* Of keys that are not set themselves. Of two entries of one name the first counts here, too. */
static void read_aliases(char *const *environment, struct sw_config *config)
{
	bool had[SW_COUNT_OF(aliases)] = {false};

	for (; *environment; environment++) {
		struct sw_bytes name, value;
		const struct alias *alias;
		const struct key *key;

		if (!cut_entry(*environment, &name, &value) || !(alias = find_alias(name)) ||
		    had[alias - aliases])
			continue;
		had[alias - aliases] = true;
		key = find(sw_bytes_text(alias->env));
		if (key->type == KEY_flag && seen[key - keys] != BY_NAME) {
			set_switch(key, value, config);
		} else if (!seen[key - keys]) {
			seen[key - keys] = BY_ALIAS;
			set(key, value, config);
		}
	}
}

static bool is_noted(struct sw_bytes name)
{
	for (unsigned i = 0; i < unknown_kept; i++) {
		if (sw_bytes_equal(name, sw_bytes_text(unknown[i])))
			return true;
	}
	return false;
}

/* After the first one that is not kept, none is. */
static void note_unknown(struct sw_bytes name)
{
	const char *copy = NULL;

	name = sw_bytes_slice(name, 0, SW_CONFIG_UNKNOWN_CUT);
	if (is_noted(name))
		return;
	if (unknown_kept == unknown_count && unknown_kept < SW_CONFIG_UNKNOWN_MAX)
		copy = keep(name);
	if (copy)
		unknown[unknown_kept++] = copy;
	unknown_count++;
}

/* Last, so that no text lacks the room. Who else they may belong to is looked up by our thread. */
static void note_all_unknown(char *const *environment)
{
	for (; *environment; environment++) {
		struct sw_bytes name, value;

		if (strncmp(*environment, "SW_", 3) == 0 && /* others have a life of their own */
		    cut_entry(*environment, &name, &value) && !find(name) && !find_alias(name))
			note_unknown(name);
	}
}

const char *sw_config_unknown(unsigned i)
{
	return i < unknown_kept ? unknown[i] : NULL;
}

unsigned sw_config_unknown_count(void)
{
	return unknown_count;
}

bool sw_config_given(const void *field)
{
	for (size_t i = 0; i < SW_COUNT_OF(keys); i++) {
		if ((const char *)&sw_config + keys[i].offset == field)
			return seen[i];
	}
	return false;
}

void sw_config_read(char *const *environment, struct sw_config *ret_config)
{
	store_used = 0;
	memset(families, 0, families_used); /* not pages that nobody has touched */
	families_used = 0;
	complaint_count = 0;
	unknown_kept = unknown_count = 0;
	memset(seen, 0, sizeof(seen));
	*ret_config = defaults;
	if (!environment)
		return;
	read_names(environment, ret_config);
	read_aliases(environment, ret_config);
	note_all_unknown(environment);
	if (sw_bytes_equal_nocase(sw_bytes_text(ret_config->cli_debug), SW_BYTES("true")))
		ret_config->log_level = SW_LEVEL_DEBUG;
}
