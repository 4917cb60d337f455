/*
 * Looking at threads; see threads.h.
 *
 * A thread whose processor clock stands still does what it did, for whom it did it: it is not
 * looked at again. One that runs is asked to write down itself what it does (signal.h). Who does
 * not answer is read from beside, whom it works for before and after its frames, because it may
 * turn to another request meanwhile.
 */
#include "sampler/threads.h"

#include "hooks/context.h"
#include "preload/counters.h"
#include "preload/proc.h"
#include "preload/sys.h"

#define ASKED_MAX 2	    /* times, in one look */
#define SILENT_NS 50000000u /* of a processor, that it uses and does not answer */

static struct sw_sampled *threads; /* Owned, for ever */
static unsigned count;
static struct sw_frames spare;

/* Of the listing that is under way. */
static bool listed[SW_THREADS_MAX];
static unsigned beyond;	 /* it had no room for these */
static uint64_t ours_ns; /* what ours have used */

static uint64_t moves; /* looks that found one that ran, or gone */

/* When all threads were listed last; 0: the last listing lacks some. */
static uint64_t whole_ns;

void sw_threads_forked(void)
{
	count = 0;
	whole_ns = 0;
	sw_shots_forked();
}

void sw_threads_clear(void)
{
	for (unsigned i = 0; i < count; i++)
		sw_signal_drop(&threads[i].signal);
	count = 0;
	whole_ns = 0;
}

static int find(int tid)
{
	for (unsigned i = 0; i < count; i++) {
		if (threads[i].tid == tid)
			return (int)i;
	}
	return -1;
}

/* The place of a thread, a new one if need be; -1: there is no room. */
static int place(int tid)
{
	int at = find(tid);

	if (at < 0 && count < SW_THREADS_MAX) {
		at = (int)count++;
		threads[at].tid = tid;
		threads[at].used_ns = 0;
		threads[at].known = threads[at].sure = threads[at].pending = false;
		threads[at].waits = false;
		threads[at].entry = 0;
		threads[at].state = NULL;
		threads[at].held = 0;
		threads[at].shot = NULL;
		threads[at].signal = (struct sw_signal){.shot = NULL};
		threads[at].whose = 0;
		listed[at] = false;
	}
	if (at < 0)
		beyond++;
	else
		listed[at] = true;
	return at;
}

static void note(void *arg, int tid, const void *state)
{
	int at = place(tid);

	(void)arg;
	if (at < 0)
		return;
	if (threads[at].state != state)
		threads[at].known = false;
	threads[at].state = state;
}

static void drop(unsigned i)
{
	struct sw_sampled *t = &threads[i], *from = &threads[--count];

	sw_signal_drop(&t->signal);
	*t = *from;
	listed[i] = listed[count];
}

static bool is_ours(int tid)
{
	struct sw_guest guest;

	return tid == (int)sw_sys(gettid) || (sw_guest_copy(tid, &guest) && guest.ours);
}

static void note_task(void *arg, int tid, int dir)
{
	int at = find(tid);
	uint64_t used_ns;

	(void)arg;
	(void)dir;
	if (at >= 0)
		listed[at] = true;
	else if (!is_ours(tid))
		place(tid);
	else if (sw_frames_used(tid, &used_ns))
		ours_ns += used_ns;
}

/* CPython has come to its end, and the states of its threads with it; or a thread may have several.
 */
static void forget_states(void)
{
	for (unsigned i = 0; i < count; i++) {
		threads[i].known &= !threads[i].state;
		threads[i].state = NULL;
	}
}

bool sw_threads_list(uint64_t now_ns, bool all)
{
	bool whole;

	if (!threads)
		threads = sw_sys_map(SW_THREADS_MAX * sizeof(*threads));
	if (!threads)
		return false;
	memset(listed, 0, sizeof(listed));
	beyond = 0;
	ours_ns = 0;
	if ((all && !sw_frames_beside()) || sw_frames_several())
		forget_states();
	whole = sw_frames_threads(note, NULL);
	if (all)
		sw_proc_numbers("/proc/self/task", note_task, NULL);
	whole_ns = whole && !beyond ? now_ns : 0;
	for (unsigned i = count; i-- > 0;) {
		if (!listed[i])
			drop(i);
	}
	return true;
}

/* ---- one that has run since ---- */

static sw_ref whom(const struct sw_sampled *t)
{
	return t->state ? sw_context_of(t->tid, t->state) : 0;
}

static bool stands_still(const struct sw_sampled *t)
{
	uint64_t now = 0;

	return sw_frames_used(t->tid, &now) && now == t->used_ns;
}

/* From beside: certain where it stands still while it is read. One that runs is nearly always read
 * in vain, and one that can be asked only if it stands. False: not for whom it works, and if that
 * is wanted, not what it does. */
static bool read_beside(struct sw_sampled *t, const struct sw_look *how)
{
	const struct sw_shot *waiting = NULL;
	bool ok = true;
	sw_ref entry;

	t->frames.count = 0;
	t->time_ns = sw_clock_ns(CLOCK_MONOTONIC);
	if (!sw_frames_used(t->tid, &t->used_ns))
		return false;
	entry = t->whose = whom(t);
	if (t->state && how->wanted(entry))
		ok = sw_frames_of(t->state, t->tid, &t->frames, &spare) &&
		     (t->frames.count || !entry);
	if (how->stack_max && how->wanted(entry))
		waiting = sw_signal_read_waiting(&t->signal, t->tid, how->stack_max);
	t->known = stands_still(t);
	ok &= t->known || !t->frames.count || !sw_signal_reaches(&t->signal);
	t->shot = t->known ? waiting : NULL;
	t->sure = ok && (t->known || whom(t) == entry);
	t->waits = how->running && t->known && sw_signal_waits(&t->signal, t->tid);
	t->known &= ok;
	if (t->sure && how->wanted(entry))
		t->entry = entry;
	return t->sure;
}

static void copy_frames(struct sw_frames *to, const struct sw_frames *from)
{
	to->count = from->count;
	to->cut = from->cut;
	memcpy(to->at, from->at, from->count * sizeof(to->at[0]));
}

/* What it has written down itself; false: nothing since least_ns, or it was interrupted where its
 * frames cannot be told, which is so for some instructions only; or it works for a request and is
 * in no frame, as where it begins and ends. */
static bool use_answer(struct sw_sampled *t, const struct sw_look *how, uint64_t least_ns)
{
	const struct sw_shot *shot = sw_signal_answer(&t->signal);

	if (!shot || shot->time_ns < least_ns || !shot->told ||
	    (shot->entry && !shot->frames.count))
		return false;
	t->time_ns = shot->time_ns;
	t->whose = shot->entry;
	t->sure = true;
	if (!how->wanted(shot->entry))
		return true;
	t->shot = shot;
	t->entry = shot->entry;
	copy_frames(&t->frames, &shot->frames);
	return true;
}

/* ---- all ---- */

/* Its request came to be profiled after it was looked at, and it sleeps since. */
static bool newly_wanted(const struct sw_sampled *t, const struct sw_look *how)
{
	return t->whose && t->whose != t->entry && how->wanted(t->whose);
}

/* It has run since the last look: nothing that was known of it is. */
static bool has_run(struct sw_sampled *t, uint64_t used_ns, const struct sw_look *how)
{
	t->ran = !t->known || used_ns != t->used_ns || newly_wanted(t, how);
	t->used_ns = used_ns;
	if (t->ran) {
		t->known = t->sure = false;
		t->entry = 0;
		t->shot = NULL;
	}
	return t->ran;
}

static bool asked[SW_THREADS_MAX], done[SW_THREADS_MAX];

/* Those that run are asked first, and answer all at once. Returns how many. Where nobody may be
 * asked any more, those that were need not answer. */
static unsigned ask_those_that_run(const struct sw_look *how, uint64_t now_ns)
{
	bool usable = sw_signal_usable(now_ns), moved = !whole_ns;
	unsigned n = 0;

	for (unsigned i = count; i-- > 0;) {
		struct sw_sampled *t = &threads[i];
		uint64_t used_ns;

		/* Less than before: it has gone, and another one has its number. */
		if (!sw_frames_used(t->tid, &used_ns) || used_ns < t->used_ns) {
			drop(i);
			asked[i] = asked[count];
			done[i] = done[count];
			moved = true;
			continue;
		}
		if (!usable)
			sw_signal_cancel(&t->signal);
		done[i] = false;
		moved |= has_run(t, used_ns, how);
		asked[i] = t->ran && !t->pending && usable &&
			   sw_signal_ask(&t->signal, t->tid, used_ns, how->stack_max, how->running);
		n += asked[i];
	}
	moves += moved;
	return n;
}

/* Of those that were asked; who has not answered may have lost its processor, and stand still, or
 * wait. Returns how many are asked still. */
static unsigned take_answers(const struct sw_look *how, uint64_t least_ns)
{
	unsigned n = 0;

	for (unsigned i = 0; i < count; i++) {
		struct sw_sampled *t = &threads[i];

		if (!asked[i])
			continue;
		done[i] = use_answer(t, how, least_ns) || read_beside(t, how);
		if (done[i])
			sw_signal_cancel(&t->signal);
		asked[i] = !done[i] && sw_signal_ask_again(&t->signal, t->tid);
		n += asked[i];
	}
	return n;
}

/* Is it a loss that this one is not told? It may work for one that is wanted. */
static void miss(struct sw_sampled *t, const struct sw_look *how)
{
	sw_ref entry = whom(t);

	if (how->wanted(entry))
		sw_count(PROFILE_MISSED);
}

void sw_threads_look(const struct sw_look *how)
{
	uint64_t begin_ns = sw_clock_ns(CLOCK_MONOTONIC);
	uint32_t since = atomic_load(&sw_shots_taken);
	unsigned n = ask_those_that_run(how, begin_ns);

	for (int i = 0; n && i < ASKED_MAX; i++) {
		sw_signal_wait(n, since, how->leave);
		since = atomic_load(&sw_shots_taken);
		n = take_answers(how, begin_ns);
	}
	for (unsigned i = 0; i < count; i++) {
		struct sw_sampled *t = &threads[i];

		if (asked[i])
			sw_signal_cancel(&t->signal);
		if (t->ran && !done[i] && !read_beside(t, how))
			miss(t, how);
	}
}

void sw_threads_ask(const struct sw_look *how)
{
	uint64_t begin_ns = sw_clock_ns(CLOCK_MONOTONIC);

	ask_those_that_run(how, begin_ns);
	for (unsigned i = 0; i < count; i++) {
		struct sw_sampled *t = &threads[i];

		if (asked[i]) {
			t->pending = true;
			t->waits = false;
			t->asked_ns = begin_ns;
			t->asked_used_ns = t->used_ns;
		}
		if (t->ran && !t->pending && !read_beside(t, how))
			miss(t, how);
	}
}

/* Also of one that waits, where it is asked for what it does when it runs. One that has run for
 * long and not answered has blocked the signal where nobody could see it. */
static bool will_answer(const struct sw_sampled *t, const struct sw_look *how)
{
	return (how->running && sw_signal_is_asked(&t->signal) &&
		t->used_ns - t->asked_used_ns < SILENT_NS) ||
	       sw_signal_is_pending(&t->signal);
}

/* By `running` it has also where it was interrupted where nothing can be told: the next answer
 * stands for that too. */
static bool has_answered(struct sw_sampled *t, const struct sw_look *how)
{
	if (use_answer(t, how, t->asked_ns))
		return true;
	t->waits = how->running && sw_signal_answer(&t->signal);
	return t->waits;
}

void sw_threads_collect(const struct sw_look *how)
{
	for (unsigned i = 0; i < count; i++) {
		struct sw_sampled *t = &threads[i];

		if (!t->pending)
			continue;
		t->pending = !has_answered(t, how) && will_answer(t, how);
		if (t->pending || t->sure || t->waits)
			continue;
		sw_signal_cancel(&t->signal);
		if (!read_beside(t, how))
			miss(t, how);
	}
}

const struct sw_sampled *sw_threads_of(sw_ref entry, uint64_t start_ns, bool *ret_certain)
{
	const struct sw_sampled *found = NULL;

	*ret_certain = start_ns <= whole_ns;
	for (unsigned i = 0; i < count; i++) {
		*ret_certain &= threads[i].sure;
		if (threads[i].entry == entry && (!found || threads[i].ran))
			found = &threads[i];
	}
	return found;
}

struct sw_sampled *sw_threads_at(unsigned i)
{
	return i < count ? &threads[i] : NULL;
}

uint64_t sw_threads_moves(void)
{
	return moves;
}

unsigned sw_threads_beyond(void)
{
	return beyond;
}

uint64_t sw_threads_ours_ns(void)
{
	return ours_ns;
}
