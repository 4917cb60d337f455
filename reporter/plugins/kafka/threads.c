/*
 * librdkafka's threads. It makes them by C11's thrd_create, which libc resolves within itself: the
 * linker gives us the call instead (--wrap). They are made by our thread, or by one that is, and
 * so have its descriptor table and its blocked signals; here they are also taken out of sight of
 * the hooks, and given a stack of a known size.
 */
#include <errno.h>
#include <netdb.h>
#include <pthread.h>
#include <stdlib.h>
#include <threads.h>

#include "reporter/plugins/kafka/kafka.h"

/* OpenSSL's handshakes and the resolver's modules want some of it. */
#define STACK_BYTES (512u << 10)

struct birth {
	thrd_start_t start;
	void *arg;
};

static _Atomic unsigned threads;
static _Atomic unsigned lookups; /* under way */

static void *born(void *arg)
{
	struct birth birth = *(struct birth *)arg;
	int result;

	free(arg);
	sw_kafka_host->thread_ours();
	result = birth.start(birth.arg);
	atomic_fetch_sub(&threads, 1);
	return (void *)(intptr_t)result; /* where thrd_join looks for it */
}

static int create(thrd_t *ret_thread, struct birth *birth)
{
	pthread_attr_t attr;
	int error;

	if (pthread_attr_init(&attr))
		return thrd_nomem;
	pthread_attr_setstacksize(&attr, STACK_BYTES + sw_kafka_host->thread_room(&attr));
	error = pthread_create(ret_thread, &attr, born, birth);
	pthread_attr_destroy(&attr);
	if (error)
		return error == ENOMEM ? thrd_nomem : thrd_error;
	return thrd_success;
}

int __wrap_thrd_create(thrd_t *ret_thread, thrd_start_t start, void *arg);

int __wrap_thrd_create(thrd_t *ret_thread, thrd_start_t start, void *arg)
{
	struct birth *birth = malloc(sizeof(*birth));
	int result;

	if (!birth)
		return thrd_nomem;
	*birth = (struct birth){start, arg};
	atomic_fetch_add(&threads, 1);
	result = create(ret_thread, birth);
	if (result != thrd_success) {
		atomic_fetch_sub(&threads, 1);
		free(birth);
	}
	return result;
}

/* Names are looked up on the threads of brokers, which cannot be called back meanwhile. */
int __real_getaddrinfo(const char *name, const char *service, const struct addrinfo *hints,
		       struct addrinfo **ret_found);
int __wrap_getaddrinfo(const char *name, const char *service, const struct addrinfo *hints,
		       struct addrinfo **ret_found);

int __wrap_getaddrinfo(const char *name, const char *service, const struct addrinfo *hints,
		       struct addrinfo **ret_found)
{
	int error;

	atomic_fetch_add(&lookups, 1);
	error = __real_getaddrinfo(name, service, hints, ret_found);
	atomic_fetch_sub(&lookups, 1);
	return error;
}

bool sw_kafka_looks_up(void)
{
	return atomic_load(&lookups) > 0;
}

/*
 * librdkafka 2.0.2, of which alone we know the inside: its main thread asks how many microseconds
 * it may sleep, cuts them to milliseconds, and so runs in a circle through the last one before each
 * of its timers, which is once a second. (0.9 ms of CPU a second; the linker gives us this call
 * only when that is the version: meson.build.)
 */
#if RD_KAFKA_VERSION == 0x020002ff
int64_t __real_rd_kafka_timers_next(void *timers, int timeout_us, int lock);
int64_t __wrap_rd_kafka_timers_next(void *timers, int timeout_us, int lock);

int64_t __wrap_rd_kafka_timers_next(void *timers, int timeout_us, int lock)
{
	int64_t us = __real_rd_kafka_timers_next(timers, timeout_us, lock);

	return us > 0 ? us + 999 : us;
}
#endif

unsigned sw_kafka_threads(void)
{
	return atomic_load(&threads);
}

void sw_kafka_threads_forget(void)
{
	atomic_store(&threads, 0);
	atomic_store(&lookups, 0);
}
