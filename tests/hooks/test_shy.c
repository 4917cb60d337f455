/* Which peers get no more of our lines. */
#include <criterion/criterion.h>

#include "hooks/shy.h"

static struct sw_talk talk(uint16_t port)
{
	return (struct sw_talk){.family = AF_INET, .port = port, .address = {127, 0, 0, 1}};
}

Test(shy, refusals_only_with_our_lines_make_a_peer_shy)
{
	struct sw_talk t = talk(1), other = talk(2);

	cr_assert(sw_shy_allows(&t));
	sw_shy_answered(&t, true, 400);
	cr_assert(sw_shy_allows(&t));
	sw_shy_answered(&t, true, 431);
	cr_assert_not(sw_shy_allows(&t));
	cr_assert(sw_shy_allows(&other));
	sw_shy_answered(&t, false, 200);
	cr_assert_not(sw_shy_allows(&t));
}

Test(shy, a_peer_that_refuses_bare_heads_too_is_trusted)
{
	struct sw_talk t = talk(3);

	sw_shy_answered(&t, true, 413);
	sw_shy_answered(&t, true, 413);
	sw_shy_answered(&t, false, 413);
	cr_assert(sw_shy_allows(&t));
}

Test(shy, one_good_answer_settles_it)
{
	struct sw_talk t = talk(4);

	sw_shy_answered(&t, true, 200);
	for (int i = 0; i < 10; i++)
		sw_shy_answered(&t, true, 400);
	cr_assert(sw_shy_allows(&t));
}
