/*
 * Batches on their way; see queue.h.
 *
 * A few empty batches keep their memory, so that a steady flow allocates nothing; the rest goes
 * back, so that a collector's bad hour is not paid for until the program ends.
 */
#include "reporter/queue.h"

#define SPARES_MAX 4

const struct sw_kind sw_kinds[SW_BATCH_KINDS] = {
#define SW_KIND(id, name, method, messages, protocols, doc)                                        \
	{name, method, messages, protocols, false, {0}},
#define SW_KIND_COUNTED(id, name, method, messages, protocols, limit, doc)                         \
	{name,                                                                                     \
	 method,                                                                                   \
	 messages,                                                                                 \
	 protocols,                                                                                \
	 true,                                                                                     \
	 {SW_COUNTER_##id##_PRODUCED, SW_COUNTER_##id##_DROPPED, SW_COUNTER_##id##_SENT,           \
	  SW_COUNTER_##id##_LOST, SW_COUNTER_##id##_LEFT}},
#include "reporter/kinds.def"
#undef SW_KIND
#undef SW_KIND_COUNTED
};

void sw_kind_count(enum sw_batch_kind kind, enum sw_fate fate, unsigned count)
{
	if (sw_kinds[kind].counted)
		sw_count_many((enum sw_counter)sw_kinds[kind].counter[fate], count);
}

unsigned sw_kind_limit(enum sw_batch_kind kind)
{
	switch (kind) {
#define SW_KIND(id, name, method, messages, protocols, doc)
#define SW_KIND_COUNTED(id, name, method, messages, protocols, limit, doc)                         \
	case SW_BATCH_##id:                                                                        \
		return (unsigned)sw_config.limit;
#include "reporter/kinds.def"
#undef SW_KIND
#undef SW_KIND_COUNTED
	default:
		return UINT32_MAX;
	}
}

static struct sw_batch *take_spare(struct sw_queue *queue)
{
	struct sw_batch *batch = queue->spare;

	if (!batch)
		return calloc(1, sizeof(*batch));
	queue->spare = batch->next;
	queue->spares--;
	return batch;
}

static void free_batch(struct sw_batch *batch)
{
	sw_buffer_free(&batch->bytes);
	free(batch);
}

struct sw_batch *sw_queue_fill(struct sw_queue *queue, enum sw_batch_kind kind)
{
	struct sw_batch *batch = queue->filling[kind];

	if (batch)
		return batch;
	batch = take_spare(queue);
	if (batch) {
		batch->kind = kind;
		batch->next = NULL;
	}
	queue->filling[kind] = batch;
	return batch;
}

void sw_queue_left(struct sw_queue *queue, const struct sw_batch *batch)
{
	queue->underway++;
	queue->flying[batch->kind] += batch->count;
}

void sw_queue_landed(struct sw_queue *queue, const struct sw_batch *batch)
{
	queue->underway--;
	queue->flying[batch->kind] -= batch->count;
}

void sw_queue_shed(struct sw_queue *queue, struct sw_batch *batch, unsigned count)
{
	queue->messages[batch->kind] -= count;
	queue->flying[batch->kind] -= count;
	batch->count -= count;
}

static unsigned full_at(const struct sw_queue *queue, enum sw_batch_kind kind)
{
	unsigned messages = sw_kinds[kind].messages;

	return queue->crowded && messages > 1 ? messages * SW_BATCH_GROWTH : messages;
}

void sw_queue_added(struct sw_queue *queue, struct sw_batch *batch)
{
	batch->count++;
	queue->messages[batch->kind]++;
	queue->bytes += batch->bytes.len - batch->counted;
	batch->counted = batch->bytes.len;
	if (batch->count >= full_at(queue, batch->kind) || batch->bytes.len >= SW_BATCH_BYTES)
		sw_queue_close(queue, batch->kind);
}

void sw_queue_close(struct sw_queue *queue, enum sw_batch_kind kind)
{
	struct sw_batch *batch = queue->filling[kind];

	if (!batch || !batch->count)
		return;
	queue->filling[kind] = NULL;
	batch->next = NULL;
	if (queue->first)
		queue->last->next = batch;
	else
		queue->first = batch;
	queue->last = batch;
}

struct sw_batch *sw_queue_take(struct sw_queue *queue)
{
	struct sw_batch *batch = queue->first;

	if (batch)
		queue->first = batch->next;
	return batch;
}

void sw_queue_return(struct sw_queue *queue, struct sw_batch *batch)
{
	if (!queue->first)
		queue->last = batch;
	batch->next = queue->first;
	queue->first = batch;
}

void sw_queue_done(struct sw_queue *queue, struct sw_batch *batch)
{
	queue->messages[batch->kind] -= batch->count;
	queue->bytes -= batch->counted;
	batch->counted = 0;
	if (queue->spares == SPARES_MAX || batch->bytes.room > 2ul * SW_BATCH_BYTES) {
		free_batch(batch);
		return;
	}
	batch->count = batch->refused = 0;
	batch->seen = false;
	batch->bytes.len = 0;
	batch->bytes.failed = false;
	batch->next = queue->spare;
	queue->spare = batch;
	queue->spares++;
}

static void free_list(struct sw_batch *batch)
{
	while (batch) {
		struct sw_batch *next = batch->next;

		free_batch(batch);
		batch = next;
	}
}

void sw_queue_free(struct sw_queue *queue)
{
	free_list(queue->first);
	free_list(queue->spare);
	for (int kind = 0; kind < SW_BATCH_KINDS; kind++)
		free_list(queue->filling[kind]);
	memset(queue, 0, sizeof(*queue));
}
