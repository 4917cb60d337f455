/*
 * What golden conversations say badly: hostile heads by the dozen, limits at the exact byte,
 * carry() at exact offsets, sniffing, skip(), finish(), and that a head that trickles in is not
 * read again and again.
 */
#include <criterion/criterion.h>
#include <sys/mman.h>

#include "tests/parsers/play.h"

extern const struct sw_parser sw_parser_http1;

#define HTTP1 (&sw_parser_http1)
#define GET "GET / HTTP/1.1\r\nHost: a\r\n\r\n"
#define OK "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
#define CHUNKED "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
#define POST "POST / HTTP/1.1\r\n"

/* ---- playing ---- */

static void bytes(struct play *play, enum sw_side side, struct sw_bytes b, size_t step)
{
	for (size_t at = 0; at < b.len; at += step)
		play_bytes(play, side, sw_bytes_slice(b, at, at + step));
}

#define ASK(play, text) bytes(play, SW_REQUESTS, SW_BYTES(text), SIZE_MAX / 2)
#define ANSWER(play, text) bytes(play, SW_RESPONSES, SW_BYTES(text), SIZE_MAX / 2)

static void start(struct play *play)
{
	play_init(play, HTTP1);
	play->sniffed = true;
}

static bool told(const struct play *play, const char *fact)
{
	return strstr(play->facts.at, fact) != NULL;
}

/* Plays an exchange whole and byte by byte, and wants these calls and this end of both. */
static void expect(struct sw_bytes ask, struct sw_bytes answer, size_t calls, bool lost)
{
	for (int i = 0; i < 2; i++) {
		size_t step = i ? 1 : SIZE_MAX / 2;
		struct play play;

		start(&play);
		bytes(&play, SW_REQUESTS, ask, step);
		bytes(&play, SW_RESPONSES, answer, step);
		cr_expect(play.calls == calls && play.over == lost,
			  "%zu calls, %s, for %.*s|%.*s\n%s", play.calls,
			  play.over ? "over" : "going on", (int)ask.len, (const char *)ask.at,
			  (int)answer.len, (const char *)answer.at, play.facts.at);
		play_deinit(&play);
	}
}

#define LOST_REQUEST(text) expect(SW_BYTES(text), sw_bytes("", 0), 0, true)
#define FINE_REQUEST(text) expect(SW_BYTES(text), sw_bytes("", 0), 2, false)
#define LOST_RESPONSE(text) expect(SW_BYTES(GET), SW_BYTES(text), 2, true)
#define FINE_RESPONSE(text) expect(SW_BYTES(GET), SW_BYTES(text), 4, false)
/* The head of the answer is fine; its chunks are not. */
#define LOST_CHUNKS(text) expect(SW_BYTES(GET), SW_BYTES(CHUNKED text), 3, true)
#define FINE_CHUNKS(text) expect(SW_BYTES(GET), SW_BYTES(CHUNKED text), 4, false)

Test(http1, is_a_row_that_fits)
{
	cr_expect_str_eq(HTTP1->name, "http1");
	cr_expect_eq(HTTP1->entry_component, 49);
	cr_expect_eq(HTTP1->exit_component, 49);
	cr_expect_leq(HTTP1->state_size, SW_PARSER_STATE_MAX);
}

/* ---- hostile heads ---- */

Test(http1, request_lines_that_are_none)
{
	LOST_REQUEST("GET  / HTTP/1.1\r\n\r\n");
	LOST_REQUEST("GET /  HTTP/1.1\r\n\r\n");
	LOST_REQUEST("GET / HTTP/1.1 \r\n\r\n");
	LOST_REQUEST("GET\t/\tHTTP/1.1\r\n\r\n");
	LOST_REQUEST("GET / HTTP/1.2\r\n\r\n");
	LOST_REQUEST("GET / HTTP/2.0\r\n\r\n");
	LOST_REQUEST("GET / http/1.1\r\n\r\n");
	LOST_REQUEST("GET / HTTP/1.10\r\n\r\n");
	LOST_REQUEST("GET /\r\n\r\n");
	LOST_REQUEST("GET\r\n\r\n");
	LOST_REQUEST(" GET / HTTP/1.1\r\n\r\n");
	LOST_REQUEST("\nGET / HTTP/1.1\r\n\r\n");
	LOST_REQUEST("\r\r\nGET / HTTP/1.1\r\n\r\n");
	LOST_REQUEST("G(T / HTTP/1.1\r\n\r\n");
	LOST_REQUEST("GET /\x01 HTTP/1.1\r\n\r\n");
	LOST_REQUEST("GET /\x7f HTTP/1.1\r\n\r\n");
	LOST_REQUEST("GET /\0 HTTP/1.1\r\n\r\n");
	LOST_REQUEST("ABCDEFGHIJKLMNOPQRSTUVWXY / HTTP/1.1\r\n\r\n");
	FINE_REQUEST("ABCDEFGHIJKLMNOPQRSTUVWX / HTTP/1.1\r\n\r\n");
	FINE_REQUEST("GET /\xc3\xa4 HTTP/1.1\r\n\r\n");
}

Test(http1, targets_that_are_none)
{
	LOST_REQUEST("GET foo HTTP/1.1\r\n\r\n");
	LOST_REQUEST("GET a.example:80 HTTP/1.1\r\n\r\n");
	LOST_REQUEST("GET http:/a HTTP/1.1\r\n\r\n");
	LOST_REQUEST("GET 1http://a HTTP/1.1\r\n\r\n");
	LOST_REQUEST("GET ://a HTTP/1.1\r\n\r\n");
	LOST_REQUEST("OPTIONS *x HTTP/1.1\r\n\r\n");
	LOST_REQUEST("GET ?a=b HTTP/1.1\r\n\r\n");
	LOST_REQUEST("CONNECT /path HTTP/1.1\r\n\r\n");
	LOST_REQUEST("CONNECT http://a HTTP/1.1\r\n\r\n");
	LOST_REQUEST("CONNECT =a:1 HTTP/1.1\r\n\r\n");
	LOST_REQUEST("CONNECT user@ HTTP/1.1\r\n\r\n");
	LOST_REQUEST("CONNECT a:1 HTTP/1.1\r\nContent-Length: 1\r\n\r\n");
	LOST_REQUEST("CONNECT a:1 HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n");
	FINE_REQUEST("CONNECT a:1 HTTP/1.1\r\nContent-Length: 0\r\n\r\n");
	FINE_REQUEST("GET http:///only/path HTTP/1.1\r\n\r\n");
	FINE_REQUEST("GET //double HTTP/1.1\r\n\r\n");
}

Test(http1, fields_that_are_none)
{
	LOST_REQUEST(POST "Host : a\r\n\r\n");
	LOST_REQUEST(POST "Host\t: a\r\n\r\n");
	LOST_REQUEST(POST " Host: a\r\n\r\n");
	LOST_REQUEST(POST "\tHost: a\r\n\r\n");
	LOST_REQUEST(POST "Host: a\r\n folded\r\n\r\n");
	LOST_REQUEST(POST "Host: a\r\n \r\n\r\n");
	LOST_REQUEST(POST "Host\r\n\r\n");
	LOST_REQUEST(POST ": a\r\n\r\n");
	LOST_REQUEST(POST "Ho\0st: a\r\n\r\n");
	LOST_REQUEST(POST "Host: a\0\r\n\r\n");
	LOST_REQUEST(POST "Host: a\rb\r\n\r\n");
	LOST_REQUEST(POST "Host: a\r\r\n\r\n");
	LOST_REQUEST(POST "Host: a\r\n\r\r\n\r\n");
	LOST_REQUEST(POST "Host: a\n\r\n");
	LOST_REQUEST(POST "Host: a\r\n\n");
	LOST_REQUEST("POST / HTTP/1.1\nHost: a\r\n\n");
	LOST_REQUEST(POST "H\xc3st: a\r\n\r\n");
	FINE_REQUEST(POST "Host:a\r\nX:\r\nY: \t\r\nZ: \x01\xff\r\n\r\n");
}

Test(http1, lengths_that_are_none)
{
	LOST_REQUEST(POST "Content-Length:\r\n\r\n");
	LOST_REQUEST(POST "Content-Length: +1\r\n\r\n");
	LOST_REQUEST(POST "Content-Length: -1\r\n\r\n");
	LOST_REQUEST(POST "Content-Length: 0x1\r\n\r\n");
	LOST_REQUEST(POST "Content-Length: 1 1\r\n\r\n");
	LOST_REQUEST(POST "Content-Length: 1, 1\r\n\r\n");
	LOST_REQUEST(POST "Content-Length: 1.0\r\n\r\n");
	LOST_REQUEST(POST "Content-Length: 18446744073709551617\r\n\r\n");
	LOST_REQUEST(POST "Content-Length: 9223372036854775808\r\n\r\n");
	LOST_REQUEST(POST "Content-Length: 0000000000000000001\r\n\r\n");
	LOST_REQUEST(POST "Content-Length: 1\r\ncontent-length: 2\r\n\r\n");
	FINE_REQUEST(POST "Content-Length: 000\r\n\r\n");
	FINE_REQUEST(POST "Content-Length: 0\r\nCONTENT-LENGTH: 00\r\n\r\n");
	LOST_RESPONSE("HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n");
	LOST_RESPONSE("HTTP/1.1 204 OK\r\nContent-Length: nothing\r\n\r\n");
	expect(SW_BYTES(POST "Content-Length: 999999999999999999\r\n\r\nx"), sw_bytes("", 0), 1,
	       false);
}

Test(http1, codings_that_are_none)
{
	LOST_REQUEST(POST "Transfer-Encoding: identity\r\n\r\n");
	LOST_REQUEST(POST "Transfer-Encoding: gzip\r\n\r\n");
	LOST_REQUEST(POST "Transfer-Encoding: chunked, gzip\r\n\r\n");
	LOST_REQUEST(POST "Transfer-Encoding: chunked, chunked\r\n\r\n");
	LOST_REQUEST(POST "Transfer-Encoding: chunked,\r\n\r\n");
	LOST_REQUEST(POST "Transfer-Encoding: , chunked\r\n\r\n");
	LOST_REQUEST(POST "Transfer-Encoding: xchunked\r\n\r\n");
	LOST_REQUEST(POST "Transfer-Encoding: chunked;q=1\r\n\r\n");
	LOST_REQUEST(POST "Transfer-Encoding: \x0b"
			  "chunked\r\n\r\n");
	LOST_REQUEST(POST "Transfer-Encoding: br, chunked\r\n\r\n");
	LOST_REQUEST(POST "Transfer-Encoding:\r\n\r\n");
	LOST_REQUEST(POST "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n");
	LOST_REQUEST(POST "Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n\r\n");
	LOST_REQUEST(POST "Content-Length: 0\r\nTransfer-Encoding: chunked\r\n\r\n");
	LOST_REQUEST(POST "Transfer-Encoding: chunked\r\nContent-Length: 0\r\n\r\n");
	LOST_REQUEST("POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n");
	FINE_REQUEST(POST "Transfer-Encoding: deflate,X-GZIP ,CHUNKED\r\n\r\n0\r\n\r\n");
}

Test(http1, status_lines_that_are_none)
{
	LOST_RESPONSE("HTTP/1.1 99 X\r\n\r\n");
	LOST_RESPONSE("HTTP/1.1 099 X\r\n\r\n");
	LOST_RESPONSE("HTTP/1.1 2000 X\r\n\r\n");
	LOST_RESPONSE("HTTP/1.1  200 OK\r\n\r\n");
	LOST_RESPONSE("HTTP/1.1 200\tOK\r\n\r\n");
	LOST_RESPONSE("HTTP/1.1 2x0 OK\r\n\r\n");
	LOST_RESPONSE("HTTP/1.1\r\n\r\n");
	LOST_RESPONSE("HTTP/1.2 200 OK\r\n\r\n");
	LOST_RESPONSE("HTTP/2 200\r\n\r\n");
	LOST_RESPONSE("ICY 200 OK\r\n\r\n");
	LOST_RESPONSE("\r\n" OK);
	FINE_RESPONSE("HTTP/1.1 200\r\nContent-Length: 0\r\n\r\n");
	FINE_RESPONSE("HTTP/1.1 200 \r\nContent-Length: 0\r\n\r\n");
	FINE_RESPONSE("HTTP/1.1 999 \xff\r\nContent-Length: 0\r\n\r\n");
}

Test(http1, chunks_that_are_none)
{
	LOST_CHUNKS("\r\n");
	LOST_CHUNKS(";x\r\n");
	LOST_CHUNKS(" 1\r\nx\r\n");
	LOST_CHUNKS("-1\r\nx\r\n");
	LOST_CHUNKS("0x1\r\nx\r\n");
	LOST_CHUNKS("1 1\r\nx\r\n");
	LOST_CHUNKS("1\nx\r\n");
	LOST_CHUNKS("1\r\rx\r\n");
	LOST_CHUNKS("1\r\nxy\r\n");
	LOST_CHUNKS("1\r\nx\n0\r\n\r\n");
	LOST_CHUNKS("1;a\nx\r\n");
	LOST_CHUNKS("1;a\0\r\nx\r\n");
	LOST_CHUNKS("1;a\rb\r\nx\r\n");
	LOST_CHUNKS("1000000000000000\r\n");
	LOST_CHUNKS("ffffffffffffffffffff\r\n");
	LOST_CHUNKS("0\r\n folded\r\n\r\n");
	LOST_CHUNKS("0\r\n: a\r\n\r\n");
	LOST_CHUNKS("0\r\nA: b\n\r\n");
	LOST_CHUNKS("0\r\nA: \0\r\n\r\n");
	LOST_CHUNKS("0\r\n\rx");
	FINE_CHUNKS("000\r\n\r\n");
	FINE_CHUNKS("1\t;a\r\nx\r\n0;\r\n\r\n");
	expect(SW_BYTES(GET), SW_BYTES(CHUNKED "fffffffffffffff\r\nx"), 3, false);
}

Test(http1, answers_to_nothing)
{
	expect(sw_bytes("", 0), SW_BYTES(OK), 0, true);
	expect(sw_bytes("", 0), SW_BYTES("HTTP/1.1 100 Continue\r\n\r\n"), 0, true);
	expect(SW_BYTES(GET), SW_BYTES(OK "HTTP/1.1 400 Bad\r\n\r\n"), 4, true);
}

/* ---- limits ---- */

/* A head of exactly `len` bytes. */
static struct sw_bytes long_head(uint8_t *at, size_t len)
{
	struct sw_writer w = sw_writer(at, len);

	sw_write(&w, SW_BYTES("GET / HTTP/1.1\r\nX: "));
	memset(at + w.len, 'x', len - w.len - 4);
	memcpy(at + len - 4, "\r\n\r\n", 4);
	return sw_bytes(at, len);
}

Test(http1, a_head_has_a_limit)
{
	static uint8_t room[SW_HEAD_MAX + 1];
	size_t cut[] = {SIZE_MAX / 2, 1000, SW_HEAD_MAX - 1};

	for (size_t i = 0; i < SW_COUNT_OF(cut); i++) {
		struct play play;

		start(&play);
		bytes(&play, SW_REQUESTS, long_head(room, SW_HEAD_MAX), cut[i]);
		cr_expect_eq(play.requests, 1);
		bytes(&play, SW_REQUESTS, long_head(room, SW_HEAD_MAX + 1), cut[i]);
		cr_expect_eq(play.requests, 1);
		cr_expect(told(&play, "lost"));
		play_deinit(&play);
	}
}

Test(http1, a_long_url_is_sniffed_when_its_line_is_complete)
{
	static uint8_t room[SW_HEAD_MAX];
	struct sw_writer w = sw_writer(room, sizeof(room));

	memset(room, 'x', sizeof(room));
	sw_write(&w, SW_BYTES("GET /"));
	w.len = 60000;
	cr_expect_eq(HTTP1->sniff(sw_written(&w)), SW_SNIFF_MORE);
	sw_write(&w, SW_BYTES(" HTTP/1.1\r\n"));
	cr_expect_eq(HTTP1->sniff(sw_written(&w)), SW_SNIFF_YES);
	memset(room + 5, 'x', sizeof(room) - 5);
	cr_expect_eq(HTTP1->sniff(sw_bytes(room, sizeof(room))), SW_SNIFF_NO);
}

static void expect_filler(const char *before, size_t count, bool lost)
{
	struct play play;

	start(&play);
	ASK(&play, GET);
	ANSWER(&play, CHUNKED);
	bytes(&play, SW_RESPONSES, sw_bytes_text(before), SIZE_MAX / 2);
	for (size_t i = 0; i < count; i++)
		ANSWER(&play, "0");
	ANSWER(&play, "\r\n\r\n");
	cr_expect_eq(told(&play, "lost"), lost, "%s and %zu more", before, count);
	play_deinit(&play);
}

Test(http1, chunk_lines_and_trailers_have_limits)
{
	expect_filler("0", 8000, false);
	expect_filler("0", 9000, true);
	expect_filler("0;", 8000, false);
	expect_filler("0;", 9000, true);
	expect_filler("0\r\nX:", 65000, false);
	expect_filler("0\r\nX:", 66000, true);
}

Test(http1, pipelining_has_a_limit)
{
	struct play play;

	start(&play);
	for (int round = 0; round < 3; round++) {
		for (int i = 0; i < 32; i++)
			ASK(&play, GET);
		for (int i = 0; i < 32; i++)
			ANSWER(&play, OK);
	}
	cr_expect_eq(play.response_ends, 96);
	for (int i = 0; i < 33; i++)
		ASK(&play, GET);
	cr_expect_eq(play.requests, 96 + 32);
	cr_expect(told(&play, "lost"));
	play_deinit(&play);
}

/*
 * Pages of the head that were searched are taken away while it trickles in. Reading them again
 * would be a crash; that is how a parser that is quadratic in the head shows. The first page
 * stays: what a message begins with may be looked at each time.
 */
Test(http1, a_head_that_trickles_in_is_read_once)
{
	size_t page = 4096;
	uint8_t *room = mmap(NULL, SW_HEAD_MAX + page, PROT_READ | PROT_WRITE,
			     MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	uint64_t state[SW_PARSER_STATE_MAX / 8] = {0};
	struct play play;

	cr_assert_neq(room, MAP_FAILED);
	long_head(room, SW_HEAD_MAX);
	start(&play);
	for (size_t len = 1; len < SW_HEAD_MAX; len++) {
		if (len % page == 8 && len > 2 * page)
			cr_assert_eq(mprotect(room + len - 8 - page, page, PROT_NONE), 0);
		cr_assert_eq(HTTP1->feed(state, SW_REQUESTS, sw_bytes(room, len), &play.sink), 0);
	}
	cr_assert_eq(mprotect(room, SW_HEAD_MAX, PROT_READ), 0);
	cr_expect_eq(HTTP1->feed(state, SW_REQUESTS, sw_bytes(room, SW_HEAD_MAX), &play.sink),
		     SW_HEAD_MAX);
	cr_expect_eq(play.requests, 1);
	play_deinit(&play);
	munmap(room, SW_HEAD_MAX + page);
}

/* ---- sniff ---- */

#define SNIFF(text) HTTP1->sniff(SW_BYTES(text))

Test(http1, sniffs_requests)
{
	cr_expect_eq(SNIFF("G / HTTP/1.0\r\n"), SW_SNIFF_YES);
	cr_expect_eq(SNIFF("GET / HTTP/1.1\r\nHost"), SW_SNIFF_YES);
	cr_expect_eq(SNIFF("GET / HTTP/1.1\n"), SW_SNIFF_YES);
	cr_expect_eq(SNIFF("\r\n\r\nGET / HTTP/1.1\r\n"), SW_SNIFF_YES);
	cr_expect_eq(SNIFF("OPTIONS * HTTP/1.1\r\n"), SW_SNIFF_YES);
	cr_expect_eq(SNIFF("M-SEARCH http://a/b HTTP/1.1\r\n"), SW_SNIFF_YES);
	cr_expect_eq(SNIFF("CONNECT [::1]:443 HTTP/1.1\r\n"), SW_SNIFF_YES);
}

Test(http1, sniffs_beginnings)
{
	cr_expect_eq(SNIFF("G"), SW_SNIFF_MORE);
	cr_expect_eq(SNIFF("GET"), SW_SNIFF_MORE);
	cr_expect_eq(SNIFF("GET "), SW_SNIFF_MORE);
	cr_expect_eq(SNIFF("GET /a?b=c"), SW_SNIFF_MORE);
	cr_expect_eq(SNIFF("GET / "), SW_SNIFF_MORE);
	cr_expect_eq(SNIFF("GET / HTTP/1."), SW_SNIFF_MORE);
	cr_expect_eq(SNIFF("GET / HTTP/1.1\r"), SW_SNIFF_MORE);
	cr_expect_eq(SNIFF("\r"), SW_SNIFF_MORE);
	cr_expect_eq(SNIFF("\r\n"), SW_SNIFF_MORE);
	cr_expect_eq(SNIFF("\r\n\r\nG"), SW_SNIFF_MORE);
}

Test(http1, sniffs_strangers)
{
	cr_expect_eq(SNIFF("\x16\x03\x01\x02"), SW_SNIFF_NO);
	cr_expect_eq(SNIFF("SSH-2.0-OpenSSH_9.2\r\n"), SW_SNIFF_NO);
	cr_expect_eq(SNIFF("SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n"), SW_SNIFF_NO);
	cr_expect_eq(SNIFF("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), SW_SNIFF_NO);
	cr_expect_eq(SNIFF("PRI * HTTP/2"), SW_SNIFF_NO);
	cr_expect_eq(SNIFF("GET /\r\n"), SW_SNIFF_NO);
	cr_expect_eq(SNIFF("GET / HTTP/1.1 x"), SW_SNIFF_NO);
	cr_expect_eq(SNIFF("GET / HTTP/1.2\r\n"), SW_SNIFF_NO);
	cr_expect_eq(SNIFF("GET  /"), SW_SNIFF_NO);
	cr_expect_eq(SNIFF("GET (x"), SW_SNIFF_NO);
	cr_expect_eq(SNIFF("GET \x80"), SW_SNIFF_NO);
	cr_expect_eq(SNIFF("GET key\r\n"), SW_SNIFF_NO);
	cr_expect_eq(SNIFF("get key HTTP/1.1\r\n"), SW_SNIFF_NO);
	cr_expect_eq(SNIFF("*1\r\n$4\r\nPING\r\n"), SW_SNIFF_NO);
	cr_expect_eq(SNIFF("PING\r\n"), SW_SNIFF_NO);
	cr_expect_eq(SNIFF("OPTIONS rtsp://a/b RTSP/1.0\r\n"), SW_SNIFF_NO);
	cr_expect_eq(SNIFF("INVITE sip:a@b SIP/2.0\r\n"), SW_SNIFF_NO);
	cr_expect_eq(SNIFF("EHLO example.org\r\n"), SW_SNIFF_NO);
	cr_expect_eq(SNIFF("ABCDEFGHIJKLMNOPQRSTUVWXY"), SW_SNIFF_NO);
	cr_expect_eq(SNIFF("\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n"), SW_SNIFF_NO);
	cr_expect_eq(SNIFF("\n"), SW_SNIFF_NO);
	cr_expect_eq(SNIFF("\0"), SW_SNIFF_NO);
}

/* ---- carry ---- */

struct carried {
	enum sw_carry answer;
	struct sw_request request;
	struct sw_seam seam;
};

static struct carried carry_from(const struct play *play, struct sw_bytes head)
{
	struct carried c = {.answer = SW_CARRY_MORE};

	c.answer = HTTP1->carry(play->state, head, &c.request, &c.seam);
	return c;
}

static struct carried carry(struct sw_bytes head)
{
	struct play play;
	struct carried c;

	start(&play);
	c = carry_from(&play, head);
	play_deinit(&play);
	return c;
}

#define CARRY(text) carry(SW_BYTES(text)).answer

Test(http1, carry_finds_the_seam)
{
	struct sw_bytes head =
		SW_BYTES("POST /x?q HTTP/1.0\r\nHost: h:1\r\nContent-Length: 4\r\n\r\nbody");
	struct carried c = carry(head);

	cr_expect_eq(c.answer, SW_CARRY_YES);
	cr_expect_eq(c.seam.at, 20 + 11 + 19);
	cr_expect_eq(c.seam.head_len, 20 + 11 + 19 + 2);
	cr_expect_eq(c.seam.had_count, 0);
	cr_expect(sw_bytes_equal(c.request.operation, SW_BYTES("/x")));
	cr_expect(sw_bytes_equal(c.request.peer, SW_BYTES("h:1")));
	cr_expect_null(c.request.carrier.at);
	for (size_t len = 0; len < c.seam.head_len; len++)
		cr_expect_eq(carry(sw_bytes_slice(head, 0, len)).answer, SW_CARRY_MORE, "%zu", len);
	c = carry(SW_BYTES("GET / HTTP/1.1\r\n\r\n"));
	cr_expect_eq(c.answer, SW_CARRY_YES);
	cr_expect_eq(c.seam.at, 16);
}

Test(http1, carry_finds_lines_that_were_there)
{
	struct carried c =
		carry(SW_BYTES("GET / HTTP/1.1\r\nsw8: 1-a\r\nA: b\r\nSW8-correlation:\r\n\r\n"));

	cr_expect_eq(c.answer, SW_CARRY_TAKEN);
	cr_expect_eq(c.seam.at, 16 + 10 + 6 + 18);
	cr_expect_eq(c.seam.had_count, 2);
	cr_expect(c.seam.had[0].from == 16 && c.seam.had[0].to == 26);
	cr_expect(c.seam.had[1].from == 32 && c.seam.had[1].to == 50);
	cr_expect(sw_bytes_equal(c.request.carrier, SW_BYTES("1-a")));
	cr_expect(c.request.correlation.at && c.request.correlation.len == 0);

	c = carry(SW_BYTES("GET / HTTP/1.1\r\nsw8-correlation: x\r\nsw8: 1-a\r\n\r\n"));
	cr_expect_eq(c.answer, SW_CARRY_TAKEN);
	cr_expect(c.seam.had_count == 2 && c.seam.had[0].from == 16 && c.seam.had[0].to == 36);
	cr_expect(c.seam.had[1].from == 36 && c.seam.had[1].to == 46);

	c = carry(SW_BYTES("GET / HTTP/1.1\r\nsw8: 1-a\r\nsw8: 1-b\r\n\r\n"));
	cr_expect_eq(c.answer, SW_CARRY_TAKEN);
	cr_expect_eq(c.seam.had_count, 0);

	c = carry(SW_BYTES(
		"GET / HTTP/1.1\r\nsw8: 1-a\r\nsw8-correlation:\r\nsw8-correlation:\r\n\r\n"));
	cr_expect_eq(c.answer, SW_CARRY_TAKEN);
	cr_expect_eq(c.seam.had_count, 0);

	c = carry(SW_BYTES("GET / HTTP/1.1\r\nsw8:  \r\n\r\n"));
	cr_expect_eq(c.answer, SW_CARRY_TAKEN);
	cr_expect_null(c.request.carrier.at);
	cr_expect_eq(c.seam.had_count, 1);

	c = carry(SW_BYTES("GET / HTTP/1.1\r\nsw8-x: 1\r\nsw88: 2\r\nsw8-correlation: 3\r\n\r\n"));
	cr_expect_eq(c.answer, SW_CARRY_YES);
	cr_expect(c.seam.had_count == 1 && c.seam.had[0].from == 35 && c.seam.had[0].to == 55);
}

Test(http1, carry_refuses_what_is_not_certain)
{
	cr_expect_eq(CARRY("CONNECT a:1 HTTP/1.1\r\n\r\n"), SW_CARRY_NO);
	cr_expect_eq(CARRY("GET / HTTP/1.2\r\n\r\n"), SW_CARRY_NO);
	cr_expect_eq(CARRY("GET /\r\n\r\n"), SW_CARRY_NO);
	cr_expect_eq(CARRY("\r\nGET / HTTP/1.1\r\n\r\n"), SW_CARRY_NO);
	cr_expect_eq(CARRY("GET / HTTP/1.1\n\n"), SW_CARRY_NO);
	cr_expect_eq(CARRY("GET / HTTP/1.1\r\nA: b\n\r\n"), SW_CARRY_NO);
	cr_expect_eq(CARRY("GET / HTTP/1.1\r\nA: b\r\n\n"), SW_CARRY_NO);
	cr_expect_eq(CARRY("GET / HTTP/1.1\r\nA: b\r\n c\r\n\r\n"), SW_CARRY_NO);
	cr_expect_eq(CARRY("GET / HTTP/1.1\r\nA: \0\r\n\r\n"), SW_CARRY_NO);
	cr_expect_eq(CARRY("GET / HTTP/1.1\r\nA : b\r\n\r\n"), SW_CARRY_NO);
	cr_expect_eq(CARRY(POST "Content-Length: 1\r\nContent-Length: 1\r\n\r\n"), SW_CARRY_NO);
	cr_expect_eq(CARRY(POST "Content-Length: 1\r\nContent-Length: 2\r\n\r\n"), SW_CARRY_NO);
	cr_expect_eq(CARRY(POST "Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n"),
		     SW_CARRY_NO);
	cr_expect_eq(CARRY(POST "Transfer-Encoding: identity\r\n\r\n"), SW_CARRY_NO);
	cr_expect_eq(CARRY("\x16\x03\x01"), SW_CARRY_NO);
}

Test(http1, carry_refuses_a_head_beyond_the_limit)
{
	static uint8_t room[SW_HEAD_MAX + 1];

	cr_expect_eq(carry(long_head(room, SW_HEAD_MAX)).answer, SW_CARRY_YES);
	cr_expect_eq(carry(sw_bytes(room, SW_HEAD_MAX - 1)).answer, SW_CARRY_MORE);
	cr_expect_eq(carry(long_head(room, SW_HEAD_MAX + 1)).answer, SW_CARRY_NO);
	cr_expect_eq(carry(sw_bytes(room, SW_HEAD_MAX)).answer, SW_CARRY_NO);
}

/* Feeds these requests, then asks about one more that is fine in itself. */
static enum sw_carry carry_after(struct sw_bytes before)
{
	struct play play;
	struct carried c;

	start(&play);
	bytes(&play, SW_REQUESTS, before, SIZE_MAX / 2);
	c = carry_from(&play, SW_BYTES(GET));
	play_deinit(&play);
	return c.answer;
}

#define CARRY_AFTER(text) carry_after(SW_BYTES(text))

Test(http1, carry_remembers_what_came_before)
{
	cr_expect_eq(CARRY_AFTER(GET), SW_CARRY_YES);
	cr_expect_eq(CARRY_AFTER(POST "Content-Length: 2\r\n\r\nab"), SW_CARRY_YES);
	cr_expect_eq(CARRY_AFTER(POST "Transfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n"),
		     SW_CARRY_YES);
	/* Not at a border. */
	cr_expect_eq(CARRY_AFTER(POST "Content-Length: 3\r\n\r\nab"), SW_CARRY_MORE);
	cr_expect_eq(CARRY_AFTER(POST "Transfer-Encoding: chunked\r\n\r\n1\r\nx\r\n"),
		     SW_CARRY_MORE);
	cr_expect_eq(CARRY_AFTER("CONNECT a:1 HTTP/1.1\r\n\r\n"), SW_CARRY_MORE);
	/* The border was found by leniency, or not at all. */
	cr_expect_eq(CARRY_AFTER("GET / HTTP/1.1\n\n"), SW_CARRY_NO);
	cr_expect_eq(CARRY_AFTER("\r\n"), SW_CARRY_NO);
	cr_expect_eq(CARRY_AFTER(POST "Content-Length: 0\r\nContent-Length: 0\r\n\r\n"),
		     SW_CARRY_NO);
	cr_expect_eq(CARRY_AFTER("nonsense\r\n\r\n"), SW_CARRY_NO);
}

/* A head that goes out in pieces: the caller puts it together, and may ask again at each. */
Test(http1, carry_sees_a_head_in_pieces)
{
	struct sw_bytes head = SW_BYTES(GET);

	for (size_t len = 1; len < head.len; len++) {
		struct play play;

		start(&play);
		play_bytes(&play, SW_REQUESTS, sw_bytes_slice(head, 0, len));
		cr_expect_not(HTTP1->at_border(play.state), "%zu", len);
		cr_expect_eq(carry_from(&play, sw_bytes_slice(head, 0, len)).answer, SW_CARRY_MORE);
		cr_expect_eq(carry_from(&play, head).answer, SW_CARRY_YES, "%zu", len);
		play_deinit(&play);
	}
}

/* What the seam is for: a line of ours there changes nothing but the carrier. */
Test(http1, a_line_at_the_seam_is_a_field)
{
	struct sw_bytes ours = SW_BYTES("sw8: 1-ours\r\n");
	struct sw_bytes head = SW_BYTES(POST "Host: a\r\nContent-Length: 2\r\n\r\nab" GET);
	struct carried c = carry(head);
	struct play play;

	start(&play);
	play_bytes(&play, SW_REQUESTS, sw_bytes_slice(head, 0, c.seam.at));
	play_bytes(&play, SW_REQUESTS, ours);
	play_bytes(&play, SW_REQUESTS, sw_bytes_from(head, c.seam.at));
	cr_expect_eq(play.requests, 2);
	cr_expect_eq(play.request_ends, 2);
	cr_expect(told(&play, "  carrier 1-ours\n"));
	cr_expect(told(&play, "  carry taken at 58 of 60, had 45-58\n"), "%s", play.facts.at);
	play_deinit(&play);
}

/* ---- border ---- */

Test(http1, knows_borders)
{
	struct play play;

	start(&play);
	cr_expect(HTTP1->at_border(play.state));
	ASK(&play, "P");
	cr_expect_not(HTTP1->at_border(play.state));
	ASK(&play, "OST / HTTP/1.1\r\nContent-Length: 2\r\n\r\n");
	cr_expect_not(HTTP1->at_border(play.state));
	ASK(&play, "a");
	cr_expect_not(HTTP1->at_border(play.state));
	ASK(&play, "b");
	cr_expect(HTTP1->at_border(play.state));
	ASK(&play, "\r");
	cr_expect_not(HTTP1->at_border(play.state));
	ASK(&play, "\n");
	cr_expect(HTTP1->at_border(play.state));
	ASK(&play, "CONNECT a:1 HTTP/1.1\r\n\r\n");
	cr_expect_not(HTTP1->at_border(play.state));
	ANSWER(&play, OK);
	cr_expect_not(HTTP1->at_border(play.state));
	ANSWER(&play, "HTTP/1.1 403 No\r\nContent-Length: 1\r\n\r\n");
	cr_expect(HTTP1->at_border(play.state));
	play_deinit(&play);
}

/* ---- skip ---- */

/* Is skipping `count` bytes of the answer that begins so accounted for? */
static bool skips(struct sw_bytes answer, uint64_t count)
{
	struct play play;
	bool fine;

	start(&play);
	ASK(&play, GET);
	bytes(&play, SW_RESPONSES, answer, SIZE_MAX / 2);
	play_skip(&play, SW_RESPONSES, count);
	fine = !play.over;
	play_deinit(&play);
	return fine;
}

#define SKIPS(text, count) skips(SW_BYTES(text), count)
#define BODY "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n"

Test(http1, skips_only_bodies)
{
	cr_expect(SKIPS(BODY, 10));
	cr_expect(SKIPS(BODY "1234", 6));
	cr_expect(SKIPS(BODY, 9));
	cr_expect_not(SKIPS(BODY, 11));
	cr_expect_not(SKIPS(BODY, UINT64_MAX));
	cr_expect_not(SKIPS("HTTP/1.1 20", 1));
	cr_expect_not(SKIPS("", 1));
	cr_expect(SKIPS("", 0));
	cr_expect(SKIPS("HTTP/1.1 200 OK\r\n\r\n", UINT64_MAX));
	cr_expect(SKIPS(CHUNKED "a\r\n", 10));
	cr_expect(SKIPS(CHUNKED "a\r\n12", 8));
	cr_expect_not(SKIPS(CHUNKED "a\r\n", 11));
	cr_expect_not(SKIPS(CHUNKED "a", 1));
	cr_expect_not(SKIPS(CHUNKED "a\r\n0123456789", 1));
	cr_expect_not(SKIPS(OK, 1));
}

Test(http1, a_skip_ends_a_message)
{
	struct play play;

	start(&play);
	ASK(&play, POST "Content-Length: 7\r\n\r\n");
	play_skip(&play, SW_REQUESTS, 7);
	cr_expect_eq(play.request_ends, 1);
	ANSWER(&play, BODY);
	play_skip(&play, SW_RESPONSES, 4);
	cr_expect_eq(play.response_ends, 0);
	play_skip(&play, SW_RESPONSES, 6);
	cr_expect(told(&play, "response_end whole"));
	cr_expect_not(play.over);
	play_deinit(&play);
}

Test(http1, a_skip_after_connect_is_lost)
{
	struct play play;

	start(&play);
	ASK(&play, "CONNECT a:1 HTTP/1.1\r\n\r\n");
	play_skip(&play, SW_REQUESTS, 1);
	cr_expect(play.over);
	play_deinit(&play);
}

/* ---- finish ---- */

static void expect_finish(struct sw_bytes answer, const char *fact, size_t ends)
{
	struct play play;

	start(&play);
	ASK(&play, GET GET);
	bytes(&play, SW_RESPONSES, answer, SIZE_MAX / 2);
	play_finish(&play, SW_REQUESTS);
	cr_expect(ends == 2 || play.response_ends == 0);
	play_finish(&play, SW_RESPONSES);
	play_finish(&play, SW_RESPONSES);
	cr_expect_eq(play.response_ends, ends);
	cr_expect(told(&play, fact), "%s in\n%s", fact, play.facts.at);
	cr_expect_not(HTTP1->at_border(play.state));
	play_deinit(&play);
}

Test(http1, finish_ends_what_is_open)
{
	expect_finish(sw_bytes("", 0), "request_end\nresponse_end cut\nresponse_end cut\n", 2);
	expect_finish(SW_BYTES("HTTP/1.1 2"), "request_end\nresponse_end cut\nresponse_end cut\n",
		      2);
	expect_finish(SW_BYTES("HTTP/1.1 100 Continue\r\n\r\n"),
		      "request_end\nresponse_end cut\nresponse_end cut\n", 2);
	expect_finish(SW_BYTES("HTTP/1.1 200 OK\r\n\r\nx"),
		      "response 200\nresponse_end whole\nresponse_end cut\n", 2);
	expect_finish(SW_BYTES(BODY "123456789"),
		      "response 200\nresponse_end cut\nresponse_end cut\n", 2);
	expect_finish(SW_BYTES(CHUNKED "0\r\n"),
		      "response 200\nresponse_end cut\nresponse_end cut\n", 2);
	expect_finish(SW_BYTES(OK), "response 200\nresponse_end whole\nresponse_end cut\n", 2);
	expect_finish(SW_BYTES(OK OK), "response_end whole\nresponse 200\nresponse_end whole\n", 2);
	/* After LOST and OPAQUE the parser is silent. */
	expect_finish(SW_BYTES("nonsense"), "lost\n", 0);
}

Test(http1, a_client_that_has_said_all_is_still_answered)
{
	struct play play;

	start(&play);
	ASK(&play, GET);
	play_finish(&play, SW_REQUESTS);
	cr_expect_eq(play.response_ends, 0);
	ANSWER(&play, OK);
	cr_expect(told(&play, "response 200\nresponse_end whole\n"));
	play_deinit(&play);
}

/* ---- the end ---- */

static void expect_stays(struct sw_bytes ask, struct sw_bytes answer, ssize_t end)
{
	struct play play;
	size_t calls;

	start(&play);
	bytes(&play, SW_REQUESTS, ask, SIZE_MAX / 2);
	bytes(&play, SW_RESPONSES, answer, SIZE_MAX / 2);
	calls = play.calls;
	cr_expect(play.over);
	for (int i = 0; i < 2; i++) {
		cr_expect_eq(HTTP1->feed(play.state, SW_REQUESTS, SW_BYTES(GET), &play.sink), end);
		cr_expect_eq(HTTP1->feed(play.state, SW_RESPONSES, SW_BYTES(OK), &play.sink), end);
	}
	cr_expect_not(HTTP1->skip(play.state, SW_RESPONSES, 1, &play.sink));
	HTTP1->finish(play.state, SW_RESPONSES, &play.sink);
	cr_expect_eq(carry_from(&play, SW_BYTES(GET)).answer, SW_CARRY_NO);
	cr_expect_not(HTTP1->at_border(play.state));
	cr_expect_eq(play.calls, calls);
	play_deinit(&play);
}

Test(http1, the_end_is_final)
{
	expect_stays(SW_BYTES("nonsense\r\n\r\n"), sw_bytes("", 0), SW_FEED_LOST);
	expect_stays(SW_BYTES(GET), SW_BYTES("nonsense"), SW_FEED_LOST);
	expect_stays(SW_BYTES("CONNECT a:1 HTTP/1.1\r\n\r\n"), SW_BYTES("HTTP/1.1 200 \r\n\r\n"),
		     SW_FEED_OPAQUE);
	expect_stays(SW_BYTES(GET), SW_BYTES("HTTP/1.1 101 \r\n\r\n"), SW_FEED_OPAQUE);
}
