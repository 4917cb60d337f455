/*
 * The guard: one section at a time on a thread, and no section for ever.
 *
 * A hook's frame lies deeper than its caller's. These tests make such frames with functions that
 * are not inlined, and leave them as the program may: by return, by long jump, on another stack.
 */
#include "preload/guard.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdlib.h>

#include "preload/real.h"
#include "preload/sys.h"
#include "preload/tallies.h"
#include "tests/preload/stub_modules.h"

#define NOINLINE __attribute__((noinline))

struct sw_real sw_real; /* for sw_call; preload/real.c is not linked */

static void arm(void)
{
	atomic_store(&sw_armed, true);
}

TestSuite(guard, .init = arm);

/* As a hook does. */
static NOINLINE struct sw_guest *enter_deeper(void)
{
	struct sw_guest *g = sw_guest_enter();

	__asm__ volatile("" ::: "memory");
	return g;
}

Test(guard, enter_and_leave)
{
	struct sw_guest *g = sw_guest_enter();

	cr_assert_eq(g, &sw_guest_self);
	cr_assert_neq(g->frame, 0);
	sw_guest_leave(g);
	cr_assert_eq(g->frame, 0);
	cr_assert_eq(sw_guest_enter(), g);
	sw_guest_leave(g);
}

Test(guard, inside_is_closed_to_deeper_frames)
{
	struct sw_guest *g = sw_guest_enter();
	uintptr_t frame = g->frame;

	cr_assert_null(enter_deeper(), "a handler's call inside our section");
	cr_assert_null(enter_deeper());
	cr_assert_eq(g->frame, frame);
	sw_guest_leave(g);
	cr_assert_eq(enter_deeper(), g);
}

Test(guard, open_during_the_real_call)
{
	struct sw_guest *g = sw_guest_enter();
	struct sw_guest *inner;

	sw_guest_pause(g);
	inner = enter_deeper();
	cr_assert_eq(inner, g);
	sw_guest_leave(inner);
	sw_guest_resume(g);
	cr_assert_null(enter_deeper());
	sw_guest_leave(g);
}

Test(guard, disarmed_is_closed, .init = NULL)
{
	atomic_store(&sw_armed, false);
	cr_assert_null(sw_guest_enter());
	cr_assert_eq(sw_guest_self.frame, 0);
}

/* A frame that never left is below the next one that asks. */
Test(guard, a_frame_left_by_long_jump_is_taken_over)
{
	jmp_buf back;
	struct sw_guest *g;

	if (setjmp(back) == 0) {
		enter_deeper();
		longjmp(back, 1);
	}
	cr_assert_neq(sw_guest_self.frame, 0, "still stamped");
	g = sw_guest_enter();
	cr_assert_eq(g, &sw_guest_self);
	cr_assert_null(enter_deeper(), "and the new section is as closed as any");
	sw_guest_leave(g);
}

/* The same caller calls again, so its calls' frames lie where the one did that was left. No
 * handler's frame can: that of the interrupted section is still there. */
Test(guard, a_frame_left_by_long_jump_is_taken_over_by_the_next_call_of_its_caller)
{
	jmp_buf back;

	if (setjmp(back) == 0) {
		enter_deeper();
		longjmp(back, 1);
	}
	cr_assert_eq(enter_deeper(), &sw_guest_self);
	cr_assert_eq(sw_guest_self.refused, 0);
}

/* On another stack addresses say nothing: refused often, then taken over. */
Test(guard, another_stack_is_taken_over_late)
{
	struct sw_guest *g = sw_guest_enter();
	unsigned refused = 0;

	g->frame -= (uintptr_t)1 << 30;
	while (!enter_deeper() && refused < 100000)
		refused++;
	cr_assert_gt(refused, 64, "a handler may make a few calls");
	cr_assert_lt(refused, 10000, "but the thread is not blind for ever");
	cr_assert_eq(g->refused, 0, "the count begins again with each stamp");
	sw_guest_leave(g);
}

/* volatile: raise(3) is declared a leaf, which is not expected to run code of ours. */
static struct sw_guest *volatile seen_by_handler;

static void handler(int signal)
{
	(void)signal;
	seen_by_handler = sw_guest_enter();
}

static void raise_on_own_stack(void)
{
	static char memory[65536];
	stack_t stack = {.ss_sp = memory, .ss_size = sizeof(memory)};
	struct sigaction action = {.sa_handler = handler, .sa_flags = SA_ONSTACK};

	sigaltstack(&stack, NULL);
	sigaction(SIGUSR1, &action, NULL);
	raise(SIGUSR1);
}

Test(guard, a_handler_inside_is_refused)
{
	struct sw_guest *g = sw_guest_enter();
	struct sigaction action = {.sa_handler = handler};

	sigaction(SIGUSR1, &action, NULL);
	seen_by_handler = g;
	raise(SIGUSR1);
	cr_assert_null(seen_by_handler);
	seen_by_handler = g;
	raise_on_own_stack();
	cr_assert_null(seen_by_handler, "also on its own stack");
	sw_guest_leave(g);
	raise(SIGUSR1);
	cr_assert_eq(seen_by_handler, g, "outside it is a call like any other");
}

Test(guard, ours_are_never_observed)
{
	cr_assert_not(sw_guest_hidden());
	sw_guest_mark_ours();
	cr_assert_null(sw_guest_enter());
	cr_assert(sw_guest_hidden());
}

Test(guard, a_vfork_child_writes_nothing)
{
	struct sw_guest before = sw_guest_self;

	sw_guest_vfork = 1;
	cr_assert_null(sw_guest_enter());
	cr_assert(sw_guest_hidden());
	cr_assert_eq(memcmp(&before, &sw_guest_self, sizeof(before)), 0);
	sw_guest_vfork = 0;
	cr_assert_not_null(sw_guest_enter());
}

static _Atomic uint64_t mark;

static void set_mark(void)
{
	atomic_store(&mark, 1);
}

/* A child made by raw clone: no handler ran, its mark was wiped. */
Test(guard, a_child_is_noticed)
{
	struct sw_guest *g;

	atomic_store(&sw_process_mark, &mark);
	on_forked = set_mark;
	g = sw_guest_enter();
	cr_assert_eq(modules_forked, 1);
	cr_assert_not_null(g);
	sw_guest_leave(g);
	cr_assert_not_null(sw_guest_enter());
	cr_assert_eq(modules_forked, 1, "once");
}

static bool kicked_outside;

static void look_at_frame(void)
{
	kicked_outside = sw_guest_self.frame == 0 && !sw_guest_self.kick;
}

Test(guard, the_kick_comes_after_leaving)
{
	struct sw_guest *g = sw_guest_enter();

	on_kick = look_at_frame;
	sw_guest_pause(g);
	sw_guest_resume(g);
	g->kick = true;
	cr_assert_eq(modules_kicked, 0);
	sw_guest_leave(g);
	cr_assert_eq(modules_kicked, 1);
	cr_assert(kicked_outside, "its own calls are outside, and it is asked for once");
	g = sw_guest_enter();
	sw_guest_leave(g);
	cr_assert_eq(modules_kicked, 1);
}

static bool open_in_real_call;

static int real_shutdown(int fd, int how)
{
	struct sw_guest *inner = sw_guest_enter();

	open_in_real_call = inner != NULL;
	if (inner)
		sw_guest_leave(inner);
	errno = fd + how;
	return -1;
}

Test(guard, call_makes_the_real_call_outside)
{
	struct sw_guest *g = sw_guest_enter();
	int result;

	sw_real.shutdown = real_shutdown;
	errno = 0;
	result = sw_call(g, shutdown, 40, 2);
	cr_assert_eq(result, -1);
	cr_assert_eq(errno, 42, "its errno stays");
	cr_assert(open_in_real_call);
	cr_assert_null(enter_deeper(), "inside again");
	sw_guest_leave(g);
}

/* What another thread found. */
struct found {
	bool entered, entered_as_ours;
	int tid;
};

static void *other_thread(void *arg)
{
	struct sw_guest *g = sw_guest_enter();
	struct found *found = arg;

	found->entered = g != NULL;
	if (!g)
		return NULL;
	found->tid = sw_guest_tid(g);
	sw_guest_leave(g);
	sw_guest_mark_ours();
	found->entered_as_ours = sw_guest_enter() != NULL;
	return NULL;
}

Test(guard, threads_are_apart)
{
	struct sw_guest *g = sw_guest_enter();
	struct found found = {false, true, 0};
	pthread_t thread;

	cr_assert_eq(pthread_create(&thread, NULL, other_thread, &found), 0);
	pthread_join(thread, NULL);
	cr_assert(found.entered);
	cr_assert_not(found.entered_as_ours);
	cr_assert_eq(sw_guest_tid(g), (int)sw_sys(gettid));
	cr_assert_eq(sw_guest_tid(g), g->tid);
	cr_assert_neq(found.tid, g->tid);
	cr_assert_not(sw_guest_hidden(), "the mark is the other thread's");
	sw_guest_leave(g);
}

/* ---- shelters ---- */

struct cancelled {
	pthread_barrier_t inside, called;
	bool cleaned, blocked;
};

static void clean(void *arg)
{
	struct cancelled *c = arg;
	sigset_t mask;

	pthread_sigmask(SIG_BLOCK, NULL, &mask);
	c->cleaned = true;
	c->blocked = sigismember(&mask, SIGUSR1);
}

static void *cancelled_in_shelter(void *arg)
{
	struct cancelled *c = arg;
	struct sw_shelter shelter;
	int type;

	pthread_setcanceltype(PTHREAD_CANCEL_ASYNCHRONOUS, &type);
	pthread_cleanup_push(clean, c);
	sw_shelter_enter(&shelter);
	pthread_barrier_wait(&c->inside);
	pthread_barrier_wait(&c->called);
	sw_shelter_leave(&shelter);
	pthread_cleanup_pop(0);
	return NULL;
}

/* One that may be cancelled at any moment ends where the shelter does, as one that was cancelled.
 */
Test(guard, cancelled_in_shelter)
{
	struct cancelled c = {0};
	pthread_t thread;
	void *result;

	pthread_barrier_init(&c.inside, NULL, 2);
	pthread_barrier_init(&c.called, NULL, 2);
	pthread_create(&thread, NULL, cancelled_in_shelter, &c);
	pthread_barrier_wait(&c.inside);
	pthread_cancel(thread);
	pthread_barrier_wait(&c.called);
	pthread_join(thread, &result);
	cr_assert_eq(result, PTHREAD_CANCELED);
	cr_assert(c.cleaned && !c.blocked);
}

/* ---- what our sections take ---- */

static uint64_t spent_ns(void)
{
	return sw_clock_ns(CLOCK_THREAD_CPUTIME_ID);
}

static void burn(uint64_t ns)
{
	uint64_t begin = spent_ns();

	while (spent_ns() - begin < ns)
		;
}

/* What sections took that were timed, by clocks within and around each: however long this thread
 * was held up in one, what is told of it lies between. */
struct bounds {
	unsigned sections;
	uint64_t least, most;
};

/* Two parts of 5 us, and between them a real call of 20. */
static void one_section(struct bounds *bounds)
{
	uint64_t entering = spent_ns(), entered, pausing, paused, resuming, resumed, leaving;
	struct sw_guest *g = sw_guest_enter();
	bool timed = g->timed;
	uint64_t clocks = 2 * g->clock_ns;

	entered = spent_ns();
	burn(5000);
	pausing = spent_ns();
	sw_guest_pause(g);
	paused = spent_ns();
	if (timed)
		burn(20000);
	resuming = spent_ns();
	sw_guest_resume(g);
	resumed = spent_ns();
	burn(5000);
	leaving = spent_ns();
	sw_guest_leave(g);
	if (!timed)
		return;
	bounds->sections++;
	bounds->least += SW_MAX(pausing - entered + leaving - resumed, clocks) - clocks;
	bounds->most += paused - entering + spent_ns() - resuming;
}

Test(guard, time_in_our_sections_is_told_from_some)
{
	struct bounds bounds = {0};
	uint64_t told;

	for (int i = 0; i < 30 * SW_GUEST_TIMED_EACH; i++)
		one_section(&bounds);
	told = sw_tally_read(SW_TALLY_HOOK_NS) / SW_GUEST_TIMED_EACH;
	cr_assert(bounds.sections > 20 && bounds.sections < 40, "%u timed", bounds.sections);
	cr_assert_geq(told, bounds.least);
	cr_assert_leq(told, bounds.most);
}

/* Half a section that was jumped out of is not counted on with what follows. */
Test(guard, a_section_that_was_left_is_not_timed_on)
{
	volatile unsigned timed = 0;

	for (volatile int i = 0; i < 20 * SW_GUEST_TIMED_EACH; i++) {
		jmp_buf back;

		if (setjmp(back) == 0) {
			timed += enter_deeper()->timed;
			longjmp(back, 1);
		}
		burn(1000);
		sw_guest_leave(enter_deeper());
	}
	cr_assert(timed > 10 && timed < 30, "%u timed", timed);
	cr_assert_eq(sw_tally_read(SW_TALLY_HOOK_NS), 0);
}
