/*
 * Joining the spans of a segment; see assemble.h.
 *
 * Most requests make no call: their Entry leaves at once, uncopied. Others wait in a table by
 * segment id. An Exit without Entry waits as long as its request lasts, within a bound of bytes
 * for all of them together; beyond it the oldest is given up and counted.
 */
#include "reporter/assemble.h"

/* uthash's own answer to a refused allocation is exit(-1): in a stranger's process. */
#define HASH_NONFATAL_OOM 1
#define uthash_nonfatal_oom(element) ((void)(element))
#include <uthash.h>

#include "preload/counters.h"

#define WAIT_NS 2000000000ull
#define BYTES_MAX (16u << 20)

struct pending {
	struct sw_id id;
	const struct sw_record_span **span; /* Owned, and each of them */
	size_t count, room;
	size_t bytes;
	bool entered;	   /* the last span is the Entry */
	uint32_t expected; /* spans in all, once entered */
	uint64_t entered_ns;
	UT_hash_handle hh;
};

struct sw_assembler {
	void (*emit)(void *arg, const struct sw_segment *segment);
	void *arg;
	struct pending *table; /* in order of arrival */
	size_t bytes;
	unsigned entered;
};

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

static void drop(struct sw_assembler *assembler, struct pending *pending)
{
	HASH_DEL(assembler->table, pending);
	assembler->bytes -= pending->bytes;
	assembler->entered -= pending->entered;
	for (size_t i = 0; i < pending->count; i++)
		free((void *)(uintptr_t)pending->span[i]);
	free(pending->span);
	free(pending);
}

struct sw_assembler *sw_assembler_free(struct sw_assembler *assembler)
{
	struct pending *pending, *next;

	if (assembler) {
		HASH_ITER (hh, assembler->table, pending, next)
			drop(assembler, pending);
		free(assembler);
	}
	return NULL;
}

static void emit_one(struct sw_assembler *assembler, const struct sw_record_span *span)
{
	struct sw_segment segment = {&span, 1};

	assembler->emit(assembler->arg, &segment);
}

/* The Entry goes last, whatever came after it (specification 2: span 0 is last). */
static void emit_pending(struct sw_assembler *assembler, struct pending *pending)
{
	struct sw_segment segment = {pending->span, pending->count};

	for (size_t i = 0; i + 1 < pending->count; i++) {
		const struct sw_record_span *span = pending->span[i];

		if (span->type == SW_SPAN_ENTRY) {
			pending->span[i] = pending->span[pending->count - 1];
			pending->span[pending->count - 1] = span;
			break;
		}
	}
	assembler->emit(assembler->arg, &segment);
	drop(assembler, pending);
}

static struct pending *find_or_add(struct sw_assembler *assembler, struct sw_id id)
{
	struct pending *pending = NULL;

	HASH_FIND(hh, assembler->table, &id, sizeof(id), pending);
	if (pending)
		return pending;
	pending = calloc(1, sizeof(*pending));
	if (pending) {
		pending->id = id;
		HASH_ADD(hh, assembler->table, id, sizeof(pending->id), pending);
		if (!pending->hh.tbl) { /* refused */
			free(pending);
			pending = NULL;
		}
	}
	return pending;
}

static bool add(struct sw_assembler *assembler, struct pending *pending,
		const struct sw_record_span *span)
{
	struct sw_record_span *copy = malloc(span->record.size);

	if (copy && pending->count == pending->room) {
		size_t room = pending->room ? pending->room * 2 : 4;
		void *grown = realloc(pending->span, room * sizeof(*pending->span));

		if (!grown) {
			free(copy);
			return false;
		}
		pending->span = grown;
		pending->room = room;
	}
	if (!copy)
		return false;
	memcpy(copy, span, span->record.size);
	pending->span[pending->count++] = copy;
	pending->bytes += span->record.size;
	assembler->bytes += span->record.size;
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
