/*
 * What our thread does in one turn: take records, fill batches, offer them, settle what came of
 * them. When it turns is reporter.c's.
 */
#include "preload/check.h"
#include "preload/config.h"
#include "preload/counters.h"
#include "preload/ring.h"
#include "preload/sys.h"
#include "reporter/blocked.h"
#include "reporter/control.h"
#include "reporter/endpoints.h"
#include "reporter/logs/logs.h"
#include "reporter/meters.h"
#include "reporter/profiles.h"
#include "reporter/whole.h"

/* ---- records to messages ---- */

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
	if (batch->count == 0)
		a->filling_since_ns[kind] = a->now_ns;
	sw_queue_added(&a->queue, batch);
	return true;
}

bool sw_reporter_add(struct sw_agent *a, enum sw_batch_kind kind)
{
	bool added = append(a, kind);

	if (!added)
		sw_kind_count(kind, SW_FATE_LOST, 1);
	return added;
}

static void take_segment(void *arg, const struct sw_segment *segment)
{
	struct sw_agent *a = arg;

	if (sw_config.meter_active)
		sw_endpoints_take(segment); /* also those that find no room in the queue */
	if (sw_reporter_admits(a, SW_BATCH_SEGMENT))
		sw_reporter_put(a, SW_BATCH_SEGMENT,
				sw_encode_segment(a->encoder, a->transport->format, &a->sender,
						  segment, &a->message));
}

static void take_record(void *arg, const struct sw_record *record)
{
	struct sw_agent *a = arg;

	if (record->kind == SW_RECORD_SPAN &&
	    SW_CHECK(record->size >= sizeof(struct sw_record_span)))
		sw_assembler_take(a->assembler, (const struct sw_record_span *)record, a->now_ns);
	else if (record->kind == SW_RECORD_BLOCKED)
		sw_blocked_take(a, (const struct sw_record_blocked *)record);
	else if (record->kind == SW_RECORD_LOG && a->logs)
		sw_logs_take(a->logs, (const struct sw_record_log *)record, a->now_ns);
}

static void take_log(void *arg, const struct sw_log *log)
{
	sw_reporter_log(arg, log);
}

bool sw_reporter_make(struct sw_agent *a)
{
	if (!a->assembler)
		a->assembler = sw_assembler_new(take_segment, a);
	if (!a->encoder)
		a->encoder = sw_encoder_new();
	if (!a->logs && sw_config.log_active && sw_reporter_takes(SW_BATCH_LOG))
		a->logs = sw_logs_new(take_log, a); /* without it there are no logs, that is all */
	return a->assembler && a->encoder;
}

/* ---- batches ---- */

static void settle(struct sw_agent *a, struct sw_batch *batch, enum sw_sent outcome)
{
	if (outcome == SW_SENT_LATER) {
		sw_queue_return(&a->queue, batch);
		return;
	}
	sw_kind_count(batch->kind, outcome == SW_SENT ? SW_FATE_SENT : SW_FATE_LOST, batch->count);
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
	sw_kind_count(batch->kind, SW_FATE_SENT, sent);
	sw_kind_count(batch->kind, SW_FATE_LOST, lost);
	sw_queue_shed(&a->queue, batch, sent + lost);
}

/* False: nothing more is taken for now. */
static bool offer(struct sw_agent *a, struct sw_batch *batch)
{
	bool again = batch->seen;
	enum sw_sent outcome = a->transport_open ? a->transport->send(a, batch) : SW_SENT_NEVER;

	if (again && outcome != SW_SENT_LATER && sw_kinds[batch->kind].counted)
		sw_count_many(SW_COUNTER_RESENT, batch->count);
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
	for (int kind = 0; kind < SW_BATCH_KINDS; kind++) {
		uint64_t age_ns = a->now_ns - a->filling_since_ns[kind];

		if (all || quiet(a) ||
		    age_ns + SW_TICK_NS >= sw_config.queue_timeout_s * 1000000000u)
			sw_queue_close(&a->queue, (enum sw_batch_kind)kind);
	}
}

static bool filling(const struct sw_agent *a)
{
	for (int kind = 0; kind < SW_BATCH_KINDS; kind++) {
		if (a->queue.filling[kind])
			return true;
	}
	return sw_assembler_waiting(a->assembler) || (a->logs && sw_logs_waiting(a->logs));
}

void sw_reporter_turn(struct sw_agent *a, bool all)
{
	a->now_ns = sw_clock_ns(CLOCK_MONOTONIC);
	a->along = a->now_ns >= SW_MIN(a->heartbeat_ns, a->meters_ns);
	sw_management_tick(a);
	sw_meters_tick(a);
	sw_profiles_tick(a);
	sw_control_tick(a);
	sw_whole_file_tick(a);
	if (sw_ring_drain(take_record, a))
		a->record_ns = a->now_ns;
	sw_ring_sweep();
	if (all)
		sw_blocked_finish(a);
	sw_assembler_expire(a->assembler, a->now_ns, all);
	if (a->logs)
		sw_logs_turn(a->logs, a->now_ns, all);
	close_due(a, all);
	a->ticking = !all && (!quiet(a) || filling(a));
	sw_reporter_offer(a);
}

bool sw_reporter_settled(const struct sw_agent *a)
{
	return !filling(a) && !a->queue.underway && (!a->queue.first || held_back(a)) &&
	       !sw_control_busy() && !sw_whole_file_busy();
}

/* What an end is worth waiting for. Readings of meters are not: an idle program whose collector is
 * away has some, and nothing else. */
bool sw_reporter_holding(const struct sw_agent *a)
{
	for (int kind = 0; kind < SW_BATCH_KINDS; kind++) {
		if (sw_kinds[kind].counted && kind != SW_BATCH_METER && a->queue.messages[kind])
			return true;
	}
	return sw_assembler_waiting(a->assembler) || (a->logs && sw_logs_waiting(a->logs)) ||
	       sw_control_busy() || sw_whole_file_busy();
}
