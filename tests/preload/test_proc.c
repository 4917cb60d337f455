/* Folders of numbers, and what /proc says of a thread. */
#include "preload/proc.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

struct seen {
	int numbers[8];
	int count;
	int dir;
};

static void note(void *arg, int number, int dir)
{
	struct seen *seen = arg;

	if (seen->count < 8)
		seen->numbers[seen->count] = number;
	seen->count++;
	seen->dir = dir;
}

static void make(const char *folder, const char *name)
{
	char path[256];

	snprintf(path, sizeof(path), "%s/%s", folder, name);
	cr_assert_eq(mkdir(path, 0700), 0);
}

static void drop(const char *folder, const char *name)
{
	char path[256];

	snprintf(path, sizeof(path), "%s/%s", folder, name);
	rmdir(path);
}

Test(proc, only_numbers_count)
{
	static const char *const names[] = {"12", "0", "x1", "1x", "-1", "99999999999"};
	char folder[] = "/tmp/proc-XXXXXX";
	struct seen seen = {.count = 0};

	cr_assert(mkdtemp(folder));
	for (size_t i = 0; i < 6; i++)
		make(folder, names[i]);
	cr_assert_eq(sw_proc_numbers(folder, note, &seen), 0);
	for (size_t i = 0; i < 6; i++)
		drop(folder, names[i]);
	rmdir(folder);
	cr_assert_eq(seen.count, 2);
	cr_assert_eq(seen.numbers[0] + seen.numbers[1], 12);
	cr_assert_eq(fcntl(seen.dir, F_GETFD), -1); /* closed */
}

/* More than one answer of the kernel's holds. */
Test(proc, many)
{
	struct seen seen = {.count = 0};
	int first = open("/dev/null", O_RDONLY), last = first;

	for (int i = 0; i < 199; i++)
		last = dup(first);
	cr_assert_eq(sw_proc_numbers("/proc/self/fd", note, &seen), 0);
	cr_assert_geq(seen.count, 200);
	cr_assert_geq(last, 199);
}

Test(proc, nothing_there)
{
	struct seen seen = {.count = 0};

	cr_assert_eq(sw_proc_numbers("/nothing/there", note, &seen), -ENOENT);
	cr_assert_eq(seen.count, 0);
}

Test(proc, of_a_thread)
{
	char text[32];
	long len;

	prctl(PR_SET_NAME, "who I am");
	len = sw_proc_read_task((int)gettid(), "comm", text, sizeof(text));
	cr_assert_eq(len, 9);
	cr_assert(memcmp(text, "who I am\n", 9) == 0);
	cr_assert_eq(sw_proc_read_task((int)gettid(), "comm", text, 3), 3);
	cr_assert_eq(sw_proc_read_task(0, "comm", text, sizeof(text)), -ENOENT);
	cr_assert_eq(sw_proc_open_task((int)gettid(), "nothing"), -ENOENT);
}

Test(proc, fields_are_counted_after_the_name)
{
	static const char stat[] = "12 (a) b (c d) R 1 22 333\n";

	cr_assert_eq(strcmp(sw_proc_field(stat, 3), "R 1 22 333\n"), 0);
	cr_assert_eq(strcmp(sw_proc_field(stat, 6), "333\n"), 0);
	cr_assert_null(sw_proc_field(stat, 7));
	cr_assert_null(sw_proc_field("", 3));
}

Test(proc, a_number_ends_where_its_digits_do)
{
	cr_assert_eq(sw_proc_number("18446744073709551615 4"), UINT64_MAX);
	cr_assert_eq(sw_proc_number("42\n"), 42);
	cr_assert_eq(sw_proc_number(""), 0);
	cr_assert_eq(sw_proc_number("-1"), 0);
}
