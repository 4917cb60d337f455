/* Joining spans: any order, missing Exits, the bound. */
#include <criterion/criterion.h>

#include "preload/counters.h"
#include "reporter/assemble.h"

static size_t emitted, spans_last;
static int32_t last_span_id;

static void emit(void *arg, const struct sw_segment *segment)
{
	(void)arg;
	emitted++;
	spans_last = segment->count;
	last_span_id = segment->span[segment->count - 1]->span;
}

static struct sw_record_span span(uint64_t segment, int32_t id, uint32_t exits)
{
	return (struct sw_record_span){
		.record = {sizeof(struct sw_record_span), SW_RECORD_SPAN},
		.segment = {7, segment},
		.span = id,
		.parent = id ? 0 : -1,
		.exits = exits,
		.type = id ? SW_SPAN_EXIT : SW_SPAN_ENTRY,
	};
}

static struct sw_assembler *assembler;

static void setup(void)
{
	emitted = 0;
	assembler = sw_assembler_new(emit, NULL);
}

static void teardown(void)
{
	sw_assembler_free(assembler);
}

static void take(struct sw_record_span record, uint64_t now)
{
	sw_assembler_take(assembler, &record, now);
}

TestSuite(assemble, .init = setup, .fini = teardown);

Test(assemble, an_entry_without_calls_leaves_at_once)
{
	take(span(1, 0, 0), 0);
	cr_assert_eq(emitted, 1);
	cr_assert_eq(sw_assembler_waiting(assembler), 0);
}

Test(assemble, a_lone_exit_leaves_at_once)
{
	struct sw_record_span exit = span(1, 0, 0);

	exit.type = SW_SPAN_EXIT;
	exit.flags = SW_SPAN_ALONE;
	take(exit, 0);
	cr_assert_eq(emitted, 1);
}

Test(assemble, exits_before_their_entry)
{
	take(span(1, 1, 0), 0);
	take(span(1, 2, 0), 0);
	cr_assert_eq(emitted, 0);
	take(span(1, 0, 2), 0);
	cr_assert_eq(emitted, 1);
	cr_assert_eq(spans_last, 3);
	cr_assert_eq(last_span_id, 0);
}

Test(assemble, an_exit_after_its_entry_still_leaves_span_0_last)
{
	take(span(1, 1, 0), 0);
	take(span(1, 0, 2), 0);
	cr_assert_eq(emitted, 0);
	cr_assert_eq(sw_assembler_waiting(assembler), 1);
	take(span(1, 2, 0), 0);
	cr_assert_eq(emitted, 1);
	cr_assert_eq(spans_last, 3);
	cr_assert_eq(last_span_id, 0);
}

Test(assemble, segments_do_not_mix)
{
	take(span(1, 1, 0), 0);
	take(span(2, 1, 0), 0);
	take(span(2, 0, 1), 0);
	cr_assert_eq(emitted, 1);
	cr_assert_eq(spans_last, 2);
	take(span(1, 0, 1), 0);
	cr_assert_eq(emitted, 2);
}

Test(assemble, what_is_missing_is_not_waited_for_for_ever)
{
	uint64_t before = sw_counter_read(SW_COUNTER_SPAN_ORPHAN);

	take(span(1, 0, 1), 1);
	sw_assembler_expire(assembler, 1000000000, false);
	cr_assert_eq(emitted, 0);
	sw_assembler_expire(assembler, 3000000000, false);
	cr_assert_eq(emitted, 1);
	cr_assert_eq(spans_last, 1);
	cr_assert_eq(sw_counter_read(SW_COUNTER_SPAN_ORPHAN), before + 1);
}

Test(assemble, at_the_end_nothing_is_waited_for)
{
	take(span(1, 0, 1), 1);
	sw_assembler_expire(assembler, 2, true);
	cr_assert_eq(emitted, 1);
}

Test(assemble, exits_of_requests_that_never_end_are_bounded_and_counted)
{
	uint64_t before = sw_counter_read(SW_COUNTER_SPAN_ORPHAN);

	for (uint64_t i = 0; i < 400000; i++)
		take(span(i, 1, 0), 0);
	cr_assert_eq(emitted, 0);
	cr_assert_gt(sw_counter_read(SW_COUNTER_SPAN_ORPHAN), before);
}
