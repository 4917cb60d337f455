/*
 * Golden conversations as text: reading them, and playing them with cuts. The format is explained
 * in tests/parsers/README.md.
 */
#pragma once

#include <ctype.h>

#include "tests/parsers/play.h"

#define SCRIPT_EVENTS_MAX 256

enum event_kind { EVENT_BYTES, EVENT_SKIP, EVENT_FINISH };

struct event {
	enum event_kind kind;
	enum sw_side side;
	struct text bytes; /* Owned */
	uint64_t count;	   /* of EVENT_SKIP */
};

struct script {
	struct event event[SCRIPT_EVENTS_MAX];
	size_t count;
	size_t total; /* bytes of all events */
};

static inline int script_hex(char c)
{
	if (!isxdigit((unsigned char)c))
		return -1;
	return isdigit((unsigned char)c) ? c - '0' : tolower((unsigned char)c) - 'a' + 10;
}

/* One escape after its backslash; how many characters it has, 0 when it is none. */
static inline size_t script_escape(const char *at, char *ret_byte)
{
	static const char names[] = "rnt0\\", bytes[] = "\r\n\t\0\\";
	const char *name = *at ? strchr(names, *at) : NULL;

	if (name) {
		*ret_byte = bytes[name - names];
		return 1;
	}
	if (*at != 'x' || script_hex(at[1]) < 0 || script_hex(at[2]) < 0)
		return 0;
	*ret_byte = (char)(script_hex(at[1]) * 16 + script_hex(at[2]));
	return 3;
}

static inline bool script_unescape(const char *at, struct text *t)
{
	text_room(t, strlen(at));
	while (*at) {
		char byte = *at++;

		if (byte == '\\') {
			size_t len = script_escape(at, &byte);

			if (!len)
				return false;
			at += len;
		}
		t->at[t->len++] = byte;
	}
	return true;
}

static inline struct event *script_event(struct script *s, enum event_kind kind, enum sw_side side)
{
	struct event *last = s->count ? &s->event[s->count - 1] : NULL;

	if (last && kind == EVENT_BYTES && last->kind == kind && last->side == side)
		return last;
	if (s->count == SCRIPT_EVENTS_MAX)
		return NULL;
	s->event[s->count] = (struct event){.kind = kind, .side = side};
	return &s->event[s->count++];
}

/* ` text`, `*N text`, `~N` or `.`, after the letter of the side. */
static inline bool script_operation(struct script *s, enum sw_side side, char *rest)
{
	struct event *event;
	char *text = rest + 1;
	unsigned long times = 1;

	if (*rest == '.')
		return script_event(s, EVENT_FINISH, side) != NULL;
	if (*rest == '~') {
		event = script_event(s, EVENT_SKIP, side);
		if (event)
			event->count = strtoull(rest + 1, NULL, 10);
		return event != NULL;
	}
	if (*rest == '*') {
		times = strtoul(rest + 1, &text, 10);
		if (*text++ != ' ')
			return false;
	} else if (*rest != ' ') {
		return false;
	}
	event = script_event(s, EVENT_BYTES, side);
	while (event && times-- > 0) {
		size_t before = event->bytes.len;

		if (!script_unescape(text, &event->bytes))
			return false;
		s->total += event->bytes.len - before;
	}
	return event != NULL;
}

static inline bool script_line(struct script *s, char *line)
{
	if (*line == 0 || *line == '#')
		return true;
	if (*line != '>' && *line != '<')
		return false;
	return script_operation(s, *line == '>' ? SW_REQUESTS : SW_RESPONSES, line + 1);
}

/* The whole text of a file, without lines that begin with '#'; NULL when it cannot be read. */
static inline char *script_read(const char *path)
{
	FILE *file = fopen(path, "r");
	struct text t = {NULL, 0, 0};
	char *line = NULL;
	size_t room = 0;

	if (!file)
		return NULL;
	text_add(&t, "%s", "");
	while (getline(&line, &room, file) >= 0) {
		if (*line != '#')
			text_add(&t, "%s", line);
	}
	free(line);
	(void)fclose(file);
	return t.at;
}

/* Reads a conversation. False when a line of it is of no known form. */
static inline bool script_init(struct script *s, const char *path)
{
	char *text = script_read(path), *rest = text, *line;
	bool fine = text != NULL;

	*s = (struct script){.count = 0};
	while (fine && (line = strsep(&rest, "\n")))
		fine = script_line(s, line);
	free(text);
	return fine;
}

static inline void script_deinit(struct script *s)
{
	for (size_t i = 0; i < s->count; i++)
		free(s->event[i].bytes.at);
}

/* Chunks of `step` bytes; besides, one cut before the byte `at` of the whole conversation. */
struct cuts {
	size_t step, at;
};

static inline void script_play_bytes(struct play *play, enum sw_side side, struct sw_bytes bytes,
				     size_t began, struct cuts cuts)
{
	while (bytes.len) {
		size_t len = SW_MIN(cuts.step, bytes.len);

		if (cuts.at > began && cuts.at - began < len)
			len = cuts.at - began;
		play_bytes(play, side, sw_bytes_slice(bytes, 0, len));
		bytes = sw_bytes_from(bytes, len);
		began += len;
	}
}

static inline void script_play(const struct script *s, struct play *play, struct cuts cuts)
{
	size_t began = 0;

	for (size_t i = 0; i < s->count; i++) {
		const struct event *e = &s->event[i];
		struct sw_bytes bytes = sw_bytes(e->bytes.at, e->bytes.len);

		if (e->kind == EVENT_BYTES)
			script_play_bytes(play, e->side, bytes, began, cuts);
		else if (e->kind == EVENT_SKIP)
			play_skip(play, e->side, e->count);
		else
			play_finish(play, e->side);
		began += bytes.len;
	}
}
