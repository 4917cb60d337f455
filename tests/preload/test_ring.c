/*
 * Rings: what arrives is what was put, in order and whole; what does not fit is counted; a writer
 * that was torn away in mid-put costs its record and nothing else.
 *
 * A writer is torn away by giving it a text that cannot be read: the copy into the ring faults, and
 * the handler jumps out of it, as a handler of the program's may.
 */
#include "preload/ring.h"

#include <criterion/criterion.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "preload/config.h"
#include "preload/counters.h"
#include "preload/module.h"
#include "tests/preload/stub_modules.h"

#define RINGS 16
#define RING_BYTES 8192 /* the least that a ring may have */
#define PRODUCERS 4
#define PUTS 20000

extern const struct sw_module sw_module_ring;

/* A record as these tests put it: who, the how many-th, and a text that both decide. */
struct note {
	struct sw_record record;
	uint32_t producer, number, text_len, unused;
};

static char filling[SW_RECORD_MAX];

static void start_ring(void)
{
	sw_config.ring_bytes = (uint64_t)RING_BYTES * RINGS;
	atomic_store(&sw_armed, true);
	for (size_t i = 0; i < sizeof(filling); i++)
		filling[i] = (char)(i * 31 + 7);
	cr_assert(sw_module_ring.start());
	atomic_store(&sw_ring_reader, SW_READER_AWAKE);
}

TestSuite(ring, .init = start_ring, .timeout = 120);

static uint32_t text_len_of(uint32_t producer, uint32_t number)
{
	return (number * 37 + producer * 11) % 200;
}

static bool put_note(uint32_t producer, uint32_t number, uint32_t len)
{
	struct note note = {
		.record = {.kind = SW_RECORD_SPAN}, .producer = producer, .number = number};

	note.text_len = len;
	return sw_ring_put(&sw_guest_self, &note.record, sizeof(note), sw_bytes(filling, len));
}

/* What the reader has seen. */
struct seen {
	unsigned count, broken, disorder;
	uint32_t last;
	uint8_t *once; /* by producer and number, or NULL */
};

static void take_note(void *arg, const struct sw_record *record)
{
	const struct note *note = (const struct note *)record;
	struct seen *seen = arg;

	seen->count++;
	if (record->kind != SW_RECORD_SPAN || record->size % 8 ||
	    record->size < sizeof(*note) + note->text_len ||
	    memcmp(note + 1, filling, note->text_len) != 0)
		seen->broken++;
	if (seen->once && seen->once[note->producer * PUTS + note->number]++)
		seen->broken++;
	if (seen->count > 1 && note->number <= seen->last)
		seen->disorder++;
	seen->last = note->number;
}

static struct seen drain(void)
{
	struct seen seen = {0};
	unsigned count = sw_ring_drain(take_note, &seen);

	cr_assert_eq(count, seen.count);
	cr_assert_eq(seen.broken, 0);
	return seen;
}

Test(ring_before_start, drops)
{
	cr_assert_not(put_note(0, 0, 0));
	cr_assert_eq(sw_counter_read(SW_COUNTER_RING_FULL), 1);
	cr_assert_eq(drain().count, 0);
	cr_assert_not(sw_ring_waiting());
}

Test(ring, one_record)
{
	cr_assert_not(sw_ring_waiting());
	cr_assert(put_note(0, 5, 13));
	cr_assert(sw_ring_waiting());
	cr_assert_eq(drain().count, 1);
	cr_assert_not(sw_ring_waiting());
	cr_assert_eq(drain().count, 0);
	cr_assert_eq(sw_counter_read(SW_COUNTER_RECORDS), 1);
	cr_assert_eq(sw_counter_read(SW_COUNTER_RING_FULL), 0);
}

/* Many times around the ring, with lengths that meet its end in every way. */
Test(ring, wraps_around_in_order)
{
	uint32_t number = 0;

	for (int round = 0; round < 2000; round++) {
		uint32_t batch = (uint32_t)round % 7 + 1;
		struct seen seen;

		for (uint32_t i = 0; i < batch; i++, number++)
			cr_assert(put_note(0, number, number * 13 % 900));
		seen = drain();
		cr_assert_eq(seen.count, batch);
		cr_assert_eq(seen.disorder, 0);
		cr_assert_eq(seen.last, number - 1);
	}
	cr_assert_eq(sw_counter_read(SW_COUNTER_RECORDS), number);
	cr_assert_eq(sw_counter_read(SW_COUNTER_RING_FULL), 0);
}

/* A ring that is empty takes the longest record wherever its head stands. */
Test(ring, longest_record_fits_everywhere)
{
	uint32_t most = SW_RECORD_MAX - sizeof(struct note);

	for (uint32_t i = 0; i < 3 * RING_BYTES / sizeof(struct note); i++) {
		cr_assert(put_note(0, 2 * i, 0));
		cr_assert_eq(drain().count, 1);
		cr_assert(put_note(0, 2 * i + 1, most));
		cr_assert_eq(drain().count, 1);
	}
}

/* One thread's records stay in order, so one ring is full before all are. */
Test(ring, what_was_touched)
{
	struct seen seen = {0};

	cr_assert_eq(sw_ring_touched(), 0);
	cr_assert(put_note(0, 0, 0));
	cr_assert_eq(sw_ring_touched(), sizeof(struct note));
	for (uint32_t i = 1; i < 3 * RING_BYTES / sizeof(struct note); i++) {
		cr_assert(put_note(0, i, 0));
		sw_ring_drain(take_note, &seen);
	}
	cr_assert_eq(sw_ring_touched(), RING_BYTES, "one ring, which came around");
}

Test(ring, full_drops_and_counts)
{
	uint32_t fit = 0, more = 10;

	while (put_note(0, fit, 0))
		fit++;
	cr_assert_eq(fit % (RING_BYTES / sizeof(struct note)), 0, "%u records fit", fit);
	for (uint32_t i = 1; i < more; i++)
		cr_assert_not(put_note(0, fit + i, 0));
	cr_assert_eq(sw_counter_read(SW_COUNTER_RING_FULL), more);
	cr_assert_eq(sw_counter_read(SW_COUNTER_RECORDS), fit);
	cr_assert_eq(drain().count, fit);
	cr_assert(put_note(0, fit, 0), "room again");
	cr_assert_eq(drain().last, fit);
}

#ifndef SW_CHECK_ABORT
Test(ring, longer_than_a_record_disarms)
{
	cr_assert_not(put_note(0, 0, SW_RECORD_MAX - sizeof(struct note) + 1));
	cr_assert_not(atomic_load(&sw_armed));
	cr_assert_eq(drain().count, 0);
	cr_assert(put_note(0, 0, 0), "the ring is free again");
}
#endif

Test(ring, who_is_told)
{
	struct sw_guest *g = &sw_guest_self;
	uint32_t i = 0;

	cr_assert(put_note(0, i++, 0));
	cr_assert_not(g->kick, "an awake reader looks by itself");
	atomic_store(&sw_ring_reader, SW_READER_TICK);
	cr_assert(put_note(0, i++, 0));
	cr_assert_not(g->kick, "so does one that will wake soon");
	while (i * sizeof(struct note) <= RING_BYTES / 2)
		put_note(0, i++, 0);
	cr_assert(put_note(0, i++, 0));
	cr_assert(g->kick, "unless the ring is half full");
	drain();
	for (uint32_t reader = SW_READER_ABSENT; reader <= SW_READER_IDLE; reader++) {
		g->kick = false;
		atomic_store(&sw_ring_reader, reader);
		cr_assert(put_note(0, i++, 0));
		cr_assert(g->kick);
	}
}

/* ---- torn writers ---- */

static __thread sigjmp_buf torn;
static char *unreadable;

static void jump_out(int signal)
{
	(void)signal;
	siglongjmp(torn, 1);
}

static void prepare_tearing(void)
{
	struct sigaction action = {.sa_handler = jump_out};

	unreadable = mmap(NULL, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	cr_assert_neq((void *)unreadable, MAP_FAILED);
	sigaction(SIGSEGV, &action, NULL);
}

/* Begins a put and leaves it by a long jump. */
static void torn_put(void)
{
	struct note note = {.record = {.kind = SW_RECORD_SPAN}};

	if (sigsetjmp(torn, 1) == 0)
		sw_ring_put(&sw_guest_self, &note.record, sizeof(note), sw_bytes(unreadable, 8));
}

Test(ring, a_long_jump_costs_one_record)
{
	prepare_tearing();
	cr_assert(put_note(0, 1, 20));
	torn_put();
	cr_assert(put_note(0, 2, 20), "the thread takes its own lock over");
	torn_put();
	torn_put();
	cr_assert(put_note(0, 3, 20));
	cr_assert_eq(sw_guest_self.ring, 0, "in the same ring");
	cr_assert_eq(drain().count, 3);
	cr_assert_eq(sw_counter_read(SW_COUNTER_RECORDS), 3);
}

static pthread_barrier_t held, go;

static void *tear_and_wait(void *arg)
{
	(void)arg;
	torn_put();
	pthread_barrier_wait(&held);
	pthread_barrier_wait(&go);
	return NULL;
}

/* Every ring is held by a torn writer. While these live nobody may take their rings. */
Test(ring, a_dead_thread_gives_its_ring_back)
{
	pthread_t thread[RINGS];
	bool put = false;

	prepare_tearing();
	pthread_barrier_init(&held, NULL, RINGS + 1);
	pthread_barrier_init(&go, NULL, RINGS + 1);
	for (int i = 0; i < RINGS; i++)
		cr_assert_eq(pthread_create(&thread[i], NULL, tear_and_wait, NULL), 0);
	pthread_barrier_wait(&held);
	for (int i = 0; i < 20; i++)
		sw_ring_sweep();
	cr_assert_not(put_note(0, 1, 0), "every ring is held by a living thread");
	cr_assert_eq(sw_counter_read(SW_COUNTER_RING_FULL), 1);
	pthread_barrier_wait(&go);
	for (int i = 0; i < RINGS; i++)
		pthread_join(thread[i], NULL);
	for (int i = 0; i < 1000 && !put; i++) { /* the kernel forgets a thread a little later */
		sw_ring_sweep();
		put = put_note(0, 2, 0);
	}
	cr_assert(put);
	cr_assert_eq(drain().last, 2);
}

Test(ring, a_child_begins_empty)
{
	prepare_tearing();
	cr_assert(put_note(0, 1, 0));
	torn_put();
	sw_guest_self.ring = 0;
	sw_module_ring.fork_child();
	cr_assert_eq(drain().count, 0, "the parent reports them");
	cr_assert_eq(atomic_load(&sw_ring_reader), SW_READER_ABSENT);
	cr_assert(put_note(0, 2, 0));
	cr_assert_eq(drain().last, 2);
}

/* ---- load ---- */

static _Atomic unsigned refused, running;

static void *produce(void *arg)
{
	uint32_t me = (uint32_t)(uintptr_t)arg;

	for (uint32_t i = 0; i < PUTS; i++) {
		if (!put_note(me, i, text_len_of(me, i)))
			atomic_fetch_add(&refused, 1);
	}
	atomic_fetch_sub(&running, 1);
	return NULL;
}

/* Sweeping belongs to the reader, so it sweeps between its drains, as often as it can. */
Test(ring, four_producers_one_reader)
{
	struct seen seen = {.once = calloc(PRODUCERS, PUTS)};
	pthread_t thread[PRODUCERS];
	unsigned more;

	atomic_store(&running, PRODUCERS);
	for (uintptr_t i = 0; i < PRODUCERS; i++)
		cr_assert_eq(pthread_create(&thread[i], NULL, produce, (void *)i), 0);
	do {
		more = atomic_load(&running);
		sw_ring_drain(take_note, &seen);
		sw_ring_sweep();
	} while (more);
	for (int i = 0; i < PRODUCERS; i++)
		pthread_join(thread[i], NULL);
	sw_ring_drain(take_note, &seen);
	cr_assert_eq(seen.broken, 0);
	cr_assert_eq(seen.count + atomic_load(&refused), PRODUCERS * PUTS);
	cr_assert_gt(seen.count, 0);
	cr_assert_eq(sw_counter_read(SW_COUNTER_RECORDS), seen.count);
	cr_assert_eq(sw_counter_read(SW_COUNTER_RING_FULL), atomic_load(&refused));
	cr_assert_not(sw_ring_waiting());
	free(seen.once);
}

static bool put_some(uint32_t number, size_t len, bool starts)
{
	struct note note = {.record = {.kind = SW_RECORD_SPAN}, .number = number};
	struct sw_bytes part[] = {sw_bytes(filling, len / 2), sw_bytes(NULL, 0),
				  sw_bytes(filling + len / 2, len - len / 2)};

	note.text_len = (uint32_t)len;
	return sw_ring_put_some(&sw_guest_self, &note.record, sizeof(note), part, 3, starts);
}

Test(ring, some_fill_half_and_leave_the_other_half_to_others)
{
	uint32_t some = 0, others = 0;
	struct seen seen;

	while (put_some(some + 1, 1000, true))
		some++;
	cr_assert(some >= RINGS * (RING_BYTES / 2 / 1100) &&
		  some <= RINGS * (RING_BYTES / 2 / 1000));
	cr_assert_not(put_some(1, 1, true), "nothing is tried again before a drain");
	while (put_note(0, some + others + 1, 1000))
		others++;
	cr_assert(others >= some - RINGS, "%u others, %u some", others, some);
	seen = drain();
	cr_assert_eq(seen.count, some + others);
	cr_assert_eq(seen.broken, 0);
	cr_assert(put_some(1, 1000, true), "and then there is room again");
}

Test(ring, some_start_no_reporter_and_wake_one_that_sleeps)
{
	atomic_store(&sw_ring_reader, SW_READER_ABSENT);
	sw_guest_self.kick = false;
	cr_assert(put_some(1, 10, false));
	cr_assert_not(sw_guest_self.kick);
	cr_assert(put_some(2, 10, true));
	cr_assert(sw_guest_self.kick);
	sw_guest_self.kick = false;
	atomic_store(&sw_ring_reader, SW_READER_IDLE);
	cr_assert(put_some(3, 10, false));
	cr_assert(sw_guest_self.kick);
}
