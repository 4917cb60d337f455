/* Identity: ids that never repeat, names that fit, and what a child of any kind is. */
#include "preload/process.h"

#include <criterion/criterion.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>

#include "preload/config.h"
#include "preload/counters.h"
#include "preload/guard.h"
#include "preload/module.h"
#include "preload/sys.h"
#include "tests/preload/stub_modules.h"

#define IDS 1000
#define THREADS 4

extern const struct sw_module sw_module_process;

static void start(void)
{
	sw_process_note();
	cr_assert(sw_module_process.start());
}

TestSuite(process, .init = start);

static struct sw_id ids[THREADS][IDS];

static void *draw_ids(void *arg)
{
	struct sw_id *id = arg;

	for (int i = 0; i < IDS; i++)
		id[i] = sw_process_id_next();
	return NULL;
}

static int by_value(const void *a, const void *b)
{
	return memcmp(a, b, sizeof(struct sw_id));
}

Test(process, ids_never_repeat)
{
	struct sw_id *id = (struct sw_id *)ids;
	pthread_t thread[THREADS];

	for (int i = 0; i < THREADS; i++)
		cr_assert_eq(pthread_create(&thread[i], NULL, draw_ids, ids[i]), 0);
	for (int i = 0; i < THREADS; i++)
		pthread_join(thread[i], NULL);
	qsort(id, THREADS * IDS, sizeof(struct sw_id), by_value);
	for (int i = 1; i < THREADS * IDS; i++)
		cr_assert_neq(by_value(&id[i - 1], &id[i]), 0);
}

/* A segment that starts a trace must not have the trace's id, nor any other segment's. */
Test(process, ids_of_traces)
{
	struct sw_id segment = sw_process_id_next();
	struct sw_id trace = sw_process_trace_of(segment);

	cr_assert_eq(trace.high, segment.high);
	cr_assert_eq(segment.low >> 63, 0);
	cr_assert_eq(trace.low, segment.low | 1ull << 63);
	cr_assert_neq(segment.low, 0);
}

Test(process, ids_as_text)
{
	uint8_t text[SW_ID_TEXT];
	struct sw_writer w = sw_writer(text, sizeof(text));

	sw_write_id(&w, (struct sw_id){0x0123456789abcdefull, 0xfull});
	cr_assert_not(w.cut);
	cr_assert(sw_bytes_equal(sw_written(&w), SW_BYTES("0123456789abcdef000000000000000f")));
}

Test(process, the_mark_is_set)
{
	cr_assert_eq(atomic_load(sw_process_mark), 1);
}

Test(process, service_is_the_program_by_default)
{
	cr_assert_not_null(strstr(sw_process_service(), "process"));
	cr_assert_null(strchr(sw_process_service(), '/'));
	cr_assert_eq(sw_process_service(), sw_process_service(), "made once");
}

Test(process, service_as_configured)
{
	sw_config.service_name = "shop";
	sw_config.space = "east";
	start(); /* names are made there */
	cr_assert_str_eq(sw_process_service(), "shop|east");
}

static const char longest[] = /* 100 */
	"0123456789012345678901234567890123456789012345678901234567890123456789"
	"012345678901234567890123456789";

Test(process, service_is_cut)
{
	sw_config.service_name = longest;
	start(); /* names are made there */
	cr_assert_eq(strlen(sw_process_service()), 70);
	cr_assert_eq(strncmp(sw_process_service(), longest, 70), 0);
}

Test(process, instance_is_random_by_default)
{
	const char *name = sw_process_instance();

	cr_assert_eq(strlen(name), 32);
	cr_assert_eq(strspn(name, "0123456789abcdef"), 32);
	cr_assert_eq(sw_process_instance(), name);
}

Test(process, instance_as_configured)
{
	sw_config.instance_name = "one";
	start(); /* names are made there */
	cr_assert_str_eq(sw_process_instance(), "one");
}

/* ---- children ---- */

/* Runs `body` in a real child; its result is the exit code. */
static int in_child(int (*body)(void))
{
	int status;
	pid_t pid = fork();

	if (pid == 0)
		_exit(body());
	waitpid(pid, &status, 0);
	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static struct sw_id parents_id;

static int look_at_child(void)
{
	char want[64];

	if (atomic_load(sw_process_mark) != 0)
		return 1; /* the kernel did not wipe it */
	sw_module_process.fork_child();
	if (atomic_load(sw_process_mark) != 1 || atomic_load(&sw_process_forks) != 1)
		return 2;
	if (sw_process_id_next().high == parents_id.high)
		return 3;
	if (sw_guest_tid(&sw_guest_self) != getpid() || sw_counter_read(SW_COUNTER_RECORDS))
		return 4;
	snprintf(want, sizeof(want), "base-child(%d)", (int)getpid());
	return strcmp(sw_process_instance(), want) == 0 ? 0 : 5;
}

Test(process, a_child_is_another)
{
	sw_config.instance_name = "base";
	start(); /* names are made there */
	sw_count(RECORDS);
	sw_guest_tid(&sw_guest_self);
	parents_id = sw_process_id_next();
	cr_assert_eq(in_child(look_at_child), 0);
	sw_module_process.fork_parent();
	cr_assert_eq(atomic_load(&sw_process_forks), 1, "the parent has forked");
	cr_assert_eq(atomic_load(sw_process_mark), 1);
	cr_assert_eq(sw_process_id_next().high, parents_id.high);
	cr_assert_str_eq(sw_process_instance(), "base");
	cr_assert_eq(sw_counter_read(SW_COUNTER_RECORDS), 1);
}

/* A child that nobody prepared: clone(2) past libc. */
Test(process, a_raw_child_is_noticed)
{
	int status = 0;
	long pid = sw_sys(clone, SIGCHLD, 0, 0, 0, 0);

	if (pid == 0)
		_exit(atomic_load(sw_process_mark) == 0 ? 0 : 1);
	waitpid((pid_t)pid, &status, 0);
	cr_assert_eq(status, 0);
}

static int look_at_grandchild(void)
{
	char want[128];

	sw_module_process.fork_child();
	snprintf(want, sizeof(want), "base-child(%d)", (int)getpid());
	return strcmp(sw_process_instance(), want) == 0 ? 0 : 1;
}

static int fork_again(void)
{
	sw_module_process.fork_child();
	return in_child(look_at_grandchild);
}

Test(process, the_suffix_is_replaced)
{
	sw_config.instance_name = "base";
	start(); /* names are made there */
	cr_assert_eq(in_child(fork_again), 0);
}

static int look_at_long_name(void)
{
	char suffix[32];
	size_t len;

	sw_module_process.fork_child();
	len = strlen(sw_process_instance());
	snprintf(suffix, sizeof(suffix), "-child(%d)", (int)getpid());
	if (len != 70 || strcmp(sw_process_instance() + len - strlen(suffix), suffix) != 0)
		return 1;
	return strncmp(sw_process_instance(), longest, 70 - strlen(suffix)) == 0 ? 0 : 2;
}

Test(process, a_long_name_gives_way_to_the_suffix)
{
	sw_config.instance_name = longest;
	start(); /* names are made there */
	cr_assert_eq(in_child(look_at_long_name), 0);
}

/* Both halves ask for the names, each on its thread, at about the same moment. */
static pthread_barrier_t together;

static void *ask_for_name(void *arg)
{
	char *ret_name = arg;

	pthread_barrier_wait(&together);
	snprintf(ret_name, 80, "%s", sw_process_instance());
	return NULL;
}

Test(process, threads_agree_on_the_name)
{
	char name[THREADS][80];
	pthread_t thread[THREADS];

	pthread_barrier_init(&together, NULL, THREADS);
	for (int i = 0; i < THREADS; i++)
		cr_assert_eq(pthread_create(&thread[i], NULL, ask_for_name, name[i]), 0);
	for (int i = 0; i < THREADS; i++)
		pthread_join(thread[i], NULL);
	for (int i = 0; i < THREADS; i++)
		cr_assert_str_eq(name[i], sw_process_instance());
}
