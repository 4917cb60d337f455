/* The current task, and the ring of stacks. */
#include <criterion/criterion.h>

#include "preload/profile.h"

static void begin(const char *endpoint)
{
	struct sw_profile_task task = {.period_ns = 10000000, .samples_max = 5};

	strcpy(task.endpoint, endpoint);
	cr_assert(sw_profile_begin(&task));
}

static bool put(uint32_t size, int32_t sequence)
{
	struct sw_profile_stack *stack = sw_profile_reserve(size);

	if (!stack)
		return false;
	stack->task = 1;
	stack->sequence = sequence;
	memset(stack + 1, sequence & 0xff, size - sizeof(*stack));
	sw_profile_commit(stack);
	return true;
}

static int32_t take(void)
{
	const struct sw_profile_stack *stack = sw_profile_oldest();
	const uint8_t *text = (const uint8_t *)(stack + 1);
	int32_t sequence;

	if (!stack)
		return -1;
	sequence = stack->sequence;
	for (uint32_t i = 0; i < stack->size - sizeof(*stack); i++)
		cr_assert_eq(text[i], sequence & 0xff);
	sw_profile_release(stack);
	return sequence;
}

Test(profile, tasks_have_numbers)
{
	uint32_t first, second;

	cr_assert_eq(sw_profile_current, 0);
	begin("/a");
	first = sw_profile_current;
	cr_assert_str_eq(sw_profile_task(first)->endpoint, "/a");
	sw_profile_sampled = 3;
	sw_profile_end();
	cr_assert_eq(sw_profile_current, 0);
	begin("/b");
	second = sw_profile_current;
	cr_assert(second && second != first);
	cr_assert_eq(sw_profile_sampled, 0);
	cr_assert_str_eq(sw_profile_task(second)->endpoint, "/b");
	cr_assert_str_eq(sw_profile_task(first)->endpoint, "/a"); /* for who still looks */
}

Test(profile, nothing_without_a_task)
{
	cr_assert_null(sw_profile_reserve(64));
	cr_assert_null(sw_profile_oldest());
}

Test(profile, stacks_in_order_whole_and_around_the_end)
{
	int32_t in = 0, out = 0;

	begin("/a");
	for (int round = 0; round < 300; round++) {
		for (int i = 0; i < 7; i++, in++)
			cr_assert(put(40 + 8 * (uint32_t)((in * 37) % 1500), in), "%d", in);
		for (int i = 0; i < 7; i++, out++)
			cr_assert_eq(take(), out);
		cr_assert_eq(take(), -1);
	}
}

Test(profile, a_full_ring_takes_no_more_and_loses_none)
{
	int32_t in = 0, out = 0;

	begin("/a");
	while (put(4096, in))
		in++;
	cr_assert(in > 200 && in <= (int32_t)(SW_PROFILE_RING_BYTES / 4096));
	cr_assert_eq(take(), out++);
	cr_assert(put(4096, in++));
	for (; out < in; out++)
		cr_assert_eq(take(), out);
	cr_assert_eq(take(), -1);
}

Test(profile, a_child_has_neither_task_nor_stacks)
{
	begin("/a");
	cr_assert(put(64, 1));
	sw_profile_forked();
	cr_assert_eq(sw_profile_current, 0);
	cr_assert_eq(take(), -1);
	begin("/b");
	cr_assert(put(64, 2));
	cr_assert_eq(take(), 2);
}

/* ---- of the whole process ---- */

static bool put_record(uint32_t size, uint32_t id)
{
	struct sw_profiled_frame *frame =
		(struct sw_profiled_frame *)sw_profiled_reserve(size, SW_PROFILED_FRAME);

	if (!frame)
		return false;
	frame->id = id;
	sw_profiled_commit(&frame->head);
	return true;
}

static uint32_t take_record(void)
{
	const struct sw_profiled *record = sw_profiled_oldest();
	uint32_t id = record ? ((const struct sw_profiled_frame *)record)->id : 0;

	if (record) {
		cr_assert_eq(record->kind, SW_PROFILED_FRAME);
		sw_profiled_release(record);
	}
	return id;
}

Test(profile, whole_processes_have_numbers_and_begin_empty)
{
	uint32_t first, second;

	cr_assert_eq(sw_profile_whole_current, 0);
	first = sw_profile_whole_begin(SW_PROFILE_WALL, 2000000);
	cr_assert(first && first == sw_profile_whole_current);
	cr_assert_eq(sw_profile_whole()->mode, SW_PROFILE_WALL);
	cr_assert_eq(sw_profile_whole()->period_ns, 2000000);
	cr_assert(put_record(64, 7));
	sw_profile_counts.due = 5;
	sw_profile_whole_end();
	cr_assert_eq(sw_profile_whole_current, 0);
	second = sw_profile_whole_begin(SW_PROFILE_CPU, 1000000);
	cr_assert(second && second != first);
	cr_assert_eq(sw_profile_counts.due, 0);
	cr_assert_eq(take_record(), 0);
}

Test(profile, over_when_the_sampler_says_so_or_is_not_there)
{
	uint32_t number = sw_profile_whole_begin(SW_PROFILE_CPU, 1000000);

	sw_profile_threads = 1;
	cr_assert_not(sw_profile_whole_over(number));
	sw_profile_whole_done = number;
	cr_assert(sw_profile_whole_over(number));
	sw_profile_whole_done = 0;
	sw_profile_threads = 0;
	cr_assert(sw_profile_whole_over(number));
}

Test(profile, records_of_both_kinds_do_not_mix)
{
	begin("/a");
	sw_profile_whole_begin(SW_PROFILE_CPU, 1000000);
	for (uint32_t i = 1; i < 40000; i++) {
		cr_assert(put(64, (int32_t)i));
		cr_assert(put_record(40 + 8 * (i % 90), i));
		cr_assert_eq(take(), (int32_t)i);
		cr_assert_eq(take_record(), i);
	}
}

Test(profile, a_child_has_no_profile_of_the_whole)
{
	sw_profile_whole_begin(SW_PROFILE_CPU, 1000000);
	cr_assert(put_record(64, 1));
	sw_profile_forked();
	cr_assert_eq(sw_profile_whole_current, 0);
	cr_assert_eq(take_record(), 0);
}
