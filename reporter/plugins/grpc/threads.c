/*
 * C core's threads, and the driver and the pump. The linker gives us the call that makes them
 * (--wrap). They are made by our thread, or by one that is, and so have its descriptor table and
 * its blocked signals; here they are also taken out of sight of the hooks, given a stack of a known
 * size, and counted, for who counts those of the process.
 */
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>

#include "preload/sys.h"
#include "reporter/plugins/grpc/core.h"

/* OpenSSL's handshakes want some of it. */
#define STACK_BYTES (512u << 10)
/* More than C core makes; further ones are not waited for when they have ended. */
#define THREADS_MAX 64
#define SETTLE_NS 200000000ull

struct birth {
	void *(*start)(void *arg);
	void *arg;
};

static _Atomic unsigned threads;
static _Atomic int tids[THREADS_MAX]; /* 0: free */

static void note_tid(void)
{
	int tid = (int)sw_sys(gettid);

	for (int i = 0; i < THREADS_MAX; i++) {
		int none = 0;

		if (atomic_compare_exchange_strong(&tids[i], &none, tid))
			return;
	}
}

static void *born(void *arg)
{
	struct birth birth = *(struct birth *)arg;
	void *result;

	free(arg);
	sw_grpc_host->thread_ours();
	note_tid();
	result = birth.start(birth.arg);
	atomic_fetch_sub(&threads, 1);
	return result;
}

int __real_pthread_create(pthread_t *ret_thread, const pthread_attr_t *attr, void *(*start)(void *),
			  void *arg);
int __wrap_pthread_create(pthread_t *ret_thread, const pthread_attr_t *attr, void *(*start)(void *),
			  void *arg);

static int create(pthread_t *ret_thread, const pthread_attr_t *wanted, struct birth *birth)
{
	int detached = PTHREAD_CREATE_JOINABLE, error;
	pthread_attr_t attr;

	if (pthread_attr_init(&attr))
		return ENOMEM;
	if (wanted)
		pthread_attr_getdetachstate(wanted, &detached);
	pthread_attr_setdetachstate(&attr, detached);
	pthread_attr_setstacksize(&attr, STACK_BYTES + sw_grpc_host->thread_room(&attr));
	error = __real_pthread_create(ret_thread, &attr, born, birth);
	pthread_attr_destroy(&attr);
	return error;
}

int __wrap_pthread_create(pthread_t *ret_thread, const pthread_attr_t *attr, void *(*start)(void *),
			  void *arg)
{
	struct birth *birth = malloc(sizeof(*birth));
	int error;

	if (!birth)
		return ENOMEM;
	*birth = (struct birth){start, arg};
	atomic_fetch_add(&threads, 1);
	error = create(ret_thread, attr, birth);
	if (error) { /* C core goes on without, or waits for it: neither is of use */
		atomic_fetch_sub(&threads, 1);
		free(birth);
		sw_core_gives_up();
	}
	return error;
}

unsigned sw_core_threads(void)
{
	return atomic_load(&threads);
}

/* Some are detached, and end a little after they are told to; and one that has returned, or was
 * joined, is counted by the kernel for a moment longer. */
void sw_core_threads_settle(void)
{
	static const struct timespec nap = {0, 100000};
	uint64_t end = sw_clock_ns(CLOCK_MONOTONIC) + SETTLE_NS;
	long self = sw_sys(getpid);

	while (sw_core_threads() && sw_clock_ns(CLOCK_MONOTONIC) < end)
		sw_sys(nanosleep, &nap, NULL);
	for (int i = 0; i < THREADS_MAX; i++) {
		int tid = atomic_load(&tids[i]);

		while (tid && sw_sys(tgkill, self, tid, 0) == 0 &&
		       sw_clock_ns(CLOCK_MONOTONIC) < end)
			sw_sys(sched_yield);
		atomic_store(&tids[i], 0);
	}
}
