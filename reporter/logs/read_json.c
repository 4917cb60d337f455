/*
 * Lines that are JSON objects; see read.h.
 *
 * A walk over the text that keeps nothing but where it is: depth is bounded, numbers and escapes
 * are looked at as far as a validator must. Values are found by their path, keys joined by dots, in
 * a table; the first row of a fact that has a value wins over later rows, whatever their order in
 * the line.
 */
#include "reporter/logs/read.h"

#define DEPTH_MAX 32
#define PATH_MAX_BYTES 64

enum fact { FACT_LEVEL, FACT_LOGGER, FACT_THREAD, FACT_TIME, FACT_COUNT };

/* In the order of belief. */
static const struct {
	const char *path;
	enum fact fact;
} paths[] = {
	{"record.level.name", FACT_LEVEL}, /* loguru's serialize */
	{"level", FACT_LEVEL},
	{"levelname", FACT_LEVEL},
	{"severity", FACT_LEVEL},
	{"log.level", FACT_LEVEL},
	{"log_level", FACT_LEVEL},
	{"loglevel", FACT_LEVEL},
	{"lvl", FACT_LEVEL},
	{"@level", FACT_LEVEL},
	{"record.name", FACT_LOGGER},
	{"logger", FACT_LOGGER},
	{"logger_name", FACT_LOGGER},
	{"loggerName", FACT_LOGGER},
	{"log.logger", FACT_LOGGER},
	{"name", FACT_LOGGER},
	{"record.thread.name", FACT_THREAD},
	{"thread", FACT_THREAD},
	{"threadName", FACT_THREAD},
	{"thread_name", FACT_THREAD},
	{"process.thread.name", FACT_THREAD},
	{"record.time.timestamp", FACT_TIME},
	{"timestamp", FACT_TIME},
	{"@timestamp", FACT_TIME},
	{"time", FACT_TIME},
	{"ts", FACT_TIME},
	{"t", FACT_TIME},
};

struct walk {
	struct sw_bytes left;
	unsigned depth;
	uint8_t path[PATH_MAX_BYTES]; /* of the value that is being read */
	size_t path_len;	      /* beyond the array: nothing is found there */
	size_t row[FACT_COUNT];	      /* which row each fact is from; beyond the table: none */
	struct sw_bytes found[FACT_COUNT];
};

static uint8_t peek(const struct walk *w)
{
	return w->left.len ? w->left.at[0] : 0;
}

static void skip(struct walk *w, size_t n)
{
	w->left = sw_bytes_from(w->left, n);
}

static void skip_space(struct walk *w)
{
	while (w->left.len &&
	       (peek(w) == ' ' || peek(w) == '\t' || peek(w) == '\r' || peek(w) == '\n'))
		skip(w, 1);
}

static bool take(struct walk *w, uint8_t c)
{
	skip_space(w);
	if (!w->left.len || peek(w) != c)
		return false;
	skip(w, 1);
	return true;
}

static bool is_hex(uint8_t c)
{
	return (c >= '0' && c <= '9') || (sw_lower(c) >= 'a' && sw_lower(c) <= 'f');
}

/* After a backslash: how long the escape is, 0: it is none. */
static size_t escape_len(struct sw_bytes text)
{
	if (text.len && memchr("\"\\/bfnrt", text.at[0], 8))
		return 1;
	if (text.len < 5 || text.at[0] != 'u')
		return 0;
	for (size_t i = 1; i < 5; i++) {
		if (!is_hex(text.at[i]))
			return 0;
	}
	return 5;
}

/* What is between the quotes, as it stands there. *ret_plain: nothing in it is escaped. */
static bool take_string(struct walk *w, struct sw_bytes *ret_text, bool *ret_plain)
{
	const uint8_t *from;

	*ret_plain = true;
	if (!take(w, '"'))
		return false;
	from = w->left.at;
	while (w->left.len && peek(w) != '"') {
		size_t len = 1;

		if (peek(w) < 0x20)
			return false;
		if (peek(w) == '\\') {
			len = escape_len(sw_bytes_from(w->left, 1));
			if (!len++)
				return false;
			*ret_plain = false;
		}
		skip(w, len);
	}
	*ret_text = sw_bytes(from, (size_t)(w->left.at - from));
	return take(w, '"');
}

/* Something of letters, digits and signs; a number is not looked at closer unless it is wanted. */
static bool take_word(struct walk *w, struct sw_bytes *ret_text)
{
	size_t len = 0;

	while (len < w->left.len &&
	       (is_hex(w->left.at[len]) || memchr("+-.EaefInltruNy", w->left.at[len], 15)))
		len++;
	*ret_text = sw_bytes_slice(w->left, 0, len);
	skip(w, len);
	return len > 0;
}

static void note(struct walk *w, struct sw_bytes value)
{
	struct sw_bytes path = sw_bytes(w->path, w->path_len);

	if (w->path_len > sizeof(w->path) || !value.len || value.len > SW_FACT_MAX)
		return;
	for (size_t i = 0; i < SW_COUNT_OF(paths); i++) {
		if (i < w->row[paths[i].fact] &&
		    sw_bytes_equal(path, sw_bytes_text(paths[i].path))) {
			w->row[paths[i].fact] = i;
			w->found[paths[i].fact] = value;
		}
	}
}

static size_t push(struct walk *w, struct sw_bytes key)
{
	size_t before = w->path_len;
	size_t dot = before ? 1 : 0;

	if (before + dot + key.len > sizeof(w->path)) {
		w->path_len = sizeof(w->path) + 1;
		return before;
	}
	w->path[before] = '.';
	memcpy(w->path + before + dot, key.at, key.len);
	w->path_len = before + dot + key.len;
	return before;
}

static bool take_value(struct walk *w);

static bool take_member(struct walk *w)
{
	struct sw_bytes key;
	size_t before;
	bool plain, ok;

	if (!take_string(w, &key, &plain) || !take(w, ':'))
		return false;
	before = w->path_len;
	if (before <= sizeof(w->path))
		push(w, key);
	ok = take_value(w);
	w->path_len = before;
	return ok;
}

static bool take_element(struct walk *w)
{
	size_t before = w->path_len;
	bool ok;

	w->path_len = sizeof(w->path) + 1; /* nothing in a list is of interest */
	ok = take_value(w);
	w->path_len = before;
	return ok;
}

static bool take_many(struct walk *w, bool (*one)(struct walk *w), uint8_t end)
{
	bool ok = true;

	if (++w->depth > DEPTH_MAX)
		return false;
	if (!take(w, end)) {
		do {
			ok = one(w);
		} while (ok && take(w, ','));
		ok = ok && take(w, end);
	}
	w->depth--;
	return ok;
}

static bool take_value(struct walk *w)
{
	struct sw_bytes text;
	bool plain = true;

	skip_space(w);
	switch (peek(w)) {
	case '{':
		skip(w, 1);
		return take_many(w, take_member, '}');
	case '[':
		skip(w, 1);
		return take_many(w, take_element, ']');
	case '"':
		if (!take_string(w, &text, &plain))
			return false;
		break;
	default:
		if (!take_word(w, &text))
			return false;
	}
	if (plain)
		note(w, text);
	return true;
}

/* ---- what was found ---- */

/* Numbers as bunyan and pino use them (10 trace, 30 info, 50 error), which are Python's too. */
static bool level_of_number(struct sw_bytes text, struct sw_log_facts *facts)
{
	static const char *const word[] = {"TRACE", "DEBUG", "INFO", "WARN", "ERROR", "FATAL"};

	if (text.len != 2 || text.at[1] != '0' || text.at[0] < '1' || text.at[0] > '6')
		return false;
	facts->level = sw_bytes_text(word[text.at[0] - '1']);
	return sw_log_level(facts->level, &facts->severity);
}

/* Seconds with or without a fraction, or milliseconds, since 1970. */
static bool time_of_number(struct sw_bytes text, int64_t *ret_ms)
{
	size_t whole = 0;
	int64_t n = 0;

	for (; whole < text.len && text.at[whole] >= '0' && text.at[whole] <= '9'; whole++)
		n = whole < 15 ? n * 10 + (text.at[whole] - '0') : n;
	if (whole == 13 && (whole == text.len || text.at[whole] == '.')) {
		*ret_ms = n;
		return true;
	}
	if (whole != 10 || (whole < text.len && text.at[whole] != '.'))
		return false;
	n *= 1000;
	for (size_t i = whole + 1, unit = 100; i < text.len && unit; i++, unit /= 10) {
		if (text.at[i] < '0' || text.at[i] > '9')
			return false;
		n += (text.at[i] - '0') * (int64_t)unit;
	}
	*ret_ms = n;
	return true;
}

bool sw_log_read_json(struct sw_bytes line, struct sw_log_facts *facts)
{
	struct walk w = {.left = line};

	for (int i = 0; i < FACT_COUNT; i++)
		w.row[i] = SW_COUNT_OF(paths);
	if (!take(&w, '{') || !take_many(&w, take_member, '}'))
		return false;
	skip_space(&w);
	if (w.left.len)
		return false;
	*facts = (struct sw_log_facts){.layout = "json", .json = true};
	facts->logger = w.found[FACT_LOGGER];
	facts->thread = w.found[FACT_THREAD];
	facts->level = w.found[FACT_LEVEL];
	facts->levelled = sw_log_level(facts->level, &facts->severity) ||
			  level_of_number(facts->level, facts);
	if (!facts->levelled)
		facts->level.len = 0;
	if (!sw_log_time(w.found[FACT_TIME], &facts->time_ms) &&
	    !time_of_number(w.found[FACT_TIME], &facts->time_ms))
		facts->time_ms = 0;
	return true;
}
