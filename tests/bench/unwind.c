/*
 * What a native stack costs: one of 42 frames with a callback of qsort's in it, its rows known, its
 * rows unknown, and with nothing known at all; and the look for new libraries. Prints ns.
 */
#include <stdio.h>
#include <stdlib.h>

#include "sampler/native/libraries.h"
#include "tests/sampler/native/caught.h"

#define DEPTH 30
#define TIMES 20000

static volatile unsigned sink;

static __attribute__((noipa)) unsigned below(unsigned depth)
{
	volatile unsigned kept = depth;

	if (depth)
		return below(depth - 1) + kept;
	for (unsigned i = 0; i < 10000 && !atomic_load(&worker.leave); i++)
		kept++;
	return kept;
}

static int compare(const void *a, const void *b)
{
	(void)a;
	(void)b;
	return (int)below(DEPTH) >= 0;
}

static void work(void)
{
	int two[] = {2, 1};

	qsort(two, 2, sizeof(two[0]), compare);
	sink += (unsigned)two[0];
}

static uint64_t now(void)
{
	return sw_clock_ns(CLOCK_MONOTONIC);
}

static void report(const char *what, uint64_t from, unsigned times)
{
	printf("%-42s %8.0f ns\n", what, (double)(now() - from) / times);
}

int main(void)
{
	static struct sw_native_stack stack;
	uint64_t from, spent = 0;

	worker_start(work);
	do {
		catch_it(1000000);
		sw_native_refresh();
		unwind_it(true, &stack);
	} while (sw_native_is_cut(&stack) || stack.count < DEPTH + 5);
	worker_stop();
	printf("%u frames\n", stack.count);
	from = now();
	for (unsigned i = 0; i < TIMES; i++)
		unwind_it(true, &stack);
	report("known", from, TIMES);
	for (unsigned i = 0; i < 100; i++) {
		sw_libraries_epoch++;
		sw_native_refresh();
		from = now();
		unwind_it(true, &stack);
		spent += now() - from;
	}
	report("rows unknown", now() - spent, 100);
	sw_native_forked();
	sw_native_refresh();
	from = now();
	unwind_it(true, &stack);
	report("tables unknown", from, 1);
	sw_native_forked();
	from = now();
	sw_native_refresh();
	report("libraries listed", from, 1);
	from = now();
	for (unsigned i = 0; i < TIMES; i++)
		sw_native_refresh();
	report("nothing came or went", from, TIMES);
	return 0;
}
