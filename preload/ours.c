/* Threads of ours; see ours.h. */
#include "preload/ours.h"

#include <dlfcn.h>

#include "preload/sys.h"

size_t sw_ours_thread_room(const pthread_attr_t *attr)
{
	size_t (*minstack)(const pthread_attr_t *) =
		(size_t(*)(const pthread_attr_t *))dlsym(RTLD_DEFAULT, "__pthread_get_minstack");

	return minstack ? minstack(attr) : 0;
}

void sw_ours_wait_unlisted(int tid, uint64_t end_ns)
{
	long self = sw_sys(getpid);

	while (tid && sw_sys(tgkill, self, tid, 0) == 0 && sw_clock_ns(CLOCK_MONOTONIC) < end_ns)
		sw_sys(sched_yield);
}

#ifdef __SANITIZE_ADDRESS__
/* More than threads of ours use. */
#define STACK_USED (256u << 10)

void __asan_unpoison_memory_region(const volatile void *address, size_t bytes);

void sw_ours_fresh_stack(void)
{
	/* And the caller's own frame, which begins above ours. */
	char *top = (char *)__builtin_frame_address(0) + 1024;

	__asan_unpoison_memory_region(top - STACK_USED, STACK_USED);
}
#endif
