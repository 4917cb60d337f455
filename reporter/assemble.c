/*
 * Joining the spans of a segment; see assemble.h.
 *
 * Most requests make no call: their Entry leaves at once, uncopied. Others wait in a table by
 * segment id, their records one after the other in one run of bytes. An Exit without Entry waits as
 * long as its request lasts, within a bound of bytes for all of them together; beyond it the oldest
 * is given up and counted. What was used is kept for the next segment: a steady flow allocates
 * nothing.
 */
#include "reporter/assemble.h"

/* uthash's own answer to a refused allocation is exit(-1): in a stranger's process. */
#define HASH_NONFATAL_OOM 1
#define uthash_nonfatal_oom(element) ((void)(element))
/* Ids are random already (preload/process.c). */
#define HASH_FUNCTION(key, len, value) ((value) = hash((key)))
#define HASH_KEYCMP(a, b, len) memcmp((a), (b), sizeof(struct sw_id))
#include <uthash.h>

#include "preload/counters.h"
#include "proto/buffer.h"

#define WAIT_NS 2000000000ull
#define BYTES_MAX (16u << 20)
#define SPARES_MAX 64
#define SPARE_BYTES 16384

struct pending {
	struct sw_id id;
	struct sw_buffer records; /* Owned; each as it came */
	unsigned count;
	bool entered;	   /* one of them is the Entry */
	uint32_t expected; /* spans in all, once entered */
	uint64_t entered_ns;
	struct pending *next; /* of the spares */
	UT_hash_handle hh;
};

struct sw_assembler {
	void (*emit)(void *arg, const struct sw_segment *segment);
	void *arg;
	struct pending *table; /* in order of arrival */
	struct pending *spare;
	unsigned spares;
	const struct sw_record_span **span; /* Owned; of the segment that is emitted */
	size_t room;
	size_t bytes;
	unsigned entered;
};

static unsigned hash(const void *key)
{
	const struct sw_id *id = key;

	return (unsigned)(id->low ^ id->low >> 32 ^ id->high);
}

struct sw_assembler *sw_assembler_new(void (*emit)(void *arg, const struct sw_segment *segment),
				      void *arg)
{
	struct sw_assembler *assembler = calloc(1, sizeof(*assembler));

	if (assembler) {
		assembler->emit = emit;
		assembler->arg = arg;
	}
	return assembler;
}

static void free_pending(struct pending *pending)
{
	sw_buffer_free(&pending->records);
	free(pending);
}

static void drop(struct sw_assembler *assembler, struct pending *pending)
{
	HASH_DEL(assembler->table, pending);
	assembler->bytes -= pending->records.len;
	assembler->entered -= pending->entered;
	if (assembler->spares == SPARES_MAX || pending->records.room > SPARE_BYTES) {
		free_pending(pending);
		return;
	}
	pending->next = assembler->spare;
	assembler->spare = pending;
	assembler->spares++;
}

struct sw_assembler *sw_assembler_free(struct sw_assembler *assembler)
{
	struct pending *pending, *next;

	if (!assembler)
		return NULL;
	HASH_ITER (hh, assembler->table, pending, next)
		drop(assembler, pending);
	for (pending = assembler->spare; pending; pending = next) {
		next = pending->next;
		free_pending(pending);
	}
	free(assembler->span);
	free(assembler);
	return NULL;
}

static void emit_one(struct sw_assembler *assembler, const struct sw_record_span *span)
{
	struct sw_segment segment = {&span, 1};

	assembler->emit(assembler->arg, &segment);
}

static bool reserve(struct sw_assembler *assembler, size_t count)
{
	void *grown;

	if (count <= assembler->room)
		return true;
	grown = realloc(assembler->span, 2 * count * sizeof(*assembler->span));
	if (!grown)
		return false;
	assembler->span = grown;
	assembler->room = 2 * count;
	return true;
}

/* The Entry goes last, whatever came after it (specification 2: span 0 is last). */
static void list_spans(struct sw_assembler *assembler, const struct pending *pending)
{
	const uint8_t *at = pending->records.at;
	size_t last = pending->count - 1;

	for (size_t i = 0; i < pending->count; i++) {
		const struct sw_record_span *span = (const void *)at;

		assembler->span[i] = span;
		if (span->type == SW_SPAN_ENTRY)
			last = i;
		at += span->record.size;
	}
	if (last != pending->count - 1) {
		const struct sw_record_span *entry = assembler->span[last];

		assembler->span[last] = assembler->span[pending->count - 1];
		assembler->span[pending->count - 1] = entry;
	}
}

static void emit_pending(struct sw_assembler *assembler, struct pending *pending)
{
	struct sw_segment segment;

	if (reserve(assembler, pending->count)) {
		list_spans(assembler, pending);
		segment = (struct sw_segment){assembler->span, pending->count};
		assembler->emit(assembler->arg, &segment);
	} else {
		sw_count(SEGMENT_LOST);
	}
	drop(assembler, pending);
}

static struct pending *take_spare(struct sw_assembler *assembler)
{
	struct pending *pending = assembler->spare;
	struct sw_buffer records;

	if (!pending)
		return calloc(1, sizeof(*pending));
	assembler->spare = pending->next;
	assembler->spares--;
	records = pending->records;
	records.len = 0;
	records.failed = false;
	*pending = (struct pending){.records = records};
	return pending;
}

static struct pending *find_or_add(struct sw_assembler *assembler, struct sw_id id)
{
	struct pending *pending = NULL;

	HASH_FIND(hh, assembler->table, &id, sizeof(id), pending);
	if (pending)
		return pending;
	pending = take_spare(assembler);
	if (pending) {
		pending->id = id;
		HASH_ADD(hh, assembler->table, id, sizeof(pending->id), pending);
		if (!pending->hh.tbl) { /* refused */
			free_pending(pending);
			pending = NULL;
		}
	}
	return pending;
}

static bool add(struct sw_assembler *assembler, struct pending *pending,
		const struct sw_record_span *span)
{
	size_t before = pending->records.len;

	sw_buffer_add(&pending->records, sw_bytes(span, span->record.size));
	if (pending->records.failed) {
		pending->records.failed = false;
		return false;
	}
	pending->count++;
	assembler->bytes += pending->records.len - before;
	return true;
}

static void keep_bound(struct sw_assembler *assembler)
{
	while (assembler->bytes > BYTES_MAX && assembler->table) {
		struct pending *oldest = assembler->table; /* uthash keeps order of arrival */

		sw_count_many(SW_COUNTER_SPAN_ORPHAN, oldest->count);
		drop(assembler, oldest);
	}
}

void sw_assembler_take(struct sw_assembler *assembler, const struct sw_record_span *span,
		       uint64_t now_ns)
{
	struct pending *pending = NULL;
	bool entry = span->type == SW_SPAN_ENTRY;

	if ((entry && span->exits == 0) || (span->flags & SW_SPAN_ALONE)) {
		emit_one(assembler, span);
		return;
	}
	pending = find_or_add(assembler, span->segment);
	if (!pending || !add(assembler, pending, span)) {
		sw_count(SPAN_ORPHAN);
		if (pending && pending->count == 0)
			drop(assembler, pending);
		return;
	}
	if (entry) {
		pending->entered = true;
		pending->expected = span->exits + 1;
		pending->entered_ns = now_ns;
		assembler->entered++;
	}
	if (pending->entered && pending->count >= pending->expected)
		emit_pending(assembler, pending);
	keep_bound(assembler);
}

void sw_assembler_expire(struct sw_assembler *assembler, uint64_t now_ns, bool all)
{
	struct pending *pending, *next;

	if (!assembler->entered)
		return;
	HASH_ITER (hh, assembler->table, pending, next) {
		if (!pending->entered || (!all && now_ns - pending->entered_ns < WAIT_NS))
			continue;
		sw_count_many(SW_COUNTER_SPAN_ORPHAN, pending->expected - pending->count);
		emit_pending(assembler, pending);
	}
}

unsigned sw_assembler_waiting(const struct sw_assembler *assembler)
{
	return assembler->entered;
}
