/* The fast clock: it agrees with the slow one, and what is not a time is 0. */
#include "preload/ticks.h"

#include <criterion/criterion.h>
#include <unistd.h>

static void wait_known(void)
{
	for (int i = 0; i < 1000 && !sw_ticks_known(); i++)
		usleep(100);
	cr_assert(sw_ticks_known());
}

Test(ticks, agree_with_the_clock)
{
	uint64_t from_ns, from, ns, ticks_ns;

	sw_ticks_start();
	wait_known();
	usleep(20000); /* the scale is worth what was waited for */
	atomic_store(&sw_ticks_scale, sw_ticks_counter ? 0 : 1ull << 32);
	wait_known();
	from_ns = sw_clock_ns(CLOCK_MONOTONIC);
	from = sw_ticks();
	usleep(50000);
	ticks_ns = sw_ticks_ns(from, sw_ticks());
	ns = sw_clock_ns(CLOCK_MONOTONIC) - from_ns;
	cr_assert_leq(ticks_ns, ns + ns / 50);
	cr_assert_geq(ticks_ns, ns - ns / 20 - 200000);
}

Test(ticks, known_only_after_a_while)
{
	uint64_t begin, guessed;
	bool known, held_up = true;

	for (int i = 0; i < 100 && held_up; i++) {
		atomic_store(&sw_ticks_scale, 0);
		begin = sw_clock_ns(CLOCK_MONOTONIC);
		sw_ticks_start();
		if (!sw_ticks_counter)
			return; /* nanoseconds need no measuring */
		known = sw_ticks_known();
		guessed = sw_ticks_ns(1, 1000000000);
		held_up = sw_clock_ns(CLOCK_MONOTONIC) - begin > 20000;
		cr_assert(held_up || !known, "right after the start");
		cr_assert(held_up || !guessed, "nothing is guessed");
	}
	wait_known();
	cr_assert_gt(sw_ticks_ns(1, 1000000000), 0);
}

Test(ticks, no_time_runs_backwards)
{
	sw_ticks_start();
	wait_known();
	cr_assert_eq(sw_ticks_ns(1000, 1000), 0);
	cr_assert_eq(sw_ticks_ns(1001, 1000), 0);
	cr_assert_eq(sw_ticks_ns(UINT64_MAX, 5), sw_ticks_ns(10, 16), "the counter may wrap");
}

Test(ticks, hours_do_not_overflow)
{
	uint64_t hour;

	sw_ticks_start();
	atomic_store(&sw_ticks_scale, 1ull << 32);
	hour = 3600000000000ull * 24 * 365;
	cr_assert_eq(sw_ticks_ns(7, hour + 7), hour);
	atomic_store(&sw_ticks_scale, 1ull << 31);
	cr_assert_eq(sw_ticks_ns(7, hour + 7), hour / 2);
}

Test(ticks, one_odd_second_changes_nothing)
{
	uint64_t scale;

	sw_ticks_start();
	if (!sw_ticks_counter)
		return;
	wait_known();
	sw_ticks_refine();			   /* begins to measure */
	atomic_store(&sw_ticks_scale, 1ull << 35); /* far from what it is */
	scale = atomic_load(&sw_ticks_scale);
	sw_ticks_refine();
	cr_assert_eq(atomic_load(&sw_ticks_scale), scale, "too soon to say");
	usleep(1050000);
	sw_ticks_refine();
	cr_assert_eq(atomic_load(&sw_ticks_scale), scale, "a first odd figure is doubted");
	usleep(1050000);
	sw_ticks_refine();
	cr_assert_neq(atomic_load(&sw_ticks_scale), scale, "a second one is believed");
}
