/*
 * The part of Criterion that these tests use, for builds with ThreadSanitizer.
 *
 * Criterion starts each test as a copy of itself with memory at fixed addresses, where the
 * sanitizer keeps its own. Here a test is a plain fork. Found instead of the real header when this
 * folder is on the include path; the tests are the same files.
 */
#pragma once

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define CR_SKIPPED 77

struct cr_test {
	const char *suite, *name; /* name NULL: options of a suite */
	void (*run)(void);
	void (*init)(void);
	int signal; /* that must end the test */
	unsigned timeout;
	struct cr_test *next;
};

static struct cr_test *cr_tests;

#define CR_REGISTER(s, n, id, function, ...)                                                       \
	static struct cr_test id = {.suite = #s, .name = n, .run = function, __VA_ARGS__};         \
	__attribute__((constructor)) static void id##_register(void)                               \
	{                                                                                          \
		id.next = cr_tests;                                                                \
		cr_tests = &id;                                                                    \
	}

#define TestSuite(s, ...) CR_REGISTER(s, NULL, cr_suite_##s, NULL, __VA_ARGS__)
#define Test(s, n, ...)                                                                            \
	static void cr_run_##s##_##n(void);                                                        \
	CR_REGISTER(s, #n, cr_test_##s##_##n, cr_run_##s##_##n, __VA_ARGS__)                       \
	static void cr_run_##s##_##n(void)

#define CR_FAIL(text, ...)                                                                         \
	(fprintf(stderr, "%s:%d: %s: ", __FILE__, __LINE__, text),                                 \
	 fprintf(stderr, "" __VA_ARGS__), fputc('\n', stderr), _exit(1))

#define cr_assert(condition, ...) ((condition) ? (void)0 : CR_FAIL(#condition, __VA_ARGS__))
#define cr_assert_not(condition, ...) cr_assert(!(condition), __VA_ARGS__)
#define cr_assert_eq(a, b, ...) cr_assert((a) == (b), __VA_ARGS__)
#define cr_assert_neq(a, b, ...) cr_assert((a) != (b), __VA_ARGS__)
#define cr_assert_lt(a, b, ...) cr_assert((a) < (b), __VA_ARGS__)
#define cr_assert_leq(a, b, ...) cr_assert((a) <= (b), __VA_ARGS__)
#define cr_assert_gt(a, b, ...) cr_assert((a) > (b), __VA_ARGS__)
#define cr_assert_geq(a, b, ...) cr_assert((a) >= (b), __VA_ARGS__)
#define cr_assert_null(a, ...) cr_assert((a) == NULL, __VA_ARGS__)
#define cr_assert_not_null(a, ...) cr_assert((a) != NULL, __VA_ARGS__)
#define cr_assert_str_eq(a, b, ...) cr_assert(strcmp(a, b) == 0, __VA_ARGS__)
#define cr_assert_str_neq(a, b, ...) cr_assert(strcmp(a, b) != 0, __VA_ARGS__)
#define cr_skip_test(...) _exit(CR_SKIPPED)

static inline void cr_run(const struct cr_test *test, const struct cr_test *suite)
{
	void (*init)(void) = test->init ? test->init : suite ? suite->init : NULL;

	alarm(test->timeout ? test->timeout : suite && suite->timeout ? suite->timeout : 60);
	if (init)
		init();
	test->run();
	fflush(NULL);
	/* exit, not _exit: the sanitizer turns what it found into the exit code */
	exit(0);
}

static inline bool cr_passed(const struct cr_test *test)
{
	const struct cr_test *suite = cr_tests;
	int status = 0;
	pid_t pid;

	while (suite && (suite->name || strcmp(suite->suite, test->suite) != 0))
		suite = suite->next;
	fflush(NULL);
	pid = fork();
	if (pid == 0)
		cr_run(test, suite);
	waitpid(pid, &status, 0);
	if (test->signal)
		return WIFSIGNALED(status) && WTERMSIG(status) == test->signal;
	return WIFEXITED(status) && (WEXITSTATUS(status) == 0 || WEXITSTATUS(status) == CR_SKIPPED);
}

int main(void)
{
	unsigned tested = 0, failed = 0;

	for (struct cr_test *test = cr_tests; test; test = test->next) {
		if (!test->name)
			continue;
		tested++;
		if (!cr_passed(test)) {
			failed++;
			printf("FAIL: %s::%s\n", test->suite, test->name);
		}
	}
	printf("%u tested, %u failed\n", tested, failed);
	return failed ? 1 : 0;
}
