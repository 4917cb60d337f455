/*
 * So that a forked child finds no lock of OpenSSL's held by a thread that it does not have.
 *
 * The child leaves the parent's client alone, but a new one uses the same OpenSSL, whose tables are
 * behind locks that libc's fork does not bring over. Its locks are all read-write locks (and
 * pthread_once), and the linker gives us those calls (--wrap): whoever takes one is inside, until
 * he holds none. A fork shuts the gate, waits until nobody is inside, and opens it again. It does
 * not wait long: where that was not enough the child is told that it may not use the library.
 */
#include <pthread.h>
#include <sched.h>
#include <time.h>
#include <unistd.h>

#include "preload/sys.h"
#include "reporter/plugins/kafka/kafka.h"

/* Longer than a fork takes, whatever the size of the process; a handler may jump out of one. */
#define SHUT_MOST_NS 10000000000ull
#define NAP_NS 20000

static _Atomic unsigned inside;	     /* threads that hold a lock, or are about to */
static _Atomic uint64_t shut_end_ns; /* nobody enters before; 0: open */
static _Atomic bool was_empty;	     /* since it was shut */

/* Of the thread; only of ours, for the first look at it allocates. Not from the few bytes that the
 * loader keeps for objects that come late. */
static _Thread_local unsigned depth __attribute__((tls_model("global-dynamic")));

static bool is_shut(void)
{
	uint64_t end = atomic_load(&shut_end_ns);

	return end && sw_clock_ns(CLOCK_MONOTONIC) < end;
}

static void enter(void)
{
	static const struct timespec nap = {0, NAP_NS};

	if (depth++)
		return;
	/* Pairs with sw_kafka_gate_shut: either it counts us or we see that it is shut. */
	while (atomic_fetch_add(&inside, 1), is_shut()) {
		atomic_fetch_sub(&inside, 1);
		nanosleep(&nap, NULL);
	}
}

static void leave(void)
{
	if (--depth == 0)
		atomic_fetch_sub(&inside, 1);
}

void sw_kafka_gate_shut(uint64_t end_ns)
{
	atomic_store(&shut_end_ns, sw_clock_ns(CLOCK_MONOTONIC) + SHUT_MOST_NS);
	while (atomic_load(&inside) && sw_clock_ns(CLOCK_MONOTONIC) < end_ns)
		sched_yield();
	atomic_store(&was_empty, atomic_load(&inside) == 0);
}

void sw_kafka_gate_open(void)
{
	atomic_store(&was_empty, false);
	atomic_store(&shut_end_ns, 0);
}

bool sw_kafka_gate_forked(void)
{
	bool empty = atomic_load(&was_empty);

	atomic_store(&inside, 0);
	sw_kafka_gate_open();
	return empty;
}

#define WRAP(name, ...)                                                                            \
	int __real_##name(__VA_ARGS__);                                                            \
	int __wrap_##name(__VA_ARGS__);                                                            \
	int __wrap_##name(__VA_ARGS__)

WRAP(pthread_rwlock_rdlock, pthread_rwlock_t *lock)
{
	int error;

	enter();
	error = __real_pthread_rwlock_rdlock(lock);
	if (error)
		leave();
	return error;
}

WRAP(pthread_rwlock_wrlock, pthread_rwlock_t *lock)
{
	int error;

	enter();
	error = __real_pthread_rwlock_wrlock(lock);
	if (error)
		leave();
	return error;
}

WRAP(pthread_rwlock_unlock, pthread_rwlock_t *lock)
{
	int error = __real_pthread_rwlock_unlock(lock);

	leave();
	return error;
}

WRAP(pthread_once, pthread_once_t *once, void (*start)(void))
{
	int error;

	enter();
	error = __real_pthread_once(once, start);
	leave();
	return error;
}
