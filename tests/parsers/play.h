/*
 * Plays conversations to a parser as hooks/flow.c does, and writes down what it reports.
 *
 * Shared by the golden runner, the unit tests of parsers and the fuzzer, so that all three check
 * the same promises of hooks/parser.h on every single call. A broken promise aborts at once, with
 * one sentence: under a fuzzer that is what saves the input.
 *
 * Bytes are handed over in blocks of their exact size (up to a limit), so that a sanitizer sees
 * every read beyond a view, and freed before the next call, so that it sees every view kept.
 */
#pragma once

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "hooks/parser.h"

#define PLAY_EXACT_MAX 4096
#define PLAY_TEXT_GROWTH 1024

/* ---- text that grows ---- */

struct text {
	char *at; /* Owned */
	size_t len, room;
};

static inline void text_room(struct text *t, size_t more)
{
	if (t->len + more + 1 <= t->room)
		return;
	t->room = (t->len + more) * 2 + PLAY_TEXT_GROWTH;
	t->at = realloc(t->at, t->room);
	if (!t->at)
		abort();
}

__attribute__((format(printf, 2, 3))) static inline void text_add(struct text *t,
								  const char *format, ...)
{
	va_list args;
	int len;

	va_start(args, format);
	len = vsnprintf(NULL, 0, format, args);
	va_end(args);
	text_room(t, (size_t)len);
	va_start(args, format);
	(void)vsnprintf(t->at + t->len, (size_t)len + 1, format, args);
	va_end(args);
	t->len += (size_t)len;
}

/* Printable bytes as they are; the rest, and the backslash, escaped. */
static inline void text_add_bytes(struct text *t, struct sw_bytes b)
{
	text_room(t, b.len * 4);
	for (size_t i = 0; i < b.len; i++) {
		if (b.at[i] >= ' ' && b.at[i] < 0x7f && b.at[i] != '\\')
			t->at[t->len++] = (char)b.at[i];
		else
			t->len += (size_t)sprintf(t->at + t->len, "\\x%02x", b.at[i]);
	}
	t->at[t->len] = 0;
}

/* ---- facts ---- */

struct play {
	struct sw_sink sink; /* first, so that a sink is a play */
	const struct sw_parser *parser;
	uint64_t state[SW_PARSER_STATE_MAX / 8];
	struct text facts;
	struct {
		uint8_t *at; /* Owned */
		size_t len, room;
	} kept[SW_SIDE_COUNT];
	bool sniffed; /* set it at the start to feed without asking sniff() */
	bool over;    /* lost, opaque, or not of this format */
	size_t requests, request_ends, responses, response_ends, handshakes, outcomes, calls;

	/* What carry() said of the view that is being fed. */
	enum sw_carry carry;
	struct sw_seam seam;
	struct text carried; /* Owned; the request as carry() saw it */
};

__attribute__((noreturn)) static inline void play_broken(const struct play *play,
							 const char *promise)
{
	fprintf(stderr, "%s broke a promise: %s\nfacts so far:\n%s", play->parser->name, promise,
		play->facts.at ? play->facts.at : "");
	abort();
}

#define PLAY_PROMISE(play, condition, promise)                                                     \
	do {                                                                                       \
		if (!(condition))                                                                  \
			play_broken(play, promise);                                                \
	} while (0)

static inline const char *play_tag_name(enum sw_tag_key key)
{
	static const char *const names[] = {
#define SW_TAG(id, name, doc) name,
#include "preload/tags.def"
#undef SW_TAG
	};

	return key < SW_TAG_COUNT ? names[key] : "?";
}

static inline void play_field(struct text *t, const char *name, struct sw_bytes value)
{
	if (!value.at)
		return;
	text_add(t, "  %s%s", name, value.len ? " " : "");
	text_add_bytes(t, value);
	text_add(t, "\n");
}

static inline void play_describe(struct text *t, const struct sw_request *r)
{
	text_add(t, "request layer=%d ", (int)r->layer);
	text_add_bytes(t, r->method);
	text_add(t, " ");
	text_add_bytes(t, r->operation);
	text_add(t, "\n");
	if (r->peer.len)
		play_field(t, "peer", r->peer);
	if (r->params.len)
		play_field(t, "params", r->params);
	for (size_t i = 0; i < r->tag_count; i++) {
		text_add(t, "  tag %s ", play_tag_name(r->tag[i].key));
		for (size_t j = 0; j < SW_COUNT_OF(r->tag[i].part); j++)
			text_add_bytes(t, r->tag[i].part[j]);
		text_add(t, "\n");
	}
	play_field(t, "carrier", r->carrier);
	play_field(t, "correlation", r->correlation);
}

static inline void play_describe_carry(struct play *play)
{
	struct text *t = &play->facts;
	static const char *const names[] = {"more", "no", "taken", "yes"};

	if (!play->parser->carry)
		return;
	text_add(t, "  carry %s", names[play->carry]);
	if (play->carry >= SW_CARRY_TAKEN) {
		text_add(t, " at %zu of %zu", play->seam.at, play->seam.head_len);
		for (size_t i = 0; i < play->seam.had_count; i++)
			text_add(t, ", had %zu-%zu", play->seam.had[i].from, play->seam.had[i].to);
	}
	text_add(t, "\n");
}

static inline void play_request(struct sw_sink *sink, const struct sw_request *request)
{
	struct play *play = (struct play *)sink;
	size_t from = play->facts.len;

	play->calls++;
	PLAY_PROMISE(play,
		     play->requests == play->request_ends || play->requests <= play->response_ends,
		     "a request begins after the one before it ended");
	PLAY_PROMISE(play, request->operation.len > 0, "an operation is never empty");
	PLAY_PROMISE(play, request->tag_count <= SW_REQUEST_TAGS, "tags fit");
	play->requests++;
	play_describe(&play->facts, request);
	if (play->carried.len)
		PLAY_PROMISE(play, strcmp(play->carried.at, play->facts.at + from) == 0,
			     "carry() and feed() see the same request");
	play_describe_carry(play);
}

static inline void play_request_end(struct sw_sink *sink)
{
	struct play *play = (struct play *)sink;

	play->calls++;
	PLAY_PROMISE(play, play->requests > play->response_ends,
		     "request_end speaks of a request that is open");
	play->request_ends = play->requests;
	text_add(&play->facts, "request_end\n");
}

static inline void play_response(struct sw_sink *sink, const struct sw_response *response)
{
	struct play *play = (struct play *)sink;

	play->calls++;
	PLAY_PROMISE(play, play->responses == play->response_ends,
		     "a response begins after the one before it ended");
	PLAY_PROMISE(play, play->responses < play->requests, "a response answers a request");
	play->responses++;
	text_add(&play->facts, "response %u%s\n", (unsigned)response->status,
		 response->error ? " error" : "");
}

static inline void play_response_end(struct sw_sink *sink, bool whole)
{
	struct play *play = (struct play *)sink;

	play->calls++;
	PLAY_PROMISE(play, play->response_ends < play->requests, "response_end has a request");
	PLAY_PROMISE(play, !whole || play->response_ends < play->responses,
		     "a whole answer was told of before");
	play->response_ends++;
	if (play->responses < play->response_ends)
		play->responses = play->response_ends;
	text_add(&play->facts, "response_end %s\n", whole ? "whole" : "cut");
}

static inline void play_handshake(struct sw_sink *sink, enum sw_handshake what)
{
	struct play *play = (struct play *)sink;
	static const char *const names[] = {"begins", "answered", "done",
					    "failed", "cut",	  "unknown"};

	play->calls++;
	PLAY_PROMISE(play, (what == SW_HANDSHAKE_BEGINS) == (play->handshakes == 0),
		     "a handshake begins once, and before all else");
	PLAY_PROMISE(play, play->outcomes == 0, "a handshake has one outcome");
	play->handshakes++;
	play->outcomes += what >= SW_HANDSHAKE_DONE;
	text_add(&play->facts, "handshake %s\n", names[what]);
}

/* ---- life ---- */

static inline void play_init(struct play *play, const struct sw_parser *parser)
{
	*play = (struct play){
		.sink = {play_request, play_request_end, play_response, play_response_end,
			 play_handshake},
		.parser = parser,
	};
	text_add(&play->facts, "%s", "");
}

static inline void play_deinit(struct play *play)
{
	free(play->facts.at);
	free(play->carried.at);
	free(play->kept[SW_REQUESTS].at);
	free(play->kept[SW_RESPONSES].at);
}

/* ---- carry ---- */

static inline void play_check_seam(const struct play *play, struct sw_bytes head)
{
	const struct sw_seam *seam = &play->seam;
	size_t last = 0;

	PLAY_PROMISE(play, seam->head_len <= head.len && seam->at < seam->head_len,
		     "carry offsets lie inside the head");
	PLAY_PROMISE(play, seam->had_count <= SW_COUNT_OF(seam->had), "at most two lines were had");
	for (size_t i = 0; i < seam->had_count; i++) {
		PLAY_PROMISE(play,
			     seam->had[i].from >= last && seam->had[i].from > 0 &&
				     seam->had[i].to > seam->had[i].from &&
				     seam->had[i].to <= seam->at,
			     "lines that were had lie in order before the seam");
		last = seam->had[i].to;
		PLAY_PROMISE(play,
			     head.at[seam->had[i].from - 1] == '\n' && head.at[last - 1] == '\n',
			     "lines that were had are whole");
	}
}

/* Asks carry() of the view that is about to be fed. */
static inline void play_carry(struct play *play, struct sw_bytes view)
{
	struct sw_request request;
	uint64_t before[SW_PARSER_STATE_MAX / 8];

	play->carried.len = 0;
	if (!play->parser->carry)
		return;
	memcpy(before, play->state, sizeof(before));
	play->carry = play->parser->carry(play->state, view, &request, &play->seam);
	PLAY_PROMISE(play, memcmp(before, play->state, sizeof(before)) == 0,
		     "carry() leaves the state alone");
	if (play->carry < SW_CARRY_TAKEN)
		return;
	play_check_seam(play, view);
	play_describe(&play->carried, &request);
}

/* ---- bytes ---- */

static inline bool play_sniff(struct play *play, struct sw_bytes view)
{
	enum sw_sniff answer = play->sniffed ? SW_SNIFF_YES : play->parser->sniff(view);

	play->sniffed = answer == SW_SNIFF_YES;
	if (answer == SW_SNIFF_NO) {
		play->over = true;
		text_add(&play->facts, "stranger\n");
	}
	return play->sniffed;
}

static inline void play_took(struct play *play, ssize_t took, size_t len, size_t calls)
{
	PLAY_PROMISE(play, took >= SW_FEED_OPAQUE && took <= (ssize_t)len,
		     "no more is taken than was given");
	PLAY_PROMISE(play, took != 0 || play->calls == calls, "who needs more reports nothing");
	if (took >= 0)
		return;
	play->over = true;
	text_add(&play->facts, took == SW_FEED_LOST ? "lost\n" : "opaque\n");
}

static inline ssize_t play_feed_exact(struct play *play, enum sw_side side, struct sw_bytes view)
{
	uint8_t *copy = view.len <= PLAY_EXACT_MAX ? malloc(view.len) : NULL;
	size_t calls = play->calls;
	ssize_t took;

	if (copy) {
		memcpy(copy, view.at, view.len);
		view.at = copy;
	}
	play->carried.len = 0;
	if (side == SW_REQUESTS)
		play_carry(play, view);
	took = play->parser->feed(play->state, side, view, &play->sink);
	if (play->carried.len)
		PLAY_PROMISE(play, took == (ssize_t)play->seam.head_len && play->calls > calls,
			     "feed() takes the head that carry() saw");
	play->carried.len = 0;
	play_took(play, took, view.len, calls);
	free(copy);
	return took;
}

static inline void play_keep(struct play *play, enum sw_side side, struct sw_bytes bytes)
{
	size_t len = play->kept[side].len + bytes.len;

	if (len > play->kept[side].room) {
		play->kept[side].room = len * 2;
		play->kept[side].at = realloc(play->kept[side].at, play->kept[side].room);
		if (!play->kept[side].at)
			abort();
	}
	memcpy(play->kept[side].at + play->kept[side].len, bytes.at, bytes.len);
	play->kept[side].len = len;
}

/* One call of the program's: these bytes, of this side. */
static inline void play_bytes(struct play *play, enum sw_side side, struct sw_bytes bytes)
{
	size_t had = play->kept[side].len;
	struct sw_bytes view;
	ssize_t took = 1;

	if (play->over || bytes.len == 0)
		return;
	play_keep(play, side, bytes);
	view = sw_bytes(play->kept[side].at, play->kept[side].len);
	while (view.len && !play->over && took > 0) {
		/* Only the request side is sniffed; until it says yes there is no parser to feed.
		 */
		if (side == SW_REQUESTS && !play_sniff(play, view))
			break;
		took = play_feed_exact(play, side, view);
		PLAY_PROMISE(play, took <= 0 || took > (ssize_t)had,
			     "who needed more takes more than it was shown before");
		if (took > 0)
			view = sw_bytes_from(view, (size_t)took);
		had = 0;
	}
	if (view.len && view.at != play->kept[side].at)
		memmove(play->kept[side].at, view.at, view.len);
	play->kept[side].len = view.len;
}

/* What cannot be read cannot follow what was kept. */
static inline void play_skip(struct play *play, enum sw_side side, uint64_t count)
{
	if (play->over)
		return;
	if (play->kept[side].len || !play->parser->skip(play->state, side, count, &play->sink)) {
		play->over = true;
		text_add(&play->facts, "lost\n");
	}
}

static inline void play_finish(struct play *play, enum sw_side side)
{
	if (!play->over)
		play->parser->finish(play->state, side, &play->sink);
}
