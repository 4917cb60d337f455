/* Whose turn it is. */
#include <criterion/criterion.h>

#include "reporter/roster.h"

#define SECOND 1000000000ull
#define PERIOD (30 * SECOND)

static const char list[] = "127.0.0.1:1,127.0.0.2:2,127.0.0.3:3";

static struct sw_roster of_three(void)
{
	struct sw_roster r = {0};
	char authority[SW_AUTHORITY_MAX];

	cr_assert_eq(sw_roster_resolve(&r, list, SECOND, authority), 0);
	cr_assert_eq(r.count, 3);
	return r;
}

Test(roster, all_have_their_turn_then_it_is_time_to_wait)
{
	struct sw_roster r = of_three();

	for (int round = 0; round < 3; round++) {
		cr_assert_eq(r.at, 0);
		cr_assert(sw_roster_more(&r));
		cr_assert(sw_roster_fail(&r, SECOND, PERIOD));
		cr_assert(sw_roster_fail(&r, SECOND, PERIOD));
		cr_assert_eq(r.at, 2);
		cr_assert_not(sw_roster_more(&r));
		cr_assert_not(sw_roster_fail(&r, SECOND, PERIOD));
	}
}

Test(roster, one_that_was_good_ends_the_count)
{
	struct sw_roster r = of_three();

	for (unsigned i = 1; i < 20; i++) {
		cr_assert(sw_roster_fail(&r, SECOND, PERIOD));
		cr_assert_eq(r.at, i % 3);
		sw_roster_good(&r);
	}
}

Test(roster, alone)
{
	struct sw_roster r = {.count = 1};

	cr_assert_not(sw_roster_more(&r));
	cr_assert_not(sw_roster_fail(&r, SECOND, PERIOD));
	cr_assert_eq(r.at, 0);
	cr_assert_not(sw_roster_homesick(&r, 1000 * SECOND));
}

Test(roster, none)
{
	struct sw_roster r = {0};

	cr_assert_not(sw_roster_fail(&r, SECOND, PERIOD));
	cr_assert_eq(r.at, 0);
}

Test(roster, nobody_is_resolved_in_the_middle_of_a_round)
{
	struct sw_roster r = of_three();
	char authority[SW_AUTHORITY_MAX];

	sw_roster_fail(&r, SECOND, PERIOD);
	cr_assert_eq(sw_roster_resolve(&r, list, 1000 * SECOND, authority), 0);
	cr_assert_eq(r.at, 1);
	sw_roster_good(&r);
	cr_assert_eq(sw_roster_resolve(&r, list, 59 * SECOND, authority), 0);
	cr_assert_eq(r.at, 1, "not twice a minute");
	cr_assert_eq(sw_roster_resolve(&r, list, 1000 * SECOND, authority), 0);
	cr_assert_eq(r.at, 0);
}

Test(roster, a_process_begins_at_the_same_one_always)
{
	struct sw_roster r = of_three();
	unsigned first = r.address[0].host;
	char authority[SW_AUTHORITY_MAX];

	for (uint64_t minute = 2; minute < 30; minute++) {
		sw_roster_resolve(&r, list, minute * 60 * SECOND, authority);
		cr_assert_eq(r.address[0].host, first);
	}
}

Test(roster, processes_begin_at_different_ones)
{
	unsigned seen = 0;

	for (int i = 0; i < 100; i++)
		seen |= 1u << of_three().address[0].host;
	cr_assert_eq(seen, 7);
}

Test(roster, a_host_that_nobody_knows_is_named)
{
	struct sw_roster r = {0};
	char authority[SW_AUTHORITY_MAX] = "";

	cr_assert_neq(sw_roster_resolve(&r, "[::g]:7", SECOND, authority), 0);
	cr_assert_str_eq(authority, "[::g]:7");
	cr_assert_eq(r.count, 0);
}

Test(roster, home_is_missed_after_a_period)
{
	struct sw_roster r = of_three();

	cr_assert_not(sw_roster_homesick(&r, 1000 * SECOND), "at home");
	sw_roster_fail(&r, 100 * SECOND, PERIOD);
	cr_assert_not(sw_roster_homesick(&r, 129 * SECOND));
	cr_assert(sw_roster_homesick(&r, 130 * SECOND));
	sw_roster_stay(&r, 130 * SECOND, PERIOD);
	cr_assert_not(sw_roster_homesick(&r, 159 * SECOND));
	cr_assert(sw_roster_homesick(&r, 160 * SECOND));
	sw_roster_return(&r, PERIOD);
	cr_assert_eq(r.at, 0);
	cr_assert_not(sw_roster_homesick(&r, 1000 * SECOND));
}

Test(roster, a_home_that_is_never_good_is_tried_less_and_less)
{
	static const unsigned waits[] = {30, 60, 120, 240, 480, 480, 480};
	struct sw_roster r = of_three();
	uint64_t now = 100 * SECOND;

	for (unsigned i = 0; i < sizeof(waits) / sizeof(*waits); i++) {
		cr_assert(sw_roster_fail(&r, now, PERIOD), "the others are well");
		cr_assert_not(sw_roster_homesick(&r, now + (waits[i] - 1) * SECOND));
		now += waits[i] * SECOND;
		cr_assert(sw_roster_homesick(&r, now));
		sw_roster_return(&r, PERIOD);
	}
	sw_roster_good(&r);
	sw_roster_fail(&r, now, PERIOD);
	cr_assert(sw_roster_homesick(&r, now + PERIOD), "it was good in between");
}
