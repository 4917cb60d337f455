/* Merging, of stacks made by hand: 100 to 199 is the interpreter, 200 to 209 what is apart of it,
 * 300 to 399 greenlet's. */
#include "sampler/merge.h"

#include <criterion/criterion.h>
#include <stdio.h>

#include "preload/counters.h"

static const struct sw_eval eval = {{100, 200}, {200, 210}, {300, 400}};
static struct sw_frames python;
static struct sw_native_stack native;
static struct sw_stack merged;

static void add_native(uint64_t pc)
{
	native.pc[native.count++] = pc;
}

/* `at` tells them apart. */
static void add_python(int32_t at, bool entry)
{
	python.at[python.count++] = (struct sw_frame){.at = at, .entry = entry};
}

/* "N7 P1 -": innermost first. */
static const char *shown(void)
{
	static char text[4096];
	size_t len = 0;

	for (unsigned i = 0; i < merged.count; i++) {
		const struct sw_stack_frame *frame = &merged.at[i];

		if (frame->kind == SW_STACK_NOTE)
			len += (size_t)sprintf(text + len, " -");
		else if (frame->kind == SW_STACK_PYTHON)
			len += (size_t)sprintf(text + len, " P%d", frame->python.at);
		else
			len += (size_t)sprintf(text + len, " N%lu", frame->pc);
	}
	text[len] = 0;
	return len ? text + 1 : text;
}

static enum sw_merged merge(void)
{
	return sw_merge(&eval, &python, &native, &merged);
}

Test(merge, each_frame_of_the_interpreter_is_a_group)
{
	add_native(7);
	add_native(150);
	add_native(8);
	add_native(205);
	add_native(9);
	add_python(1, false);
	add_python(2, true);
	add_python(3, true);
	cr_assert_eq(merge(), SW_MERGED_WHOLE);
	cr_assert_str_eq(shown(), "N7 P1 P2 N8 P3 N9");
	cr_assert_not(merged.cut);
}

Test(merge, a_prologue_or_an_end_is_left_out)
{
	add_native(100);
	add_native(8);
	add_native(150);
	add_native(9);
	add_python(1, true);
	cr_assert_eq(merge(), SW_MERGED_WHOLE);
	cr_assert_str_eq(shown(), "N8 P1 N9");
}

Test(merge, what_does_not_match_is_python_alone_and_counted)
{
	add_native(7);
	add_native(150);
	add_native(9);
	add_python(1, true);
	add_python(2, true);
	cr_assert_eq(merge(), SW_MERGED_PYTHON);
	cr_assert_str_eq(shown(), "P1 P2");
	cr_assert_eq(sw_counter_read(SW_COUNTER_PROFILE_UNMERGED), 1);

	add_native(151);
	add_native(152);
	add_native(153);
	cr_assert_eq(merge(), SW_MERGED_PYTHON);
	cr_assert_eq(sw_counter_read(SW_COUNTER_PROFILE_UNMERGED), 2);
}

Test(merge, of_a_cut_stack_only_the_leaves)
{
	add_native(6);
	add_native(7);
	add_native(150);
	add_native(8);
	native.end = SW_NATIVE_SHORT;
	add_python(1, true);
	add_python(2, true);
	cr_assert_eq(merge(), SW_MERGED_LEAVES);
	cr_assert_str_eq(shown(), "N6 N7 P1 P2");
	cr_assert_not(merged.cut, "Python's own end is there");
	cr_assert_eq(sw_counter_read(SW_COUNTER_PROFILE_LEAVES), 1);
	cr_assert_eq(sw_counter_read(SW_COUNTER_PROFILE_UNMERGED), 0);
}

Test(merge, a_stack_that_is_cut_before_the_interpreter_has_a_gap)
{
	add_native(6);
	native.end = SW_NATIVE_NO_FP;
	add_python(1, true);
	cr_assert_eq(merge(), SW_MERGED_LEAVES);
	cr_assert_str_eq(shown(), "N6 - P1");
}

Test(merge, python_that_is_cut_stays_cut)
{
	add_native(6);
	add_native(150);
	add_native(151);
	add_native(152);
	add_python(1, true);
	python.cut = true;
	cr_assert_eq(merge(), SW_MERGED_LEAVES);
	cr_assert_str_eq(shown(), "N6 P1");
	cr_assert(merged.cut);
}

/* One that was started by a function of Python's has that one below it, but not in its chain: as
 * many frames of the interpreter as a prologue would give. */
Test(merge, a_greenlet_ends_where_it_was_started)
{
	add_native(6);
	add_native(150);
	add_native(301);
	add_native(302);
	add_native(151);
	add_native(9);
	add_python(1, true);
	cr_assert_eq(merge(), SW_MERGED_WHOLE);
	cr_assert_str_eq(shown(), "N6 P1");

	native.end = SW_NATIVE_ODD;
	cr_assert_eq(merge(), SW_MERGED_WHOLE, "what is below does not matter");
}

/* It is the innermost function then, of the thread's own stack. */
Test(merge, a_switch_to_another_greenlet_is_of_this_chain)
{
	add_native(301);
	add_native(150);
	add_native(9);
	add_python(1, true);
	cr_assert_eq(merge(), SW_MERGED_WHOLE);
	cr_assert_str_eq(shown(), "N301 P1 N9");
}

Test(merge, a_thread_without_python_has_native_frames)
{
	add_native(6);
	add_native(9);
	cr_assert_eq(sw_merge(&eval, NULL, &native, &merged), SW_MERGED_WHOLE);
	cr_assert_str_eq(shown(), "N6 N9");
	cr_assert_eq(merge(), SW_MERGED_WHOLE, "none at all is the same");
	cr_assert_eq(sw_counter_read(SW_COUNTER_PROFILE_LEAVES), 0);
	native.end = SW_NATIVE_NOWHERE;
	merge();
	cr_assert(merged.cut);
	cr_assert_eq(sw_counter_read(SW_COUNTER_PROFILE_LEAVES), 1);
}

Test(merge, more_than_there_is_room_for_is_cut)
{
	for (int i = 0; i < 60; i++) {
		for (int k = 0; k < 5; k++)
			add_native(7);
		add_native(150);
	}
	for (int i = 0; i < 240; i++)
		add_python(i, i % 4 == 3);
	cr_assert_eq(merge(), SW_MERGED_WHOLE);
	cr_assert(merged.cut);
	cr_assert_eq(merged.count, SW_STACK_MAX);
	cr_assert_eq(merged.at[8].python.at, 3);
}
