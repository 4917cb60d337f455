/*
 * Reading lines of plain text by the table layouts.def; see read.h.
 *
 * A pattern is matched from left to right without going back: what stands for a name ends at the
 * next character of the pattern, or at a space. So a line costs at most its length for each row,
 * and most rows end at their first character. Nearly all rows ask for the time at the same place,
 * and half of them for the level behind it: both are read once for a line and kept (struct seen).
 */
#include "reporter/logs/read.h"

struct layout {
	const char *name, *pattern, *level;
};

static const struct layout layouts[] = {
#define SW_LAYOUT(id, pattern, level, example, doc) {#id, pattern, level},
#include "reporter/logs/layouts.def"
#undef SW_LAYOUT
};

/* ---- levels ---- */

#define WORD(text, severity)                                                                       \
	{                                                                                          \
		text, sizeof(text) - 1, severity                                                   \
	}

static const struct {
	char word[15]; /* in small letters */
	uint8_t len;
	enum sw_level severity;
} words[] = {
	WORD("trace", SW_LEVEL_DEBUG),	   WORD("debug", SW_LEVEL_DEBUG),
	WORD("info", SW_LEVEL_INFO),	   WORD("information", SW_LEVEL_INFO),
	WORD("notice", SW_LEVEL_INFO),	   WORD("success", SW_LEVEL_INFO),
	WORD("log", SW_LEVEL_INFO),	   WORD("warn", SW_LEVEL_WARNING),
	WORD("warning", SW_LEVEL_WARNING), WORD("err", SW_LEVEL_ERROR),
	WORD("error", SW_LEVEL_ERROR),	   WORD("severe", SW_LEVEL_ERROR),
	WORD("crit", SW_LEVEL_CRITICAL),   WORD("critical", SW_LEVEL_CRITICAL),
	WORD("fatal", SW_LEVEL_CRITICAL),  WORD("alert", SW_LEVEL_CRITICAL),
	WORD("emerg", SW_LEVEL_CRITICAL),  WORD("emergency", SW_LEVEL_CRITICAL),
	WORD("panic", SW_LEVEL_CRITICAL),
};

#undef WORD

bool sw_log_level(struct sw_bytes word, enum sw_level *ret_severity)
{
	uint8_t first = word.len ? sw_lower(word.at[0]) : 0;

	for (size_t i = 0; i < SW_COUNT_OF(words); i++) {
		if (words[i].len == word.len && (uint8_t)words[i].word[0] == first &&
		    sw_bytes_equal_nocase(word, sw_bytes(words[i].word, word.len))) {
			*ret_severity = words[i].severity;
			return true;
		}
	}
	return false;
}

enum sw_level sw_log_severity(unsigned priority, struct sw_bytes *ret_word)
{
	static const struct {
		const char *word;
		enum sw_level severity;
	} of[8] = {
		{"EMERGENCY", SW_LEVEL_CRITICAL}, {"ALERT", SW_LEVEL_CRITICAL},
		{"CRITICAL", SW_LEVEL_CRITICAL},  {"ERROR", SW_LEVEL_ERROR},
		{"WARNING", SW_LEVEL_WARNING},	  {"NOTICE", SW_LEVEL_INFO},
		{"INFO", SW_LEVEL_INFO},	  {"DEBUG", SW_LEVEL_DEBUG},
	};

	*ret_word = sw_bytes_text(of[priority % 8].word);
	return of[priority % 8].severity;
}

/* ---- times ---- */

static bool is_digit(uint8_t c)
{
	return c >= '0' && c <= '9';
}

static bool is_letter(uint8_t c)
{
	return (uint8_t)((c | 0x20) - 'a') < 26;
}

/* 0 is a digit, A a letter, t the T or the space before a time, everything else itself. */
static bool fits(struct sw_bytes text, const char *shape)
{
	for (size_t i = 0; shape[i]; i++) {
		uint8_t c = i < text.len ? text.at[i] : 0;

		if (shape[i] == '0'   ? !is_digit(c)
		    : shape[i] == 'A' ? !is_letter(c)
		    : shape[i] == 't' ? c != 'T' && c != ' '
				      : c != (uint8_t)shape[i])
			return false;
	}
	return true;
}

/* "Z", "+02:00", "+0200", perhaps after a space: how long. */
static size_t zone_len(struct sw_bytes text)
{
	size_t space = text.len && text.at[0] == ' ';
	struct sw_bytes zone = sw_bytes_from(text, space);

	if (zone.len && zone.at[0] == 'Z' && !space)
		return 1;
	if (zone.len && (zone.at[0] == '+' || zone.at[0] == '-')) {
		if (fits(sw_bytes_from(zone, 1), "00:00"))
			return space + 6;
		if (fits(sw_bytes_from(zone, 1), "0000"))
			return space + 5;
	}
	return 0;
}

static size_t fraction_len(struct sw_bytes text)
{
	size_t len = 1;

	if (text.len < 2 || (text.at[0] != '.' && text.at[0] != ',') || !is_digit(text.at[1]))
		return 0;
	while (len < text.len && is_digit(text.at[len]))
		len++;
	return len;
}

/* How long the time at the start of the text is; 0: there is none. */
static size_t time_len(struct sw_bytes text)
{
	static const char *const shapes[] = {
		"0000-00-00t00:00:00",
		"0000/00/00 00:00:00",
		"00/AAA/0000:00:00:00",
		"00/AAA/0000 00:00:00", /* of Python's http.server */
		"00/00/0000 00:00:00",
		"00 AAA 0000 00:00:00",
		"AAA 00 00:00:00",
		"AAA  0 00:00:00",
		"00:00:00",
	};

	if (!text.len || (!is_digit(text.at[0]) && !is_letter(text.at[0])))
		return 0;
	for (size_t i = 0; i < SW_COUNT_OF(shapes); i++) {
		if (fits(text, shapes[i])) {
			size_t len = strlen(shapes[i]);

			len += fraction_len(sw_bytes_from(text, len));
			return len + zone_len(sw_bytes_from(text, len));
		}
	}
	return 0;
}

static int64_t number(struct sw_bytes text, size_t from, size_t digits)
{
	int64_t n = 0;

	for (size_t i = from; i < from + digits; i++)
		n = n * 10 + (text.at[i] - '0');
	return n;
}

/* Days since 1970 of a date of the calendar that is in use. */
static int64_t days(int64_t year, int64_t month, int64_t day)
{
	int64_t shifted = month <= 2 ? year - 1 : year, era = shifted / 400;
	int64_t of_era = shifted - era * 400;
	int64_t of_year = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;

	return era * 146097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719468;
}

bool sw_log_time(struct sw_bytes text, int64_t *ret_ms)
{
	size_t fraction, zone, at = 19;
	int64_t ms, minutes = 0;

	if (!fits(text, "0000-00-00t00:00:00"))
		return false;
	fraction = fraction_len(sw_bytes_from(text, at));
	zone = zone_len(sw_bytes_from(text, at + fraction));
	if (!zone || at + fraction + zone != text.len)
		return false;
	ms = days(number(text, 0, 4), number(text, 5, 2), number(text, 8, 2)) * 86400000;
	ms += number(text, 11, 2) * 3600000 + number(text, 14, 2) * 60000 +
	      number(text, 17, 2) * 1000;
	for (size_t i = 1, unit = 100; i < fraction && unit; i++, unit /= 10)
		ms += (text.at[at + i] - '0') * (int64_t)unit;
	if (text.at[text.len - 1] != 'Z') {
		size_t from = at + fraction + zone - (text.at[text.len - 3] == ':' ? 6 : 5);

		minutes = number(text, from + 1, 2) * 60 + number(text, text.len - 2, 2);
		minutes = text.at[from] == '-' ? -minutes : minutes;
	}
	*ret_ms = ms - minutes * 60000;
	return true;
}

/* ---- patterns ---- */

/* Where a name ends: at `stop` (0: nowhere), or at a space unless spaces belong to it. */
static size_t name_len(struct sw_bytes text, char stop, bool spaces)
{
	size_t len = 0;

	while (len < text.len && text.at[len] != (uint8_t)stop &&
	       (spaces || (text.at[len] != ' ' && text.at[len] != '\t')))
		len++;
	return len < text.len && len <= SW_FACT_MAX ? len : 0;
}

static size_t letters_len(struct sw_bytes text)
{
	size_t len = 0;

	while (len < text.len && is_letter(text.at[len]))
		len++;
	return len < text.len && (is_digit(text.at[len]) || text.at[len] == '_') ? 0 : len;
}

static bool in_capitals(struct sw_bytes word)
{
	for (size_t i = 0; i < word.len; i++) {
		if (word.at[i] >= 'a')
			return false;
	}
	return true;
}

/* What was read of a line already: rows ask for the same again and again. */
struct seen {
	const uint8_t *time, *level; /* where; NULL: nowhere yet */
	size_t time_len;
	struct sw_bytes word; /* of a level; empty: there is none */
	enum sw_level severity;
};

static size_t see_time(struct sw_bytes text, struct seen *seen)
{
	if (seen->time != text.at) {
		seen->time = text.at;
		seen->time_len = time_len(text);
	}
	return seen->time_len;
}

/* Is there the word of a level? */
static bool see_level(struct sw_bytes text, struct seen *seen)
{
	if (seen->level != text.at) {
		seen->level = text.at;
		seen->word = sw_bytes_slice(text, 0, letters_len(text));
		if (!sw_log_level(seen->word, &seen->severity))
			seen->word.len = 0;
	}
	return seen->word.len;
}

static size_t level_len(struct sw_bytes text, bool capitals, struct seen *seen,
			struct sw_log_facts *facts)
{
	if (!see_level(text, seen) || (capitals && !in_capitals(seen->word)))
		return 0;
	facts->levelled = true;
	facts->severity = seen->severity;
	facts->level = seen->word;
	return seen->word.len;
}

/* The letter of klog, and month and day after it. */
static size_t klog_len(struct sw_bytes text, struct sw_log_facts *facts)
{
	static const char *const word[] = {"INFO", "WARNING", "ERROR", "FATAL"};
	static const char letters[] = "IWEF";
	const char *letter = text.len ? memchr(letters, text.at[0], 4) : NULL;

	if (!letter || !fits(sw_bytes_from(text, 1), "0000"))
		return 0;
	facts->level = sw_bytes_text(word[letter - letters]);
	facts->levelled = sw_log_level(facts->level, &facts->severity);
	return 5;
}

static size_t digits_len(struct sw_bytes text)
{
	size_t len = 0;

	while (len < text.len && is_digit(text.at[len]))
		len++;
	return len;
}

static struct sw_bytes trimmed(struct sw_bytes text)
{
	while (text.len && text.at[0] == ' ')
		text = sw_bytes_from(text, 1);
	while (text.len && text.at[text.len - 1] == ' ')
		text.len--;
	return text;
}

/* One element of a pattern: how many bytes it takes, 0 when it does not fit. */
static size_t element_len(const char *element, struct sw_bytes text, struct seen *seen,
			  struct sw_log_facts *facts)
{
	char kind = element[0], stop = element[1];
	size_t len;

	switch (kind) {
	case 'T':
		return see_time(text, seen);
	case 'L':
	case 'U':
		return level_len(text, kind == 'U', seen, facts);
	case 'N':
		len = name_len(text, stop, false);
		facts->logger = sw_bytes_slice(text, 0, len);
		return len;
	case 't':
		len = name_len(text, stop, true);
		facts->thread = trimmed(sw_bytes_slice(text, 0, len));
		return len;
	case 'd':
		return digits_len(text);
	case 'K':
		return klog_len(text, facts);
	default:
		return name_len(text, stop, false);
	}
}

static bool skip_spaces(struct sw_bytes *text)
{
	struct sw_bytes before = *text;

	while (text->len && text->at[0] == ' ')
		*text = sw_bytes_from(*text, 1);
	return text->len < before.len;
}

static bool matches(const struct layout *layout, struct sw_bytes text, struct seen *seen,
		    struct sw_log_facts *facts)
{
	for (const char *p = layout->pattern; *p; p++) {
		size_t len = 1;

		if (*p == ' ') {
			if (!skip_spaces(&text))
				return false;
			continue;
		}
		if (p[0] == '%' && p[1] == '*')
			break;
		if (*p == '%') {
			len = element_len(++p, text, seen, facts);
		} else if (!text.len || text.at[0] != (uint8_t)*p) {
			return false;
		}
		if (!len)
			return false;
		text = sw_bytes_from(text, len);
	}
	return true;
}

/* ---- key=value ---- */

/* The value of a key that stands at the start of a word, within the first bytes. */
static struct sw_bytes value_of(struct sw_bytes line, struct sw_bytes key)
{
	struct sw_bytes text = sw_bytes_slice(line, 0, 512), value;

	for (; text.len > key.len; text = sw_bytes_from(text, sw_bytes_find(text, ' ') + 1)) {
		if (text.at[0] != key.at[0] || !sw_bytes_starts(text, key))
			continue;
		value = sw_bytes_from(text, key.len);
		if (value.at[0] == '"')
			return sw_bytes_slice(value, 1,
					      1 + sw_bytes_find(sw_bytes_from(value, 1), '"'));
		return sw_bytes_slice(value, 0, sw_bytes_find(value, ' '));
	}
	return sw_bytes(NULL, 0);
}

static bool read_pairs(struct sw_bytes line, struct sw_log_facts *facts)
{
	struct sw_bytes level = value_of(line, SW_BYTES("level="));

	if (!level.len)
		level = value_of(line, SW_BYTES("lvl="));
	if (!level.len || !sw_log_level(level, &facts->severity))
		return false;
	facts->levelled = true;
	facts->level = level;
	facts->layout = "pairs";
	facts->logger = value_of(line, SW_BYTES("logger="));
	if (facts->logger.len > SW_FACT_MAX)
		facts->logger.len = 0;
	sw_log_time(value_of(line, SW_BYTES("time=")), &facts->time_ms);
	return true;
}

/* What follows the time that the line begins with, and its spaces; empty: it begins with none. */
static struct sw_bytes after_time(struct sw_bytes line, struct seen *seen)
{
	struct sw_bytes rest = sw_bytes_from(line, see_time(line, seen));

	return rest.len < line.len && skip_spaces(&rest) ? rest : sw_bytes(NULL, 0);
}

/* Can the line begin as the pattern does? Most cannot, and are done with here. */
static bool begins(const char *pattern, struct sw_bytes line, struct sw_bytes rest,
		   struct seen *seen)
{
	if (pattern[0] != '%')
		return line.len && line.at[0] == (uint8_t)pattern[0];
	if (pattern[1] != 'T' || pattern[2] != ' ')
		return true;
	if (!rest.len)
		return false;
	if (pattern[3] != '%')
		return rest.at[0] == (uint8_t)pattern[3];
	return (pattern[4] != 'L' && pattern[4] != 'U') || see_level(rest, seen);
}

static bool read_layouts(struct sw_bytes line, struct sw_log_facts *facts)
{
	struct seen seen = {.time = NULL};
	struct sw_bytes rest = after_time(line, &seen);

	for (size_t i = 0; i < SW_COUNT_OF(layouts); i++) {
		if (!begins(layouts[i].pattern, line, rest, &seen))
			continue;
		*facts = (struct sw_log_facts){.layout = layouts[i].name};
		if (!matches(&layouts[i], line, &seen, facts))
			continue;
		if (layouts[i].level[0]) {
			facts->level = sw_bytes_text(layouts[i].level);
			facts->levelled = sw_log_level(facts->level, &facts->severity);
		}
		return true;
	}
	*facts = (struct sw_log_facts){.layout = NULL};
	return false;
}

void sw_log_read(struct sw_bytes line, struct sw_log_facts *ret_facts)
{
	struct sw_bytes first = sw_bytes_slice(line, 0, sw_bytes_find(line, '\n'));

	*ret_facts = (struct sw_log_facts){.layout = NULL};
	if (line.len && line.at[0] == '{' && sw_log_read_json(line, ret_facts))
		return;
	if (!read_layouts(first, ret_facts))
		read_pairs(first, ret_facts);
}
