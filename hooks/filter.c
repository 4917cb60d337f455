/* Filters and sampling; see filter.h. Runs on the program's threads: bounded, no allocation. */
#include "hooks/filter.h"

#include <stdatomic.h>

#include "preload/config.h"

#define WINDOW_NS 3000000000ull
#define ANT_STEPS 20000

/* The next element of a comma list, trimmed. False at the end. */
static bool next_element(struct sw_bytes *list, struct sw_bytes *ret_element)
{
	size_t end, from = 0;

	if (list->len == 0)
		return false;
	end = sw_bytes_find(*list, ',');
	*ret_element = sw_bytes_slice(*list, 0, end);
	while (from < ret_element->len && ret_element->at[from] == ' ')
		from++;
	*ret_element = sw_bytes_from(*ret_element, from);
	while (ret_element->len && ret_element->at[ret_element->len - 1] == ' ')
		ret_element->len--;
	*list = sw_bytes_from(*list, end + 1);
	return true;
}

struct ant {
	struct sw_bytes pattern, text;
	unsigned steps;
};

/* A run of stars: how many, and whether it spans elements. */
static bool ant_from(struct ant *a, size_t p, size_t t, int depth);

static bool ant_stars(struct ant *a, size_t p, size_t t, int depth)
{
	bool deep = p + 1 < a->pattern.len && a->pattern.at[p + 1] == '*';
	size_t rest = deep ? p + 2 : p + 1;

	for (;; t++) {
		if (ant_from(a, rest, t, depth + 1))
			return true;
		/* a double star before a slash also stands for no element at all */
		if (deep && rest < a->pattern.len && a->pattern.at[rest] == '/' &&
		    ant_from(a, rest + 1, t, depth + 1) && (t == 0 || a->text.at[t - 1] == '/'))
			return true;
		if (t >= a->text.len || (!deep && a->text.at[t] == '/') || a->steps == 0)
			return false;
	}
}

static bool ant_from(struct ant *a, size_t p, size_t t, int depth)
{
	if (a->steps == 0 || a->steps-- == 0 || depth > 8)
		return false;
	for (; p < a->pattern.len; p++, t++) {
		uint8_t c = a->pattern.at[p];

		if (c == '*')
			return ant_stars(a, p, t, depth);
		if (t >= a->text.len || (c == '?' ? a->text.at[t] == '/' : a->text.at[t] != c))
			return false;
	}
	return t == a->text.len;
}

bool sw_filter_ant(struct sw_bytes pattern, struct sw_bytes text)
{
	struct ant a = {pattern, text, ANT_STEPS};

	return ant_from(&a, 0, 0, 0);
}

/* Does every suffix begin with a dot, as usual? Asked once per configuration. */
static bool all_dotted(void)
{
	static _Atomic(const char *) asked;
	static _Atomic bool answer;
	struct sw_bytes list = sw_bytes_text(sw_config.ignore_suffix), suffix;
	bool dotted = true;

	if (atomic_load(&asked) == sw_config.ignore_suffix)
		return atomic_load(&answer);
	while (next_element(&list, &suffix))
		dotted &= suffix.len == 0 || suffix.at[0] == '.';
	atomic_store(&answer, dotted);
	atomic_store(&asked, sw_config.ignore_suffix);
	return dotted;
}

static bool suffix_ignored(struct sw_bytes operation)
{
	struct sw_bytes list = sw_bytes_text(sw_config.ignore_suffix), suffix;

	if (sw_bytes_find(operation, '.') == operation.len && all_dotted())
		return false;
	while (next_element(&list, &suffix)) {
		if (suffix.len && operation.len > suffix.len && sw_bytes_ends(operation, suffix))
			return true;
	}
	return false;
}

static bool path_ignored(struct sw_bytes operation)
{
	struct sw_bytes list = sw_bytes_text(sw_config.ignore_path), pattern;

	while (next_element(&list, &pattern)) {
		if (pattern.len && sw_filter_ant(pattern, operation))
			return true;
	}
	return false;
}

bool sw_filter_operation(struct sw_bytes operation)
{
	return !suffix_ignored(operation) && !path_ignored(operation);
}

bool sw_filter_method(struct sw_bytes method)
{
	struct sw_bytes list = sw_bytes_text(sw_config.ignore_method), prefix;

	while (next_element(&list, &prefix)) {
		if (prefix.len &&
		    sw_bytes_equal_nocase(sw_bytes_slice(method, 0, prefix.len), prefix))
			return false;
	}
	return true;
}

/* High half: the window's number; low half: tokens taken in it. */
static _Atomic uint64_t window;

bool sw_filter_sample(uint64_t now_ns)
{
	uint64_t number = (now_ns / WINDOW_NS) & UINT32_MAX;
	uint64_t seen = atomic_load_explicit(&window, memory_order_relaxed);
	uint64_t taken;

	if (sw_config.sample_per_3s == 0)
		return true;
	do {
		taken = seen >> 32 == number ? (uint32_t)seen : 0;
		if (taken >= sw_config.sample_per_3s)
			return false;
	} while (!atomic_compare_exchange_weak(&window, &seen, number << 32 | (taken + 1)));
	return true;
}

/* Without the port; the brackets of an IPv6 address belong to it. */
static struct sw_bytes host_of(struct sw_bytes peer)
{
	if (peer.len && peer.at[0] == '[')
		return sw_bytes_slice(peer, 0, sw_bytes_find(peer, ']') + 1);
	return sw_bytes_slice(peer, 0, sw_bytes_find(peer, ':'));
}

static bool peer_matches(struct sw_bytes peer, struct sw_bytes rule)
{
	struct sw_bytes host = host_of(peer), tail;

	if (!sw_bytes_starts(rule, SW_BYTES("*.")))
		return sw_bytes_equal_nocase(rule, peer) || sw_bytes_equal_nocase(rule, host);
	tail = sw_bytes_from(rule, 1); /* with its dot: the bare domain is no subdomain */
	return host.len > tail.len &&
	       sw_bytes_equal_nocase(sw_bytes_from(host, host.len - tail.len), tail);
}

bool sw_filter_peer(struct sw_bytes peer)
{
	struct sw_bytes list = sw_bytes_text(sw_config.inject_ignore_peers), rule;

	while (next_element(&list, &rule)) {
		if (rule.len && peer_matches(peer, rule))
			return false;
	}
	return true;
}
