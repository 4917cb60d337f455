/*
 * Records into batches: one small call for each kind, all by the same way.
 *
 * A record is admitted, encoded and queued, and what becomes of it is counted by its kind. What the
 * protocol does not take is dropped here and said once, so that no producer can fill the queue with
 * what would never leave.
 */
#include "preload/config.h"
#include "reporter/reporter.h"
#include "reporter/say.h"

/* gRPC's, of each message: is it compressed, and its length. */
#define PREFIX 5

/* While so much waits, of all kinds, no line is added: lines may be long, and a host's memory is
 * its own. */
#define LOG_BYTES_MAX (16u << 20)

bool sw_reporter_takes(enum sw_batch_kind kind)
{
	return sw_kinds[kind].protocols >> sw_config.protocol & 1;
}

static void say_refused(enum sw_batch_kind kind)
{
	static bool said[SW_BATCH_KINDS];

	if (sw_say_first(&said[kind]))
		sw_say(SW_LEVEL_WARNING,
		       "this protocol does not take records of kind %s; they are dropped "
		       "(SW_AGENT_PROTOCOL)",
		       sw_kinds[kind].name);
}

bool sw_reporter_admits(struct sw_agent *a, enum sw_batch_kind kind)
{
	unsigned waiting = a->queue.messages[kind] - a->queue.flying[kind];
	bool taken = sw_reporter_takes(kind);

	if (!taken)
		say_refused(kind);
	if (!taken || waiting >= sw_kind_limit(kind) ||
	    (kind == SW_BATCH_LOG && a->queue.bytes >= LOG_BYTES_MAX)) {
		sw_kind_count(kind, SW_FATE_DROPPED, 1);
		return false;
	}
	a->message.len = 0;
	return true;
}

bool sw_reporter_put(struct sw_agent *a, enum sw_batch_kind kind, bool encoded)
{
	sw_kind_count(kind, SW_FATE_PRODUCED, 1);
	if (encoded)
		return sw_reporter_add(a, kind);
	sw_kind_count(kind, SW_FATE_LOST, 1);
	return false;
}

bool sw_reporter_log(struct sw_agent *a, const struct sw_log *log)
{
	return sw_reporter_admits(a, SW_BATCH_LOG) &&
	       sw_reporter_put(a, SW_BATCH_LOG,
			       sw_encode_log(a->transport->format, &a->sender, log, &a->message));
}

/* The first message of a stream says for all whose they are. Lines of a file stand alone. */
static bool needs_sender(const struct sw_agent *a)
{
	return a->transport->format == SW_FORMAT_JSON || !a->queue.filling[SW_BATCH_METER] ||
	       !a->queue.filling[SW_BATCH_METER]->count;
}

bool sw_reporter_meter(struct sw_agent *a, const struct sw_meter *meter)
{
	const struct sw_sender *sender = needs_sender(a) ? &a->sender : NULL;

	return sw_reporter_admits(a, SW_BATCH_METER) &&
	       sw_reporter_put(a, SW_BATCH_METER,
			       sw_encode_meter(a->encoder, a->transport->format, sender, meter,
					       &a->message));
}

bool sw_reporter_event(struct sw_agent *a, const struct sw_event *event)
{
	return sw_reporter_admits(a, SW_BATCH_EVENT) &&
	       sw_reporter_put(a, SW_BATCH_EVENT,
			       sw_encode_event(a->encoder, a->transport->format, &a->sender, event,
					       &a->message));
}

bool sw_reporter_snapshot(struct sw_agent *a, const struct sw_snapshot *snapshot)
{
	return sw_reporter_admits(a, SW_BATCH_SNAPSHOT) &&
	       sw_reporter_put(
		       a, SW_BATCH_SNAPSHOT,
		       sw_encode_snapshot(a->encoder, a->transport->format, snapshot, &a->message));
}

void sw_reporter_query(struct sw_agent *a, int64_t since_ms)
{
	if (!a->queue.messages[SW_BATCH_QUERY] && sw_reporter_admits(a, SW_BATCH_QUERY))
		sw_reporter_put(a, SW_BATCH_QUERY,
				sw_encode_query(a->encoder, a->transport->format, &a->sender,
						since_ms, &a->message));
}

/* One message, not compressed: we never said that we could read others. */
void sw_reporter_replied(struct sw_agent *a, enum sw_batch_kind kind, struct sw_bytes reply)
{
	size_t len;

	if (kind != SW_BATCH_QUERY || !a->take_commands || reply.len < PREFIX || reply.at[0] != 0)
		return;
	len = (size_t)reply.at[1] << 24 | (size_t)reply.at[2] << 16 | (size_t)reply.at[3] << 8 |
	      reply.at[4];
	if (len == reply.len - PREFIX)
		a->take_commands(a, sw_bytes_from(reply, PREFIX));
}

void sw_reporter_finish(struct sw_agent *a, struct sw_bytes task)
{
	if (sw_reporter_admits(a, SW_BATCH_FINISH))
		sw_reporter_put(a, SW_BATCH_FINISH,
				sw_encode_finish(a->encoder, a->transport->format, &a->sender, task,
						 &a->message));
}
