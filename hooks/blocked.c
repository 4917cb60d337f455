/*
 * Looking at the loops; see blocked.h. All but sw_blocked_ended runs on our thread, by the table of
 * modules: it writes records into the ring like any other thread.
 *
 * What is read of a thread that is held is believed only if the thread is in the same turn
 * afterwards.
 */
#include "hooks/blocked.h"

#include <errno.h>

#include "hooks/context.h"
#include "hooks/flow.h"
#include "hooks/python/code.h"
#include "hooks/python/frames.h"
#include "hooks/python/python.h"
#include "hooks/trace.h"
#include "hooks/words.h"
#include "preload/config.h"
#include "preload/counters.h"
#include "preload/module.h"
#include "preload/process.h"
#include "preload/record.h"
#include "preload/sys.h"

#define PERIOD_LEAST_NS 10000000ull
#define PERIOD_MOST_NS 50000000ull
/* One that is held on is reported before it ends: within a second of its beginning, as a rule. */
#define STILL_NS 500000000ull
/* How long we go on looking at loops that have become idle. */
#define LINGER_NS 2000000000ull
#define FRAMES_SHOWN 64
/* To read the stack of a thread that runs; each some 100 us at worst. */
#define TRIES 5
/* To find it in a call of the kernel. */
#define ASKED_MAX 5

/* A loop as it was seen last. Our thread's. */
static struct seen {
	uint64_t turn, busy_ns, heads;
	uint64_t held_ns; /* seen in this turn */
	uint32_t generation;
	bool caught, told;
	bool stacked;  /* and Python's frames were read, or it has none */
	uint8_t asked; /* for all its frames */
} seen[SW_TURNS_MAX];

static struct {
	uint64_t last_ns, active_ns;
} looks;

/* Looked at since then, without a pause (CLOCK_MONOTONIC); 0: nobody looks. */
static _Atomic uint64_t watched_since_ns;

static uint64_t period_ns(void)
{
	return SW_MAX(PERIOD_LEAST_NS, SW_MIN(PERIOD_MOST_NS, sw_turns_long_ns / 2));
}

/* ---- which threads are loops ---- */

/* A thread gets a first context once, a greenlet that waits without one each time. */
static bool is_apart(struct sw_turns *t)
{
	uint64_t turn = atomic_load_explicit(&t->turns, memory_order_relaxed);
	enum sw_python_apart apart = sw_python_apart(t->waits_in);

	if (apart == SW_PYTHON_FIRST && t->apart_turn && t->apart_turn != turn)
		return true;
	if (apart == SW_PYTHON_FIRST)
		t->apart_turn = turn;
	return apart == SW_PYTHON_APART;
}

/*
 * In a process without CPython those that interleave (hooks/context.h). With one, that sign says
 * too much: workers that serve one request after the other have it before their Python is known.
 * There a loop is who waits while a request that it has read is unanswered, or who handles requests
 * in another context than it waits in.
 */
static bool is_loop(struct sw_guest *g, struct sw_turns *t, bool waits)
{
	if (!sw_python_present())
		return g->mixed;
	if (waits)
		return g->talk && sw_flow_unanswered_by(g->talk, sw_guest_tid(g));
	return is_apart(t);
}

void sw_blocked_consider(struct sw_guest *g, bool waits)
{
	struct sw_turns *t = g->turns;

	if (is_loop(g, t, waits))
		atomic_store(&t->loop, true);
	else if (waits)
		t->waits_in = sw_python_here();
}

/* ---- records ---- */

static int64_t unix_ms_before(uint64_t ns)
{
	return (int64_t)((sw_clock_ns(CLOCK_REALTIME) - ns) / 1000000u);
}

static struct sw_record_blocked blocked_record(const struct sw_turns *t, uint64_t turn,
					       enum sw_blocked_what what, uint64_t ns)
{
	return (struct sw_record_blocked){
		.record = {.kind = SW_RECORD_BLOCKED},
		.turn = turn,
		.start_ms = unix_ms_before(ns),
		.lasted_ns = ns,
		.thread = atomic_load(&t->tid),
		.generation = atomic_load(&t->generation),
		.loop = (uint8_t)(t - sw_turns),
		.what = (uint8_t)what,
	};
}

static void put(struct sw_guest *g, struct sw_record_blocked *record, struct sw_bytes text)
{
	record->text = (uint32_t)text.len;
	sw_ring_put(g, &record->record, sizeof(*record), text);
}

static void put_over(struct sw_guest *g, struct sw_turns *t, uint64_t ns)
{
	uint64_t turn = atomic_load(&t->turns) - 1, since_ns = atomic_load(&watched_since_ns);
	struct sw_record_blocked record;

	record = blocked_record(t, turn, SW_BLOCKED_OVER, ns);
	if (since_ns)
		record.watched_ns = SW_MIN(ns, sw_clock_ns(CLOCK_MONOTONIC) - since_ns);
	put(g, &record, SW_BYTES(""));
}

void sw_blocked_ended(struct sw_turns *t, uint64_t ns)
{
	struct sw_guest *g = atomic_load(&t->loop) ? sw_guest_enter() : NULL;

	if (!g)
		return;
	put_over(g, t, ns);
	sw_guest_leave(g);
}

/* ---- caught ---- */

/* Its state of CPython, which another thread may have by now; NULL: none, or it is doubtful. */
static const void *python_of(const struct sw_turns *t)
{
	const void *state = atomic_load(&t->python);

	if (state && sw_frames_is_ready() && sw_frames_state(atomic_load(&t->tid)) != state)
		return NULL;
	return state;
}

/*
 * Whose request it is. In CPython the current context of the thread tells. Elsewhere it is known
 * only where the turn has one cause: the wait brought one event, one head was read since, and that
 * request is open.
 */
static sw_ref request_of(const struct sw_turns *t)
{
	const void *python = python_of(t);
	sw_ref entry = atomic_load(&t->entry);
	struct sw_whom whom;

	if (atomic_load(&t->python) && !python)
		return 0;
	if (python && sw_python_ready())
		return !sw_python_current_of(python, &whom) ? 0
		       : whom.entry			    ? whom.entry
							    : sw_flow_unanswered(whom.talk);
	if (atomic_load(&t->events) == 1 &&
	    atomic_load(&t->heads) == atomic_load(&t->heads_before) + 1 && sw_trace_open(entry))
		return entry;
	return 0;
}

void sw_blocked_write(struct sw_writer *w, struct sw_bytes function, struct sw_bytes file,
		      int64_t line)
{
	sw_write(w, function);
	if (!file.len)
		return;
	sw_write(w, SW_BYTES(" ("));
	sw_write(w, file);
	if (line >= 0) {
		sw_write(w, SW_BYTES(":"));
		sw_write_number(w, (uint64_t)line);
	}
	sw_write(w, SW_BYTES(")"));
}

/* One line for each frame, innermost first, as far as there is room. */
static void write_stack(const struct sw_frames *frames, struct sw_writer *w)
{
	struct sw_code code;

	for (uint32_t i = 0; i < frames->count && i < FRAMES_SHOWN && !w->cut; i++) {
		size_t before = w->len;

		if (!sw_code_read(&frames->at[i], &code))
			sw_write(w, SW_BYTES("?"));
		else
			sw_blocked_write(w, sw_bytes_text(code.name), sw_bytes_text(code.file),
					 SW_MAX(code.line, 0));
		sw_write(w, SW_BYTES("\n"));
		if (w->cut)
			w->len = before; /* whole lines */
	}
}

/* False: it runs, and did not stand still long enough; perhaps the next time. */
static bool write_frames(const struct sw_turns *t, struct sw_writer *w)
{
	static struct sw_frames frames, spare;
	int tid = atomic_load(&t->tid);
	const void *state = atomic_load(&t->python);

	if (!state || !sw_frames_is_ready())
		return true;
	for (int i = 0; i < TRIES; i++) {
		if (sw_frames_lasting(state, tid, &frames, &spare)) {
			write_stack(&frames, w);
			return true;
		}
	}
	return false;
}

/* What stands before the stack. */
static void write_request(const struct sw_turns *t, struct sw_record_blocked *record,
			  struct sw_writer *w)
{
	struct sw_words words;

	if (!sw_words_find(request_of(t), &words))
		return;
	record->segment = words.segment;
	record->trace = words.trace_len;
	record->endpoint = words.endpoint_len;
	sw_write(w, sw_bytes(words.text, (size_t)words.trace_len + words.endpoint_len));
}

static bool goes_on(const struct sw_turns *t, uint64_t turn)
{
	return atomic_load(&t->turns) == turn && atomic_load(&t->began);
}

/* Tells what is known of it by now; what is told again takes the place of what was told before. If
 * its turn was over meanwhile nothing is: it will tell itself. */
static void catch_turn(const struct sw_turns *t, struct seen *s)
{
	bool stacked;
	static uint8_t text[SW_BLOCKED_TEXT_MAX];
	struct sw_writer w = sw_writer(text, sizeof(text));
	struct sw_record_blocked record = blocked_record(t, s->turn, SW_BLOCKED_CAUGHT, s->held_ns);

	write_request(t, &record, &w);
	stacked = write_frames(t, &w);
	if (!goes_on(t, s->turn) || (s->caught && !stacked))
		return;
	put(&sw_guest_self, &record, sw_written(&w));
	s->caught = true;
	s->stacked = stacked;
}

bool sw_blocked_next(struct sw_blocked_held *held)
{
	while (held->loop < atomic_load(&sw_turns_used)) {
		unsigned i = held->loop++;
		struct seen *s = &seen[i];

		if (!s->caught || !s->stacked || s->told || s->asked == ASKED_MAX ||
		    !goes_on(&sw_turns[i], s->turn))
			continue;
		s->asked++;
		held->turns = &sw_turns[i];
		held->turn = s->turn;
		return true;
	}
	return false;
}

/* As many whole lines as there is room for. */
static struct sw_bytes lines_of(struct sw_bytes stack, size_t room)
{
	size_t len = SW_MIN(stack.len, room);

	while (len && stack.at[len - 1] != '\n')
		len--;
	return sw_bytes_slice(stack, 0, len);
}

void sw_blocked_tell(const struct sw_blocked_held *held, struct sw_bytes stack, size_t python)
{
	const struct sw_turns *t = held->turns;
	struct seen *s = &seen[t - sw_turns];
	static uint8_t text[SW_BLOCKED_TEXT_MAX];
	struct sw_writer w = sw_writer(text, sizeof(text));
	struct sw_record_blocked record =
		blocked_record(t, held->turn, SW_BLOCKED_CAUGHT, s->held_ns);

	write_request(t, &record, &w);
	stack = lines_of(stack, sizeof(text) - w.len);
	sw_write(&w, stack);
	record.python = python < stack.len ? (uint16_t)python : 0;
	if (!goes_on(t, held->turn))
		return;
	put(&sw_guest_self, &record, sw_written(&w));
	s->asked = ASKED_MAX;
}

static void tell_still(const struct sw_turns *t, const struct seen *s)
{
	struct sw_record_blocked record = blocked_record(t, s->turn, SW_BLOCKED_STILL, s->held_ns);

	put(&sw_guest_self, &record, SW_BYTES(""));
}

/* ---- looking ---- */

/* Perhaps it is held by the first request that it has read. */
static bool counts_as_loop(const struct sw_turns *t)
{
	const void *python = atomic_load(&t->python);

	return atomic_load(&t->loop) || (python && sw_python_entered_of(python));
}

static bool is_gone(const struct sw_turns *t)
{
	long self = sw_sys(getpid);

	return sw_sys(tgkill, self, atomic_load(&t->tid), 0) == -ESRCH;
}

/* The loop has ended, and the thread takes CPython down. One that it begins later is one in C. */
static bool outlives_python(struct sw_turns *t)
{
	bool outlives = atomic_load(&t->python) && sw_python_is_over();

	if (outlives)
		atomic_store(&t->python, NULL);
	return outlives;
}

/* What a thread is at when it has ended, or its interpreter, blocks nobody. */
static void look_at_long(struct sw_turns *t, struct seen *s)
{
	if (is_gone(t) || outlives_python(t))
		s->told = true;
	else if (!s->stacked)
		catch_turn(t, s);
}

/* In one turn again, or for the first time. */
static void look_at_turn(struct sw_turns *t, struct seen *s, uint64_t began, uint64_t turn,
			 uint64_t step_ns)
{
	if (s->turn != turn || s->generation != atomic_load(&t->generation) || !s->held_ns) {
		*s = (struct seen){.turn = turn, .generation = atomic_load(&t->generation)};
		s->held_ns = 1 + SW_MIN(sw_ticks_ns(began, sw_ticks()), period_ns());
		return;
	}
	s->held_ns += step_ns;
	if (!s->told && s->held_ns >= sw_turns_long_ns && counts_as_loop(t))
		look_at_long(t, s);
	if (s->caught && !s->told && s->held_ns >= sw_turns_long_ns + STILL_NS) {
		tell_still(t, s);
		s->told = true;
	}
}

/* True: it does something, so it is worth looking at soon again. */
static bool look(struct sw_turns *t, struct seen *s, uint64_t since_ns, uint64_t step_ns)
{
	uint64_t busy = atomic_load(&t->busy_ns), heads = atomic_load(&t->heads);
	uint64_t turn = atomic_load(&t->turns);
	uint64_t began = atomic_load_explicit(&t->began, memory_order_acquire);
	bool active = heads != s->heads || (busy - s->busy_ns) * 100 > since_ns;

	if (began)
		look_at_turn(t, s, began, turn, step_ns);
	else
		s->held_ns = 0;
	/* One that has been told can only end, and a thread that is no loop works. */
	if (s->held_ns && !s->told && counts_as_loop(t))
		active = true;
	s->busy_ns = busy;
	s->heads = heads;
	return active;
}

static uint64_t blocked_watch(uint64_t now_ns)
{
	uint64_t since_ns = now_ns - looks.last_ns;
	/* We were held up ourselves: by what, and whether the loop was, we do not know. */
	uint64_t step_ns = since_ns > 2 * period_ns() ? 0 : since_ns;

	if (sw_turns_long_ns == UINT64_MAX)
		return 0;
	for (uint32_t i = 0; i < atomic_load(&sw_turns_used); i++) {
		struct sw_turns *t = &sw_turns[i];

		if (atomic_load(&t->tid) && look(t, &seen[i], since_ns, step_ns))
			looks.active_ns = now_ns;
	}
	looks.last_ns = now_ns;
	if (!looks.active_ns || now_ns - looks.active_ns > LINGER_NS) {
		atomic_store(&watched_since_ns, 0);
		return 0;
	}
	if (!atomic_load(&watched_since_ns))
		atomic_store(&watched_since_ns, now_ns);
	return now_ns + period_ns();
}

static void blocked_fork_child(void)
{
	memset(seen, 0, sizeof(seen));
	memset(&looks, 0, sizeof(looks));
	atomic_store(&watched_since_ns, 0);
}

const struct sw_module sw_module_blocked = {
	.name = "blocked",
	.watch = blocked_watch,
	.fork_child = blocked_fork_child,
};
