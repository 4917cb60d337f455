/*
 * Open spans; see trace.h.
 *
 * A span is 4 KiB: a prepared record and its text. Its state word holds a generation and one of
 * FREE, OPEN, HELD. Whoever changes or ends a span holds it for a few instructions, so an Entry
 * that ends while another thread ends one of its Exits cannot report that Exit twice. Who needs
 * both holds the Entry first. Nobody waits for long: a holder that lost its CPU gets a few turns to
 * come back; one that a signal interrupted, in whose handler we may be, cannot, and then what it
 * holds is left to it.
 */
#include "hooks/trace.h"

#include "hooks/carry.h"
#include "hooks/ended.h"
#include "hooks/filter.h"
#include "hooks/profile.h"
#include "hooks/span.h"
#include "preload/arena.h"
#include "preload/carrier.h"
#include "preload/config.h"
#include "preload/counters.h"
#include "preload/module.h"
#include "preload/process.h"
#include "preload/record.h"
#include "preload/ring.h"
#include "preload/sys.h"

#define ALL_LISTED ((1ull << OPEN_EXITS) - 1)
#define HOLD_SPINS 1000
#define HOLD_TURNS 100
#define OPERATION_MAX 150 /* OAP cuts endpoints there (specification 3.1) */
#define PEER_MAX 256
#define TAG_MAX 1024

static struct sw_pool spans;
/* Hash of each open Entry's carrier by index, 0 when none: searched without touching the spans. */
static _Atomic uint32_t *carrier_hashes;

static sw_ref ref_of(uint64_t state, uint32_t index)
{
	return (state >> 2) << 32 | (index + 1);
}

static struct span *span_at(sw_ref ref)
{
	uint32_t index = (uint32_t)ref - 1;

	return (uint32_t)ref && index < spans.limit ? sw_pool_item(&spans, index) : NULL;
}

static uint64_t state_word(sw_ref ref, enum span_state state)
{
	return (ref >> 32) << 2 | state;
}

enum held { HELD_GONE, HELD_BUSY, HELD_MINE };

static enum held try_hold(struct span *span, sw_ref ref)
{
	uint64_t expected = state_word(ref, SPAN_OPEN);

	if (atomic_compare_exchange_strong(&span->state, &expected, state_word(ref, SPAN_HELD)))
		return HELD_MINE;
	if (expected >> 2 != (uint32_t)(ref >> 32) || (expected & 3) == SPAN_FREE)
		return HELD_GONE;
	return HELD_BUSY;
}

/* Exclusive for a few instructions. BUSY: another thread does not let it go. */
static enum held hold_or(sw_ref ref, struct span **ret)
{
	enum held held = HELD_BUSY;

	*ret = span_at(ref);
	if (!*ret)
		return HELD_GONE;
	for (int i = 0; held == HELD_BUSY && i < HOLD_SPINS + HOLD_TURNS; i++) {
		if (i >= HOLD_SPINS)
			sw_sys(sched_yield);
		held = try_hold(*ret, ref);
	}
	if (held != HELD_MINE)
		*ret = NULL;
	return held;
}

/* The same. NULL: it is not to be had. */
static struct span *hold(sw_ref ref)
{
	struct span *span;

	hold_or(ref, &span);
	return span;
}

static void let_go(struct span *span, sw_ref ref)
{
	/* Pairs with try_hold. */
	atomic_store_explicit(&span->state, state_word(ref, SPAN_OPEN), memory_order_release);
}

struct span *sw_span_hold(sw_ref ref)
{
	return hold(ref);
}

void sw_span_let_go(struct span *span, sw_ref ref)
{
	let_go(span, ref);
}

/* An Exit, and before it its Entry: NULL when that is gone or the Exit is alone. GONE: nothing is
 * held; the Exit is gone, or is left to who holds its Entry. */
static enum held hold_both(sw_ref ref, struct span **ret_exit, struct span **ret_entry)
{
	struct span *exit = span_at(ref);
	sw_ref entry = exit ? exit->entry : 0; /* never changes while the Exit is known */
	enum held held;

	if (hold_or(entry, ret_entry) == HELD_BUSY)
		return HELD_GONE;
	held = hold_or(ref, ret_exit);
	if (held != HELD_MINE && *ret_entry)
		let_go(*ret_entry, entry);
	return held;
}

static void release(struct span *span, sw_ref ref)
{
	uint32_t index = (uint32_t)ref - 1;
	uint64_t generation = ((ref >> 32) + 1) & 0x3fffffff;

	atomic_store_explicit(&carrier_hashes[index], 0, memory_order_relaxed);
	/* Pairs with try_hold; who finds it free finds what was noted of it (hooks/ended.c). */
	atomic_store_explicit(&span->state, generation << 2 | SPAN_FREE, memory_order_release);
	sw_pool_give(&spans, index);
}

bool sw_trace_open(sw_ref ref)
{
	struct span *span = span_at(ref);
	uint64_t state = span ? atomic_load(&span->state) : 0;

	return span && state >> 2 == ref >> 32 && (state & 3) != SPAN_FREE;
}

bool sw_trace_segment(sw_ref ref, struct sw_id *ret_segment)
{
	struct span *span = sw_trace_open(ref) ? span_at(ref) : NULL;
	struct sw_id segment;

	if (!span || span->suppressed)
		return false;
	segment = span->record.segment;
	atomic_thread_fence(memory_order_acquire);
	if (!sw_trace_open(ref))
		return false;
	*ret_segment = segment;
	return true;
}

/* ---- text ---- */

static void add_field(struct sw_writer *w, enum sw_field_kind kind, uint8_t key,
		      const struct sw_bytes *part, size_t parts, size_t limit, uint16_t *ret_at)
{
	struct sw_field field = {(uint8_t)kind, key, 0};
	size_t start = w->len;
	struct sw_writer value;

	if (w->room - w->len < sizeof(field)) {
		w->cut = true;
		return;
	}
	w->len += sizeof(field);
	value = sw_writer(w->at + w->len, SW_MIN(limit, w->room - w->len));
	for (size_t i = 0; i < parts; i++)
		sw_write(&value, part[i]);
	/* never half a UTF-8 character: one bad byte makes a collector refuse the whole message */
	while (value.cut && value.len && (value.at[value.len - 1] & 0x80)) {
		if ((value.at[--value.len] & 0xc0) == 0xc0)
			break;
	}
	field.len = (uint16_t)value.len;
	memcpy(w->at + start, &field, sizeof(field));
	if (ret_at)
		*ret_at = (uint16_t)w->len;
	w->len += value.len;
	w->cut |= value.cut;
}

/* Whole or not at all: half a carrier would be another carrier. */
static void add_whole(struct sw_writer *w, enum sw_field_kind kind, struct sw_bytes value,
		      uint16_t *ret_at, uint16_t *ret_len)
{
	*ret_len = 0;
	if (value.len == 0 || value.len + sizeof(struct sw_field) > w->room - w->len)
		return;
	add_field(w, kind, 0, &value, 1, value.len, ret_at);
	*ret_len = (uint16_t)value.len;
}

static void fill_text(struct span *span, const struct sw_begin *begin)
{
	const struct sw_request *request = begin->request;
	struct sw_writer w = sw_writer(span->text, TEXT_BYTES);

	add_field(&w, SW_FIELD_OPERATION, 0, &request->operation, 1, OPERATION_MAX,
		  &span->operation_at);
	span->operation_len = (uint16_t)(w.len - span->operation_at);
	add_field(&w, SW_FIELD_PEER, 0, &begin->peer, 1, PEER_MAX, &span->peer_at);
	span->peer_len = (uint16_t)(w.len - span->peer_at);
	span->carrier_len = span->correlation_len = 0;
	if (span->record.type == SW_SPAN_ENTRY) {
		add_whole(&w, SW_FIELD_CARRIER, request->carrier, &span->carrier_at,
			  &span->carrier_len);
		add_whole(&w, SW_FIELD_CORRELATION,
			  sw_bytes_slice(request->correlation, 0, SW_CORRELATION_MAX),
			  &span->correlation_at, &span->correlation_len);
	}
	for (size_t i = 0; i < request->tag_count; i++)
		add_field(&w, SW_FIELD_TAG, (uint8_t)request->tag[i].key, request->tag[i].part,
			  SW_COUNT_OF(request->tag[i].part), TAG_MAX, NULL);
	if (sw_config.collect_params && request->params.len && span->record.type == SW_SPAN_ENTRY)
		add_field(&w, SW_FIELD_TAG, SW_TAG_HTTP_PARAMS, &request->params, 1,
			  sw_config.params_limit, NULL);
	span->record.text = (uint32_t)w.len;
	if (w.cut) {
		span->record.flags |= SW_SPAN_CUT;
		sw_count(TEXT_CUT);
	}
}

/* ---- beginning ---- */

static struct span *begin_span(const struct sw_begin *begin, enum sw_span_type type,
			       uint64_t wall_ns, sw_ref *ret_ref)
{
	int64_t index = sw_pool_take(&spans);
	struct span *span;
	uint64_t state;

	if (index < 0) {
		sw_count(SPAN_POOL);
		return NULL;
	}
	span = sw_pool_item(&spans, (uint32_t)index);
	state = atomic_load(&span->state);
	*ret_ref = ref_of(state, (uint32_t)index);
	span->start_ns = begin->start_ns;
	span->forks = atomic_load_explicit(&sw_process_forks, memory_order_relaxed);
	span->births = atomic_load_explicit(&sw_process_births, memory_order_relaxed);
	span->suppressed = false;
	span->wall_ns =
		wall_ns ? wall_ns : sw_clock_ns(CLOCK_REALTIME) - sw_clock_ns(CLOCK_MONOTONIC);
	span->record = (struct sw_record_span){
		.record = {.kind = SW_RECORD_SPAN},
		.start_ms = (int64_t)((span->wall_ns + span->start_ns) / 1000000u),
		.component = begin->component,
		.type = (uint8_t)type,
		.layer = (uint8_t)begin->request->layer,
		.status_tag = SW_TAG_COUNT,
	};
	return span;
}

static bool traced(const struct sw_request *request)
{
	if (sw_filter_method(request->method) && sw_filter_operation(request->operation))
		return true;
	sw_count(SPAN_IGNORED);
	return false;
}

/* Is this request to be reported? Fills the fields of its carrier. */
static bool entry_wanted(const struct sw_begin *begin, struct sw_bytes field[SW_CARRIER_FIELDS],
			 enum sw_carried *ret_carried)
{
	*ret_carried = sw_carrier_read(begin->request->carrier, field);
	if (!traced(begin->request))
		return false;
	if (*ret_carried == SW_CARRIED_SAMPLED ||
	    (*ret_carried == SW_CARRIED_NOTHING && sw_filter_sample(begin->start_ns)))
		return true;
	sw_count(SPAN_UNSAMPLED);
	return false;
}

/* A trace id that does not fit would be another trace's: such a segment calls nobody. */
static void set_trace(struct span *span, enum sw_carried carried, struct sw_bytes trace)
{
	struct sw_writer w = sw_writer(span->trace64, sizeof(span->trace64));

	if (carried == SW_CARRIED_SAMPLED)
		sw_write(&w, trace);
	span->trace_len = (uint16_t)w.len;
	span->calls_nobody = w.cut;
}

static struct sw_bytes trace_of(const struct span *span)
{
	return sw_bytes(span->trace64, span->trace_len);
}

static uint32_t hash(struct sw_bytes b)
{
	uint32_t h = 2166136261u; /* FNV-1a */

	for (size_t i = 0; i < b.len; i++)
		h = (h ^ b.at[i]) * 16777619u;
	return h ? h : 1;
}

sw_ref sw_trace_entry(struct sw_guest *g, const struct sw_begin *begin)
{
	struct sw_bytes field[SW_CARRIER_FIELDS];
	enum sw_carried carried;
	struct span *span;
	sw_ref ref;

	span = begin_span(begin, SW_SPAN_ENTRY, 0, &ref);
	if (!span)
		return 0;
	span->entry = 0;
	span->suppressed = !entry_wanted(begin, field, &carried);
	span->record.parent = -1;
	span->record.segment = sw_process_id_next();
	span->next_span = 1;
	span->exits = 0;
	span->listed = 0;
	fill_text(span, begin);
	set_trace(span, span->suppressed ? SW_CARRIED_NOTHING : carried, field[SW_CARRIER_TRACE]);
	if (span->carrier_len)
		atomic_store_explicit(&carrier_hashes[(uint32_t)ref - 1],
				      hash(begin->request->carrier), memory_order_relaxed);
	if (SW_UNLIKELY(atomic_load(&sw_profile_current)) && !span->suppressed)
		sw_profile_entry(g, ref, span->record.segment, begin->start_ns,
				 begin->request->operation);
	let_go(span, ref);
	return ref;
}

sw_ref sw_trace_entry_of_carrier(struct sw_bytes carrier)
{
	uint32_t wanted = hash(carrier), used = sw_pool_used(&spans);
	sw_ref found = 0;

	for (uint32_t i = 0; i < used; i++) {
		struct span *span = sw_pool_item(&spans, i);
		sw_ref ref;

		if (atomic_load_explicit(&carrier_hashes[i], memory_order_relaxed) != wanted)
			continue;
		ref = ref_of(atomic_load(&span->state), i);
		if (!hold(ref))
			continue;
		if (sw_bytes_equal(carrier,
				   sw_bytes(span->text + span->carrier_at, span->carrier_len))) {
			let_go(span, ref);
			if (found)
				return 0;
			found = ref;
		} else {
			let_go(span, ref);
		}
	}
	return found;
}

/* What a call is to be, and what it takes from its request. */
enum take { TAKE_ALONE, TAKE_CHILD, TAKE_LATE, TAKE_SUPPRESSED };

struct taken {
	struct sw_id segment;
	int32_t id;
	uint64_t wall_ns;
	const struct sw_ended *ended; /* TAKE_LATE */
};

static enum take take_late(sw_ref entry, struct taken *ret)
{
	ret->ended = entry ? sw_ended_find(entry) : NULL;
	if (!ret->ended)
		return TAKE_ALONE;
	return ret->ended->suppressed ? TAKE_SUPPRESSED : TAKE_LATE;
}

/* Takes a span id from the request. */
static enum take take_from(sw_ref entry, struct taken *ret)
{
	struct span *parent = hold(entry);
	enum take take = TAKE_CHILD;

	if (!parent)
		return take_late(entry, ret);
	if (parent->births != atomic_load(&sw_process_births)) {
		take = TAKE_ALONE; /* the process that began it numbers its calls */
	} else if (parent->suppressed || parent->calls_nobody) {
		take = TAKE_SUPPRESSED;
	} else if (parent->next_span >= sw_config.span_limit) {
		parent->record.flags |= SW_SPAN_LIMITED;
		sw_count(SPAN_LIMITED);
		take = TAKE_SUPPRESSED;
	} else {
		ret->id = (int32_t)parent->next_span++;
		ret->segment = parent->record.segment;
		ret->wall_ns = parent->wall_ns;
	}
	let_go(parent, entry);
	return take;
}

/* The next slot of `left`, which loses it. -1: none. */
static int next_listed(uint64_t *left)
{
	int slot = *left ? __builtin_ctzll(*left) : -1;

	*left &= *left - 1;
	return slot;
}

/* An Exit leaves the list of an Entry that is held. */
static void unlist_exit(struct span *entry, sw_ref exit)
{
	uint64_t left = entry->listed;

	for (int slot; (slot = next_listed(&left)) >= 0;) {
		if (entry->open[slot] == exit) {
			entry->listed &= ~(1ull << slot);
			return;
		}
	}
}

/* So that the Entry can close it, should it end first. False: it has. */
static bool list_exit(sw_ref entry, sw_ref exit)
{
	struct span *parent = hold(entry);
	uint64_t left;
	int slot;

	if (!parent)
		return false;
	left = ~parent->listed & ALL_LISTED;
	slot = next_listed(&left);
	if (slot >= 0) {
		parent->open[slot] = exit;
		parent->listed |= 1ull << slot;
	}
	let_go(parent, entry);
	return true;
}

/* An Exit outside a segment has one of its own. */
static void place(struct span *span, enum take take, sw_ref entry, const struct taken *taken)
{
	bool child = take == TAKE_CHILD;

	span->entry = child ? entry : 0;
	span->record.span = child ? taken->id : 0;
	span->record.parent = child ? 0 : -1;
	span->record.flags |= child ? 0 : SW_SPAN_ALONE;
	span->record.segment = child ? taken->segment : sw_process_id_next();
	set_trace(span, SW_CARRIED_NOTHING, sw_bytes(NULL, 0));
}

/*
 * Goes on with an Entry that has ended: its trace, and the reference that says so. False: there is
 * no room for it, and half of it would be a lie.
 */
static bool continue_late(struct span *span, const struct sw_ended *ended)
{
	struct sw_bytes operation = sw_bytes(ended->text + ended->trace_len, ended->operation_len);
	struct sw_bytes correlation =
		sw_bytes(operation.at + operation.len, ended->correlation_len);
	struct sw_carried_on carried = {
		.trace = sw_bytes(ended->text, ended->trace_len),
		.segment = ended->segment,
		.endpoint = operation,
		.peer = sw_bytes(span->text + span->peer_at, span->peer_len),
	};
	struct sw_writer trace = sw_writer(span->trace64, sizeof(span->trace64));
	struct sw_writer w = sw_writer(span->text, TEXT_BYTES);
	struct sw_field field = {SW_FIELD_CARRIER, 0, 0};
	size_t head = span->record.text;

	w.len = SW_MIN(head + sizeof(field), w.room);
	sw_carry_write(&w, &carried);
	field.len = (uint16_t)(w.len - head - sizeof(field));
	span->record.text = (uint32_t)w.len;
	span->operation_at = (uint16_t)w.len;
	span->operation_len = (uint16_t)operation.len;
	sw_write(&w, operation);
	span->correlation_at = (uint16_t)w.len;
	span->correlation_len = (uint16_t)correlation.len;
	sw_write(&w, correlation);
	sw_carry_trace(&trace, carried.trace, ended->segment);
	span->trace_len = (uint16_t)trace.len;
	span->record.flags |= SW_SPAN_LATE;
	if (w.cut || trace.cut)
		return false;
	memcpy(span->text + head, &field, sizeof(field));
	return true;
}

static bool begin_exit(struct span *span, enum take take, sw_ref entry, const struct taken *taken,
		       const struct sw_begin *begin)
{
	place(span, take, entry, taken);
	fill_text(span, begin);
	return take != TAKE_LATE ||
	       (continue_late(span, taken->ended) && sw_ended_still(taken->ended, entry));
}

/* Its Entry ended while the Exit began: nothing has been sent yet, so it goes on for it, late. */
static sw_ref instead(sw_ref entry, sw_ref ref, struct taken *taken, bool *ret_suppressed)
{
	enum take take = take_late(entry, taken);
	struct span *span = hold(ref);
	bool ok;

	if (!span)
		return 0;
	place(span, take, entry, taken);
	ok = take == TAKE_LATE && continue_late(span, taken->ended) &&
	     sw_ended_still(taken->ended, entry);
	if (ok)
		let_go(span, ref);
	else
		release(span, ref);
	*ret_suppressed = !ok;
	return ok ? ref : 0;
}

sw_ref sw_trace_exit(struct sw_guest *g, sw_ref entry, const struct sw_begin *begin,
		     bool *ret_suppressed)
{
	struct taken taken = {.wall_ns = 0};
	enum take take;
	struct span *span;
	sw_ref ref;

	(void)g;
	*ret_suppressed = true;
	if (!traced(begin->request))
		return 0;
	take = take_from(entry, &taken);
	if (take == TAKE_SUPPRESSED)
		return 0;
	if (take == TAKE_ALONE && !sw_filter_sample(begin->start_ns)) {
		sw_count(SPAN_UNSAMPLED);
		return 0;
	}
	span = begin_span(begin, SW_SPAN_EXIT, taken.wall_ns, &ref);
	if (!span)
		return 0;
	if (!begin_exit(span, take, entry, &taken, begin)) {
		release(span, ref);
		return 0;
	}
	let_go(span, ref);
	if (take == TAKE_CHILD && !list_exit(entry, ref))
		return instead(entry, ref, &taken, ret_suppressed);
	if (take == TAKE_ALONE)
		sw_count(PARENT_NONE);
	*ret_suppressed = false;
	return ref;
}

/* ---- what a call carries ---- */

static void write_sw8(struct sw_writer *w, const struct span *exit, const struct span *context)
{
	struct sw_carried_on carried = {
		.trace = trace_of(context),
		.segment = exit->record.segment,
		.span = exit->record.span,
		.endpoint = sw_bytes(context->text + context->operation_at, context->operation_len),
		.peer = sw_bytes(exit->text + exit->peer_at, exit->peer_len),
	};

	sw_write(w, SW_BYTES("sw8: "));
	sw_carry_write(w, &carried);
	sw_write(w, SW_BYTES("\r\nsw8-correlation: "));
	sw_write(w, sw_bytes(context->text + context->correlation_at, context->correlation_len));
	sw_write(w, SW_BYTES("\r\n"));
}

void sw_trace_carrier(sw_ref ref, struct sw_writer *w)
{
	struct span *exit, *entry;

	if (!ref) {
		sw_write(w, SW_BYTES("sw8: 1-------\r\nsw8-correlation: \r\n"));
		return;
	}
	if (hold_both(ref, &exit, &entry) != HELD_MINE)
		return;
	if (entry || !exit->entry)
		write_sw8(w, exit, entry ? entry : exit);
	if (entry)
		let_go(entry, exit->entry);
	let_go(exit, ref);
}

/* ---- ending ---- */

void sw_trace_answer(sw_ref ref, const struct sw_response *response)
{
	struct span *span = hold(ref);

	if (!span)
		return;
	span->record.status = response->status;
	if (span->record.layer == SW_LAYER_HTTP)
		span->record.status_tag = SW_TAG_HTTP_STATUS_CODE;
	if (response->error)
		span->record.flags |= SW_SPAN_ERROR;
	let_go(span, ref);
}

static void put(struct sw_guest *g, struct span *span)
{
	uint64_t now = sw_clock_ns(CLOCK_MONOTONIC);

	span->record.end_ms = (int64_t)((span->wall_ns + now) / 1000000u);
	sw_ring_put(g, &span->record.record, sizeof(span->record),
		    sw_bytes(span->text, span->record.text));
}

/* Tells the Entry that one more record of its segment is on its way. */
static bool join_entry(struct span *exit, sw_ref ref, struct span *entry)
{
	if (!exit->entry)
		return true;
	if (!entry) {
		sw_count(SPAN_ORPHAN);
		return false;
	}
	entry->exits++;
	unlist_exit(entry, ref);
	return true;
}

static void close_open_exits(struct sw_guest *g, struct span *entry)
{
	uint64_t left = entry->listed;

	for (int slot; (slot = next_listed(&left)) >= 0;) {
		sw_ref ref = entry->open[slot];
		struct span *exit = hold(ref);

		if (!exit)
			continue;
		exit->record.flags |= SW_SPAN_UNFINISHED;
		entry->exits++;
		put(g, exit);
		release(exit, ref);
	}
}

/* May this process report the span, ended like this? */
static bool reportable(const struct span *span, enum sw_ending ending)
{
	bool shared = span->forks != atomic_load(&sw_process_forks);

	if (ending == SW_ENDING_WHOLE || (ending != SW_ENDING_UNSEEN && !shared))
		return true;
	sw_count(SPAN_UNSEEN);
	return false;
}

/* So that what was begun for it can still be told. Whole or not at all. */
static void remember(const struct span *span, sw_ref ref)
{
	struct sw_ended ended;
	struct sw_writer w = sw_writer(ended.text, sizeof(ended.text));

	if (span->calls_nobody || !sw_config.context_linger_ms)
		return;
	sw_write(&w, trace_of(span));
	sw_write(&w, sw_bytes(span->text + span->operation_at, span->operation_len));
	sw_write(&w, sw_bytes(span->text + span->correlation_at, span->correlation_len));
	ended.end_ns = sw_clock_ns(CLOCK_MONOTONIC);
	ended.segment = span->record.segment;
	ended.births = span->births;
	ended.suppressed = span->suppressed;
	ended.trace_len = span->trace_len;
	ended.operation_len = span->operation_len;
	ended.correlation_len = span->correlation_len;
	if (!w.cut)
		sw_ended_note(ref, &ended);
}

static void report_entry(struct sw_guest *g, struct span *span, enum sw_ending ending)
{
	close_open_exits(g, span);
	if (span->suppressed || !reportable(span, ending))
		return;
	if (ending == SW_ENDING_CUT)
		span->record.flags |= SW_SPAN_ERROR;
	span->record.exits = span->exits;
	put(g, span);
}

static void end_entry(struct sw_guest *g, struct span *entry, sw_ref ref, enum sw_ending ending)
{
	report_entry(g, entry, ending);
	remember(entry, ref);
	release(entry, ref);
}

/* Not for one that is alone. */
static void leave_entry(struct span *exit, struct span *entry)
{
	if (entry)
		let_go(entry, exit->entry);
}

static void end_exit(struct sw_guest *g, struct span *exit, sw_ref ref, struct span *entry,
		     enum sw_ending ending)
{
	bool report = reportable(exit, ending) && join_entry(exit, ref, entry);

	leave_entry(exit, entry);
	if (ending == SW_ENDING_CUT)
		exit->record.flags |= SW_SPAN_ERROR;
	if (report)
		put(g, exit);
	release(exit, ref);
}

/* An Entry is the Entry of none, so hold_both holds it as if it were alone. */
void sw_trace_end(struct sw_guest *g, sw_ref ref, enum sw_ending ending)
{
	struct span *span, *entry;
	enum held held = hold_both(ref, &span, &entry);

	if (held == HELD_BUSY)
		sw_count(SPAN_BUSY);
	if (held != HELD_MINE)
		return;
	if (span->record.type == SW_SPAN_ENTRY)
		end_entry(g, span, ref, ending);
	else
		end_exit(g, span, ref, entry, ending);
}

void sw_trace_forget(sw_ref ref)
{
	struct span *exit, *entry;

	if (hold_both(ref, &exit, &entry) != HELD_MINE)
		return;
	if (entry)
		unlist_exit(entry, ref);
	leave_entry(exit, entry);
	release(exit, ref);
}

/* ---- lifetime ---- */

static bool trace_start(void)
{
	uint32_t limit = (uint32_t)sw_config.requests_max;

	_Static_assert(TEXT_BYTES > 3000, "room for a whole carrier and the usual texts");
	_Static_assert(sizeof(struct sw_record_span) + TEXT_BYTES <= SW_RECORD_MAX,
		       "a span fits a record");
	sw_carry_names();
	carrier_hashes = sw_sys_map(sizeof(*carrier_hashes) * limit);
	return carrier_hashes && sw_ended_start() && sw_pool_map(&spans, SPAN_BYTES, limit);
}

/* Holders that were other threads of the parent do not exist here: free what they held. */
static void trace_fork_child(void)
{
	uint32_t used = sw_pool_used(&spans);

	sw_carry_names();
	for (uint32_t i = 0; i < used; i++) {
		struct span *span = sw_pool_item(&spans, i);
		uint64_t state = atomic_load(&span->state);

		if ((state & 3) == SPAN_HELD)
			release(span, ref_of(state, i));
	}
}

const struct sw_module sw_module_trace = {
	.name = "trace",
	.start = trace_start,
	.fork_child = trace_fork_child,
};
