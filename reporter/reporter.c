/*
 * The thread as the program's threads see it: started, asked for what is left, sent away.
 *
 * It is started by the first record or the first accept, on the program's thread. Where it must not
 * be seen or caught (thread.h, fork) it is asked to leave, and the next record starts another.
 * Nothing here is reached from a hook but through the module table.
 */
#include "reporter/reporter.h"

#include <errno.h>

#include "preload/config.h"
#include "preload/fds.h"
#include "preload/guard.h"
#include "preload/module.h"
#include "preload/ours.h"
#include "preload/process.h"
#include "preload/real.h"
#include "preload/ring.h"
#include "preload/sys.h"
#include "reporter/blocked.h"
#include "reporter/control.h"
#include "reporter/thread.h"

#define DOUBTS_MAX 16
#define FORK_BUDGET_NS 5000000ull
/* A plug-in loads in less than a millisecond, if our thread gets a core. */
#define LOAD_BUDGET_NS 50000000ull
#define ALONE_BUDGET_NS 60000000000ull
/* For a transport's library to come to a place where a child can use it. */
#define LIBRARY_NS 2000000ull
/* CPython only warns when it finds a second thread. */
#define COUNTED_BUDGET_NS 500000000ull
/* Longer than a fork takes, whatever the size of the process. */
#define FORK_LEASE_NS 10000000000ull
#define RETIRE_BUDGET_NS 100000000ull
#define REFUSED_NS 2000000000ull
/* The resolver's plug-ins want some of it. */
#define STACK_BYTES (512u << 10)

static void at_exit(void)
{
	sw_modules_flush(SW_LEAVING_EXIT);
}

/* In shelter: our thread inherits that no signal of the program's reaches it (pitfall 31). */
static bool create_thread(void)
{
	pthread_attr_t attr;
	int error;

	if (!sw_real.pthread_create)
		sw_real_resolve();
	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, STACK_BYTES + sw_ours_thread_room(&attr));
	error = sw_real.pthread_create(&sw_shared.thread, &attr, sw_thread_main, NULL);
	pthread_attr_destroy(&attr);
	return error == 0;
}

/* Takes the right to start a thread: none is there, or one has gone and is joined first. */
static bool take_start(void)
{
	uint32_t state = atomic_load(&sw_shared.state);

	if ((state != THREAD_NONE && state != THREAD_GONE) ||
	    !atomic_compare_exchange_strong(&sw_shared.state, &state, THREAD_STARTING))
		return false;
	if (state == THREAD_GONE)
		pthread_join(sw_shared.thread, NULL);
	return true;
}

static void join_gone(void)
{
	struct sw_shelter shelter;

	if (atomic_load(&sw_shared.state) != THREAD_GONE)
		return;
	sw_shelter_enter(&shelter);
	if (take_start())
		atomic_store(&sw_shared.state, THREAD_NONE);
	sw_shelter_leave(&shelter);
}

/* A lease, not a count: a handler may jump out of whatever forks. */
static bool holds(_Atomic uint64_t *lease_end_ns)
{
	uint64_t end = atomic_load(lease_end_ns);

	return end && sw_clock_ns(CLOCK_MONOTONIC) < end;
}

/* RLIMIT_NPROC, a full pids cgroup: what the rings hold waits for the next attempt; what they do
 * not hold is dropped and counted. */
static void be_refused(void)
{
	atomic_store(&sw_shared.refused_end_ns, sw_clock_ns(CLOCK_MONOTONIC) + REFUSED_NS);
	atomic_store(&sw_ring_reader, SW_READER_ABSENT);
	atomic_store(&sw_shared.state, THREAD_NONE);
}

static void start_sheltered(void)
{
	if (holds(&sw_shared.fork_end_ns) || !take_start())
		return;
	if (!sw_shared.registered)
		sw_shared.registered = atexit(at_exit) == 0;
	atomic_store(&sw_ring_reader, SW_READER_AWAKE);
	atomic_store(&sw_shared.leave, 0);
	if (!create_thread())
		be_refused();
}

static void start_thread(void)
{
	uint32_t state = atomic_load(&sw_shared.state);
	struct sw_shelter shelter;

	if (state != THREAD_NONE && state != THREAD_GONE)
		return;
	sw_shelter_enter(&shelter);
	start_sheltered();
	sw_shelter_leave(&shelter);
}

/* Asks our thread to leave and waits until it has, or `end`. */
static void make_leave(uint64_t end)
{
	uint32_t state;
	uint64_t now;

	atomic_store(&sw_shared.leave, 1);
	if (sw_agent.alive)
		sw_loop_wake(&sw_agent.loop);
	while ((state = atomic_load(&sw_shared.state)) == THREAD_STARTING &&
	       (now = sw_clock_ns(CLOCK_MONOTONIC)) < end) {
		sw_sys_futex_wait(&sw_shared.state, state, SW_MIN(end - now, 1000000u));
		if (sw_agent.alive)
			sw_loop_wake(&sw_agent.loop);
	}
	join_gone();
	if (atomic_load(&sw_shared.state) == THREAD_NONE)
		sw_ours_wait_unlisted(atomic_load(&sw_shared.tid), end);
}

/*
 * libc ends a process with its last thread, by exit(0) on that thread; it must never be ours, which
 * has neither the program's descriptors nor its signals. So once main has left by pthread_exit our
 * thread lives only as long as one that has kicked it does: each of those notes itself in a key,
 * whose destructor runs before libc counts.
 */
static pthread_key_t users_key;
static pthread_once_t users_once = PTHREAD_ONCE_INIT;
static bool users_known;

static void *user_mark(void)
{
	return (void *)(uintptr_t)(atomic_load(&sw_process_births) + 1ul); /* not the parent's */
}

/* What we have leaves, and then our thread. The next record starts another. */
static void retire(void)
{
	sw_modules_flush(SW_LEAVING_EXIT);
	make_leave(sw_clock_ns(CLOCK_MONOTONIC) + RETIRE_BUDGET_NS);
	if (!atomic_load(&sw_shared.failed) && atomic_load(&sw_shared.state) == THREAD_NONE)
		atomic_store(&sw_ring_reader, SW_READER_ABSENT);
}

static void user_ends(void *mark)
{
	int saved = errno;

	if (mark == user_mark() && atomic_fetch_sub(&sw_shared.users, 1) == 1 &&
	    atomic_load(&sw_process_main_left))
		retire();
	errno = saved;
}

static void know_users(void)
{
	users_known = pthread_key_create(&users_key, user_ends) == 0;
}

static void note_user(void)
{
	pthread_once(&users_once, know_users);
	if (!users_known || pthread_getspecific(users_key) == user_mark())
		return;
	if (pthread_setspecific(users_key, user_mark()) == 0)
		atomic_fetch_add(&sw_shared.users, 1);
}

static void reporter_kick(void)
{
	if (atomic_load(&sw_shared.failed) || holds(&sw_shared.refused_end_ns))
		return;
	/* The next record asks again. A program that always blocks signals is believed in the end.
	 */
	if (atomic_load(&sw_shared.state) == THREAD_NONE && sw_guest_doubtful() &&
	    atomic_fetch_add(&sw_shared.doubts, 1) < DOUBTS_MAX)
		return;
	note_user();
	start_thread();
	if (sw_agent.alive)
		sw_loop_wake(&sw_agent.loop);
}

static bool anything_left(void)
{
	return sw_ring_waiting() || atomic_load(&sw_shared.holding);
}

/* Waits for the flush `wanted`. False: not within the time. */
static bool wait_flushed(uint32_t wanted, uint64_t end)
{
	uint32_t flushed;

	while ((int32_t)((flushed = atomic_load(&sw_shared.flushed)) - wanted) < 0 &&
	       !atomic_load(&sw_shared.failed)) {
		uint64_t now = sw_clock_ns(CLOCK_MONOTONIC);

		if (now >= end)
			return false;
		/* short sleeps: a wake-up lost to a starting thread must not cost the budget */
		sw_sys_futex_wait(&sw_shared.flushed, flushed, SW_MIN(end - now, 10000000u));
		if (sw_agent.alive)
			sw_loop_wake(&sw_agent.loop);
	}
	return true;
}

/* A crash handler may stand inside malloc, where no thread can be made. One is there already unless
 * it has left for a fork. */
static bool worth_it(enum sw_leaving why)
{
	bool there = atomic_load(&sw_shared.state) == THREAD_STARTING;
	bool wants_counters =
		sw_config.log_level == SW_LEVEL_DEBUG && sw_thread_is_end(why) && there;

	if ((!anything_left() && !wants_counters) || (!there && !atomic_load(&sw_ring_wanted)))
		return false;
	return there || why == SW_LEAVING_EXIT || (why != SW_LEAVING_NOW && !sw_guest_doubtful());
}

/* An end has several stations (atexit, _exit, a signal to itself): they share one budget, until a
 * flush succeeds. */
static void reporter_flush(enum sw_leaving why, uint64_t budget_ns)
{
	uint64_t begin = sw_clock_ns(CLOCK_MONOTONIC), spent = atomic_load(&sw_shared.spent_ns);
	uint64_t end = begin + budget_ns - SW_MIN(spent, budget_ns);
	uint32_t wanted;

	if (atomic_load(&sw_shared.failed) || !worth_it(why))
		return;
	atomic_store(&sw_shared.why, why);
	atomic_store(&sw_shared.flush_end_ns, end);
	wanted = atomic_fetch_add(&sw_shared.asked, 1) + 1;
	reporter_kick();
	if (atomic_load(&sw_shared.state) != THREAD_STARTING)
		return; /* in a handler, or in mid-fork: nobody would answer */
	if (wait_flushed(wanted, end) && !atomic_load(&sw_shared.in_vain))
		atomic_store(&sw_shared.spent_ns, 0);
	else
		atomic_fetch_add(&sw_shared.spent_ns, sw_clock_ns(CLOCK_MONOTONIC) - begin);
}

/* This thread and ours, no other. Unknown (no /proc): yes. */
static bool lonely(void)
{
	return sw_thread_tasks() <= 1 + sw_thread_ours();
}

/*
 * fork(3) in the midst of our thread is safe: libc brings malloc's locks and its own over, our
 * rings are freed, and what our thread had is forgotten by the child. Where it may stand inside a
 * lock that libc does not bring over (the loader's, the resolver's, OpenSSL's) it says so, and is
 * waited for; and while a process forks it does not begin to.
 * But whoever counts threads must not find ours; that costs a leave and a new start.
 */
static bool may_stay(enum sw_forking how)
{
	uint32_t counts = atomic_load(&sw_shared.counts);

	if (how != SW_FORKING_COPY || counts == COUNTING_UNKNOWN)
		return false;
	return counts == COUNTING_NOT || !lonely();
}

/* A resolver may wait for a dead server for half a minute: only the first fork meanwhile waits for
 * it, the others find it as they would find a thread of the program's own in there. */
static void wait_delicate(uint64_t end)
{
	uint32_t stay = atomic_load(&sw_shared.delicate);

	if (!(stay & 1) || atomic_load(&sw_shared.waited) == stay)
		return;
	while (atomic_load(&sw_shared.delicate) == stay) {
		if (sw_clock_ns(CLOCK_MONOTONIC) >= end) {
			atomic_store(&sw_shared.waited, stay);
			return;
		}
		sw_sys(sched_yield);
	}
}

/* How long our thread is waited for: a lookup in a dead name server is not worth a warning, but it
 * is worth an error. */
static uint64_t leave_budget(enum sw_forking how)
{
	const struct sw_transport *transport = sw_agent.transport;
	bool looks_up = (atomic_load(&sw_shared.delicate) & 1) ||
			(transport && transport->looks_up && transport->looks_up());

	if (how == SW_FORKING_ALONE)
		return ALONE_BUDGET_NS;
	return how == SW_FORKING_COPY && !looks_up ? COUNTED_BUDGET_NS : FORK_BUDGET_NS;
}

static void reporter_fork_prepare(enum sw_forking how)
{
	uint64_t begin = sw_clock_ns(CLOCK_MONOTONIC), budget = leave_budget(how);

	atomic_store(&sw_shared.fork_end_ns, begin + budget + FORK_LEASE_NS);
	if (atomic_load(&sw_shared.state) == THREAD_NONE)
		return;
	if (!may_stay(how))
		make_leave(begin + budget);
	wait_delicate(begin + (atomic_load(&sw_shared.loading) ? LOAD_BUDGET_NS : FORK_BUDGET_NS));
	if (sw_agent.transport && sw_agent.transport->fork_prepare)
		sw_agent.transport->fork_prepare(sw_clock_ns(CLOCK_MONOTONIC) + LIBRARY_NS);
}

/*
 * One that did not leave in time goes on. One that left comes back with the next record, or when
 * the program waits for something: not now, for CPython counts after the fork. But where nobody
 * counts, and it is wanted without a record, there may never be one.
 */
static void reporter_fork_parent(void)
{
	atomic_store(&sw_shared.fork_end_ns, 0);
	if (sw_agent.transport && sw_agent.transport->fork_parent)
		sw_agent.transport->fork_parent();
	join_gone();
	if (!atomic_load(&sw_shared.leave))
		return;
	if (atomic_load(&sw_shared.state) != THREAD_NONE)
		atomic_store(&sw_shared.leave, 0);
	else
		atomic_store(&sw_ring_reader,
			     atomic_load(&sw_shared.failed) ? SW_READER_AWAKE : SW_READER_LEFT);
	if (sw_modules_are_wanted() && atomic_load(&sw_shared.counts) == COUNTING_NOT)
		reporter_kick();
}

/* The thread is not here. What it had belongs to the parent; its memory may be in mid-change. */
static void reporter_fork_child(void)
{
	bool registered = sw_shared.registered, complained = sw_shared.complained;
	uint32_t counts = atomic_load(&sw_shared.counts);

	if (sw_agent.alive) {
		sw_agent.transport->forked();
		sw_fd_close_ours(sw_agent.loop.fd);
	}
	sw_control_forked();
	sw_fd_forget_private();
	sw_blocked_forked();
	memset(&sw_agent, 0, sizeof(sw_agent));
	memset(&sw_shared, 0, sizeof(sw_shared));
	sw_shared.registered = registered;
	sw_shared.complained = complained;
	atomic_store(&sw_shared.counts, counts);
}

static void reporter_main_left(void)
{
	if (atomic_load(&sw_shared.users) == 0 && atomic_load(&sw_shared.state) != THREAD_NONE)
		retire();
	if (sw_agent.alive)
		sw_loop_wake(&sw_agent.loop);
}

const struct sw_module sw_module_reporter = {
	.name = "reporter",
	.main_left = reporter_main_left,
	.kick = reporter_kick,
	.flush = reporter_flush,
	.fork_prepare = reporter_fork_prepare,
	.fork_parent = reporter_fork_parent,
	.fork_child = reporter_fork_child,
};
