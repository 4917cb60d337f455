/*
 * What the oracle cannot show: libraries that come and go while stacks are unwound, threads of
 * which only pc and sp are known, pieces that end early, and nonsense.
 */
#include <criterion/criterion.h>
#include <dlfcn.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>

#include "caught.h"

static struct sw_native_stack stack;

static struct sw_bytes symbol_of(uint64_t pc)
{
	struct sw_native_name name = {.symbol = {NULL, 0}};

	return sw_native_name(pc, &name) ? name.symbol : sw_bytes(NULL, 0);
}

static bool is(struct sw_bytes text, const char *wanted)
{
	return sw_bytes_equal(text, sw_bytes_text(wanted));
}

static bool has(const char *symbol)
{
	for (unsigned i = 0; i < stack.count; i++) {
		if (is(symbol_of(stack.pc[i]), symbol))
			return true;
	}
	return false;
}

/* ---- libraries that come and go ---- */

#define STORM_NS 3000000000ull

static const char *const names[] = {"stormy_a", "stormy_b"};
static _Atomic bool calm;
static _Atomic unsigned opened;

static void nothing(void *arg)
{
	*(volatile char *)arg += 1;
}

static void open_and_close(unsigned which, _Atomic int *in)
{
	void (*function)(void (*)(void *), void *);
	char path[512], room = 0;
	void *library;

	snprintf(path, sizeof(path), "%s/lib%s.so", getenv("SW_TESTS_LIBRARIES"), names[which]);
	library = dlopen(path, RTLD_NOW);
	if (!library)
		return;
	function = (void (*)(void (*)(void *), void *))dlsym(library, names[which]);
	if (in)
		atomic_store(in, (int)which + 1);
	function(nothing, &room);
	if (in)
		atomic_store(in, 0);
	dlclose(library);
	atomic_fetch_add(&opened, 1);
}

static void *storm(void *arg)
{
	unsigned which = (unsigned)(uintptr_t)arg;

	while (!atomic_load(&calm))
		open_and_close(which++ % 2, NULL);
	return NULL;
}

static void storm_of_worker(void)
{
	static unsigned turn;

	open_and_close(turn++ % 2, &worker.mark);
}

/* Which library was there when the stack was copied is known here: whatever lies there by the time
 * that it is unwound must not be taken for it. */
static void check_storm(unsigned *named)
{
	for (unsigned i = 0; i < stack.count; i++) {
		struct sw_bytes symbol = symbol_of(stack.pc[i]);

		for (int k = 0; k < 2; k++) {
			if (!is(symbol, names[k]))
				continue;
			++*named;
			cr_assert_eq(caught.mark, k + 1, "%s was not there", names[k]);
		}
	}
}

/* Some are unwound only when other libraries are there. */
static void catch_in_storm(unsigned i, unsigned *named)
{
	catch_it((long)(i % 50 * 1000));
	if (i % 3 == 0)
		usleep(300);
	cr_assert(sw_native_refresh());
	unwind_it(true, &stack);
	check_storm(named);
}

Test(unwind, libraries_come_and_go, .timeout = 100)
{
	uint64_t end_ns = sw_clock_ns(CLOCK_MONOTONIC) + STORM_NS;
	unsigned taken = 0, whole = 0, named = 0;
	pthread_t threads[3];

	if (!getenv("SW_TESTS_LIBRARIES"))
		return;
	for (uintptr_t i = 0; i < SW_COUNT_OF(threads); i++)
		pthread_create(&threads[i], NULL, storm, (void *)i);
	worker_start(storm_of_worker);
	for (; sw_clock_ns(CLOCK_MONOTONIC) < end_ns; taken++) {
		catch_in_storm(taken, &named);
		whole += !sw_native_is_cut(&stack);
	}
	worker_stop();
	atomic_store(&calm, true);
	for (unsigned i = 0; i < SW_COUNT_OF(threads); i++)
		pthread_join(threads[i], NULL);
	fprintf(stderr, "%u opened, %u stacks, %u whole, %u named\n", atomic_load(&opened), taken,
		whole, named);
	cr_assert_geq(atomic_load(&opened), 10);
	cr_assert_geq(taken, 10);
}

/* Two of the same layout, one after the other at the same address. */
Test(unwind, a_library_in_the_place_of_another_is_another, .timeout = 100)
{
	char path[512];
	uint64_t at[2] = {0, 0};

	if (!getenv("SW_TESTS_LIBRARIES"))
		return;
	for (unsigned i = 0; i < 2; i++) {
		void *library;

		snprintf(path, sizeof(path), "%s/lib%s.so", getenv("SW_TESTS_LIBRARIES"), names[i]);
		library = dlopen(path, RTLD_NOW);
		cr_assert_not_null(library, "%s", dlerror());
		at[i] = (uintptr_t)dlsym(library, names[i]);
		cr_assert(sw_native_refresh());
		cr_assert(is(symbol_of(at[i]), names[i]));
		dlclose(library);
	}
	cr_assert(sw_native_refresh());
	cr_assert_eq(symbol_of(at[1]).len, 0, "it has gone");
	if (at[0] != at[1])
		fprintf(stderr, "not at the same address\n");
}

/* A stack that was copied before the library came cannot be of it. */
Test(unwind, a_stack_older_than_the_library_is_not_of_it, .timeout = 100)
{
	uint64_t word[2] = {0, 0}, taken_ns, at;
	struct sw_native_piece piece = {word, (uintptr_t)word, sizeof(word)};
	struct sw_native_registers from = {.sp = (uintptr_t)word, .all = true};
	char path[512];
	void *library;

	if (!getenv("SW_TESTS_LIBRARIES"))
		return;
	for (unsigned i = 0; i < 2; i++) {
		snprintf(path, sizeof(path), "%s/lib%s.so", getenv("SW_TESTS_LIBRARIES"), names[i]);
		taken_ns = sw_clock_ns(CLOCK_MONOTONIC);
		library = dlopen(path, RTLD_NOW);
		cr_assert_not_null(library);
		at = from.pc = (uintptr_t)dlsym(library, names[i]);
		cr_assert(sw_native_refresh());
		sw_native_unwind(&from, &piece, taken_ns, &stack);
		/* Only where something was removed before can something else have been there. */
		cr_assert_eq(stack.end, i ? SW_NATIVE_NOWHERE : SW_NATIVE_WHOLE);
		cr_assert_eq(stack.count, 1 - i);
		sw_native_unwind(&from, &piece, sw_clock_ns(CLOCK_MONOTONIC), &stack);
		cr_assert_eq(stack.end, SW_NATIVE_WHOLE, "%d", stack.end);
		cr_assert_eq(stack.pc[0], at);
		dlclose(library);
	}
}

/* ---- threads that stand in a call of the kernel ---- */

static _Atomic int sleeper_tid;
static _Atomic uint64_t sleeper_end;
static int pipes[2];

static __attribute__((noipa)) int waits_for_the_pipe(void)
{
	struct pollfd fd = {pipes[0], POLLIN, 0};

	return poll(&fd, 1, -1) + 1;
}

static void *sleep_long(void *arg)
{
	pthread_attr_t attr;
	void *from;
	size_t size;

	(void)arg;
	pthread_getattr_np(pthread_self(), &attr);
	pthread_attr_getstack(&attr, &from, &size);
	pthread_attr_destroy(&attr);
	atomic_store(&sleeper_end, (uint64_t)from + size);
	atomic_store(&sleeper_tid, (int)sw_sys(gettid));
	waits_for_the_pipe();
	return NULL;
}

/* False: it has not come to its call yet. */
static bool read_blocked(struct sw_native_registers *from)
{
	char path[64], text[256];
	unsigned long number;
	int fd;
	ssize_t len;

	snprintf(path, sizeof(path), "/proc/self/task/%d/syscall", atomic_load(&sleeper_tid));
	fd = open(path, O_RDONLY);
	len = read(fd, text, sizeof(text) - 1);
	close(fd);
	text[len > 0 ? len : 0] = 0;
	memset(from, 0, sizeof(*from));
	return sscanf(text, "%lu %*s %*s %*s %*s %*s %*s %lx %lx", &number, &from->sp, &from->pc) ==
		       3 &&
	       number == SYS_poll;
}

Test(unwind, of_a_thread_that_waits_pc_and_sp_are_enough, .timeout = 100)
{
	static uint8_t copy[64 << 10];
	struct sw_native_registers from;
	struct sw_native_piece piece = {.bytes = copy};
	pthread_t thread;

	cr_assert_eq(pipe(pipes), 0);
	pthread_create(&thread, NULL, sleep_long, NULL);
	while (!atomic_load(&sleeper_tid) || !read_blocked(&from))
		usleep(1000);
	piece.at = from.sp;
	piece.len = SW_MIN(atomic_load(&sleeper_end) - from.sp, sizeof(copy));
	cr_assert(sw_sys_peek(copy, (void *)from.sp, piece.len));
	cr_assert(sw_native_refresh());
	sw_native_unwind(&from, &piece, sw_clock_ns(CLOCK_MONOTONIC), &stack);
	fprintf(stderr, "%u frames, end %d\n", stack.count, stack.end);
	cr_assert(sw_bytes_ends(symbol_of(stack.pc[0]), SW_BYTES("poll")));
	cr_assert(has("waits_for_the_pipe"));
	cr_assert_eq(write(pipes[1], "x", 1), 1);
	pthread_join(thread, NULL);
}

/* ---- pieces that end early, and nonsense ---- */

static volatile unsigned depth_wanted;

static __attribute__((noipa)) unsigned spins_below(unsigned depth)
{
	volatile unsigned kept = depth;

	if (depth)
		return spins_below(depth - 1) + kept;
	while (!atomic_load(&worker.leave))
		kept++;
	return kept;
}

static void spin_deep(void)
{
	spins_below(depth_wanted);
}

Test(unwind, a_deep_stack_keeps_its_innermost, .timeout = 100)
{
	depth_wanted = 2 * SW_NATIVE_MAX;
	worker_start(spin_deep);
	do {
		catch_it(1000000);
		cr_assert(sw_native_refresh());
		unwind_it(true, &stack);
	} while (stack.end != SW_NATIVE_DEEP);
	worker_stop();
	cr_assert_eq(stack.count, SW_NATIVE_MAX);
	cr_assert(is(symbol_of(stack.pc[0]), "spins_below"));
	cr_assert(is(symbol_of(stack.pc[SW_NATIVE_MAX - 1]), "spins_below"));
}

Test(unwind, a_piece_that_ends_early_gives_the_beginning, .timeout = 100)
{
	static struct sw_native_stack whole;
	size_t len;

	depth_wanted = 20;
	worker_start(spin_deep);
	catch_it(5000000);
	worker_stop();
	cr_assert(sw_native_refresh());
	unwind_it(true, &whole);
	cr_assert_eq(whole.end, SW_NATIVE_WHOLE);
	len = caught.len;
	for (size_t cut = 0; cut < SW_MIN(len, 2000ul); cut++) {
		caught.len = cut;
		unwind_it(true, &stack);
		cr_assert_leq(stack.count, whole.count);
		cr_assert_eq(memcmp(stack.pc, whole.pc, stack.count * sizeof(stack.pc[0])), 0);
		cr_assert(stack.end == SW_NATIVE_SHORT || stack.count == whole.count);
	}
}

Test(unwind, nonsense_ends_at_once_and_breaks_nothing, .timeout = 100)
{
	static const uint64_t odd[] = {0, 1, 0xfff, 0x7fffffffffff, UINT64_MAX, UINT64_MAX - 7};
	uint64_t words[64];
	struct sw_native_piece piece = {words, (uintptr_t)words, sizeof(words)};
	unsigned seed = 1;

	cr_assert(sw_native_refresh());
	for (unsigned i = 0; i < 20000; i++) {
		struct sw_native_registers from;
		uint64_t *of = &from.pc;

		memset(&from, 0, sizeof(from));
		for (unsigned k = 0; k < 4; k++)
			of[k] = odd[rand_r(&seed) % SW_COUNT_OF(odd)] +
				(uint64_t)(rand_r(&seed) % 64);
		if (i % 2)
			from.pc = (uintptr_t)qsort + (uint64_t)(rand_r(&seed) % 8192);
		if (i % 3)
			from.sp = (uintptr_t)words + (uint64_t)(rand_r(&seed) % 256);
		for (unsigned k = 0; k < SW_COUNT_OF(words); k++)
			words[k] = (uintptr_t)(k % 2 ? (void *)qsort : (void *)words) +
				   (uint64_t)(rand_r(&seed) % 4096);
		from.all = i % 5;
		piece.len = i % 7 ? sizeof(words) : (size_t)(rand_r(&seed) % 9);
		sw_native_unwind(&from, &piece, i % 11 ? UINT64_MAX : 0, &stack);
		cr_assert_leq(stack.count, SW_NATIVE_MAX);
	}
}
