/* A flat JSON object by recursive descent; see object.h. */
#include "proto/object.h"

struct reader {
	struct sw_bytes text;
	size_t at;
	struct sw_buffer *out;
};

static int peek(const struct reader *r)
{
	return r->at < r->text.len ? r->text.at[r->at] : -1;
}

static void skip_space(struct reader *r)
{
	while (peek(r) == ' ' || peek(r) == '\t' || peek(r) == '\n' || peek(r) == '\r')
		r->at++;
}

static bool expect(struct reader *r, int c)
{
	skip_space(r);
	if (peek(r) != c)
		return false;
	r->at++;
	return true;
}

static void add(struct reader *r, uint8_t byte)
{
	sw_buffer_add(r->out, sw_bytes(&byte, 1));
}

static bool read_hex4(struct reader *r, uint32_t *ret_unit)
{
	*ret_unit = 0;
	for (int i = 0; i < 4; i++, r->at++) {
		int c = peek(r);

		if (c >= '0' && c <= '9')
			c -= '0';
		else if ((c | 32) >= 'a' && (c | 32) <= 'f')
			c = (c | 32) - 'a' + 10;
		else
			return false;
		*ret_unit = *ret_unit << 4 | (uint32_t)c;
	}
	return true;
}

static void add_utf8(struct reader *r, uint32_t c)
{
	if (c < 0x80) {
		add(r, (uint8_t)c);
		return;
	}
	if (c < 0x800) {
		add(r, (uint8_t)(0xc0 | c >> 6));
	} else {
		if (c < 0x10000) {
			add(r, (uint8_t)(0xe0 | c >> 12));
		} else {
			add(r, (uint8_t)(0xf0 | c >> 18));
			add(r, (uint8_t)(0x80 | (c >> 12 & 63)));
		}
		add(r, (uint8_t)(0x80 | (c >> 6 & 63)));
	}
	add(r, (uint8_t)(0x80 | (c & 63)));
}

/* After \u: one unit, or two that make one character. A NUL would end our texts: refused. */
static bool read_unicode(struct reader *r)
{
	uint32_t unit, low;

	if (!read_hex4(r, &unit) || unit == 0)
		return false;
	if (unit >= 0xdc00 && unit <= 0xdfff)
		return false;
	if (unit >= 0xd800 && unit <= 0xdbff) {
		if (peek(r) != '\\' || (r->at++, peek(r) != 'u'))
			return false;
		r->at++;
		if (!read_hex4(r, &low) || low < 0xdc00 || low > 0xdfff)
			return false;
		unit = 0x10000 + ((unit - 0xd800) << 10) + (low - 0xdc00);
	}
	add_utf8(r, unit);
	return true;
}

static bool read_escape(struct reader *r)
{
	static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
	int c = peek(r);
	const char *hit = c > 0 ? strchr(from, c) : NULL;

	r->at++;
	if (c == 'u')
		return read_unicode(r);
	if (!hit)
		return false;
	add(r, (uint8_t)to[hit - from]);
	return true;
}

static bool read_string(struct reader *r)
{
	int c;

	if (!expect(r, '"'))
		return false;
	while ((c = peek(r)) != '"') {
		if (c < 0x20)
			return false;
		r->at++;
		if (c != '\\')
			add(r, (uint8_t)c);
		else if (!read_escape(r))
			return false;
	}
	r->at++;
	add(r, 0);
	return true;
}

static bool is_word(int c)
{
	return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '+' ||
	       c == '.' || c == 'E';
}

/* A number, true, false or null as written. */
static bool read_word(struct reader *r, struct sw_bytes *ret_word)
{
	size_t from = r->at;

	while (is_word(peek(r)))
		r->at++;
	*ret_word = sw_bytes_slice(r->text, from, r->at);
	if (ret_word->len == 0)
		return false;
	if (ret_word->at[0] == '-' || (ret_word->at[0] >= '0' && ret_word->at[0] <= '9'))
		return true;
	return sw_bytes_equal(*ret_word, SW_BYTES("true")) ||
	       sw_bytes_equal(*ret_word, SW_BYTES("false")) ||
	       sw_bytes_equal(*ret_word, SW_BYTES("null"));
}

static bool read_member(struct reader *r)
{
	size_t start = r->out->len;
	struct sw_bytes word;

	if (!read_string(r) || !expect(r, ':'))
		return false;
	skip_space(r);
	if (peek(r) == '"')
		return read_string(r);
	if (!read_word(r, &word))
		return false;
	sw_buffer_add(r->out, word);
	add(r, 0);
	if (sw_bytes_equal(word, SW_BYTES("null")))
		r->out->len = start;
	return true;
}

bool sw_json_object(struct sw_bytes text, struct sw_buffer *out)
{
	struct reader r = {text, 0, out};
	bool more;

	if (!expect(&r, '{'))
		return false;
	if (!expect(&r, '}')) {
		do {
			if (!read_member(&r))
				return false;
			more = expect(&r, ',');
		} while (more);
		if (!expect(&r, '}'))
			return false;
	}
	skip_space(&r);
	return r.at == text.len && !out->failed;
}
