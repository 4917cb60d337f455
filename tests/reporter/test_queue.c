/* Batches on their way: none is lost or counted twice, whatever becomes of them. */
#include <criterion/criterion.h>

#include "reporter/queue.h"

static struct sw_queue queue;

static void add(enum sw_batch_kind kind, unsigned count)
{
	while (count--) {
		struct sw_batch *batch = sw_queue_fill(&queue, kind);

		sw_buffer_add(&batch->bytes, SW_BYTES("message"));
		sw_queue_added(&queue, batch);
	}
}

static bool empty(void)
{
	for (int kind = 0; kind < SW_BATCH_KINDS; kind++) {
		if (queue.messages[kind])
			return false;
	}
	return true;
}

static void teardown(void)
{
	sw_queue_free(&queue);
}

TestSuite(queue, .fini = teardown);

Test(queue, a_full_batch_waits_and_another_is_filled)
{
	add(SW_BATCH_SEGMENT, sw_kinds[SW_BATCH_SEGMENT].messages);
	cr_assert_null(queue.filling[SW_BATCH_SEGMENT]);
	cr_assert_not_null(queue.first);
	add(SW_BATCH_SEGMENT, 1);
	cr_assert_not_null(queue.filling[SW_BATCH_SEGMENT]);
	cr_assert_eq(queue.messages[SW_BATCH_SEGMENT], sw_kinds[SW_BATCH_SEGMENT].messages + 1);
}

Test(queue, batches_grow_while_others_wait)
{
	unsigned full = sw_kinds[SW_BATCH_SEGMENT].messages;
	struct sw_batch *first;

	add(SW_BATCH_SEGMENT, full);
	queue.crowded = true;
	add(SW_BATCH_SEGMENT, full * SW_BATCH_GROWTH + 1);
	first = sw_queue_take(&queue);
	cr_assert_eq(first->count, full);
	sw_queue_left(&queue, first);
	cr_assert_eq(queue.flying[SW_BATCH_SEGMENT], full);
	cr_assert_eq(queue.first->count, full * SW_BATCH_GROWTH);
	cr_assert_eq(queue.filling[SW_BATCH_SEGMENT]->count, 1);
	sw_queue_landed(&queue, first);
	cr_assert(queue.flying[SW_BATCH_SEGMENT] == 0 && queue.underway == 0);
	sw_queue_done(&queue, first);
	add(SW_BATCH_PING, 2);
	cr_assert_eq(queue.last->count, 1); /* one message is all that a unary call takes */
}

Test(queue, a_batch_of_many_bytes_is_full)
{
	struct sw_batch *batch = sw_queue_fill(&queue, SW_BATCH_SEGMENT);

	cr_assert_not_null(sw_buffer_room(&batch->bytes, SW_BATCH_BYTES));
	batch->bytes.len = SW_BATCH_BYTES;
	sw_queue_added(&queue, batch);
	cr_assert_eq(queue.first, batch);
}

Test(queue, the_oldest_comes_first_and_a_returned_one_before_it)
{
	struct sw_batch *one, *two;

	add(SW_BATCH_PROPERTIES, 1);
	add(SW_BATCH_PING, 1);
	one = sw_queue_take(&queue);
	cr_assert_eq(one->kind, SW_BATCH_PROPERTIES);
	sw_queue_return(&queue, one);
	cr_assert_eq(sw_queue_take(&queue), one);
	two = sw_queue_take(&queue);
	cr_assert_eq(two->kind, SW_BATCH_PING);
	cr_assert_null(sw_queue_take(&queue));
	sw_queue_return(&queue, two);
	sw_queue_return(&queue, one);
	add(SW_BATCH_PING, 1); /* appended behind a list that had been emptied */
	cr_assert_eq(sw_queue_take(&queue), one);
	cr_assert_eq(sw_queue_take(&queue), two);
	sw_queue_done(&queue, one);
	sw_queue_done(&queue, two);
	one = sw_queue_take(&queue);
	cr_assert_not_null(one);
	sw_queue_done(&queue, one);
	cr_assert(empty());
}

Test(queue, bytes_of_all_that_waits_or_is_underway)
{
	struct sw_batch *batch;

	add(SW_BATCH_SEGMENT, 3);
	add(SW_BATCH_LOG, 1);
	cr_assert_eq(queue.bytes, 4 * 7);
	sw_queue_close(&queue, SW_BATCH_SEGMENT);
	batch = sw_queue_take(&queue);
	sw_queue_left(&queue, batch);
	sw_queue_shed(&queue, batch, 1);
	cr_assert_eq(queue.bytes, 4 * 7, "its memory is there");
	batch->bytes.len = 14; /* a transport moves what is left together */
	sw_queue_landed(&queue, batch);
	sw_queue_done(&queue, batch);
	cr_assert_eq(queue.bytes, 7);
	add(SW_BATCH_SEGMENT, 1); /* into the same batch */
	cr_assert_eq(queue.bytes, 2 * 7);
}

Test(queue, nothing_to_close_is_no_batch)
{
	sw_queue_close(&queue, SW_BATCH_SEGMENT);
	cr_assert_null(sw_queue_take(&queue));
	sw_queue_fill(&queue, SW_BATCH_SEGMENT); /* memory was there, but no message came */
	sw_queue_close(&queue, SW_BATCH_SEGMENT);
	cr_assert_null(sw_queue_take(&queue));
}

Test(queue, spares_keep_their_memory_and_nothing_else)
{
	struct sw_batch *batch;

	add(SW_BATCH_PING, 1);
	batch = sw_queue_take(&queue);
	batch->seen = true;
	batch->refused = 3;
	sw_queue_done(&queue, batch);
	cr_assert_eq(sw_queue_fill(&queue, SW_BATCH_SEGMENT), batch);
	cr_assert(batch->bytes.room > 0 && batch->bytes.len == 0 && batch->count == 0);
	cr_assert(!batch->seen && batch->refused == 0 && batch->kind == SW_BATCH_SEGMENT);
}

Test(queue, spares_are_few_and_small)
{
	struct sw_batch *batch;

	for (int i = 0; i < 20; i++)
		add(SW_BATCH_PING, 1);
	while ((batch = sw_queue_take(&queue)))
		sw_queue_done(&queue, batch);
	cr_assert_leq(queue.spares, 4);
	sw_queue_free(&queue);
	batch = sw_queue_fill(&queue, SW_BATCH_SEGMENT);
	cr_assert_not_null(sw_buffer_room(&batch->bytes, 4ul * SW_BATCH_BYTES));
	batch->bytes.len = SW_BATCH_BYTES;
	sw_queue_added(&queue, batch);
	sw_queue_done(&queue, sw_queue_take(&queue));
	cr_assert_eq(queue.spares, 0);
}
