/*
 * Who has what unwinds, and that the loader's lock is taken only where a fork is told: this program
 * stands between our code and the loader.
 */
#include <criterion/criterion.h>
#include <dlfcn.h>
#include <link.h>
#include <stdlib.h>

#include "sampler/native/native.h"

static bool delicate, watched; /* Criterion asks the loader, too */
static unsigned begun, outside, locked;

int dl_iterate_phdr(int (*each)(struct dl_phdr_info *, size_t, void *), void *arg)
{
	static int (*real)(int (*)(struct dl_phdr_info *, size_t, void *), void *);

	if (!real)
		*(void **)&real = dlsym(RTLD_NEXT, "dl_iterate_phdr");
	locked += watched;
	outside += watched && !delicate;
	return real(each, arg);
}

static void note(bool is)
{
	cr_assert_neq(is, delicate, "in pairs");
	delicate = is;
	begun += is;
}

/* All that there is, from registers of this thread and a copy of its stack. */
static void use(void)
{
	static struct sw_native_stack stack;
	static uint8_t copy[256]; /* this stack is longer */
	uint64_t here = (uintptr_t)__builtin_frame_address(0);
	struct sw_native_piece piece = {copy, here, sizeof(copy)};
	struct sw_native_registers from = {
		.pc = (uintptr_t)use, .sp = here + 8, .fp = here, .all = true};
	struct sw_native_name name;
	uint64_t end;

	memcpy(copy, (void *)here, sizeof(copy));
	watched = true;
	cr_assert(sw_native_refresh());
	sw_native_unwind(&from, &piece, UINT64_MAX, &stack);
	cr_assert_geq(stack.count, 1);
	cr_assert(sw_native_name(stack.pc[0], &name));
	cr_assert(sw_native_function((uintptr_t)malloc, &end));
	watched = false;
}

Test(libraries, the_loaders_lock_is_taken_where_a_fork_is_told)
{
	cr_assert(sw_native_take(note));
	use();
	use();
	sw_native_give();
	cr_assert_geq(locked, 3, "this program does stand in between");
	cr_assert_eq(outside, 0);
	cr_assert_eq(begun, locked);
	cr_assert_not(delicate);
}

Test(libraries, nobody_is_told_who_need_not_know)
{
	cr_assert(sw_native_take(NULL));
	use();
	sw_native_give();
	cr_assert_geq(locked, 2);
	cr_assert_eq(begun, 0);
}

Test(libraries, one_thread_at_a_time)
{
	cr_assert(sw_native_take(NULL));
	cr_assert_not(sw_native_take(note), "it is taken");
	use();
	cr_assert_eq(begun, 0, "by whom it was not");
	sw_native_give();
	cr_assert(sw_native_take(note));
	sw_native_forked();
	cr_assert(sw_native_take(NULL), "who had it is not in the child");
	sw_native_give();
}
