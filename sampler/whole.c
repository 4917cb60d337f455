/*
 * Profiles of the whole process; see whole.h.
 *
 * What is weighed is time that passed since the thread was looked at last: of a processor (cpu),
 * all of it (wall), or the rest (off-cpu). It is put down to the stack that the thread has now; but
 * by cpu to the next one that it has while it runs, because where a thread waits now it has not
 * used what it used before. A thread that stands still costs a look at its clock: its stack is
 * held, its time added to it, and both are put into the ring when it moves, or four times a second.
 *
 * What cannot be read is not guessed: its time is in no sample, and counted.
 */
#include "sampler/whole.h"

#include "hooks/trace.h"
#include "preload/proc.h"
#include "preload/profile.h"
#include "preload/sys.h"
#include "sampler/names.h"
#include "sampler/stacks.h"
#include "sampler/threads.h"
#include "sampler/waits.h"

#define LIST_NS 50000000ull
#define NAMES_NS 1000000000ull
#define HOLD_NS 250000000ull
#define LATER_NS 10000000ull
#define COMM_MAX 16
#define SPREAD 64 /* stacks */
#define REST 8	  /* so many times what a stack stands for may be kept */
#define NO_FRAMES "(no Python frames)"
#define CUT "(more)"
#define SEVERAL "there are, or were, several interpreters"
/* It did not run for a while, and does now: where and why it waited, nobody can tell. */
static const char brief[] = "[waits shorter than a tick]";

/* A thread, as it was looked at last. */
struct held {
	int tid;       /* 0: free */
	uint64_t seen; /* the tick */
	uint64_t used_ns, at_ns;
	const void *state; /* CPython's: it may come to be known of one that sleeps */
	bool has_stack;
	const char *wait; /* of off-cpu: what it stands in */
	struct sw_id segment;
	uint64_t due_ns; /* what is weighed for the stack that it was asked for, and in how many
			    looks */
	uint32_t due;
	/* Of cpu: what stacks before this one have left of their time, what they came after on the
	 * average, how many there were, at most SPREAD, and when the last was taken. */
	uint64_t rest_ns, mean_ns, answered_ns;
	uint32_t answers;
	uint64_t weight_ns, since_ns;
	uint32_t count; /* stacks that are added up */
	uint32_t frames;
	uint32_t frame[SW_STACK_MAX]; /* numbers, outermost first */
	char name[COMM_MAX];
};

static struct held *held; /* Owned, for ever; SW_THREADS_MAX of them */
static uint32_t high;	  /* those from here on are free */
static struct sw_stack stack;
static uint64_t ticks, list_ns, names_ns;
static bool first;	 /* tick since we came: who is there has been there before */
static bool several;	 /* interpreters of Python's, in this profile */
static uint64_t away_ns; /* since when the sampler is not there */
static uint32_t then;	 /* threads that there were */
static uint64_t own_ns;	 /* of a processor, that we have used and counted */
static uint32_t current;

/* What the process has used of a processor, from some moment on, and what of that was seen to be
 * used by a thread; the rest is of threads that lived between two looks. */
static struct {
	bool begun;
	uint64_t process_ns, ours_ns; /* at that moment; and ours at the last listing */
	uint64_t seen_ns;
	uint64_t unseen_ns; /* was told so far */
	uint64_t looks;	    /* as so many that were missed */
} processor;

static enum sw_profile_mode mode(void)
{
	return sw_profile_whole()->mode;
}

static void count(_Atomic uint64_t *number, uint64_t n)
{
	atomic_store_explicit(number, atomic_load_explicit(number, memory_order_relaxed) + n,
			      memory_order_relaxed);
}

/* ---- into the ring ---- */

static uint32_t rounded(size_t size)
{
	return (uint32_t)(size + 7) & ~7u;
}

/* Tells what its number means, once. False: no room. */
static bool tell_frame(struct sw_name *name)
{
	size_t size = sizeof(struct sw_profiled_frame) + name->function.len + name->file.len;
	struct sw_profiled_frame *record;
	struct sw_writer w;

	if (name->told)
		return true;
	record = (struct sw_profiled_frame *)sw_profiled_reserve(rounded(size), SW_PROFILED_FRAME);
	if (!record)
		return false;
	record->id = name->id;
	record->kind = name->kind;
	record->line = name->line;
	record->offset = name->offset;
	record->function_len = (uint16_t)name->function.len;
	record->file_len = (uint16_t)name->file.len;
	w = sw_writer(record + 1, name->function.len + name->file.len);
	sw_write(&w, name->function);
	sw_write(&w, name->file);
	sw_profiled_commit(&record->head);
	name->told = 1;
	return true;
}

/* False: no room. */
static bool add_frame(struct held *h, const struct sw_stack_frame *frame)
{
	struct sw_name *name = sw_names_of(frame);

	if (!name->id || !tell_frame(name))
		return false;
	h->frame[h->frames++] = name->id;
	return true;
}

static bool put_sample(const struct held *h)
{
	size_t size = sizeof(struct sw_profiled_sample) + h->frames * sizeof(h->frame[0]);
	struct sw_profiled_sample *record =
		(struct sw_profiled_sample *)sw_profiled_reserve(rounded(size), SW_PROFILED_SAMPLE);

	if (!record)
		return false;
	record->tid = h->tid;
	record->span = 0;
	record->segment = h->segment;
	record->at_ns = h->at_ns - sw_profile_whole()->start_ns;
	record->weight_ns = h->weight_ns;
	record->count = h->count;
	record->frames = h->frames;
	memcpy(record + 1, h->frame, h->frames * sizeof(h->frame[0]));
	sw_profiled_commit(&record->head);
	return true;
}

static void flush(struct held *h)
{
	if (!h->count)
		return;
	if (put_sample(h)) {
		count(&sw_profile_counts.taken, h->count);
	} else {
		count(&sw_profile_counts.lost, h->count);
		count(&sw_profile_counts.missed_ns, h->weight_ns);
	}
	h->count = 0;
	h->weight_ns = 0;
}

/* ---- names of threads ---- */

static size_t read_name(int tid, char *ret_name)
{
	long len = sw_proc_read_task(tid, "comm", ret_name, COMM_MAX);

	if (len > 0 && ret_name[len - 1] == '\n')
		len--;
	return len > 0 ? (size_t)len : 0;
}

/* When it is new, and now and then. */
static void tell_name(struct held *h)
{
	char name[COMM_MAX] = {0};
	size_t len = read_name(h->tid, name);
	struct sw_profiled_thread *record;

	if (!len || memcmp(name, h->name, sizeof(name)) == 0)
		return;
	record = (struct sw_profiled_thread *)sw_profiled_reserve(rounded(sizeof(*record) + len),
								  SW_PROFILED_THREAD);
	if (!record)
		return; /* the next time */
	record->tid = h->tid;
	record->name_len = (uint32_t)len;
	memcpy(record + 1, name, len);
	sw_profiled_commit(&record->head);
	memcpy(h->name, name, sizeof(name));
}

/* ---- one thread ---- */

static void add_note(const char *note)
{
	if (stack.count < SW_STACK_MAX)
		stack.at[stack.count++] = (struct sw_stack_frame){SW_STACK_NOTE, .note = note};
}

/* Innermost first. */
static void build_stack(const struct sw_sampled *t, const char *wait)
{
	stack.count = 0;
	stack.cut = false;
	if (wait != brief)
		sw_stacks_of(t, &stack);
	if (!stack.count && wait != brief)
		add_note(NO_FRAMES);
	if (!wait)
		return;
	stack.count = SW_MIN(stack.count, SW_STACK_MAX - 1);
	memmove(&stack.at[1], &stack.at[0], stack.count * sizeof(stack.at[0]));
	stack.at[0] = (struct sw_stack_frame){SW_STACK_NOTE, .note = wait};
	stack.count++;
}

/* False: a frame could not be told; nothing of it is used. */
static bool hold_stack(struct held *h)
{
	static const struct sw_stack_frame more = {SW_STACK_NOTE, .note = CUT};
	uint32_t from = SW_MIN(stack.count, SW_STACK_MAX - 1);
	bool ok = true;

	h->frames = 0;
	if (stack.cut || from < stack.count)
		ok = add_frame(h, &more);
	for (uint32_t i = from; ok && i-- > 0;)
		ok = add_frame(h, &stack.at[i]);
	return ok;
}

/* What this look weighs; 0: nothing is due. */
static uint64_t weigh(uint64_t used_ns, uint64_t passed_ns)
{
	if (mode() == SW_PROFILE_CPU)
		return used_ns;
	if (mode() == SW_PROFILE_WALL)
		return passed_ns;
	return passed_ns > used_ns ? passed_ns - used_ns : 0;
}

static void miss(struct held *h)
{
	count(&sw_profile_counts.missed, h->due);
	count(&sw_profile_counts.missed_ns, h->due_ns);
	h->due = 0;
	h->due_ns = 0;
}

/*
 * What of the processor's time that a thread has used a stack stands for: all since its last one,
 * if it ran all the time. Of one that works in bursts, stacks from the beginnings of bursts come
 * soon after the last one, and those from the ends late; they stand for as much all the same. So it
 * is what the last SPREAD of them had come after, and what that leaves is kept for later ones.
 */
static uint64_t spread(struct held *h)
{
	uint64_t all_ns = h->rest_ns + h->due_ns, passed_ns = h->at_ns - h->answered_ns;
	bool ran = h->due_ns >= passed_ns - passed_ns / 8;
	uint64_t now_ns = ran || !h->answers ? h->due_ns : h->mean_ns;

	if (all_ns > now_ns * REST)
		now_ns += (all_ns - now_ns * REST) / SPREAD;
	now_ns = SW_MIN(now_ns, all_ns);
	h->answers = SW_MIN(h->answers + 1, SPREAD);
	h->mean_ns = (h->mean_ns * (h->answers - 1) + h->due_ns) / h->answers;
	h->rest_ns = all_ns - now_ns;
	h->answered_ns = h->at_ns;
	return now_ns;
}

/* There comes no other one: to the last, if there is one. */
static void put_rest(struct held *h)
{
	if (!h->rest_ns)
		return;
	h->weight_ns = h->rest_ns;
	h->rest_ns = 0;
	if (!put_sample(h))
		count(&sw_profile_counts.missed_ns, h->weight_ns);
	h->weight_ns = 0;
}

/* The thread has run, or is new: another stack, perhaps. */
static void take(struct held *h, const struct sw_sampled *t, bool proc)
{
	if (t->waits && mode() == SW_PROFILE_CPU)
		return;
	flush(h);
	h->has_stack = t->known;
	h->since_ns = h->at_ns;
	h->wait = NULL;
	if (mode() == SW_PROFILE_OFF_CPU)
		h->wait = t->known && proc ? sw_waits_of(t->tid, brief) : brief;
	if (!t->sure) {
		h->has_stack = false;
		miss(h);
		return;
	}
	h->segment = (struct sw_id){0, 0};
	if (t->entry)
		sw_trace_segment(t->entry, &h->segment);
	build_stack(t, h->wait);
	h->weight_ns = mode() == SW_PROFILE_CPU ? spread(h) : h->due_ns;
	h->count = h->due;
	count(&sw_profile_counts.shared, h->due - 1);
	h->due_ns = 0;
	h->due = 0;
	if (!hold_stack(h)) {
		count(&sw_profile_counts.lost, h->count);
		count(&sw_profile_counts.missed_ns, h->weight_ns + h->rest_ns);
		h->rest_ns = 0;
		h->count = 0;
		h->has_stack = false;
	} else if (!h->has_stack || mode() == SW_PROFILE_CPU) {
		flush(h);
	}
}

static void look_at(struct held *h, const struct sw_sampled *t, uint64_t now_ns, uint64_t late,
		    bool proc)
{
	uint64_t used_ns = t->used_ns - h->used_ns, weight_ns;
	bool moved = used_ns || !h->has_stack || h->state != t->state;

	weight_ns = weigh(used_ns, now_ns - h->at_ns);
	processor.seen_ns += used_ns;
	h->used_ns = t->used_ns;
	h->at_ns = now_ns;
	h->seen = ticks;
	h->state = t->state;
	if (used_ns)
		h->has_stack = false;
	if (!weight_ns)
		return;
	count(&sw_profile_counts.due, 1 + late);
	count(&sw_profile_counts.missed, late);
	if (moved) {
		h->due_ns += weight_ns;
		h->due++;
		if (!t->pending)
			take(h, t, proc);
		return;
	}
	h->weight_ns += weight_ns;
	h->count++;
	if (now_ns - h->since_ns >= HOLD_NS) {
		flush(h);
		h->since_ns = now_ns;
	}
}

/* ---- all of them ---- */

/* A new one: what it has used before we came is not ours to weigh. */
static struct held *hold(struct sw_sampled *t, uint64_t now_ns)
{
	for (uint32_t i = 0; i < SW_THREADS_MAX; i++) {
		struct held *h = &held[i];

		if (h->tid)
			continue;
		t->held = i + 1;
		high = SW_MAX(high, i + 1);
		memset(h, 0, offsetof(struct held, frame));
		memset(h->name, 0, sizeof(h->name));
		h->tid = t->tid;
		h->used_ns = first ? t->used_ns : 0;
		h->at_ns = now_ns;
		h->seen = ticks;
		return h;
	}
	return NULL;
}

/* NULL: there is no room, or it was there before we came, and is weighed from now on. */
static struct held *meet(struct sw_sampled *t, uint64_t now_ns, bool proc)
{
	struct held *h = hold(t, now_ns);

	if (h && proc)
		tell_name(h);
	return first ? NULL : h;
}

static struct held *held_of(struct sw_sampled *t)
{
	struct held *h = t->held ? &held[t->held - 1] : NULL;

	return h && h->tid == t->tid && h->used_ns <= t->used_ns ? h : NULL;
}

static void end(struct held *h)
{
	flush(h);
	put_rest(h);
	miss(h);
}

/* Those that have gone. */
static void sweep(void)
{
	for (uint32_t i = 0; i < high; i++) {
		if (held[i].tid && held[i].seen != ticks) {
			end(&held[i]);
			held[i].tid = 0;
		}
	}
	while (high && !held[high - 1].tid)
		high--;
}

static bool any(sw_ref entry)
{
	(void)entry;
	return true;
}

/* Threads may be given another one. */
static void tell_names_again(uint64_t now_ns)
{
	if (now_ns - names_ns < NAMES_NS)
		return;
	names_ns = now_ns;
	for (uint32_t i = 0; i < high; i++) {
		if (held[i].tid)
			tell_name(&held[i]);
	}
}

/* While the sampler was away, because the program forked, nothing was taken that was due. */
static void count_away(void)
{
	uint64_t gone_ns = sw_clock_ns(CLOCK_MONOTONIC) - away_ns;
	uint64_t looks = gone_ns / sw_profile_whole()->period_ns * then;

	count(&sw_profile_counts.due, looks);
	count(&sw_profile_counts.missed, looks);
}

/* process_ns: before this look, so that it is no more than what was seen and what was not. */
static void count_unseen(uint64_t process_ns)
{
	uint64_t ours_ns = sw_threads_ours_ns(), others_ns, looks;

	if (!processor.begun) {
		processor.begun = true;
		processor.process_ns = sw_clock_ns(CLOCK_PROCESS_CPUTIME_ID) - ours_ns;
		processor.ours_ns = ours_ns;
		return;
	}
	if (ours_ns < processor.ours_ns) /* one of ours has gone */
		processor.process_ns += processor.ours_ns - ours_ns;
	processor.ours_ns = ours_ns;
	others_ns = ours_ns + processor.process_ns + processor.seen_ns + processor.unseen_ns;
	if (process_ns <= others_ns)
		return;
	processor.unseen_ns += process_ns - others_ns;
	count(&sw_profile_counts.missed_ns, process_ns - others_ns);
	looks = processor.unseen_ns / sw_profile_whole()->period_ns - processor.looks;
	processor.looks += looks;
	count(&sw_profile_counts.due, looks);
	count(&sw_profile_counts.missed, looks);
}

bool sw_whole_begin(uint32_t number)
{
	if (!held)
		held = sw_sys_map(SW_THREADS_MAX * sizeof(*held));
	if (!held)
		return false;
	for (uint32_t i = 0; i < high; i++)
		held[i].tid = 0;
	high = 0;
	if (number == current)
		count_away();
	else
		sw_names_clear();
	several &= number == current;
	current = number;
	own_ns = sw_clock_ns(CLOCK_THREAD_CPUTIME_ID);
	first = true;
	list_ns = names_ns = 0;
	memset(&processor, 0, sizeof(processor));
	return true;
}

static void tell_why_not(void)
{
	if (sw_frames_several())
		several = true;
	atomic_store(&sw_profile_why_not, several ? SEVERAL : sw_frames_why_not());
}

static void count_used(void)
{
	uint64_t used_ns = sw_clock_ns(CLOCK_THREAD_CPUTIME_ID);

	count(&sw_profile_counts.used_ns, used_ns - own_ns);
	own_ns = used_ns;
}

/* What was asked for in the look before. */
static void collect(const struct sw_look *how, bool proc)
{
	struct sw_sampled *t;
	struct held *h;

	sw_threads_collect(how);
	for (unsigned i = 0; (t = sw_threads_at(i)); i++) {
		h = held_of(t);
		if (h && h->due && !t->pending)
			take(h, t, proc);
	}
}

/* Where looks come often, answers of one are taken in the next; see threads.h. */
static void look(const struct sw_look *how, bool proc)
{
	if (!how->running && sw_profile_whole()->period_ns > LATER_NS) {
		sw_threads_look(how);
		return;
	}
	collect(how, proc);
	sw_threads_ask(how);
}

static struct sw_look how_to_look(const _Atomic uint32_t *leave)
{
	return (struct sw_look){any, sw_stacks_wanted(), leave, mode() == SW_PROFILE_CPU};
}

void sw_whole_tick(uint64_t now_ns, uint64_t late, bool proc, const _Atomic uint32_t *leave)
{
	bool listed = now_ns - list_ns >= LIST_NS;
	uint64_t process_ns = listed ? sw_clock_ns(CLOCK_PROCESS_CPUTIME_ID) : 0;
	struct sw_look how = how_to_look(leave);
	struct sw_sampled *t;
	struct held *h;

	ticks++;
	if (listed) {
		list_ns = now_ns;
		if (!sw_threads_list(now_ns, proc))
			return;
	}
	sw_stacks_refresh();
	look(&how, proc);
	now_ns = sw_clock_ns(CLOCK_MONOTONIC);
	for (unsigned i = 0; (t = sw_threads_at(i)); i++) {
		h = held_of(t);
		if (!h && !(h = meet(t, now_ns, proc)))
			continue;
		look_at(h, t, now_ns, late, proc);
	}
	count(&sw_profile_counts.due, sw_threads_beyond());
	count(&sw_profile_counts.missed, sw_threads_beyond());
	sweep();
	first = false;
	if (listed) {
		if (proc)
			tell_names_again(now_ns);
		if (proc && mode() == SW_PROFILE_CPU)
			count_unseen(process_ns);
		tell_why_not();
		count_used();
	}
}

void sw_whole_end(bool over)
{
	struct sw_look how = how_to_look(NULL);

	if (held)
		collect(&how, false);
	count_used();
	then = 0;
	away_ns = sw_clock_ns(CLOCK_MONOTONIC);
	for (uint32_t i = 0; i < high; i++) {
		if (!held[i].tid)
			continue;
		then++;
		end(&held[i]);
	}
	if (over)
		atomic_store(&sw_profile_whole_done, current);
}
