/*
 * Assembly whose unwind rows no compiler writes, in the middle of a stack and on top. What the
 * oracle says of the same functions: test_oracle_unwind.c.
 */
#include <criterion/criterion.h>

#include <stdlib.h>

#include "caught.h"
#include "odd.h"
#include "sampler/native/beyond.h"

#define SAMPLES 100

static struct sw_native_stack stack;

static bool is_of(uint64_t pc, const char *symbol)
{
	struct sw_native_name name;

	return sw_native_name(pc, &name) && sw_bytes_equal(name.symbol, sw_bytes_text(symbol));
}

/* Frames of this function; -1: none. *ret_first: the innermost one's place. */
static unsigned count_of(const char *symbol, unsigned *ret_first)
{
	unsigned count = 0;

	for (unsigned i = 0; i < stack.count; i++) {
		if (is_of(stack.pc[i], symbol) && !count++)
			*ret_first = i;
	}
	return count;
}

/* ---- what is unwound ---- */

static __attribute__((noipa)) void spins(unsigned long number)
{
	atomic_store(&worker.mark, 1);
	while (!atomic_load(&worker.leave) && number)
		;
}

#define BETWEEN(name)                                                                              \
	__attribute__((noipa)) void calls_##name(unsigned long number)                             \
	{                                                                                          \
		odd_##name(spins, number);                                                         \
		atomic_store(&worker.mark, 0);                                                     \
	}                                                                                          \
	static void run_##name(void)                                                               \
	{                                                                                          \
		calls_##name(1);                                                                   \
	}

BETWEEN(sp_at)
BETWEEN(rbx)
BETWEEN(expression)
BETWEEN(val_offset)

/* Two of them, one in the other, and a row of ours in between. */
__attribute__((noipa)) void calls_two(unsigned long number)
{
	odd_rbx(calls_expression, number);
	atomic_store(&worker.mark, 0);
}

static void run_two(void)
{
	calls_two(1);
}

/* These turn for as long as a stack takes to be caught. */
__attribute__((noipa)) void calls_ra_in_rcx(void)
{
	atomic_store(&worker.mark, 1);
	odd_ra_in_rcx(spins, 200000);
	atomic_store(&worker.mark, 0);
}

static void catch_within(void)
{
	do
		catch_it(50000);
	while (!caught.mark);
	cr_assert(sw_native_refresh());
	unwind_it(true, &stack);
}

static void check_between(void (*run)(void), const char *odd, const char *caller)
{
	unsigned at_odd, at_caller, at_spins;

	worker_start(run);
	for (unsigned i = 0; i < SAMPLES; i++) {
		catch_within();
		cr_assert_eq(stack.end, SW_NATIVE_WHOLE, "%s: %d", odd, stack.end);
		cr_assert_eq(count_of("spins", &at_spins), 1);
		cr_assert_eq(count_of(odd, &at_odd), 1);
		cr_assert_eq(count_of(caller, &at_caller), 1);
		cr_assert(at_spins < at_odd && at_odd < at_caller);
	}
	worker_stop();
}

Test(beyond, rules_that_rows_cannot_express_in_the_midst, .timeout = 100)
{
	check_between(run_sp_at, "odd_sp_at", "calls_sp_at");
	check_between(run_rbx, "odd_rbx", "calls_rbx");
	check_between(run_expression, "odd_expression", "calls_expression");
	check_between(run_val_offset, "odd_val_offset_inner", "calls_val_offset");
	check_between(run_two, "odd_expression", "calls_two");
}

/* Where the caller's frame is found by fp, which the odd function had changed. */
__attribute__((noipa, optimize("no-omit-frame-pointer"))) void calls_by_fp(unsigned long number)
{
	volatile char *room = __builtin_alloca(number * 40 + 16);

	room[0] = 1;
	odd_expression(spins, number);
	atomic_store(&worker.mark, 0);
	room[number] = room[0];
}

static void run_by_fp(void)
{
	calls_by_fp(1);
}

Test(beyond, knows_the_fp_of_the_caller, .timeout = 100)
{
	check_between(run_by_fp, "odd_expression", "calls_by_fp");
}

Test(beyond, finds_a_return_address_in_a_register_of_the_innermost, .timeout = 100)
{
	unsigned met = 0, place, caller;

	worker_start(calls_ra_in_rcx);
	while (met < SAMPLES / 4) {
		catch_within();
		if (!is_of(stack.pc[0], "odd_ra_in_rcx"))
			continue;
		met++;
		cr_assert_eq(stack.end, SW_NATIVE_WHOLE, "%d", stack.end);
		cr_assert_eq(count_of("calls_ra_in_rcx", &caller), 1);
		cr_assert_eq(caller, 1);
		cr_assert_eq(count_of("odd_ra_in_rcx", &place), 1);
	}
	worker_stop();
}

/* Of a thread of which only pc and sp are known: what was saved on the way is known, too. */
__attribute__((noipa)) void keeps_rbx(unsigned long number)
{
	register unsigned long kept __asm__("rbx") = number;

	__asm__ volatile("" : "+r"(kept));
	spins(number);
	__asm__ volatile("" : "+r"(kept));
}

__attribute__((noipa)) void calls_keeps_rbx(unsigned long number)
{
	odd_rbx(keeps_rbx, number);
	atomic_store(&worker.mark, 0);
}

static void run_keeps_rbx(void)
{
	calls_keeps_rbx(1);
}

Test(beyond, registers_that_were_saved_on_the_way_are_enough, .timeout = 100)
{
	unsigned place;

	worker_start(run_keeps_rbx);
	catch_within();
	unwind_it(false, &stack);
	cr_assert_eq(count_of("odd_rbx", &place), 1);
	cr_assert_eq(count_of("calls_keeps_rbx", &place), 1);
	worker_stop();
}

Test(beyond, what_is_not_known_ends_a_stack, .timeout = 100)
{
	unsigned place;

	worker_start(run_rbx);
	catch_within();
	unwind_it(false, &stack);
	worker_stop();
	cr_assert_eq(stack.end, SW_NATIVE_ODD, "%d", stack.end);
	cr_assert(is_of(stack.pc[stack.count - 1], "odd_rbx"));
	cr_assert_eq(count_of("calls_rbx", &place), 0);
}

/* ---- what rows can express, too ---- */

static int compares(const void *a, const void *b)
{
	(void)b;
	spins(*(const unsigned long *)a);
	return 1;
}

static void sorts(void)
{
	unsigned long numbers[2] = {1, 1};

	qsort(numbers, 2, sizeof(numbers[0]), compares);
	atomic_store(&worker.mark, 0);
}

/* From the innermost function to each other. */
Test(beyond, says_what_rows_say, .timeout = 100)
{
	static struct sw_native_stack part;
	struct sw_beyond_frame frame;
	uint64_t others[SW_NATIVE_REGISTERS];
	struct sw_native_registers from = {.all = true, .others = others};
	struct sw_native_piece piece = {.bytes = caught.bytes};

	worker_start(sorts);
	for (unsigned i = 0; i < SAMPLES; i++) {
		catch_within();
		cr_assert_eq(stack.end, SW_NATIVE_WHOLE);
		piece.at = caught.at;
		piece.len = caught.len;
		from.pc = caught_register(REG_RIP);
		from.sp = caught_register(REG_RSP);
		caught_others(others);
		for (part.count = 1; part.count < stack.count; part.count++) {
			memcpy(part.pc, stack.pc, part.count * sizeof(part.pc[0]));
			cr_assert(sw_beyond_leave(&from, &piece, &part, &frame));
			cr_assert_eq(frame.pc, stack.pc[part.count] + 1);
		}
		part.pc[0] ^= 1;
		cr_assert_not(sw_beyond_leave(&from, &piece, &part, &frame), "another stack");
	}
	worker_stop();
}

/* ---- what it refuses ---- */

/* As if the piece had been cut, at each of its words: what is found is what the whole one gives. */
Test(beyond, believes_nothing_but_the_copy, .timeout = 100)
{
	static struct sw_native_stack whole;
	size_t len;

	worker_start(run_two);
	catch_within();
	worker_stop();
	whole = stack;
	len = caught.len;
	for (caught.len = 0; caught.len < SW_MIN(len, 3000ul); caught.len++) {
		unwind_it(true, &stack);
		cr_assert_leq(stack.count, whole.count);
		cr_assert_eq(memcmp(stack.pc, whole.pc, stack.count * sizeof(stack.pc[0])), 0);
		cr_assert(stack.end != SW_NATIVE_WHOLE || stack.count == whole.count);
	}
}

/* Words of the stack and registers are whatever they are. */
Test(beyond, nonsense_breaks_nothing, .timeout = 100)
{
	uint64_t words[64], others[SW_NATIVE_REGISTERS];
	struct sw_native_piece piece = {words, (uintptr_t)words, sizeof(words)};
	static const odd_called_by *const odd[] = {odd_rbx, odd_expression, odd_val_offset,
						   odd_ra_in_rcx};
	unsigned seed = 1;

	cr_assert(sw_native_refresh());
	for (unsigned i = 0; i < 3000; i++) {
		struct sw_native_registers from = {
			.pc = (uintptr_t)odd[i % 4] + (uint64_t)(rand_r(&seed) % 48),
			.sp = (uintptr_t)words + (uint64_t)(rand_r(&seed) % 256),
			.fp = (uintptr_t)words + (uint64_t)(rand_r(&seed) % 512),
			.all = true,
			.others = others};

		for (unsigned k = 0; k < SW_COUNT_OF(words); k++)
			words[k] = (k % 2 ? (uintptr_t)odd[rand_r(&seed) % 4] : (uintptr_t)words) +
				   (uint64_t)(rand_r(&seed) % 64);
		for (unsigned k = 0; k < SW_COUNT_OF(others); k++)
			others[k] = i % 3 ? words[k] : (uint64_t)rand_r(&seed) << 33;
		sw_native_unwind(&from, &piece, UINT64_MAX, &stack);
		cr_assert_leq(stack.count, SW_NATIVE_MAX);
	}
}
