/*
 * The line machine; see lines.h.
 *
 * What one writer has written and not finished is a `draft`: lines that belong together, and behind
 * them the line that is not at its end. A line that is whole waits for one turn, because a
 * traceback may follow it; a half one waits a second. Drafts are bounded in number and in bytes:
 * the one that was begun first leaves first, as it is.
 *
 * As on a terminal, what a carriage return puts the cursor back over is overwritten: of a progress
 * bar the last state is the line. Colours (ESC [ ... m) are no part of a text.
 */
#include "reporter/logs/lines.h"

#include <stdlib.h>

#define HASH_NONFATAL_OOM 1
#define uthash_nonfatal_oom(element) ((void)(element))
#include <uthash.h>

#include "preload/counters.h"
#include "preload/sys.h"
#include "proto/buffer.h"

#define DRAFTS_MAX 512
#define SPARES_MAX 32
#define SPARE_BYTES 16384
#define WORDS_MAX 512
#define HEAD_MAX 512
#define SETTLE_NS 50000000ull
#define PATIENCE_NS SW_SECOND_NS

/* Where a traceback of Python's is. */
enum trace {
	TRACE_NONE,
	TRACE_FRAMES, /* after its head: indented lines, then the exception's */
	TRACE_RAISED, /* the exception's line was seen: it may have a cause */
	TRACE_BLANK,  /* ... and a blank line: a cause, or the next record */
	TRACE_CHAIN,  /* ... and the sentence that joins two: another one follows */
};

struct key {
	struct sw_id segment;
	uint32_t stream, thread;
};

struct draft {
	struct key key;
	struct sw_record_log origin;
	struct sw_buffer text; /* Owned */
	size_t whole;	       /* of these bytes are whole lines, with line ends but the last */
	bool has_whole;	       /* there is at least one, perhaps empty */
	size_t blank;	       /* where the lines end if a blank one turns out to be none of them */
	unsigned part;	       /* of a line that is too long: how many have left */
	size_t head_len;       /* of `head` */
	bool failed;
	bool same_write; /* the line before came with the same write */
	enum trace trace;
	uint64_t last_ns;
	struct draft *next; /* of the spares */
	UT_hash_handle hh;
	/* Not cleared when a spare is taken: they are long, and their lengths say what is in them.
	 */
	uint8_t words[WORDS_MAX]; /* of the origin */
	uint8_t head[HEAD_MAX];	  /* the beginning of the line that is too long */
};

/* Ids differ in their low halves, and most of all in their last bits. */
static unsigned hash_of(const struct key *key)
{
	uint64_t mixed = key->segment.low ^ key->segment.high ^
			 ((uint64_t)key->stream << 32 | key->thread) * 0x9e3779b97f4a7c15u;

	return (unsigned)(mixed * 0x9e3779b97f4a7c15u >> 32);
}

struct sw_log_lines {
	void (*emit)(void *arg, const struct sw_log_piece *piece);
	void *arg;
	size_t line_max;
	struct draft *table; /* in order of their first byte */
	struct draft *spare;
	unsigned spares, drafts;
};

struct sw_log_lines *sw_log_lines_new(void (*emit)(void *arg, const struct sw_log_piece *piece),
				      void *arg, size_t line_max)
{
	struct sw_log_lines *lines = calloc(1, sizeof(*lines));

	if (lines) {
		lines->emit = emit;
		lines->arg = arg;
		lines->line_max = line_max;
	}
	return lines;
}

static bool is_message(const struct sw_record_log *record)
{
	return record->source >= SW_LOG_SYSLOG;
}

/* ---- drafts ---- */

static void free_draft(struct draft *draft)
{
	sw_buffer_free(&draft->text);
	free(draft);
}

static void drop(struct sw_log_lines *lines, struct draft *draft)
{
	HASH_DEL(lines->table, draft);
	lines->drafts--;
	if (lines->spares == SPARES_MAX || draft->text.room > SPARE_BYTES) {
		free_draft(draft);
		return;
	}
	draft->next = lines->spare;
	lines->spare = draft;
	lines->spares++;
}

struct sw_log_lines *sw_log_lines_free(struct sw_log_lines *lines)
{
	struct draft *draft, *next;

	if (!lines)
		return NULL;
	HASH_ITER (hh, lines->table, draft, next)
		drop(lines, draft);
	for (draft = lines->spare; draft; draft = next) {
		next = draft->next;
		free_draft(draft);
	}
	free(lines);
	return NULL;
}

static struct draft *take_spare(struct sw_log_lines *lines)
{
	struct draft *draft = lines->spare;
	struct sw_buffer text;

	if (!draft)
		return calloc(1, sizeof(*draft));
	lines->spare = draft->next;
	lines->spares--;
	text = draft->text;
	text.len = 0;
	text.failed = false;
	memset(draft, 0, offsetof(struct draft, words));
	draft->text = text;
	return draft;
}

static size_t words_len(const struct sw_record_log *record)
{
	return (size_t)record->trace + record->endpoint + record->level + record->logger +
	       record->name;
}

static struct sw_bytes words_of(const struct sw_record_log *record)
{
	return sw_bytes((const uint8_t *)record + sizeof(*record), words_len(record));
}

static struct sw_bytes draft_words(const struct draft *draft)
{
	return sw_bytes(draft->words, words_len(&draft->origin));
}

/* A record begins: whose it is, and when. */
static void set_origin(struct draft *draft, const struct sw_record_log *record)
{
	struct sw_bytes words = words_of(record);

	draft->origin = *record;
	if (words.len > WORDS_MAX)
		draft->origin.trace = draft->origin.endpoint = draft->origin.level =
			draft->origin.logger = draft->origin.name = 0;
	else if (words.len)
		memcpy(draft->words, words.at, words.len);
}

/* ---- what a terminal would show ---- */

/* What a carriage return was to overwrite, and colours. Returns the new end. Most lines have none
 * of either. */
static size_t tidy(uint8_t *at, size_t from, size_t end)
{
	struct sw_bytes line = sw_bytes(at + from, end - from);
	size_t out = from;

	if (sw_bytes_find(line, '\r') == line.len && sw_bytes_find(line, 0x1b) == line.len)
		return end;
	if (end > from && at[end - 1] == '\r')
		end--;
	for (size_t i = from; i < end; i++) {
		if (at[i] == '\r') {
			out = from;
		} else if (at[i] == 0x1b && i + 1 < end && at[i + 1] == '[') {
			size_t j = i + 2;

			while (j < end && at[j] < 0x40)
				j++;
			i = j;
		} else {
			at[out++] = at[i];
		}
	}
	return out;
}

/* Where the line that is not whole begins. */
static size_t half(const struct draft *draft)
{
	return draft->has_whole ? draft->whole + 1 : 0;
}

/* ---- what leaves ---- */

static struct sw_bytes head_of(const struct draft *draft, size_t len)
{
	return draft->part ? sw_bytes(draft->head, draft->head_len) : sw_bytes(draft->text.at, len);
}

static void emit(struct sw_log_lines *lines, struct draft *draft, size_t len, bool cut)
{
	struct sw_log_piece piece = {
		.origin = &draft->origin,
		.words = draft_words(draft),
		.text = sw_bytes(draft->text.at, len),
		.head = head_of(draft, len),
		.part = draft->part ? draft->part + 1 : 0,
		.cut = cut,
		.failed = draft->failed,
	};

	if (piece.text.len)
		lines->emit(lines->arg, &piece);
}

/* What is behind `len` moves to the front. */
static void shift(struct draft *draft, size_t len)
{
	memmove(draft->text.at, draft->text.at + len, draft->text.len - len);
	draft->text.len -= len;
}

/* The whole lines leave, the half one stays. */
static void emit_whole(struct sw_log_lines *lines, struct draft *draft)
{
	size_t next = draft->whole;

	if (!draft->has_whole)
		return;
	if (draft->trace == TRACE_BLANK)
		draft->whole = draft->blank;
	emit(lines, draft, draft->whole, false);
	if (next < draft->text.len && draft->text.at[next] == '\n')
		next++;
	shift(draft, next);
	draft->whole = 0;
	draft->part = 0;
	draft->has_whole = draft->failed = false;
	draft->trace = TRACE_NONE;
}

/* Everything leaves, the half line as if it were whole. */
static void emit_all(struct sw_log_lines *lines, struct draft *draft, bool cut)
{
	if (!is_message(&draft->origin) && draft->text.len > half(draft))
		draft->text.len = tidy(draft->text.at, half(draft), draft->text.len);
	if (draft->has_whole && draft->text.len > draft->whole)
		emit_whole(lines, draft);
	if (draft->has_whole)
		emit_whole(lines, draft);
	else
		emit(lines, draft, draft->text.len, cut);
	drop(lines, draft);
}

/* Without a character at the end of which bytes are still to come. */
static size_t character_border(struct sw_bytes text)
{
	for (size_t back = 1; back < 4 && back < text.len; back++) {
		uint8_t c = text.at[text.len - back];
		size_t len = c >= 0xf0 ? 4 : c >= 0xe0 ? 3 : c >= 0xc0 ? 2 : 1;

		if ((c & 0xc0) != 0x80)
			return len > back ? text.len - back : text.len;
	}
	return text.len;
}

/* A line has become too long: a part of it leaves, with what the line began with. */
static void emit_part(struct sw_log_lines *lines, struct draft *draft)
{
	size_t len = character_border(sw_bytes(draft->text.at, draft->text.len));
	struct sw_log_piece piece = {
		.origin = &draft->origin,
		.words = draft_words(draft),
		.text = sw_bytes(draft->text.at, len),
		.part = draft->part + 1,
	};

	if (!draft->part) {
		draft->head_len = SW_MIN(len, HEAD_MAX);
		memcpy(draft->head, draft->text.at, draft->head_len);
	}
	draft->part++;
	piece.head = sw_bytes(draft->head, draft->head_len);
	lines->emit(lines->arg, &piece);
	shift(draft, len);
}

/* ---- lines that belong together ---- */

static bool is_indented(struct sw_bytes line)
{
	return line.len && (line.at[0] == ' ' || line.at[0] == '\t');
}

static struct sw_bytes unindented(struct sw_bytes line)
{
	while (line.len &&
	       (line.at[0] == ' ' || line.at[0] == '\t' || line.at[0] == '|' || line.at[0] == '+'))
		line = sw_bytes_from(line, 1);
	return line;
}

static bool is_head(struct sw_bytes line)
{
	line = unindented(line);
	return sw_bytes_starts(line, SW_BYTES("Traceback (most recent call last):")) ||
	       sw_bytes_starts(line,
			       SW_BYTES("Exception Group Traceback (most recent call last):"));
}

static bool is_chain(struct sw_bytes line)
{
	line = unindented(line);
	return sw_bytes_starts(line, SW_BYTES("During handling of the above exception,")) ||
	       sw_bytes_starts(line, SW_BYTES("The above exception was the direct cause "));
}

/* Of Java and its kin. */
static bool is_frame(struct sw_bytes line)
{
	struct sw_bytes text = unindented(line);

	if (sw_bytes_starts(text, SW_BYTES("Caused by: ")) ||
	    sw_bytes_starts(text, SW_BYTES("Suppressed: ")))
		return true;
	return is_indented(line) &&
	       (sw_bytes_starts(text, SW_BYTES("at ")) || sw_bytes_starts(text, SW_BYTES("... ")));
}

/* Does this line go on with the traceback before it? Notes where that is then. */
static bool goes_on(struct draft *draft, struct sw_bytes line)
{
	switch (draft->trace) {
	case TRACE_FRAMES:
		if (line.len && !is_indented(line) && !is_head(line))
			draft->trace = TRACE_RAISED;
		return true;
	case TRACE_RAISED:
		if (line.len)
			return is_indented(line);
		draft->blank = draft->whole;
		draft->trace = TRACE_BLANK;
		return true;
	case TRACE_BLANK:
		if (!is_chain(line))
			return false;
		draft->trace = TRACE_CHAIN;
		return true;
	case TRACE_CHAIN:
		if (line.len && !is_head(line))
			return false;
		draft->trace = line.len ? TRACE_FRAMES : TRACE_CHAIN;
		return true;
	default:
		return false;
	}
}

/* Does this whole line belong to those before it? */
static bool belongs(struct draft *draft, struct sw_bytes line)
{
	if (!draft->has_whole)
		return false;
	if (goes_on(draft, line))
		return true;
	if (draft->trace > TRACE_RAISED)
		return false;
	if (is_head(line)) {
		bool joins = draft->same_write && draft->trace == TRACE_NONE;

		draft->trace = joins ? TRACE_FRAMES : draft->trace;
		draft->failed |= joins;
		return joins;
	}
	if (is_frame(line)) {
		draft->failed = true;
		return true;
	}
	return draft->same_write && is_indented(line);
}

/* ---- bytes ---- */

/* The half line is whole now. */
static void line_done(struct sw_log_lines *lines, struct draft *draft,
		      const struct sw_record_log *record)
{
	size_t from = half(draft);
	struct sw_bytes line;

	draft->text.len = tidy(draft->text.at, from, draft->text.len);
	line = sw_bytes(draft->text.at + from, draft->text.len - from);
	if (draft->has_whole && !belongs(draft, line)) {
		emit_whole(lines, draft);
		set_origin(draft, record);
		line = sw_bytes(draft->text.at, draft->text.len);
	}
	if (!draft->has_whole && is_head(line)) {
		draft->trace = TRACE_FRAMES;
		draft->failed = true;
	}
	draft->has_whole = true;
	draft->whole = draft->text.len;
	draft->same_write = true;
}

/* A progress bar may have filled it. */
static void squeeze(struct draft *draft)
{
	bool returned = draft->text.at[draft->text.len - 1] == '\r';

	draft->text.len = tidy(draft->text.at, 0, draft->text.len);
	if (returned)
		draft->text.at[draft->text.len++] = '\r';
}

/* Room for one byte at least: what is whole leaves first, then a part of what is not. */
static void make_room(struct sw_log_lines *lines, struct draft *draft,
		      const struct sw_record_log *record)
{
	if (draft->has_whole) {
		emit_whole(lines, draft);
		set_origin(draft, record);
	}
	if (draft->text.len >= lines->line_max)
		squeeze(draft);
	/* What was looked at whole is not looked at again for a few bytes. */
	if (draft->text.len >= lines->line_max - lines->line_max / 4)
		emit_part(lines, draft);
}

static void begin_half(struct sw_log_lines *lines, struct draft *draft,
		       const struct sw_record_log *record)
{
	bool follows = draft->has_whole && draft->text.len == draft->whole;

	if (follows && draft->text.len < lines->line_max) {
		sw_buffer_add(&draft->text, SW_BYTES("\n"));
		return;
	}
	if (follows)
		emit_whole(lines, draft);
	if (!draft->has_whole && !draft->text.len)
		set_origin(draft, record);
}

/* Adds bytes without a line end. */
static void add(struct sw_log_lines *lines, struct draft *draft, const struct sw_record_log *record,
		struct sw_bytes bytes)
{
	begin_half(lines, draft, record);
	while (bytes.len) {
		size_t room =
			lines->line_max > draft->text.len ? lines->line_max - draft->text.len : 0;
		size_t len = SW_MIN(bytes.len, room);

		if (!len) {
			make_room(lines, draft, record);
			continue;
		}
		sw_buffer_add(&draft->text, sw_bytes_slice(bytes, 0, len));
		bytes = sw_bytes_from(bytes, len);
	}
}

static void feed(struct sw_log_lines *lines, struct draft *draft,
		 const struct sw_record_log *record, struct sw_bytes bytes)
{
	while (bytes.len && !draft->text.failed) {
		size_t len = sw_bytes_find(bytes, '\n');

		add(lines, draft, record, sw_bytes_slice(bytes, 0, len));
		if (len < bytes.len)
			line_done(lines, draft, record);
		bytes = sw_bytes_from(bytes, len + 1);
	}
	if (draft->text.failed) {
		sw_count(LOG_LOST);
		draft->text.failed = false;
	}
}

/* ---- from outside ---- */

static struct draft *find_or_add(struct sw_log_lines *lines, const struct sw_record_log *record)
{
	struct key key = {record->segment, record->stream, record->thread};
	unsigned hash = hash_of(&key);
	struct draft *draft = NULL;

	HASH_FIND_BYHASHVALUE(hh, lines->table, &key, sizeof(key), hash, draft);
	if (draft)
		return draft;
	if (lines->drafts >= DRAFTS_MAX)
		emit_all(lines, lines->table, false);
	draft = take_spare(lines);
	if (!draft || !sw_buffer_room(&draft->text, lines->line_max)) {
		free(draft);
		return NULL;
	}
	draft->key = key;
	set_origin(draft, record);
	HASH_ADD_BYHASHVALUE(hh, lines->table, key, sizeof(draft->key), hash, draft);
	if (!draft->hh.tbl) { /* refused */
		free_draft(draft);
		return NULL;
	}
	lines->drafts++;
	return draft;
}

/* One datagram: whole when its last record has come, whatever line ends are in it. */
static void take_message(struct sw_log_lines *lines, struct draft *draft,
			 const struct sw_record_log *record, struct sw_bytes bytes)
{
	sw_buffer_add(&draft->text, sw_bytes_slice(bytes, 0, SW_MIN(bytes.len, 1u << 20)));
	if (!(record->flags & SW_LOG_MORE) || draft->text.failed || draft->text.len > 1u << 20)
		emit_all(lines, draft, record->flags & SW_LOG_SKIPPED);
}

void sw_log_lines_take(struct sw_log_lines *lines, const struct sw_record_log *record,
		       uint64_t now_ns)
{
	struct sw_bytes words = words_of(record);
	struct draft *draft = find_or_add(lines, record);
	struct sw_bytes bytes = sw_bytes(words.at + words.len, record->text);

	if (!draft) {
		sw_count(LOG_LOST);
		return;
	}
	draft->last_ns = now_ns;
	if (is_message(record)) {
		take_message(lines, draft, record, bytes);
		return;
	}
	feed(lines, draft, record, bytes);
	if (!(record->flags & SW_LOG_MORE))
		draft->same_write = false;
	if (record->flags & SW_LOG_SKIPPED)
		emit_all(lines, draft, true);
}

void sw_log_lines_gap(struct sw_log_lines *lines, uint32_t stream)
{
	struct draft *draft, *next;

	HASH_ITER (hh, lines->table, draft, next) {
		if (draft->key.stream == stream)
			emit_all(lines, draft, true);
	}
}

/* Nothing more belongs to it, as far as can be told. */
static bool is_over(const struct draft *draft, uint64_t now_ns)
{
	bool waits = draft->text.len > draft->whole || draft->trace == TRACE_FRAMES ||
		     draft->trace == TRACE_CHAIN;

	return now_ns - draft->last_ns >= (waits ? PATIENCE_NS : SETTLE_NS);
}

void sw_log_lines_turn(struct sw_log_lines *lines, uint64_t now_ns, bool all)
{
	struct draft *draft, *next;

	HASH_ITER (hh, lines->table, draft, next) {
		if (all || is_over(draft, now_ns))
			emit_all(lines, draft, false);
	}
}

bool sw_log_lines_waiting(const struct sw_log_lines *lines)
{
	return lines->table != NULL;
}
