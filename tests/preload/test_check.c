/* A broken check: counted and said once in the field, a trap in the tests' own build. */
#include "preload/check.h"

#include <criterion/criterion.h>
#include <signal.h>

#include "preload/counters.h"

Test(check, true_does_nothing)
{
	int evaluated = 0;

	atomic_store(&sw_armed, true);
	cr_assert(SW_CHECK(++evaluated == 1));
	cr_assert_eq(evaluated, 1, "evaluated once");
	cr_assert(atomic_load(&sw_armed));
	cr_assert_null(sw_disarmed_by());
	cr_assert_eq(sw_counter_read(SW_COUNTER_DISARMED), 0);
}

Test(check, starts_disarmed)
{
	cr_assert_not(atomic_load(&sw_armed), "nothing is observed before the constructor says so");
}

#ifndef SW_CHECK_ABORT

Test(check, false_disarms_for_ever)
{
	atomic_store(&sw_armed, true);
	cr_assert_not(SW_CHECK(1 + 1 == 3));
	cr_assert_not(atomic_load(&sw_armed));
	cr_assert_not_null(strstr(sw_disarmed_by(), "1 + 1 == 3"));
	cr_assert_not_null(strstr(sw_disarmed_by(), "test_check.c"));
	cr_assert_eq(sw_counter_read(SW_COUNTER_DISARMED), 1);
}

Test(check, the_first_reason_is_kept)
{
	sw_disarm("first");
	sw_disarm("second");
	cr_assert_str_eq(sw_disarmed_by(), "first");
	cr_assert_eq(sw_counter_read(SW_COUNTER_DISARMED), 2);
}

#elif defined(__x86_64__)

Test(check, false_traps, .signal = SIGILL)
{
	(void)SW_CHECK(1 + 1 == 3);
}

#endif
