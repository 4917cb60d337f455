/*
 * Joining what was caught with how long it lasted; see blocked.h.
 *
 * A turn that ends soon after it was caught is reported with its whole length. One that goes on is
 * reported before it ends, and its end is not told. One that ends without having been caught began
 * when nobody looked, which its record says; there is no stack then. If our thread was looking all
 * the time and has not seen it, then nothing ran at all, ours no more than the loop: the process
 * was stopped, or had no processor. That blocks no loop; it is counted.
 */
#include "reporter/blocked.h"

#include <stdlib.h>

#include "preload/carrier.h"
#include "preload/config.h"
#include "preload/counters.h"
#include "preload/turns.h"
#include "reporter/meters.h"

/* hooks/blocked.c looks every 50 ms at the longest; a turn this much longer than the limit would
 * have been seen. */
#define UNSEEN_NS 250000000ull
#define MESSAGE_MAX 512
/* OAP keeps 2,000 bytes of all parameters of an event. */
#define EVENT_STACK_MAX 1000
#define TRACE_MAX 128

/* What was caught, by loop. Owned. */
static struct caught {
	struct sw_record_blocked *record;
	bool told;
} caught[SW_TURNS_MAX];

/* How a report came about. */
enum ending { ENDED, GOES_ON, FOUND_AT_END };

/* The texts of a report, which lend one another's memory. */
struct report {
	const struct sw_record_blocked *record; /* of the catch, or else of the end */
	uint64_t lasted_ns;
	enum ending ending;
	struct sw_bytes trace, segment, endpoint, stack;
	struct sw_bytes loop, message;
	uint8_t trace_text[TRACE_MAX], segment_text[SW_ID_TEXT], loop_text[48];
	uint8_t message_text[MESSAGE_MAX];
};

void sw_blocked_loop_name(int thread, unsigned loop, struct sw_writer *w)
{
	char path[64], name[32];
	struct sw_writer at = sw_writer(path, sizeof(path) - 1);
	long len;

	sw_write(&at, SW_BYTES("/proc/self/task/"));
	sw_write_number(&at, (uint64_t)thread);
	sw_write(&at, SW_BYTES("/comm"));
	path[at.len] = 0;
	len = sw_meters_read(path, name, sizeof(name));
	while (len > 0 && name[len - 1] == '\n')
		len--;
	sw_write(w, len > 0 ? sw_bytes(name, (size_t)len) : SW_BYTES("thread"));
	sw_write(w, SW_BYTES("/"));
	sw_write_number(w, loop);
}

/* ---- texts ---- */

static void find_texts(struct report *r)
{
	const struct sw_record_blocked *record = r->record;
	struct sw_bytes text = sw_bytes(record + 1, record->text), encoded;
	struct sw_writer w = sw_writer(r->trace_text, sizeof(r->trace_text));

	r->endpoint = sw_bytes_slice(text, record->trace, record->trace + record->endpoint);
	r->stack = sw_bytes_from(text, (size_t)record->trace + record->endpoint);
	if (!record->segment.high && !record->segment.low)
		return;
	encoded = sw_bytes_slice(text, 0, record->trace);
	if (encoded.len && !sw_read_base64(encoded, &w))
		return; /* half a trace id would be another's */
	if (!encoded.len)
		sw_write_id(&w, sw_process_trace_of(record->segment));
	r->trace = sw_written(&w);
	w = sw_writer(r->segment_text, sizeof(r->segment_text));
	sw_write_id(&w, record->segment);
	r->segment = sw_written(&w);
}

static struct sw_bytes first_line(struct sw_bytes text)
{
	return sw_bytes_slice(text, 0, sw_bytes_find(text, '\n'));
}

static void write_message(struct report *r)
{
	static const char *const endings[] = {
		[ENDED] = "",
		[GOES_ON] = " so far",
		[FOUND_AT_END] = "; found at its end, so its stack is not known",
	};
	struct sw_writer w = sw_writer(r->message_text, sizeof(r->message_text));

	sw_write(&w, SW_BYTES("event loop "));
	sw_write(&w, r->loop);
	sw_write(&w, SW_BYTES(" was blocked for "));
	sw_write_number(&w, r->lasted_ns / 1000000u);
	sw_write(&w, SW_BYTES(" ms"));
	sw_write(&w, sw_bytes_text(endings[r->ending]));
	if (r->stack.len) {
		sw_write(&w, SW_BYTES(" in "));
		sw_write(&w, first_line(sw_bytes_from(r->stack, r->record->python)));
	}
	r->message = sw_written(&w);
}

/* ---- sending ---- */

static void send_log(struct sw_agent *a, const struct report *r)
{
	struct sw_buffer body = {0};
	struct sw_label tag[] = {
		{SW_BYTES("level"), SW_BYTES("WARN")},
		{SW_BYTES("logger"), SW_BYTES("swagent.loop")},
		{SW_BYTES("thread"), r->loop},
	};
	struct sw_log log = {
		.timestamp_ms = r->record->start_ms + (int64_t)(r->lasted_ns / 1000000u),
		.endpoint = r->endpoint,
		.trace = r->trace,
		.segment = r->segment,
		.tag = tag,
		.tags = SW_COUNT_OF(tag),
	};

	sw_buffer_add(&body, r->message);
	if (r->stack.len) {
		sw_buffer_add(&body, SW_BYTES("\n"));
		sw_buffer_add(&body, sw_bytes(r->stack.at, r->stack.len - 1));
	}
	log.body = body.failed ? r->message : sw_bytes(body.at, body.len);
	sw_reporter_log(a, &log);
	sw_buffer_free(&body);
}

/* The innermost frames, whole lines. */
static struct sw_bytes top_of(struct sw_bytes stack)
{
	size_t len = SW_MIN(stack.len, EVENT_STACK_MAX);

	while (len && stack.at[len - 1] != '\n')
		len--;
	return sw_bytes(stack.at, len ? len - 1 : 0);
}

static void send_event(struct sw_agent *a, const struct report *r)
{
	uint8_t text[160], duration[24];
	struct sw_writer uuid = sw_writer(text, sizeof(text));
	struct sw_writer ms = sw_writer(duration, sizeof(duration));
	struct sw_label parameter[6];
	struct sw_event event = {
		.name = SW_BYTES("LoopBlocked"),
		.error = true,
		.message = r->message,
		.parameter = parameter,
		.start_ms = r->record->start_ms,
		.end_ms = r->ending == GOES_ON
				  ? 0
				  : r->record->start_ms + (int64_t)(r->lasted_ns / 1000000u),
	};

	sw_write(&uuid, sw_bytes_text(a->sender.instance));
	sw_write(&uuid, SW_BYTES("-"));
	sw_write_hex(&uuid, (uint64_t)r->record->start_ms);
	sw_write_hex(&uuid, (uint64_t)r->record->loop << 56 | r->record->turn);
	event.uuid = sw_written(&uuid);
	sw_write_number(&ms, r->lasted_ns / 1000000u);
	parameter[event.parameters++] = (struct sw_label){SW_BYTES("thread"), r->loop};
	parameter[event.parameters++] = (struct sw_label){SW_BYTES("ms"), sw_written(&ms)};
	if (r->trace.len) {
		parameter[event.parameters++] = (struct sw_label){SW_BYTES("trace"), r->trace};
		parameter[event.parameters++] = (struct sw_label){SW_BYTES("segment"), r->segment};
		parameter[event.parameters++] =
			(struct sw_label){SW_BYTES("endpoint"), r->endpoint};
	}
	if (r->stack.len)
		parameter[event.parameters++] =
			(struct sw_label){SW_BYTES("stack"), top_of(r->stack)};
	sw_reporter_event(a, &event);
}

static void report(struct sw_agent *a, const struct sw_record_blocked *record, uint64_t lasted_ns,
		   enum ending ending)
{
	struct report r = {.record = record, .lasted_ns = lasted_ns, .ending = ending};
	struct sw_writer loop = sw_writer(r.loop_text, sizeof(r.loop_text));

	sw_blocked_loop_name(record->thread, record->loop, &loop);
	r.loop = sw_written(&loop);
	find_texts(&r);
	write_message(&r);
	if (sw_config.log_active)
		send_log(a, &r);
	send_event(a, &r);
	sw_count(LOOP_BLOCKED);
}

/* ---- joining ---- */

static void forget(struct caught *c)
{
	free(c->record);
	*c = (struct caught){NULL};
}

static void tell_now(struct sw_agent *a, struct caught *c, uint64_t lasted_ns)
{
	if (!c->record || c->told)
		return;
	report(a, c->record, lasted_ns, GOES_ON);
	c->told = true;
}

static bool is_that_turn(const struct caught *c, const struct sw_record_blocked *record)
{
	return c->record && c->record->turn == record->turn &&
	       c->record->generation == record->generation;
}

static void keep(struct sw_agent *a, struct caught *c, const struct sw_record_blocked *record)
{
	if (is_that_turn(c, record) && c->told)
		return;
	if (c->record && !is_that_turn(c, record)) /* its end was lost; it is not lost with it */
		tell_now(a, c, c->record->lasted_ns);
	forget(c);
	c->record = malloc(record->record.size);
	if (c->record)
		memcpy(c->record, record, record->record.size);
}

static void take_end(struct sw_agent *a, struct caught *c, const struct sw_record_blocked *record)
{
	uint64_t most_ns = sw_config.loop_blocked_ms * 1000000ull + UNSEEN_NS;

	if (is_that_turn(c, record)) {
		if (!c->told)
			report(a, c->record, record->lasted_ns, ENDED);
		forget(c);
	} else if (record->watched_ns > most_ns) {
		sw_count(LOOP_STOPPED);
	} else {
		report(a, record, record->lasted_ns, FOUND_AT_END);
	}
}

static bool is_whole(const struct sw_record_blocked *record)
{
	return SW_CHECK(record->record.size >= sizeof(*record) + record->text) &&
	       SW_CHECK(record->loop < SW_TURNS_MAX) &&
	       SW_CHECK((uint32_t)record->trace + record->endpoint <= record->text);
}

void sw_blocked_take(struct sw_agent *a, const struct sw_record_blocked *record)
{
	struct caught *c;

	if (!SW_CHECK(record->record.size >= sizeof(*record)) || !is_whole(record))
		return;
	c = &caught[record->loop];
	switch ((enum sw_blocked_what)record->what) {
	case SW_BLOCKED_CAUGHT:
		keep(a, c, record);
		break;
	case SW_BLOCKED_STILL:
		if (is_that_turn(c, record))
			tell_now(a, c, record->lasted_ns);
		break;
	case SW_BLOCKED_OVER:
		take_end(a, c, record);
		break;
	}
}

void sw_blocked_finish(struct sw_agent *a)
{
	for (int i = 0; i < SW_TURNS_MAX; i++) {
		if (caught[i].record)
			tell_now(a, &caught[i], caught[i].record->lasted_ns);
	}
}

void sw_blocked_forked(void)
{
	/* The parent's malloc may be in mid-change: its memory is left alone. */
	memset(caught, 0, sizeof(caught));
}
