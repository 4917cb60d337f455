/* What functions are called, and which line they stand in: this program's own, libc's, the vDSO's.
 */
#include <criterion/criterion.h>
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "inlined.h"
#include "sampler/native/native.h"

volatile unsigned inlined_sink;
static volatile uintptr_t seen;

static bool is(struct sw_bytes text, const char *wanted)
{
	return sw_bytes_equal(text, sw_bytes_text(wanted));
}

static bool ends(struct sw_bytes text, const char *wanted)
{
	return sw_bytes_ends(text, sw_bytes_text(wanted));
}

static struct sw_native_name name_of(uint64_t pc)
{
	struct sw_native_name name;

	cr_assert(sw_native_refresh());
	cr_assert(sw_native_name(pc, &name));
	return name;
}

/* Where it was called from, within the call. */
static __attribute__((noinline)) void *note_caller(void)
{
	seen = (uintptr_t)__builtin_return_address(0) - 1;
	return NULL;
}

static __attribute__((noinline)) unsigned a_local_function(void)
{
	note_caller();
	return __LINE__ - 1;
}

Test(symbols, a_local_function_has_its_file_and_line)
{
	unsigned line = a_local_function();
	struct sw_native_name name = name_of(seen);

	cr_assert(is(name.symbol, "a_local_function"));
	cr_assert_lt(name.offset, 100);
	cr_assert(ends(name.file, "test_symbols.c"));
	cr_assert_eq(name.line, line);
	cr_assert(name.library.len && !memchr(name.library.at, '/', name.library.len));
}

static __attribute__((noinline)) unsigned calls_inlined(void)
{
	unsigned line = __LINE__;

	inlined_sink += line;
	inlined_here(note_caller);
	return line;
}

Test(symbols, what_is_inlined_from_elsewhere_has_a_line_of_its_function)
{
	unsigned line = calls_inlined();
	struct sw_native_name name = name_of(seen);

	cr_assert(is(name.symbol, "calls_inlined"));
	cr_assert(ends(name.file, "test_symbols.c"));
	cr_assert_geq(name.line, line - 2);
	cr_assert_leq(name.line, line + 4);
}

Test(symbols, of_several_names_the_one_that_is_known)
{
	struct sw_native_name name = name_of((uintptr_t)dlsym(RTLD_DEFAULT, "nanosleep") + 4);

	cr_assert(is(name.library, "libc.so.6"));
	cr_assert(is(name.symbol, "nanosleep"));
	cr_assert_eq(name.offset, 4);
}

Test(symbols, of_the_vdso)
{
	void *vdso = dlopen("linux-vdso.so.1", RTLD_NOW | RTLD_NOLOAD);
	void *clock = vdso ? dlsym(vdso, "__vdso_clock_gettime") : NULL;
	struct sw_native_name name;

	if (!clock)
		return;
	name = name_of((uintptr_t)clock + 1);
	cr_assert(is(name.library, "linux-vdso.so.1"));
	cr_assert(ends(name.symbol, "clock_gettime"));
	cr_assert_eq(name.offset, 1);
}

Test(symbols, where_nothing_is_there_is_no_name)
{
	struct sw_native_name name;

	cr_assert(sw_native_refresh());
	cr_assert_not(sw_native_name((uintptr_t)&name, &name));
	cr_assert_not(sw_native_name(0, &name));
	cr_assert_not(sw_native_name(UINT64_MAX, &name));
}

Test(symbols, a_function_has_an_end)
{
	uint64_t end, from = (uintptr_t)a_local_function;

	cr_assert(sw_native_refresh());
	cr_assert(sw_native_function(from, &end));
	a_local_function();
	cr_assert_gt(end, seen);
	cr_assert_lt(end, from + 200);
	cr_assert_not(sw_native_function(from + 1, &end));
}

Test(symbols, names_that_were_forgotten_are_read_again)
{
	unsigned line = a_local_function();

	name_of(seen);
	sw_native_forget_names();
	cr_assert_eq(name_of(seen).line, line);
}

/* An upgrade, which makes a new file in the place of the old one. */
Test(symbols, of_a_file_that_is_another_by_now_what_is_exported)
{
	char from[512], path[] = "/tmp/symbols-XXXXXX", command[1200];
	struct sw_native_name name;
	void *library;

	if (!getenv("SW_TESTS_LIBRARIES"))
		return;
	for (unsigned i = 0; i < 2; i++) {
		cr_assert_eq(close(mkstemp(path)), 0);
		snprintf(from, sizeof(from), "%s/libstormy_a.so", getenv("SW_TESTS_LIBRARIES"));
		snprintf(command, sizeof(command), "cp %s %s", from, path);
		cr_assert_eq(system(command), 0);
		library = dlopen(path, RTLD_NOW);
		cr_assert_not_null(library, "%s", dlerror());
		unlink(path);
		snprintf(command, sizeof(command), "cp %s/libstormy_b.so %s",
			 getenv("SW_TESTS_LIBRARIES"), path);
		cr_assert(i == 0 || system(command) == 0);
		name = name_of((uintptr_t)dlsym(library, "stormy_a") + 3);
		unlink(path);
		cr_assert(is(name.symbol, "stormy_a"));
		cr_assert_eq(name.offset, 3);
		cr_assert_eq(name.line, 0);
		dlclose(library);
		memcpy(path, "/tmp/symbols-XXXXXX", sizeof(path));
	}
}

/* Against addr2line, of the addresses given; for use by hand:
 * SYMBOLS_OF=LIBRARY SYMBOLS_AT="OFFSET..." */
Test(symbols, by_hand)
{
	const char *path = getenv("SYMBOLS_OF"), *at = getenv("SYMBOLS_AT");
	struct timespec before, after;
	void *library;
	char *end;
	Dl_info info;

	if (!path || !at)
		return;
	library = dlopen(path, RTLD_NOW);
	cr_assert_not_null(library, "%s", dlerror());
	cr_assert(dladdr(dlsym(library, getenv("SYMBOLS_FUNCTION")), &info));
	clock_gettime(CLOCK_MONOTONIC, &before);
	name_of((uintptr_t)info.dli_fbase);
	clock_gettime(CLOCK_MONOTONIC, &after);
	fprintf(stderr, "read in %ld us\n",
		(after.tv_sec - before.tv_sec) * 1000000 + (after.tv_nsec - before.tv_nsec) / 1000);
	for (uint64_t offset; offset = strtoull(at, &end, 16), end != at; at = end) {
		struct sw_native_name name = name_of((uintptr_t)info.dli_fbase + offset);

		printf("%.*s %.*s:%u\n", (int)name.symbol.len, (const char *)name.symbol.at,
		       (int)name.file.len, (const char *)name.file.at, name.line);
	}
}
