/* Which operations are traced, by the matching rules of the specification 1.3. */
#include "hooks/filter.h"

#include <criterion/criterion.h>
#include <pthread.h>
#include <stdatomic.h>

#include "preload/config.h"
#include "preload/sys.h"

#define SECOND 1000000000ull
#define THREADS 4

static bool ant(const char *pattern, const char *text)
{
	return sw_filter_ant(sw_bytes_text(pattern), sw_bytes_text(text));
}

static bool traced(const char *operation)
{
	return sw_filter_operation(sw_bytes_text(operation));
}

static const struct {
	const char *pattern, *text;
	bool match;
} ant_rows[] = {
	/* anchored at both ends */
	{"/a", "/a", true},
	{"/a", "/ab", false},
	{"/a", "b/a", false},
	{"/a", "/A", false},
	{"", "", true},
	{"", "/", false},
	/* ? is exactly one character of an element */
	{"/?", "/a", true},
	{"/?", "/", false},
	{"/?", "/ab", false},
	{"/a?b", "/a/b", false},
	{"/a??b", "/axyb", true},
	/* * stays within its element, and may be empty */
	{"/*", "/", true},
	{"/*", "/abc", true},
	{"/*", "/a/b", false},
	{"/*/b", "/a/b", true},
	{"/*/b", "//b", true},
	{"/*/b", "/a/x/b", false},
	{"/*.js", "/a.js", true},
	{"/*.js", "/.js", true},
	{"/*.js", "/a.js.js", true},
	{"/*.js", "/a.jsx", false},
	{"/a*b*c", "/axxbyyc", true},
	{"/a*b*c", "/axxbyy", false},
	{"*", "abc", true},
	{"*", "/abc", false},
	/* ** is any depth, and may be empty */
	{"**", "", true},
	{"**", "/a/b/c", true},
	{"/p/**", "/p/", true},
	{"/p/**", "/p/a", true},
	{"/p/**", "/p/a/b", true},
	{"/p/**", "/p", false},
	{"/p/**", "/px/a", false},
	{"**.html", "/a/b.html", true},
	{"**.html", ".html", true},
	{"/a**z", "/az", true},
	{"/a**z", "/a/b/z", true},
	/* a double star between slashes is zero or more directories */
	{"/a/**/b", "/a/b", true},
	{"/a/**/b", "/a/x/b", true},
	{"/a/**/b", "/a/x/y/b", true},
	{"/a/**/b", "/a/xb", false},
	{"/a/**/b", "/ab", false},
	{"/a/**/b", "/a/b/c", false},
	{"/a/**/b", "/a/x/yb", false},
	{"/**/x.js", "/x.js", true},
	{"/**/x.js", "/a/b/x.js", true},
	{"/**/x.js", "/a/bx.js", false},
	{"/**/a/**/b", "/a/b", true},
	{"/**/a/**/b", "/x/a/y/z/b", true},
	{"/**/a/**/b", "/x/b/a", false},
	{"/**/*.css", "/a/b/c.css", true},
	{"/**/?/**", "/aa/b/", true},
	{"/**/?/**", "/aa/bb/", false},
	/* nothing else is special */
	{"/a.b", "/axb", false},
	{"/a[bc]", "/ab", false},
	{"/a[bc]", "/a[bc]", true},
	{"/a+", "/aa", false},
	{"/{id}", "/{id}", true},
	{"/a\\*", "/a*", false},
};

Test(filter, ant_patterns)
{
	for (size_t i = 0; i < SW_COUNT_OF(ant_rows); i++)
		cr_assert_eq(ant(ant_rows[i].pattern, ant_rows[i].text), ant_rows[i].match,
			     "%s on %s", ant_rows[i].pattern, ant_rows[i].text);
}

/* A pattern is the user's, the text is the peer's: the work must have a bound. */
Test(filter, ant_work_is_bounded)
{
	static const char *const pattern[] = {
		"/*a*a*a*a*a*a*a*b",
		"/**a**a**a**a**a**a**a**b",
		"/**/a/**/a/**/a/**/a/**/a/**/a/**/b",
		"/*a*a*a*a*a*a*a*a*a*b",
		"/********************************b",
	};
	static uint8_t text[65536]; /* as long as a head may be */
	uint64_t start = sw_clock_ns(CLOCK_PROCESS_CPUTIME_ID), took;

	for (int deep = 0; deep < 2; deep++) {
		memset(text, 'a', sizeof(text));
		for (size_t i = 0; i < sizeof(text); i += deep ? 2 : sizeof(text))
			text[i] = '/';
		for (size_t i = 0; i < SW_COUNT_OF(pattern); i++)
			cr_assert_not(sw_filter_ant(sw_bytes_text(pattern[i]),
						    sw_bytes(text, sizeof(text))));
	}
	took = sw_clock_ns(CLOCK_PROCESS_CPUTIME_ID) - start;
	cr_assert_lt(took, SECOND / 4, "10 matches in %llu ns", (unsigned long long)took);
}

Test(filter, nothing_by_default_but_suffixes)
{
	cr_assert(traced("/"));
	cr_assert(traced("/api/users"));
	cr_assert(traced(""));
	cr_assert_not(traced("/style.css"));
	cr_assert_not(traced("/a/b/picture.jpeg"));
	cr_assert_not(traced("/i.svg"));
}

Test(filter, suffixes)
{
	sw_config.ignore_suffix = ".js, .css ,.HTML";
	cr_assert_not(traced("/a.js"));
	cr_assert_not(traced("/a.css"), "trimmed");
	cr_assert_not(traced("/a.HTML"));
	cr_assert(traced("/a.html"), "case sensitive");
	cr_assert(traced("/a.jsx"));
	cr_assert(traced("/a.js/b"));
	cr_assert(traced("/axjs"), "a full stop is a full stop");
	cr_assert(traced(".js"), "one character must come before it");
	cr_assert_not(traced("/.js"));
	cr_assert(traced("s"));
}

/* In the Python agent an empty list switches tracing off; not here. */
Test(filter, empty_suffixes_match_nothing)
{
	static const char *const empty[] = {"", ",", " ", " , ,"};

	for (size_t i = 0; i < SW_COUNT_OF(empty); i++) {
		sw_config.ignore_suffix = empty[i];
		cr_assert(traced("/a.js"));
		cr_assert(traced("/"));
	}
	sw_config.ignore_suffix = ",.js,";
	cr_assert_not(traced("/a.js"));
	cr_assert(traced("/a.css"));
}

Test(filter, paths)
{
	sw_config.ignore_path = " /health ,/internal/**,,/static/*";
	cr_assert_not(traced("/health"));
	cr_assert(traced("/healthy"));
	cr_assert(traced("/HEALTH"));
	cr_assert_not(traced("/internal/a/b"));
	cr_assert(traced("/internal"));
	cr_assert_not(traced("/static/a"));
	cr_assert(traced("/static/a/b"));
	cr_assert(traced("/"));
	cr_assert(traced(""));
}

Test(filter, methods)
{
	cr_assert(sw_filter_method(SW_BYTES("GET")));
	sw_config.ignore_method = "head, Options";
	cr_assert_not(sw_filter_method(SW_BYTES("HEAD")));
	cr_assert_not(sw_filter_method(SW_BYTES("OPTIONS")));
	cr_assert_not(sw_filter_method(SW_BYTES("options")));
	cr_assert_not(sw_filter_method(SW_BYTES("HEADER")), "matched at the start");
	cr_assert(sw_filter_method(SW_BYTES("HEA")));
	cr_assert(sw_filter_method(SW_BYTES("GET")));
	cr_assert(sw_filter_method(SW_BYTES("")));
	sw_config.ignore_method = ",";
	cr_assert(sw_filter_method(SW_BYTES("GET")));
}

Test(filter, peers)
{
	cr_assert(sw_filter_peer(SW_BYTES("example.com:80")));
	sw_config.inject_ignore_peers =
		"example.com, 10.0.0.1:8080 ,*.example.org,unix:/run/x.sock";
	cr_assert_not(sw_filter_peer(SW_BYTES("example.com")));
	cr_assert_not(sw_filter_peer(SW_BYTES("example.com:80")));
	cr_assert_not(sw_filter_peer(SW_BYTES("EXAMPLE.com:80")));
	cr_assert(sw_filter_peer(SW_BYTES("www.example.com:80")));
	cr_assert(sw_filter_peer(SW_BYTES("example.com.evil:80")));
	cr_assert_not(sw_filter_peer(SW_BYTES("10.0.0.1:8080")));
	cr_assert(sw_filter_peer(SW_BYTES("10.0.0.1:80")));
	cr_assert(sw_filter_peer(SW_BYTES("10.0.0.1")));
	cr_assert_not(sw_filter_peer(SW_BYTES("a.example.org:443")));
	cr_assert_not(sw_filter_peer(SW_BYTES("a.b.example.org")));
	cr_assert(sw_filter_peer(SW_BYTES("example.org")), "subdomains only");
	cr_assert(sw_filter_peer(SW_BYTES("badexample.org")));
	cr_assert_not(sw_filter_peer(SW_BYTES("unix:/run/x.sock")));
	cr_assert(sw_filter_peer(SW_BYTES("")));
}

/* Names of hosts know no case, whichever form of a rule they meet. */
Test(filter, peers_of_any_case)
{
	sw_config.inject_ignore_peers = "*.Example.org";
	cr_assert_not(sw_filter_peer(SW_BYTES("A.EXAMPLE.ORG:443")));
}

Test(filter, peers_with_addresses_of_version_6)
{
	sw_config.inject_ignore_peers = "[::1],[2001:db8::1]:80";
	cr_assert_not(sw_filter_peer(SW_BYTES("[::1]:8080")));
	cr_assert_not(sw_filter_peer(SW_BYTES("[2001:db8::1]:80")));
	cr_assert(sw_filter_peer(SW_BYTES("[2001:db8::1]:81")));
	cr_assert(sw_filter_peer(SW_BYTES("[::2]:80")));
}

Test(filter, all_are_sampled_by_default)
{
	for (int i = 0; i < 10000; i++)
		cr_assert(sw_filter_sample(5 * SECOND));
}

Test(filter, so_many_in_three_seconds)
{
	sw_config.sample_per_3s = 3;
	for (uint64_t window = 0; window < 5; window++) {
		uint64_t now = window * 3 * SECOND;

		cr_assert(sw_filter_sample(now));
		cr_assert(sw_filter_sample(now + SECOND));
		cr_assert(sw_filter_sample(now + 2 * SECOND));
		cr_assert_not(sw_filter_sample(now + 2 * SECOND));
		cr_assert_not(sw_filter_sample(now + 3 * SECOND - 1));
	}
}

static _Atomic unsigned sampled;

static void *sample_often(void *arg)
{
	(void)arg;
	for (int i = 0; i < 10000; i++) {
		if (sw_filter_sample(7 * SECOND))
			atomic_fetch_add(&sampled, 1);
	}
	return NULL;
}

Test(filter, threads_share_the_tokens)
{
	pthread_t thread[THREADS];

	sw_config.sample_per_3s = 1000;
	for (int i = 0; i < THREADS; i++)
		cr_assert_eq(pthread_create(&thread[i], NULL, sample_often, NULL), 0);
	for (int i = 0; i < THREADS; i++)
		pthread_join(thread[i], NULL);
	cr_assert_eq(atomic_load(&sampled), 1000);
}
