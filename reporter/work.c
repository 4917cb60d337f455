/*
 * What our thread does in one turn: take records, fill batches, offer them, settle what came of
 * them. When it turns is reporter.c's.
 */
#include "preload/check.h"
#include "preload/config.h"
#include "preload/counters.h"
#include "preload/ring.h"
#include "preload/sys.h"
#include "reporter/reporter.h"

/* ---- records to messages ---- */

static void count_some(const struct sw_batch *batch, enum sw_counter counter, unsigned count)
{
	if (batch->kind == SW_BATCH_SEGMENT)
		sw_count_many(counter, count);
}

static void count_if_segment(const struct sw_batch *batch, enum sw_counter counter)
{
	count_some(batch, counter, batch->count);
}

/* False: no memory, and nothing has changed. */
static bool append(struct sw_agent *a, enum sw_batch_kind kind)
{
	struct sw_batch *batch = sw_queue_fill(&a->queue, kind);
	size_t len = batch ? batch->bytes.len : 0;

	if (!batch)
		return false;
	a->transport->frame(batch, sw_bytes(a->message.at, a->message.len));
	if (batch->bytes.failed) {
		batch->bytes.len = len;
		batch->bytes.failed = false;
		return false;
	}
	if (batch->count == 0 && kind == SW_BATCH_SEGMENT)
		a->filling_since_ns = a->now_ns;
	sw_queue_added(&a->queue, batch);
	return true;
}

void sw_reporter_add(struct sw_agent *a, enum sw_batch_kind kind)
{
	if (!append(a, kind) && kind == SW_BATCH_SEGMENT)
		sw_count(SEGMENT_LOST);
}

static void take_segment(void *arg, const struct sw_segment *segment)
{
	struct sw_agent *a = arg;

	if (a->queue.messages[SW_BATCH_SEGMENT] - a->queue.flying[SW_BATCH_SEGMENT] >=
	    sw_config.segments_max) {
		sw_count(SEGMENT_DROPPED);
		return;
	}
	a->message.len = 0;
	if (!sw_encode_segment(a->encoder, a->transport->format, &a->sender, segment,
			       &a->message)) {
		sw_count(SEGMENT_LOST);
		return;
	}
	sw_count(SEGMENT_PRODUCED);
	sw_reporter_add(a, SW_BATCH_SEGMENT);
}

static void take_record(void *arg, const struct sw_record *record)
{
	struct sw_agent *a = arg;

	if (record->kind == SW_RECORD_SPAN &&
	    SW_CHECK(record->size >= sizeof(struct sw_record_span)))
		sw_assembler_take(a->assembler, (const struct sw_record_span *)record, a->now_ns);
}

bool sw_reporter_make(struct sw_agent *a)
{
	if (!a->assembler)
		a->assembler = sw_assembler_new(take_segment, a);
	if (!a->encoder)
		a->encoder = sw_encoder_new();
	return a->assembler && a->encoder;
}

/* ---- batches ---- */

static void settle(struct sw_agent *a, struct sw_batch *batch, enum sw_sent outcome)
{
	if (outcome == SW_SENT_LATER) {
		sw_queue_return(&a->queue, batch);
		return;
	}
	count_if_segment(batch,
			 outcome == SW_SENT ? SW_COUNTER_SEGMENT_SENT : SW_COUNTER_SEGMENT_LOST);
	sw_queue_done(&a->queue, batch);
}

void sw_reporter_sent(struct sw_agent *a, struct sw_batch *batch, enum sw_sent outcome)
{
	sw_queue_landed(&a->queue, batch);
	settle(a, batch, outcome);
}

void sw_reporter_sent_partly(struct sw_agent *a, struct sw_batch *batch, unsigned sent,
			     unsigned lost)
{
	count_some(batch, SW_COUNTER_SEGMENT_SENT, sent);
	count_some(batch, SW_COUNTER_SEGMENT_LOST, lost);
	sw_queue_shed(&a->queue, batch, sent + lost);
}

/* False: nothing more is taken for now. */
static bool offer(struct sw_agent *a, struct sw_batch *batch)
{
	bool again = batch->seen;
	enum sw_sent outcome = a->transport_open ? a->transport->send(a, batch) : SW_SENT_NEVER;

	if (again && outcome != SW_SENT_LATER)
		count_if_segment(batch, SW_COUNTER_RESENT);
	if (outcome == SW_SENT_UNDERWAY)
		sw_queue_left(&a->queue, batch);
	else
		settle(a, batch, outcome);
	return outcome != SW_SENT_LATER;
}

static bool held_back(const struct sw_agent *a)
{
	return a->retry_ns > a->now_ns;
}

void sw_reporter_offer(struct sw_agent *a)
{
	struct sw_batch *batch;

	while (!held_back(a) && (batch = sw_queue_take(&a->queue)) && offer(a, batch))
		;
	a->queue.crowded = a->queue.first != NULL;
	if (a->transport_open && a->transport->tick)
		a->transport->tick(a);
}

/* No record came for a tick: waiting longer would fill no batch. */
static bool quiet(const struct sw_agent *a)
{
	return a->now_ns - a->record_ns >= SW_TICK_NS / 2;
}

static void close_due(struct sw_agent *a, bool all)
{
	uint64_t age_ns = a->now_ns - a->filling_since_ns;

	if (all || quiet(a) || age_ns + SW_TICK_NS >= sw_config.queue_timeout_s * 1000000000u)
		sw_queue_close(&a->queue, SW_BATCH_SEGMENT);
}

static bool filling(const struct sw_agent *a)
{
	return a->queue.filling[SW_BATCH_SEGMENT] || sw_assembler_waiting(a->assembler);
}

void sw_reporter_turn(struct sw_agent *a, bool all)
{
	a->now_ns = sw_clock_ns(CLOCK_MONOTONIC);
	sw_management_tick(a);
	if (sw_ring_drain(take_record, a))
		a->record_ns = a->now_ns;
	sw_ring_sweep();
	sw_assembler_expire(a->assembler, a->now_ns, all);
	close_due(a, all);
	a->ticking = !all && (!quiet(a) || filling(a));
	sw_reporter_offer(a);
}

bool sw_reporter_settled(const struct sw_agent *a)
{
	return !filling(a) && !a->queue.underway && (!a->queue.first || held_back(a));
}

bool sw_reporter_holding(const struct sw_agent *a)
{
	return a->queue.messages[SW_BATCH_SEGMENT] > 0 || sw_assembler_waiting(a->assembler);
}
