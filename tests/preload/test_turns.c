/* Turns of loops: what is counted, who has one, and what becomes of those whose thread is gone. */
#include "preload/turns.h"

#include <criterion/criterion.h>
#include <pthread.h>
#include <unistd.h>

#include "preload/config.h"
#include "preload/counters.h"
#include "preload/module.h"

extern const struct sw_module sw_module_turns;

static void start(void)
{
	cr_assert(sw_module_turns.start());
	for (int i = 0; i < 1000 && !sw_ticks_known(); i++)
		usleep(100);
	/* A tick is a nanosecond: the tests say how long a turn was. */
	atomic_store(&sw_ticks_scale, 1ull << 32);
}

/* As if it had begun so long ago. */
static uint64_t turn(struct sw_turns *t, uint64_t ns)
{
	sw_turns_begin(t, 1);
	atomic_store(&t->began, sw_ticks() - ns);
	return sw_turns_end(t);
}

Test(turns, nobody_has_one_before_the_start)
{
	cr_assert_null(sw_turns_take(&sw_guest_self));
	cr_assert_eq(atomic_load(&sw_turns_used), 0);
}

Test(turns, are_counted_with_their_length)
{
	struct sw_turns *t;
	uint64_t ns;

	start();
	t = sw_turns_take(&sw_guest_self);
	cr_assert_not_null(t);
	cr_assert_eq(sw_guest_self.turns, t);
	cr_assert_eq(sw_turns_end(t), 0, "a wait before any turn ends none");
	cr_assert_eq(atomic_load(&t->turns), 0);
	ns = turn(t, 2000000) + turn(t, 30000);
	cr_assert_geq(ns, 2030000);
	cr_assert_eq(atomic_load(&t->turns), 2);
	cr_assert_eq(atomic_load(&t->busy_ns), ns);
	cr_assert_geq(atomic_load(&t->square), 1953ull * 1953);
	cr_assert_eq(atomic_load(&t->slow[0]), 1, "of 1 to 5 ms");
	cr_assert_eq(atomic_load(&t->began), 0);
	cr_assert_geq(sw_turns_take_longest(t), 2000000);
	cr_assert_eq(sw_turns_take_longest(t), 0);
}

Test(turns, fall_into_classes)
{
	static const uint32_t bounds[] = SW_TURNS_BOUNDS;
	struct sw_turns *t;

	start();
	t = sw_turns_take(&sw_guest_self);
	for (int i = 0; i < SW_TURNS_CLASSES; i++) {
		sw_turns_slow(t, bounds[i] * 1000000ull);
		sw_turns_slow(t, bounds[i] * 1000000ull + 1);
		cr_assert_eq(atomic_load(&t->slow[i]), 2, "%u ms", bounds[i]);
	}
	sw_turns_slow(t, UINT64_MAX);
	cr_assert_eq(atomic_load(&t->slow[SW_TURNS_CLASSES - 1]), 3);
}

Test(turns, note_the_heads_of_their_requests)
{
	struct sw_turns *t;

	start();
	t = sw_turns_take(&sw_guest_self);
	sw_turns_begin(t, 3);
	cr_assert_eq(atomic_load(&t->events), 3);
	sw_turns_read(t, 77);
	cr_assert_eq(atomic_load(&t->entry), 77);
	cr_assert_eq(atomic_load(&t->heads), atomic_load(&t->heads_before) + 1);
	sw_turns_end(t);
	sw_turns_begin(t, 1);
	cr_assert_eq(atomic_load(&t->heads), atomic_load(&t->heads_before));
}

static pthread_barrier_t all_here, all_go;

static void *thread(void *arg)
{
	struct sw_turns **ret = arg;

	*ret = sw_turns_take(&sw_guest_self);
	pthread_barrier_wait(&all_here);
	pthread_barrier_wait(&all_go);
	return NULL;
}

Test(turns, have_a_limit_and_threads_that_end_make_room)
{
	enum { MANY = SW_TURNS_MAX + 3 };
	struct sw_turns *got[MANY] = {NULL}, *own;
	pthread_t threads[MANY];
	int refused = 0;

	start();
	pthread_barrier_init(&all_here, NULL, MANY + 1);
	pthread_barrier_init(&all_go, NULL, MANY + 1);
	for (int i = 0; i < MANY; i++)
		cr_assert_eq(pthread_create(&threads[i], NULL, thread, &got[i]), 0);
	pthread_barrier_wait(&all_here);
	for (int i = 0; i < MANY; i++) {
		refused += !got[i];
		for (int k = 0; k < i; k++)
			cr_assert(!got[i] || got[i] != got[k], "one has two threads");
	}
	cr_assert_eq(refused, 3);
	cr_assert_eq(sw_counter_read(SW_COUNTER_LOOP_POOL), 1, "counted, not for each wait");
	cr_assert_null(sw_turns_take(&sw_guest_self));
	sw_turns_sweep();
	cr_assert_null(sw_turns_take(&sw_guest_self), "all of them live");
	pthread_barrier_wait(&all_go);
	for (int i = 0; i < MANY; i++)
		pthread_join(threads[i], NULL);
	for (int i = 0; i < 1000; i++) { /* the kernel has done with them a little later */
		sw_turns_sweep();
		own = sw_turns_take(&sw_guest_self);
		if (own)
			break;
		usleep(1000);
	}
	cr_assert_not_null(own);
	cr_assert_gt(atomic_load(&own->generation), 1, "its reader sees that it is another's");
	cr_assert_eq(atomic_load(&own->turns), 0);
}

Test(turns, belong_to_the_parent_in_a_child)
{
	struct sw_turns *t;

	start();
	t = sw_turns_take(&sw_guest_self);
	turn(t, 5);
	sw_module_turns.fork_child();
	cr_assert_null(sw_guest_self.turns);
	cr_assert_eq(atomic_load(&t->tid), 0);
}

Test(turns, are_long_from_the_limit_on)
{
	sw_config.loop_blocked_ms = 250;
	start();
	cr_assert_eq(sw_turns_long_ns, 250000000);
}

Test(turns, are_never_long_without_a_limit)
{
	sw_config.loop_blocked_ms = 0;
	start();
	cr_assert_eq(sw_turns_long_ns, UINT64_MAX);
}
