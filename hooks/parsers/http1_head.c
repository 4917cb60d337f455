/*
 * The syntax of HTTP/1 heads (RFC 9112 sections 2 to 6, RFC 9110 section 5).
 *
 * This file answers two questions about bytes: where does a head end, and what does it say. It
 * keeps nothing between calls; who speaks when is the matter of http1.c.
 *
 * A head is refused whenever another reader of the same bytes could find another length for its
 * body, because then we no longer know where the next message begins: folded lines, NUL, CR alone,
 * LF alone next to CRLF, names that are no tokens (so also blanks before the colon), lengths that
 * are no plain number or differ, both framings at once, codings that we do not know. What is
 * merely odd (no Host, two Hosts, control characters in a value) is not refused.
 *
 * Invariant: what is refused of a beginning (sw_http1_head_plausible(), begins_request_line()) is
 * refused of everything that begins so; else facts would depend on how the bytes were cut.
 */
#include "hooks/parsers/http1_head.h"

#define METHOD_MAX 24
/* Beyond this many bytes an unfinished request line is no longer checked byte by byte. */
#define SNIFF_CAREFUL 8192
#define SNIFF_EMPTY_LINES_MAX 8
/* Eighteen digits never overflow 63 bits; no body is longer. */
#define LENGTH_DIGITS_MAX 18

static bool is_alpha(uint8_t c)
{
	return sw_lower(c) >= 'a' && sw_lower(c) <= 'z';
}

static bool is_digit(uint8_t c)
{
	return c >= '0' && c <= '9';
}

/* RFC 9110 section 5.6.2. A table: every name of every head is looked at byte by byte. */
static const bool token_chars[256] = {
	['a' ... 'z'] = true, ['A' ... 'Z'] = true, ['0' ... '9'] = true, ['!'] = true,
	['#'] = true,	      ['$'] = true,	    ['%'] = true,	  ['&'] = true,
	['\''] = true,	      ['*'] = true,	    ['+'] = true,	  ['-'] = true,
	['.'] = true,	      ['^'] = true,	    ['_'] = true,	  ['`'] = true,
	['|'] = true,	      ['~'] = true,
};

static bool is_token_char(uint8_t c)
{
	return token_chars[c];
}

static bool is_token(struct sw_bytes b)
{
	for (size_t i = 0; i < b.len; i++) {
		if (!token_chars[b.at[i]])
			return false;
	}
	return b.len > 0;
}

/* Blanks and control characters; everything from 0x80 is let through, clients do send raw UTF-8. */
static bool is_visible(struct sw_bytes b)
{
	for (size_t i = 0; i < b.len; i++) {
		if (b.at[i] <= ' ' || b.at[i] == 0x7f)
			return false;
	}
	return true;
}

static bool is_blank(uint8_t c)
{
	return c == ' ' || c == '\t';
}

static struct sw_bytes trim(struct sw_bytes b)
{
	while (b.len && is_blank(b.at[0]))
		b = sw_bytes_from(b, 1);
	while (b.len && is_blank(b.at[b.len - 1]))
		b.len--;
	return b;
}

size_t sw_http1_head_end(struct sw_bytes bytes, size_t scanned)
{
	const uint8_t *end = bytes.at + bytes.len, *at = bytes.at + scanned;

	for (; at < end && (at = memchr(at, '\n', (size_t)(end - at))); at++) {
		size_t before = (size_t)(at - bytes.at);

		/* Looks back, so a cut inside the empty line does not matter. */
		if (before >= 1 && at[-1] == '\n')
			return before + 1;
		if (before >= 2 && at[-1] == '\r' && at[-2] == '\n')
			return before + 1;
	}
	return 0;
}

bool sw_http1_head_plausible(struct sw_bytes bytes, enum sw_side side)
{
	struct sw_bytes version = SW_BYTES("HTTP/1.");

	if (side == SW_REQUESTS)
		return is_token_char(bytes.at[0]);
	return sw_bytes_starts(bytes, sw_bytes_slice(version, 0, bytes.len));
}

static bool is_target_start(uint8_t c)
{
	/* '[' begins the IPv6 literal of a CONNECT. */
	return is_alpha(c) || is_digit(c) || c == '/' || c == '*' || c == '[';
}

static bool read_version(struct sw_bytes b, bool *ret_old)
{
	if (!sw_bytes_equal(b, SW_BYTES("HTTP/1.0")) && !sw_bytes_equal(b, SW_BYTES("HTTP/1.1")))
		return false;
	*ret_old = b.at[b.len - 1] == '0';
	return true;
}

/* method SP target SP version, with exactly one SP at each place. */
static bool read_request_line(struct sw_bytes line, struct sw_http1_head *head)
{
	size_t first = sw_bytes_find(line, ' ');
	struct sw_bytes rest = sw_bytes_from(line, first + 1);
	size_t second = sw_bytes_find(rest, ' ');
	struct sw_http1_target target;

	head->method = sw_bytes_slice(line, 0, first);
	head->target = sw_bytes_slice(rest, 0, second);
	return head->method.len <= METHOD_MAX && is_token(head->method) && head->target.len &&
	       is_target_start(head->target.at[0]) && is_visible(head->target) &&
	       sw_http1_head_target(head->method, head->target, &target) &&
	       read_version(sw_bytes_from(rest, second + 1), &head->old);
}

/* version SP 3DIGIT [SP reason]; the last SP is forgotten by enough servers to forgive it. */
static bool read_status_line(struct sw_bytes line, struct sw_http1_head *head)
{
	struct sw_bytes digits = sw_bytes_slice(line, 9, 12);

	if (digits.len < 3 || line.at[8] != ' ' || (line.len > 12 && line.at[12] != ' '))
		return false;
	for (size_t i = 0; i < 3; i++) {
		if (!is_digit(digits.at[i]))
			return false;
		head->status = head->status * 10 + (uint32_t)(digits.at[i] - '0');
	}
	return head->status >= 100 && read_version(sw_bytes_slice(line, 0, 8), &head->old);
}

static bool read_first_line(struct sw_bytes line, enum sw_side side, struct sw_http1_head *head)
{
	return side == SW_REQUESTS ? read_request_line(line, head) : read_status_line(line, head);
}

static bool read_length(struct sw_bytes value, struct sw_http1_head *head)
{
	uint64_t length = 0;

	if (value.len == 0 || value.len > LENGTH_DIGITS_MAX)
		return false;
	for (size_t i = 0; i < value.len; i++) {
		if (!is_digit(value.at[i]))
			return false;
		length = length * 10 + (uint64_t)(value.at[i] - '0');
	}
	if (head->framing == SW_HTTP1_CHUNKED || (head->length_count && head->length != length))
		return false;
	head->framing = SW_HTTP1_LENGTH;
	head->length = length;
	head->length_count++;
	return true;
}

static bool is_known_coding(struct sw_bytes b)
{
	return sw_bytes_equal_nocase(b, SW_BYTES("gzip")) ||
	       sw_bytes_equal_nocase(b, SW_BYTES("x-gzip")) ||
	       sw_bytes_equal_nocase(b, SW_BYTES("deflate")) ||
	       sw_bytes_equal_nocase(b, SW_BYTES("compress")) ||
	       sw_bytes_equal_nocase(b, SW_BYTES("x-compress"));
}

/* One line, known codings, the last of them `chunked` and no other. */
static bool read_coding(struct sw_bytes value, struct sw_http1_head *head)
{
	size_t comma;

	if (head->framing != SW_HTTP1_UNFRAMED)
		return false;
	while ((comma = sw_bytes_find(value, ',')) < value.len) {
		if (!is_known_coding(trim(sw_bytes_slice(value, 0, comma))))
			return false;
		value = sw_bytes_from(value, comma + 1);
	}
	if (!sw_bytes_equal_nocase(trim(value), SW_BYTES("chunked")))
		return false;
	head->framing = SW_HTTP1_CHUNKED;
	return true;
}

static void note_field(struct sw_http1_field *field, struct sw_bytes value, size_t from, size_t to)
{
	if (field->value.len == 0)
		field->value = value;
	field->from = from;
	field->to = to;
	field->count++;
}

/* `at` is a token and `name` is of small letters, digits and '-'. Setting the bit that tells small
 * letters from capitals maps no other character of a token to one of these. */
static bool is_name(const uint8_t *at, const char *name, size_t len)
{
	uint8_t differs = 0;

	for (size_t i = 0; i < len; i++)
		differs |= (uint8_t)((at[i] | 0x20) ^ (uint8_t)name[i]);
	return differs == 0;
}

/* One field line; `from` and `to` are where it lies in the head, its line end included. Five names
 * concern us, of five lengths: most lines are done with after their name. */
static bool read_field(struct sw_bytes line, size_t from, size_t to, struct sw_http1_head *head)
{
	size_t len = 0;

	/* A folded line begins with a blank, which is in no token; so it is refused here too. */
	while (len < line.len && token_chars[line.at[len]])
		len++;
	if (len == 0 || len == line.len || line.at[len] != ':')
		return false;
	switch (len) {
	case sizeof("sw8") - 1:
		if (is_name(line.at, "sw8", len))
			note_field(&head->carrier, trim(sw_bytes_from(line, len + 1)), from, to);
		return true;
	case sizeof("host") - 1:
		if (head->host.len == 0 && is_name(line.at, "host", len))
			head->host = trim(sw_bytes_from(line, len + 1));
		return true;
	case sizeof("content-length") - 1:
		return !is_name(line.at, "content-length", len) ||
		       read_length(trim(sw_bytes_from(line, len + 1)), head);
	case sizeof("sw8-correlation") - 1:
		if (is_name(line.at, "sw8-correlation", len))
			note_field(&head->correlation, trim(sw_bytes_from(line, len + 1)), from,
				   to);
		return true;
	case sizeof("transfer-encoding") - 1:
		return !is_name(line.at, "transfer-encoding", len) ||
		       read_coding(trim(sw_bytes_from(line, len + 1)), head);
	default:
		return true;
	}
}

/* The first control character, or `end`. Eight bytes at a time: a byte below ' ' borrows into its
 * top bit, and only those behind the first can be wrong. */
static const uint8_t *next_control(const uint8_t *at, const uint8_t *end)
{
	const uint64_t ones = 0x0101010101010101, tops = 0x8080808080808080;
	uint64_t word, low;

	for (; end - at >= (ptrdiff_t)sizeof(word); at += sizeof(word)) {
		memcpy(&word, at, sizeof(word));
		low = (word - ' ' * ones) & ~word & tops;
		if (low)
			return at + __builtin_ctzll(low) / 8;
	}
	while (at < end && *at >= ' ')
		at++;
	return at;
}

/* The line at `from` without its end. False when its end is not like that of the first line, or a
 * NUL or a CR stands in it. A head ends in a line end. */
static bool read_line(struct sw_bytes head, size_t from, bool *bare, struct sw_bytes *ret_line)
{
	const uint8_t *start = head.at + from, *end = head.at + head.len;
	const uint8_t *at = next_control(start, end);
	bool lone;

	while (at < end && *at != '\n' && *at != '\r' && *at)
		at = next_control(at + 1, end);
	lone = at < end && *at == '\n';
	if (!lone && (end - at < 2 || at[0] != '\r' || at[1] != '\n'))
		return false;
	if (from == 0)
		*bare = lone;
	*ret_line = sw_bytes(start, (size_t)(at - start));
	return lone == *bare;
}

bool sw_http1_head_read(struct sw_bytes head, enum sw_side side, struct sw_http1_head *ret_head)
{
	struct sw_bytes line;
	size_t next;

	/* Written in place, also when it fails: a second copy would be a fifth of our stack. */
	*ret_head = (struct sw_http1_head){.status = 0};
	for (size_t from = 0; from < head.len; from = next) {
		if (!read_line(head, from, &ret_head->bare, &line))
			return false;
		next = from + line.len + (ret_head->bare ? 1 : 2);
		if (from == 0 && !read_first_line(line, side, ret_head))
			return false;
		if (from > 0 && next < head.len && !read_field(line, from, next, ret_head))
			return false;
	}
	/* HTTP/1.0 knows no chunks: whoever obeys them and whoever does not see two bodies. */
	return !(ret_head->old && ret_head->framing == SW_HTTP1_CHUNKED);
}

struct sw_bytes sw_http1_head_without_user(struct sw_bytes authority)
{
	for (size_t i = authority.len; i > 0; i--) {
		if (authority.at[i - 1] == '@')
			return sw_bytes_from(authority, i);
	}
	return authority;
}

/* What comes after the authority: path, query, and the fragment that no one should send. */
static void split_path(struct sw_bytes b, struct sw_http1_target *target)
{
	size_t mark;

	b = sw_bytes_slice(b, 0, sw_bytes_find(b, '#'));
	mark = sw_bytes_find(b, '?');
	target->path = mark ? sw_bytes_slice(b, 0, mark) : SW_BYTES("/");
	target->query = sw_bytes_from(b, mark + 1);
}

static size_t authority_len(struct sw_bytes b)
{
	size_t len = 0;

	while (len < b.len && b.at[len] != '/' && b.at[len] != '?' && b.at[len] != '#')
		len++;
	return len;
}

/* Length of "scheme://" at the beginning, 0 when there is none. */
static size_t scheme_len(struct sw_bytes b)
{
	size_t len = 0;

	if (b.len == 0 || !is_alpha(b.at[0]))
		return 0;
	while (len < b.len && (is_alpha(b.at[len]) || is_digit(b.at[len]) || b.at[len] == '+' ||
			       b.at[len] == '-' || b.at[len] == '.'))
		len++;
	return sw_bytes_starts(sw_bytes_from(b, len), SW_BYTES("://")) ? len + 3 : 0;
}

bool sw_http1_head_target(struct sw_bytes method, struct sw_bytes target,
			  struct sw_http1_target *ret_target)
{
	struct sw_http1_target found = {.scheme = sw_bytes(NULL, 0)};
	size_t scheme = scheme_len(target);
	struct sw_bytes rest = sw_bytes_from(target, scheme);
	size_t len = authority_len(rest);

	if (sw_bytes_equal(method, SW_BYTES("CONNECT"))) {
		found.authority = sw_http1_head_without_user(target);
		if (found.authority.len == 0 || authority_len(target) < target.len)
			return false;
	} else if (sw_bytes_equal(target, SW_BYTES("*"))) {
		found.path = target;
	} else if (scheme) {
		found.scheme = sw_bytes_slice(target, 0, scheme);
		found.authority = sw_http1_head_without_user(sw_bytes_slice(rest, 0, len));
		split_path(sw_bytes_from(rest, len), &found);
	} else if (target.len && target.at[0] == '/') {
		split_path(target, &found);
	} else {
		return false;
	}
	*ret_target = found;
	return true;
}

/* Could a request line begin with this, which has no line end yet? */
static bool begins_request_line(struct sw_bytes part)
{
	size_t first = sw_bytes_find(part, ' ');
	struct sw_bytes rest = sw_bytes_from(part, first + 1);
	size_t second = sw_bytes_find(rest, ' ');
	struct sw_bytes end = sw_bytes_from(rest, second + 1);

	if (first > METHOD_MAX || !is_token(sw_bytes_slice(part, 0, first)))
		return false;
	if (rest.len == 0)
		return true;
	if (!is_target_start(rest.at[0]) ||
	    !is_visible(sw_bytes_slice(rest, 0, SW_MIN(second, SNIFF_CAREFUL))))
		return false;
	return sw_bytes_starts(SW_BYTES("HTTP/1.0\r"), end) ||
	       sw_bytes_starts(SW_BYTES("HTTP/1.1\r"), end);
}

enum sw_sniff sw_http1_head_sniff(struct sw_bytes first)
{
	struct sw_http1_head head;
	struct sw_bytes line;
	size_t end;

	for (int i = 0; i < SNIFF_EMPTY_LINES_MAX && sw_bytes_starts(first, SW_BYTES("\r\n")); i++)
		first = sw_bytes_from(first, 2);
	if (sw_bytes_starts(SW_BYTES("\r"), first))
		return SW_SNIFF_MORE;
	end = sw_bytes_find(first, '\n');
	if (end == first.len)
		return end < SW_HEAD_MAX && begins_request_line(first) ? SW_SNIFF_MORE
								       : SW_SNIFF_NO;
	line = sw_bytes_slice(first, 0, end);
	if (line.len && line.at[line.len - 1] == '\r')
		line.len--;
	return end < SW_HEAD_MAX && read_request_line(line, &head) ? SW_SNIFF_YES : SW_SNIFF_NO;
}
