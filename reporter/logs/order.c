/*
 * Records that came too early wait in a list of their stream, by sequence number; see order.h.
 *
 * Most come in order and are handed on uncopied. A missing one was dropped by its writer, or is in
 * a ring that was drained before it was put; two drains later it would be there.
 */
#include "reporter/logs/order.h"

#include <stdlib.h>

#include "preload/counters.h"

#define STREAMS 256
#define KEPT_BYTES_MAX (8u << 20)
#define PATIENCE 2

struct kept {
	struct kept *next, *prev;
	unsigned turn;
	struct sw_record_log record; /* and its texts */
};

struct stream {
	uint32_t name; /* of the record: a number and a generation */
	bool known;
	uint64_t expected;
	struct kept *first, *last; /* Owned */
};

struct sw_log_order {
	void (*take)(void *arg, const struct sw_record_log *record);
	void (*gap)(void *arg, uint32_t stream);
	void *arg;
	unsigned turn;
	size_t bytes; /* kept */
	struct stream stream[STREAMS];
};

struct sw_log_order *sw_log_order_new(void (*take)(void *arg, const struct sw_record_log *record),
				      void (*gap)(void *arg, uint32_t stream), void *arg)
{
	struct sw_log_order *order = calloc(1, sizeof(*order));

	if (order) {
		order->take = take;
		order->gap = gap;
		order->arg = arg;
	}
	return order;
}

static void unlink_kept(struct sw_log_order *order, struct stream *stream, struct kept *kept)
{
	if (kept->prev)
		kept->prev->next = kept->next;
	else
		stream->first = kept->next;
	if (kept->next)
		kept->next->prev = kept->prev;
	else
		stream->last = kept->prev;
	order->bytes -= kept->record.record.size;
}

/* Hands on what follows without a gap. */
static void go_on(struct sw_log_order *order, struct stream *stream)
{
	struct kept *kept;

	while ((kept = stream->first) && kept->record.sequence <= stream->expected) {
		stream->expected = kept->record.sequence + 1;
		unlink_kept(order, stream, kept);
		order->take(order->arg, &kept->record);
		free(kept);
	}
}

/* What is missing before the first that is kept is given up. */
static void skip_gap(struct sw_log_order *order, struct stream *stream)
{
	order->gap(order->arg, stream->name);
	stream->expected = stream->first->record.sequence;
	go_on(order, stream);
}

static void finish(struct sw_log_order *order, struct stream *stream)
{
	while (stream->first)
		skip_gap(order, stream);
}

struct sw_log_order *sw_log_order_free(struct sw_log_order *order)
{
	for (size_t i = 0; order && i < STREAMS; i++) {
		struct kept *kept;

		while ((kept = order->stream[i].first)) {
			unlink_kept(order, &order->stream[i], kept);
			free(kept);
		}
	}
	free(order);
	return NULL;
}

/* Sorted from the end: what comes later was written later, as a rule. False: no memory. */
static bool keep(struct sw_log_order *order, struct stream *stream,
		 const struct sw_record_log *record)
{
	struct kept *kept = malloc(offsetof(struct kept, record) + record->record.size);
	struct kept *before = stream->last;

	if (!kept)
		return false;
	memcpy(&kept->record, record, record->record.size);
	kept->turn = order->turn;
	while (before && before->record.sequence > record->sequence)
		before = before->prev;
	kept->prev = before;
	kept->next = before ? before->next : stream->first;
	*(kept->next ? &kept->next->prev : &stream->last) = kept;
	*(before ? &before->next : &stream->first) = kept;
	order->bytes += record->record.size;
	return true;
}

static struct stream *stream_of(struct sw_log_order *order, uint32_t name)
{
	struct stream *stream = &order->stream[name % STREAMS];

	if (!stream->known || stream->name != name) {
		finish(order, stream);
		*stream = (struct stream){.name = name, .known = true};
	}
	return stream;
}

void sw_log_order_take(struct sw_log_order *order, const struct sw_record_log *record)
{
	struct stream *stream = stream_of(order, record->stream);

	if (record->sequence > stream->expected) {
		if (!keep(order, stream, record))
			sw_count(LOG_LOST);
		if (order->bytes > KEPT_BYTES_MAX)
			finish(order, stream);
		return;
	}
	if (record->sequence == stream->expected)
		stream->expected++;
	order->take(order->arg, record);
	go_on(order, stream);
}

void sw_log_order_turn(struct sw_log_order *order, bool all)
{
	order->turn++;
	for (size_t i = 0; order->bytes && i < STREAMS; i++) {
		struct stream *stream = &order->stream[i];

		while (stream->first && (all || order->turn - stream->first->turn > PATIENCE))
			skip_gap(order, stream);
	}
}

bool sw_log_order_waiting(const struct sw_log_order *order)
{
	return order->bytes > 0;
}
