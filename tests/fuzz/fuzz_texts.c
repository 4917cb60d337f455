/*
 * Fuzzes what stands in the texts of keys. The first byte decides what the others are:
 *
 *   0 mod 4  addresses of collectors
 *   1 mod 4  a JSON object
 *   2 mod 4  an Ant pattern, a 0, and what it is compared with
 *   3 mod 4  a list of what is to be ignored, a 0, and what it is asked about
 *
 * Watched: an address is its parts; what was read of an object is read again as the same; patterns
 * and lists mean what a slow reader makes of them, up to the stated bounds.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

#include "hooks/filter.h"
#include "preload/config.h"
#include "preload/real.h"
#include "proto/object.h"
#include "reporter/address.h"

/* The longest text of a key. */
#define TEXT_MAX 2048
/* Patterns and texts for which a filter has steps enough. */
#define SMALL 16
#define STARS 3

struct sw_real sw_real;

int LLVMFuzzerTestOneInput(const uint8_t *at, size_t len);

static void must(bool holds, const char *promise)
{
	if (!holds) {
		fprintf(stderr, "broken: %s\n", promise);
		abort();
	}
}

/* ---- addresses ---- */

static void check_address(const char *list, unsigned n)
{
	char authority[SW_AUTHORITY_MAX], host[SW_AUTHORITY_MAX], port[8], again[SW_AUTHORITY_MAX];
	char whole[2 * SW_AUTHORITY_MAX];
	bool brackets;

	must(sw_address_nth(list, n, authority, host, port) == 1, "what is counted is there");
	brackets = authority[0] == '[';
	snprintf(whole, sizeof(whole), "%s%s%s:%s", brackets ? "[" : "", host, brackets ? "]" : "",
		 port);
	must(strcmp(whole, authority) == 0, "an address is its host and its port");
	must(strtoul(port, NULL, 10) - 1 < 65535 && host[0], "both are sane");
	must(strspn(authority, " \t\r\n,/@") == 0, "nothing of it means something else");
	sw_address_authority(list, n, again);
	must(strcmp(again, authority) == 0, "it is the same each time");
}

static void check_addresses(struct sw_bytes in)
{
	char *list = strndup((const char *)in.at, in.len);
	char authority[SW_AUTHORITY_MAX], host[SW_AUTHORITY_MAX], port[8];
	int count = sw_address_check(list);

	must(count > 0 || count == -EINVAL, "there is one, or it is no list");
	for (int n = 0; n < count && n < 64; n++)
		check_address(list, (unsigned)n);
	if (count > 0)
		must(sw_address_nth(list, (unsigned)count, authority, host, port) == 0,
		     "and then there are no more");
	free(list);
}

/* ---- objects ---- */

static void add_string(struct sw_buffer *out, const char *text)
{
	char coded[8];

	sw_buffer_add(out, SW_BYTES("\""));
	for (; *text; text++) {
		uint8_t c = (uint8_t)*text;
		int len = snprintf(coded, sizeof(coded),
				   c < 0x20 || c == '"' || c == '\\' ? "\\u%04x" : "%c", c);

		sw_buffer_add(out, sw_bytes(coded, (size_t)len));
	}
	sw_buffer_add(out, SW_BYTES("\""));
}

static struct sw_buffer written(const struct sw_buffer *members)
{
	struct sw_buffer out = {NULL, 0, 0, false};
	bool value = false;

	sw_buffer_add(&out, SW_BYTES("{"));
	for (size_t at = 0; at < members->len; value = !value) {
		const char *text = (const char *)members->at + at;

		if (at)
			sw_buffer_add(&out, value ? SW_BYTES(":") : SW_BYTES(","));
		add_string(&out, text);
		at += strlen(text) + 1;
		must(at <= members->len, "each text ends");
	}
	must(!value, "each key has a value");
	sw_buffer_add(&out, SW_BYTES("}"));
	return out;
}

static void check_object(struct sw_bytes in)
{
	struct sw_buffer first = {NULL, 0, 0, false}, again = first, text;

	if (sw_json_object(in, &first)) {
		must(first.len <= 2 * in.len, "what is read has a bound");
		text = written(&first);
		must(sw_json_object(sw_bytes(text.at, text.len), &again), "it is an object again");
		must(sw_bytes_equal(sw_bytes(first.at, first.len), sw_bytes(again.at, again.len)),
		     "with the same members");
		sw_buffer_free(&text);
	}
	sw_buffer_free(&first);
	sw_buffer_free(&again);
}

/* ---- patterns ---- */

static bool matches(struct sw_bytes p, struct sw_bytes t)
{
	bool deep = sw_bytes_starts(p, SW_BYTES("**"));
	struct sw_bytes rest = sw_bytes_from(p, deep ? 2 : 1);

	if (p.len == 0)
		return t.len == 0;
	if (p.at[0] != '*')
		return t.len && (p.at[0] == '?' ? t.at[0] != '/' : t.at[0] == p.at[0]) &&
		       matches(rest, sw_bytes_from(t, 1));
	for (size_t i = 0;; i++) {
		struct sw_bytes left = sw_bytes_from(t, i);

		if (matches(rest, left))
			return true;
		if (i == t.len || (!deep && t.at[i] == '/'))
			return false;
	}
}

/* "**" and a slash are no element at all, too; written out, since only the text before tells. */
static bool has_empty_element(struct sw_bytes pattern)
{
	for (size_t i = 0; i + 2 < pattern.len; i++) {
		if (sw_bytes_starts(sw_bytes_from(pattern, i), SW_BYTES("**/")))
			return true;
	}
	return false;
}

static size_t count_of(struct sw_bytes text, uint8_t c)
{
	size_t count = 0;

	for (size_t i = 0; i < text.len; i++)
		count += text.at[i] == c;
	return count;
}

static void check_pattern(struct sw_bytes pattern, struct sw_bytes text)
{
	bool match = sw_filter_ant(pattern, text);

	if (pattern.len > SMALL || text.len > SMALL || count_of(pattern, '*') > STARS)
		return;
	if (!has_empty_element(pattern))
		must(match == matches(pattern, text), "a pattern means what it says");
	else
		must(match || !matches(pattern, text), "it means no less than it says");
}

/* ---- lists ---- */

/* The n-th of a list, without blanks around it. False: there is none. */
static bool nth(struct sw_bytes list, size_t n, struct sw_bytes *ret_element)
{
	for (; n; n--) {
		size_t comma = sw_bytes_find(list, ',');

		if (comma == list.len)
			return false;
		list = sw_bytes_from(list, comma + 1);
	}
	list = sw_bytes_slice(list, 0, sw_bytes_find(list, ','));
	while (list.len && list.at[0] == ' ')
		list = sw_bytes_from(list, 1);
	while (list.len && list.at[list.len - 1] == ' ')
		list.len--;
	*ret_element = list;
	return true;
}

static void check_list(struct sw_bytes list, struct sw_bytes text)
{
	static char copy[TEXT_MAX + 1];
	bool suffix = false, prefix = false, peer = false;
	struct sw_bytes one;

	memcpy(copy, list.at, list.len);
	copy[list.len] = '\0';
	for (size_t n = 0; nth(list, n, &one); n++) {
		const char *at = (const char *)one.at;

		suffix |= one.len && text.len > one.len && sw_bytes_ends(text, one);
		prefix |= one.len && text.len >= one.len &&
			  strncasecmp(at, (const char *)text.at, one.len) == 0;
		peer |= one.len && one.len == text.len && one.at[0] != '*' &&
			strncasecmp(at, (const char *)text.at, one.len) == 0;
	}
	/* what is known of a list is known by its address: ask about another one before */
	sw_config.ignore_suffix = sw_config.ignore_path = "";
	(void)sw_filter_operation(SW_BYTES("x"));
	sw_config.ignore_suffix = sw_config.ignore_method = sw_config.inject_ignore_peers = copy;
	must(sw_filter_operation(text) == !suffix, "operations that end so are not traced");
	must(sw_filter_method(text) == !prefix, "methods that begin so are not traced");
	must(!peer || !sw_filter_peer(text), "a peer on the list gets no header");
	sw_config.ignore_path = copy;
	(void)sw_filter_operation(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *at, size_t len)
{
	uint8_t *exact = malloc(len ? len : 1); /* for the sanitizer */
	struct sw_bytes in, second;
	size_t zero;

	if (len)
		memcpy(exact, at, len);
	in = sw_bytes_from(sw_bytes(exact, SW_MIN(len, TEXT_MAX)), 1);
	zero = sw_bytes_find(in, 0);
	second = sw_bytes_from(in, zero + 1);
	switch (len ? at[0] % 4 : 4) {
	case 0:
		check_addresses(in);
		break;
	case 1:
		check_object(in);
		break;
	case 2:
		check_pattern(sw_bytes_slice(in, 0, zero), second);
		break;
	case 3:
		check_list(sw_bytes_slice(in, 0, zero), second);
	}
	free(exact);
	return 0;
}
