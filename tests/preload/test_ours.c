/* A thread that has ended is waited for until the kernel lists it no more, one that lives as long
 * as was said. */
#include <criterion/criterion.h>
#include <unistd.h>

#include "preload/ours.h"
#include "preload/sys.h"

static void *tell(void *ret_tid)
{
	*(int *)ret_tid = (int)sw_sys(gettid);
	return NULL;
}

Test(ours, it_is_listed_no_more)
{
	uint64_t end_ns = sw_clock_ns(CLOCK_MONOTONIC) + 30 * SW_SECOND_NS;
	pthread_t thread;
	int tid = 0;

	cr_assert_eq(pthread_create(&thread, NULL, tell, &tid), 0);
	pthread_join(thread, NULL);
	sw_ours_wait_unlisted(tid, end_ns);
	cr_assert(sw_sys(tgkill, getpid(), tid, 0) < 0);
}

Test(ours, it_is_not_waited_for_longer)
{
	uint64_t end_ns = sw_clock_ns(CLOCK_MONOTONIC) + 20000000;

	sw_ours_wait_unlisted((int)sw_sys(gettid), end_ns);
	cr_assert(sw_clock_ns(CLOCK_MONOTONIC) >= end_ns);
	sw_ours_wait_unlisted(0, UINT64_MAX); /* none */
}

Test(ours, room_is_counted)
{
	pthread_attr_t attr;

	pthread_attr_init(&attr);
	cr_assert(sw_ours_thread_room(&attr) < 1u << 24);
	pthread_attr_destroy(&attr);
}
