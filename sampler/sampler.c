/*
 * The sampler: a thread of ours that is there while a profile is, and takes stacks: those of the
 * requests of SkyWalking's task, and those of the whole process (whole.c), each at its own period.
 *
 * Started by the first request of a task, on the program's thread, in shelter like the reporter; or
 * by the reporter's thread, for a profile of the whole process. It shares nothing with the hooks
 * but their slots (hooks/profile.h), and with the reporter only the rings (preload/profile.h). It
 * holds no lock, allocates nothing and reads the program's memory by the kernel's answers, so that
 * a fork may copy it anywhere; but it leaves before one, because threads are counted there, and
 * comes back with the next request, or when the reporter looks next.
 */
#include <pthread.h>
#include <sched.h>
#include <sys/prctl.h>

#include "hooks/profile.h"
#include "preload/config.h"
#include "preload/counters.h"
#include "preload/fds.h"
#include "preload/module.h"
#include "preload/ours.h"
#include "preload/process.h"
#include "preload/real.h"
#include "preload/sys.h"
#include "sampler/held.h"
#include "sampler/names.h"
#include "sampler/native/native.h"
#include "sampler/stacks.h"
#include "sampler/suspended.h"
#include "sampler/threads.h"
#include "sampler/whole.h"

#define STACK_BYTES (128u << 10)
#define LIST_NS 50000000ull
#define TAKE_NS 1000000ull
#define LEAVE_NS 500000000ull
#define REFUSED_NS 2000000000ull
#define AGAIN_NS 20000000ull
#define FORK_LEASE_NS 10000000000ull
#define SLACK_NS 1000 /* of the timer that a tick waits for; the kernel's own is 50 us */
#define TEXT_BYTES (SW_STACK_MAX * 512)
#define TEXT_MAX (SW_NAME_FUNCTION_MAX + SW_NAME_FILE_MAX + 24)
/* What stands for a request that no thread works for, and whose awaits are not known: without it
 * the time between two stacks would be counted for what they have in common. */
#define NOWHERE "(waiting on no thread)"
#define CUT "(more)"

enum sampler_state { SAMPLER_NONE, SAMPLER_THERE, SAMPLER_GONE };

static struct {
	_Atomic uint32_t state; /* enum sampler_state; a futex */
	_Atomic uint32_t leave; /* a futex */
	_Atomic int tid;
	_Atomic uint64_t refused_end_ns;
	_Atomic uint64_t fork_end_ns; /* the process forks: none is started before */
	pthread_t thread;
} sampler;

/* It has a descriptor table of its own: what it opens has no number in the program's, nor in that
 * of the thread that made it. */
static bool alone;

/* ---- one stack ---- */

static uint8_t texts[TEXT_BYTES];
static struct sw_stack shown;

static void add_text(struct sw_writer *w, struct sw_bytes text)
{
	uint16_t len = (uint16_t)text.len;

	sw_write(w, sw_bytes(&len, sizeof(len)));
	sw_write(w, text);
}

static void add_frame(struct sw_writer *w, const struct sw_stack_frame *frame)
{
	uint8_t text[TEXT_MAX];
	struct sw_writer one = sw_writer(text, sizeof(text));

	sw_names_write(&one, sw_names_of(frame));
	add_text(w, sw_written(&one));
}

/* Outermost first. Returns how many texts. */
static uint32_t write_stack(struct sw_writer *w, const struct sw_stack *stack)
{
	uint32_t depth = SW_MIN(stack->count, (uint32_t)sw_config.profile_depth);
	bool cut = stack->cut || depth < stack->count;

	if (cut)
		add_text(w, SW_BYTES(CUT));
	for (uint32_t i = depth; i-- > 0;)
		add_frame(w, &stack->at[i]);
	return depth + cut;
}

static const struct sw_stack *stack_of(const struct sw_sampled *thread)
{
	sw_stacks_of(thread, &shown);
	return &shown;
}

/* NULL: of a request that no thread works for. To decode names takes a while, in which the request
 * may end and its slot be another's. */
static void put_stack(struct sw_profile_slot *slot, sw_ref entry, const struct sw_stack *taken)
{
	struct sw_writer w = sw_writer(texts, sizeof(texts));
	struct sw_id segment = slot->segment;
	struct sw_profile_stack *stack;
	uint32_t task = slot->task;
	uint32_t count = 1;

	if (taken)
		count = write_stack(&w, taken);
	else
		add_text(&w, SW_BYTES(NOWHERE));
	if (atomic_load(&slot->state) != entry)
		return;
	stack = sw_profile_reserve((uint32_t)(sizeof(*stack) + w.len + 7) & ~7u);
	if (!stack) {
		sw_count(PROFILE_FULL);
		return;
	}
	stack->task = task;
	stack->segment = segment;
	stack->time_ms = (int64_t)(sw_clock_ns(CLOCK_REALTIME) / 1000000u);
	stack->sequence = slot->sequence++;
	stack->frames = count;
	memcpy(stack + 1, w.at, w.len);
	if (stack->sequence == 0)
		atomic_fetch_add(&sw_profile_sampled, 1);
	sw_profile_commit(stack);
}

/* ---- one tick ---- */

static bool is_due(struct sw_profile_slot *slot, const struct sw_profile_task *task,
		   uint64_t now_ns)
{
	uint64_t age_ns = now_ns - slot->start_ns;

	return slot->task == atomic_load(&sw_profile_current) && age_ns >= task->threshold_ns &&
	       age_ns < sw_config.profile_minutes * 60000000000ull;
}

/* By slot, in this tick. Whom a thread works for must be known of all requests that have a slot:
 * one that waits meanwhile is not looked at again when its request comes to be due. */
static struct {
	sw_ref entry; /* 0: none */
	bool due;
} now[SW_PROFILE_SLOTS];

/* As it is now, not as it was when the look began, which may take a while: a thread that begins a
 * request meanwhile, and waits, is not looked at again. */
static bool is_wanted(sw_ref entry)
{
	for (unsigned i = 0; entry && i < SW_PROFILE_SLOTS; i++) {
		if (atomic_load(&sw_profile_slots[i].state) == entry)
			return true;
	}
	return false;
}

/* False: none is due. */
static bool look_at_slots(const struct sw_profile_task *task, uint64_t now_ns)
{
	bool any = false;

	for (unsigned i = 0; i < SW_PROFILE_SLOTS; i++) {
		struct sw_profile_slot *slot = &sw_profile_slots[i];

		now[i].entry = sw_profile_over(slot) ? 0 : atomic_load(&slot->state);
		now[i].due = now[i].entry && is_due(slot, task, now_ns);
		any |= now[i].due;
	}
	return any;
}

/* The first stack of a request counts. */
static bool may_sample(const struct sw_profile_slot *slot, const struct sw_profile_task *task)
{
	return slot->sequence || atomic_load(&sw_profile_sampled) < task->samples_max;
}

static void sample(struct sw_profile_slot *slot, sw_ref entry, const struct sw_profile_task *task)
{
	const struct sw_stack *awaits;
	const struct sw_sampled *thread;
	bool certain;

	thread = sw_threads_of(entry, slot->start_ns, &certain);
	awaits = thread ? NULL : sw_suspended_of(entry, is_wanted);
	if ((!thread && !awaits && !certain) || atomic_load(&slot->state) != entry ||
	    sw_profile_over(slot) || !may_sample(slot, task))
		return;
	put_stack(slot, entry, thread ? stack_of(thread) : awaits);
}

static void tick(const struct sw_profile_task *task)
{
	static uint64_t list_ns;
	uint64_t now_ns = sw_clock_ns(CLOCK_MONOTONIC);

	if (!look_at_slots(task, now_ns))
		return;
	if (now_ns - list_ns >= LIST_NS) {
		list_ns = now_ns;
		if (!sw_threads_list(now_ns, atomic_load(&sw_profile_whole_current) && alone))
			return;
	}
	sw_threads_look(
		&(struct sw_look){is_wanted, sw_stacks_wanted(), &sampler.leave, .running = false});
	sw_stacks_refresh();
	for (unsigned i = 0; i < SW_PROFILE_SLOTS; i++) {
		if (now[i].due)
			sample(&sw_profile_slots[i], now[i].entry, task);
	}
}

/* ---- the thread ---- */

static uint32_t random_number(void)
{
	static uint32_t x = 0x9e3779b9u;

	x ^= x << 13;
	x ^= x >> 17;
	x ^= x << 5;
	return x;
}

/* One of the two profiles, as the thread sees it. */
struct course {
	uint32_t number;  /* 0: none */
	uint64_t grid_ns; /* when the next tick would be without jitter */
	uint64_t next_ns; /* and when it is */
	uint64_t tick_ns; /* its period */
	uint64_t late;	  /* ticks that were left out before it */
};

static void start_course(struct course *c, uint32_t number, uint64_t tick_ns)
{
	c->number = number;
	c->tick_ns = tick_ns;
	c->late = 0;
	c->grid_ns = c->next_ns = sw_clock_ns(CLOCK_MONOTONIC);
}

/* Late: what was missed is missed. Jitter, or a program with a period of its own would be met at
 * the same place of it each time. */
static void advance(struct course *c, bool jitter)
{
	uint64_t now_ns = sw_clock_ns(CLOCK_MONOTONIC);

	c->grid_ns += c->tick_ns;
	c->late = now_ns > c->grid_ns ? (now_ns - c->grid_ns) / c->tick_ns : 0;
	c->grid_ns += c->late * c->tick_ns;
	c->next_ns = c->grid_ns;
	if (jitter)
		c->next_ns += random_number() % (c->tick_ns / 4 + 1);
}

static void follow_task(struct course *c)
{
	uint32_t number = atomic_load(&sw_profile_current);

	if (number && number != c->number)
		start_course(c, number, sw_profile_task(number)->period_ns);
	c->number = number;
}

static void follow_whole(struct course *c)
{
	uint32_t number = atomic_load(&sw_profile_whole_current);

	if (c->number && number != c->number)
		sw_whole_end(true);
	if (number && number != c->number) {
		start_course(c, number, sw_profile_whole()->period_ns);
		if (!sw_whole_begin(number))
			number = 0;
	}
	c->number = number;
}

static uint64_t take_ticks(struct course *task, struct course *whole)
{
	uint64_t now_ns = sw_clock_ns(CLOCK_MONOTONIC), next_ns = UINT64_MAX;

	if (task->number && now_ns >= task->next_ns) {
		tick(sw_profile_task(task->number));
		advance(task, false);
	}
	if (whole->number && now_ns >= whole->next_ns) {
		sw_whole_tick(now_ns, whole->late, alone, &sampler.leave);
		advance(whole, true);
	}
	if (task->number)
		next_ns = task->next_ns;
	return whole->number ? SW_MIN(next_ns, whole->next_ns) : next_ns;
}

static void run(void)
{
	struct course task = {0}, whole = {0};
	uint64_t next_ns, now_ns;

	/* Once main has ended by pthread_exit we must not be the last thread, nor keep it from
	 * being the last. */
	while (!atomic_load(&sampler.leave) && !atomic_load(&sw_process_main_left)) {
		follow_task(&task);
		follow_whole(&whole);
		if (!task.number && !whole.number)
			break;
		next_ns = take_ticks(&task, &whole);
		now_ns = sw_clock_ns(CLOCK_MONOTONIC);
		if (next_ns > now_ns)
			sw_sys_futex_wait(&sampler.leave, 0, next_ns - now_ns);
	}
	if (whole.number)
		sw_whole_end(false);
}

/* The reporter's thread may have it, for tens of ms at most (held.h). False: it is time to leave.
 */
static bool take_native(void)
{
	while (!sw_native_take(NULL)) {
		if (atomic_load(&sampler.leave))
			return false;
		sw_sys_futex_wait(&sampler.leave, 0, TAKE_NS);
	}
	return true;
}

static void work(void)
{
	sw_signal_begin(alone);
	sw_stacks_begin(alone);
	run();
	sw_threads_clear();
	sw_signal_end();
	if (!atomic_load(&sw_profile_whole_current)) /* else it goes on, and with its numbers */
		sw_names_clear();
	sw_stacks_clear();
	sw_suspended_clear();
}

static void *sampler_main(void *arg)
{
	(void)arg;
	sw_ours_fresh_stack();
	sw_guest_mark_ours();
	atomic_store(&sampler.tid, (int)sw_sys(gettid));
	prctl(PR_SET_NAME, "swagent-profile");
	prctl(PR_SET_TIMERSLACK, SLACK_NS);
	alone = sw_fd_part();
	if (take_native()) {
		work();
		sw_native_give();
	}
	atomic_store(&sw_profile_threads, 0);
	atomic_store(&sampler.state, SAMPLER_GONE);
	sw_sys_futex_wake(&sampler.state);
	return NULL;
}

/* In shelter. Not real-time, whoever makes it. */
static bool create(void)
{
	pthread_attr_t attr;
	int error;

	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, STACK_BYTES + sw_ours_thread_room(&attr));
	pthread_attr_setschedpolicy(&attr, SCHED_OTHER);
	pthread_attr_setinheritsched(&attr, PTHREAD_EXPLICIT_SCHED);
	error = sw_real.pthread_create(&sampler.thread, &attr, sampler_main, NULL);
	pthread_attr_destroy(&attr);
	return error == 0;
}

/* Takes the right to start one: none is there, or one has gone and is joined first. */
static bool take_start(void)
{
	uint32_t state = atomic_load(&sampler.state);

	if (state == SAMPLER_THERE ||
	    !atomic_compare_exchange_strong(&sampler.state, &state, SAMPLER_THERE))
		return false;
	if (state == SAMPLER_GONE)
		pthread_join(sampler.thread, NULL);
	return true;
}

static void start_sheltered(void)
{
	if (!take_start())
		return;
	atomic_store(&sampler.leave, 0);
	atomic_store(&sw_profile_threads, 1);
	if (create())
		return;
	atomic_store(&sw_profile_threads, 0);
	atomic_store(&sampler.refused_end_ns, sw_clock_ns(CLOCK_MONOTONIC) + REFUSED_NS);
	atomic_store(&sampler.state, SAMPLER_NONE);
}

static bool may_start(uint64_t now_ns)
{
	return atomic_load(&sampler.state) != SAMPLER_THERE &&
	       !atomic_load(&sw_process_main_left) &&
	       now_ns >= atomic_load(&sampler.refused_end_ns) &&
	       now_ns >= atomic_load(&sampler.fork_end_ns);
}

/* Only where the slot of a request was taken just now: outside the guest. */
static void sampler_left(struct sw_guest *g)
{
	struct sw_shelter shelter;

	(void)g;
	if (!atomic_load(&sw_profile_current) || !may_start(sw_clock_ns(CLOCK_MONOTONIC)) ||
	    !sw_frames_ready() || sw_guest_doubtful())
		return;
	sw_shelter_enter(&shelter);
	start_sheltered();
	sw_shelter_leave(&shelter);
}

/* The reporter's thread: a profile of the whole process needs us from its first moment on, and
 * again after a fork. */
static uint64_t sampler_watch(uint64_t now_ns)
{
	if (!atomic_load(&sw_profile_whole_current))
		return 0;
	if (may_start(now_ns))
		start_sheltered();
	return now_ns + AGAIN_NS;
}

/* ---- ends ---- */

static void ask_to_leave(void)
{
	atomic_store(&sampler.leave, 1);
	sw_sys_futex_wake(&sampler.leave);
	sw_shots_look_up();
}

static void make_leave(void)
{
	uint64_t end_ns = sw_clock_ns(CLOCK_MONOTONIC) + LEAVE_NS;
	struct sw_shelter shelter;

	ask_to_leave();
	while (atomic_load(&sampler.state) == SAMPLER_THERE &&
	       sw_clock_ns(CLOCK_MONOTONIC) < end_ns)
		sw_sys_futex_wait(&sampler.state, SAMPLER_THERE, 1000000u);
	sw_shelter_enter(&shelter);
	if (atomic_load(&sampler.state) == SAMPLER_GONE && take_start()) {
		atomic_store(&sw_profile_threads, 0);
		sw_ours_wait_unlisted(atomic_load(&sampler.tid), end_ns);
		atomic_store(&sampler.state, SAMPLER_NONE);
	}
	sw_shelter_leave(&shelter);
}

static void sampler_fork_prepare(enum sw_forking how)
{
	(void)how;
	atomic_store(&sampler.fork_end_ns, sw_clock_ns(CLOCK_MONOTONIC) + FORK_LEASE_NS);
	if (atomic_load(&sampler.state) != SAMPLER_NONE)
		make_leave();
}

static void sampler_fork_parent(void)
{
	atomic_store(&sampler.fork_end_ns, 0);
}

static void sampler_fork_child(void)
{
	memset(&sampler, 0, sizeof(sampler));
	memset(sw_profile_slots, 0, sizeof(sw_profile_slots));
	sw_profile_forked();
	sw_threads_forked();
	sw_names_clear();
	sw_stacks_forked();
	sw_suspended_clear();
}

static void sampler_flush(enum sw_leaving why, uint64_t budget_ns)
{
	(void)budget_ns;
	if (atomic_load(&sampler.state) != SAMPLER_THERE)
		return;
	if (why == SW_LEAVING_EXEC)
		sw_shots_hold();
	else
		ask_to_leave();
}

const struct sw_module sw_module_sampler = {
	.name = "sampler",
	.left = sampler_left,
	.watch = sampler_watch,
	.work = sw_held_look,
	.main_left = ask_to_leave,
	.flush = sampler_flush,
	.fork_prepare = sampler_fork_prepare,
	.fork_parent = sampler_fork_parent,
	.fork_child = sampler_fork_child,
};
