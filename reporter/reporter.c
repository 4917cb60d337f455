/*
 * The thread: drain, batch, send, sleep.
 *
 * It is started by the first record or the first accept, on the program's thread, and asked to
 * leave before a fork. Between, it wakes on a tick while records come, and with nothing to do it
 * sleeps until the next heartbeat: the first put after that wakes it (preload/ring.h).
 *
 * Both sides of the border meet in `shared`: the program's threads ask (kick, flush, leave), ours
 * answers. Nothing here is reached from a hook but through the module table.
 */
#include "reporter/reporter.h"

#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/stat.h>

#include "preload/check.h"
#include "preload/config.h"
#include "preload/counters.h"
#include "preload/fds.h"
#include "preload/guard.h"
#include "preload/module.h"
#include "preload/process.h"
#include "preload/real.h"
#include "preload/ring.h"
#include "preload/sys.h"
#include "reporter/say.h"

#define DOUBTS_MAX 16
#define ALONE_NS 1000000000ull
#define FORK_BUDGET_NS 5000000ull
#define SEAL_BUDGET_NS 60000000000ull
#define LEAVE_NS 2000000ull
#define LATE_NS 10000000ull
#define WATCH_NS 2000000
#define RETIRE_BUDGET_NS 100000000ull
/* The resolver's plug-ins want some of it. */
#define STACK_BYTES (512u << 10)

enum thread_state {
	THREAD_NONE,
	THREAD_STARTING, /* from here on it may run */
	THREAD_GONE,	 /* left; to be joined */
};

/* Does this process look how many threads it has when it forks? */
enum counting {
	COUNTING_UNKNOWN,
	COUNTING_NOT,
	COUNTING_PYTHON, /* CPython from 3.12 on warns when it forks with a second thread */
};

#define SW_TRANSPORT(name, doc) extern const struct sw_transport sw_transport_##name;
#include "reporter/transports.def"
#undef SW_TRANSPORT

static const struct sw_transport *const transports[] = {
#define SW_TRANSPORT(name, doc) &sw_transport_##name,
#include "reporter/transports.def"
#undef SW_TRANSPORT
};

static const char *const protocol_names[] = {"grpc", "http", "kafka", "file"};

static struct sw_agent agent;

static struct {
	_Atomic uint32_t state;	       /* enum thread_state; a futex */
	_Atomic uint32_t leave;	       /* asked to leave (fork) */
	_Atomic uint32_t forks;	       /* going on: no thread is started */
	_Atomic uint32_t waited;       /* the stay that a fork has waited for in vain */
	_Atomic uint32_t delicate;     /* odd: our thread may hold a lock that a child would miss */
	_Atomic uint32_t counts;       /* enum counting */
	_Atomic uint32_t asked;	       /* flushes asked for */
	_Atomic uint32_t flushed;      /* of these, done; a futex */
	_Atomic uint32_t why;	       /* enum sw_leaving of the last one */
	_Atomic bool holding;	       /* our thread keeps records that have not been sent */
	_Atomic bool failed;	       /* no thread, or no loop: records are dropped from now on */
	_Atomic bool in_vain;	       /* the last flush was answered because time was up */
	_Atomic uint64_t flush_end_ns; /* the last one waits no longer */
	_Atomic uint32_t users;	       /* threads that have kicked us */
	_Atomic uint64_t spent_ns;     /* by flushes in vain */
	_Atomic uint32_t doubts;       /* starts put off because a handler seemed to run */
	pthread_t thread;
	bool registered; /* atexit */
	bool complained;
} shared;

/* ---- our thread ---- */

/* One turn, and what other threads may know of it. */
static void turn(struct sw_agent *a, bool all)
{
	/* Before the rings are empty: who ends the process now must wait for us. */
	atomic_store(&shared.holding, true);
	sw_reporter_turn(a, all);
	atomic_store(&shared.holding, sw_reporter_holding(a));
}

static bool is_end(uint32_t why)
{
	return why == SW_LEAVING_EXIT || why == SW_LEAVING_BARE;
}

/* For SW_AGENT_LOGGING_LEVEL=debug: the answer to "why do I see no data". Once. */
static void say_counters(struct sw_agent *a)
{
	static bool said;

	if (said || sw_config.log_level != SW_LEVEL_DEBUG || !is_end(atomic_load(&shared.why)))
		return;
	said = true;
	sw_count_many(SW_COUNTER_SEGMENT_LEFT, a->queue.messages[SW_BATCH_SEGMENT]);
	for (int i = 0; i < SW_COUNTER_COUNT; i++) {
		uint64_t n = sw_counter_read((enum sw_counter)i);

		if (n)
			sw_say(SW_LEVEL_DEBUG, "%s %llu", sw_counter_names[i],
			       (unsigned long long)n);
	}
}

static bool flushing(const struct sw_agent *a)
{
	return a->asked != atomic_load(&shared.flushed);
}

/* Whoever asked before this turn waits no longer when waiting would bring nothing, or just before
 * he gives up: the counters are worth most then. */
static void answer_flush(struct sw_agent *a)
{
	bool late = sw_clock_ns(CLOCK_MONOTONIC) + LATE_NS >= atomic_load(&shared.flush_end_ns);
	bool settled = sw_reporter_settled(a);

	if (!flushing(a) || !(settled || late))
		return;
	atomic_store(&shared.in_vain, !settled);
	say_counters(a);
	atomic_store(&shared.flushed, a->asked);
	sw_sys_futex_wake(&shared.flushed);
}

static void not_after(uint64_t *moment, uint64_t other)
{
	*moment = SW_MIN(*moment, other);
}

/* The next moment at which there is something to do. */
static uint64_t next_moment(const struct sw_agent *a, uint64_t tick_ns)
{
	uint64_t moment = a->heartbeat_ns;

	if (a->ticking || a->queue.underway) /* answers are taken with the tick */
		not_after(&moment, tick_ns);
	if (a->queue.first && a->retry_ns > a->now_ns)
		not_after(&moment, a->retry_ns);
	if (a->due_ns)
		not_after(&moment, a->due_ns);
	if (flushing(a))
		not_after(&moment, atomic_load(&shared.flush_end_ns) - LATE_NS);
	if (atomic_load(&sw_process_main_left))
		not_after(&moment, a->now_ns + ALONE_NS);
	return moment;
}

/* What another thread wants of us, or a record that came before it could see us asleep. */
static bool called(const struct sw_agent *a)
{
	/* Pairs with consider_kick in ring.c: either we see the record or its writer sees us. */
	return atomic_load(&a->loop.woken) || (!a->ticking && sw_ring_waiting()) ||
	       atomic_load(&shared.asked) != a->asked || atomic_load(&shared.leave);
}

/* Does an event on a socket matter now? Then we wait there, shortly: nobody can wake us. */
static bool watchful(struct sw_agent *a)
{
	return flushing(a) ||
	       (a->transport_open && a->transport->watchful && a->transport->watchful(a));
}

/*
 * Until the next turn: on the tick while records come, else until something is due. Answers of the
 * collector in between are taken, but the rings are left alone: many small harvests cost more.
 */
static int nap(struct sw_agent *a)
{
	uint64_t tick_ns = a->now_ns + SW_TICK_NS, moment;
	int error = 0;

	atomic_store(&sw_ring_reader, a->ticking ? SW_READER_TICK : SW_READER_IDLE);
	while (!called(a) && (moment = next_moment(a, tick_ns)) > a->now_ns && !error) {
		int64_t limit = (int64_t)(moment - a->now_ns);
		bool watch = watchful(a);

		if (!watch)
			sw_loop_sleep(&a->loop, limit);
		error = a->loop.backend->wait(&a->loop, watch ? SW_MIN(limit, WATCH_NS) : 0);
		a->now_ns = sw_clock_ns(CLOCK_MONOTONIC);
		if (!watch || flushing(a))
			break;
		sw_reporter_offer(a);
	}
	atomic_store(&a->loop.woken, 0);
	atomic_store(&sw_ring_reader, SW_READER_AWAKE);
	return error;
}

static void complain(void)
{
	const struct sw_config_complaint *c;

	for (unsigned i = 0; (c = sw_config_complaint(i)); i++)
		sw_say(SW_LEVEL_WARNING, "%s=%s is not %s; it is ignored", c->env, c->value,
		       c->want);
	shared.complained = true;
}

static const struct sw_transport *choose_transport(void)
{
	static bool said; /* kept across fork: once for all children */
	const char *wanted = protocol_names[sw_config.protocol];

	for (size_t i = 0; i < SW_COUNT_OF(transports); i++) {
		if (strcmp(transports[i]->name, wanted) == 0)
			return transports[i];
	}
	if (!said)
		sw_say(SW_LEVEL_WARNING,
		       "protocol %s is not built in; nothing is sent (SW_AGENT_PROTOCOL)", wanted);
	said = true;
	return NULL;
}

static void fds_moved(int from, int to)
{
	if (agent.loop.fd == from)
		agent.loop.fd = to;
	if (agent.transport && agent.transport->moved)
		agent.transport->moved(from, to);
}

void sw_reporter_delicate(bool delicate)
{
	if ((atomic_load(&shared.delicate) & 1) != delicate)
		atomic_fetch_add(&shared.delicate, 1);
}

/* What the thread owns for as long as the process lives. */
static bool make_memory(struct sw_agent *a)
{
	if (atomic_load(&shared.counts) == COUNTING_UNKNOWN)
		atomic_store(&shared.counts,
			     sw_management_python() >= 312 ? COUNTING_PYTHON : COUNTING_NOT);
	if (a->encoder)
		return true;
	if (!shared.complained)
		complain();
	a->transport = choose_transport();
	a->sender = (struct sw_sender){sw_process_service(), sw_process_instance()};
	return a->transport && sw_reporter_make(a);
}

/* What it owns until it leaves: in a table of its own, descriptors end with their thread. */
static bool make_descriptors(struct sw_agent *a)
{
	if (atomic_load(&a->alive))
		return true;
	sw_fd_go_private();
	if (sw_loop_open(&a->loop))
		return false;
	sw_fd_moved = fds_moved;
	a->transport_open = a->transport->open(a) == 0;
	sw_fd_leave_stderr();
	atomic_store(&a->alive, true);
	return true;
}

static void drop_descriptors(struct sw_agent *a)
{
	if (!sw_fd_private() || !atomic_load(&a->alive))
		return;
	atomic_store(&a->alive, false);
	a->transport->pause(a);
	sw_loop_close(&a->loop);
}

/* What the guest half found out and cannot say itself. Each once. */
static void say_findings(void)
{
	static bool disarmed, shy;

	if (!disarmed && sw_disarmed_by()) {
		disarmed = true;
		sw_say(SW_LEVEL_WARNING, "an internal check failed (%s); nothing more is observed",
		       sw_disarmed_by());
	}
	if (!shy && sw_counter_read(SW_COUNTER_PEER_SHY)) {
		shy = true;
		sw_say(SW_LEVEL_WARNING,
		       "a server refuses request heads that carry sw8 and gets no "
		       "more of them (SW_AGENT_INJECT_IGNORE_PEERS)");
	}
}

/*
 * The main thread has ended by pthread_exit, and libc ends the process with its last thread. That
 * must be one of the program's: when only we are left beside the dead main thread, we go.
 */
static bool alone(void)
{
	struct stat tasks;

	return atomic_load(&sw_process_main_left) &&
	       sw_sys(newfstatat, AT_FDCWD, "/proc/self/task", &tasks, 0) == 0 &&
	       tasks.st_nlink <= 2 + 2; /* ".", "..", main's remains, ours */
}

/* A last turn, and time for the answers. */
static void finish(struct sw_agent *a, uint64_t budget_ns)
{
	uint64_t end = sw_clock_ns(CLOCK_MONOTONIC) + budget_ns;

	turn(a, true);
	while (!sw_reporter_settled(a) && a->now_ns < end) {
		if (a->loop.backend->wait(&a->loop, (int64_t)(end - a->now_ns)))
			break;
		turn(a, true);
	}
}

/*
 * Asked to leave, because the program forks. Nothing new is sent, only answers are waited for a
 * moment: without its answer a batch must be sent again by the next thread.
 */
static void leave(struct sw_agent *a)
{
	uint64_t end = sw_clock_ns(CLOCK_MONOTONIC) + LEAVE_NS;

	a->ticking = false;
	if (a->queue.underway && a->transport->tick)
		a->transport->tick(a);
	for (uint64_t now = end - LEAVE_NS; a->queue.underway && now < end;
	     now = sw_clock_ns(CLOCK_MONOTONIC)) {
		if (a->loop.backend->wait(&a->loop, (int64_t)(end - now)))
			break;
	}
}

static void run(struct sw_agent *a)
{
	int error = 0;

	while (!atomic_load(&shared.leave) && error == 0) {
		a->asked = atomic_load(&shared.asked);
		turn(a, flushing(a));
		answer_flush(a);
		say_findings();
		if (alone()) {
			finish(a, sw_config.exit_flush_ms * 1000000ull);
			return;
		}
		error = nap(a);
	}
	if (error) { /* our descriptors are gone: the program closed them unseen */
		atomic_store(&shared.failed, true);
		turn(a, true);
	} else {
		leave(a);
	}
}

static void *thread_main(void *arg)
{
	(void)arg;
	sw_guest_mark_ours();
	prctl(PR_SET_NAME, "swagent");
	atomic_store(&sw_ring_reader, SW_READER_AWAKE);
	if (make_memory(&agent) && make_descriptors(&agent))
		run(&agent);
	else
		atomic_store(&shared.failed, true);
	/* A failed reporter stays "awake": puts fill the rings, are dropped and counted. */
	drop_descriptors(&agent);
	if (!atomic_load(&shared.failed))
		atomic_store(&sw_ring_reader, SW_READER_ABSENT);
	atomic_store(&shared.flushed, atomic_load(&shared.asked));
	sw_sys_futex_wake(&shared.flushed);
	atomic_store(&shared.state, THREAD_GONE);
	sw_sys_futex_wake(&shared.state);
	/* The kernel gives a process the status of its last thread. */
	if (alone() && atomic_load(&sw_process_main_status) >= 0)
		sw_sys(exit_group, atomic_load(&sw_process_main_status));
	return NULL;
}

/* ---- the program's threads ---- */

static void at_exit(void)
{
	sw_modules_flush(SW_LEAVING_EXIT);
}

/* libc puts the thread-local variables of the program and its libraries on the stack as well: the
 * loader's own figure, where it has one. */
static size_t least_stack(const pthread_attr_t *attr)
{
	size_t (*minstack)(const pthread_attr_t *) =
		(size_t(*)(const pthread_attr_t *))dlsym(RTLD_DEFAULT, "__pthread_get_minstack");

	return minstack ? minstack(attr) : 0;
}

/* In shelter: our thread inherits that no signal of the program's reaches it (pitfall 31). */
static bool create_thread(void)
{
	pthread_attr_t attr;
	int error;

	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, STACK_BYTES + least_stack(&attr));
	error = sw_real.pthread_create(&shared.thread, &attr, thread_main, NULL);
	pthread_attr_destroy(&attr);
	return error == 0;
}

/* Takes the right to start a thread: none is there, or one has gone and is joined first. */
static bool take_start(void)
{
	uint32_t state = atomic_load(&shared.state);

	if ((state != THREAD_NONE && state != THREAD_GONE) ||
	    !atomic_compare_exchange_strong(&shared.state, &state, THREAD_STARTING))
		return false;
	if (state == THREAD_GONE)
		pthread_join(shared.thread, NULL);
	return true;
}

static void join_gone(void)
{
	struct sw_shelter shelter;

	if (atomic_load(&shared.state) != THREAD_GONE)
		return;
	sw_shelter_enter(&shelter);
	if (take_start())
		atomic_store(&shared.state, THREAD_NONE);
	sw_shelter_leave(&shelter);
}

static void start_sheltered(void)
{
	if (atomic_load(&shared.forks) || !take_start())
		return;
	if (!shared.registered)
		shared.registered = atexit(at_exit) == 0;
	atomic_store(&sw_ring_reader, SW_READER_AWAKE);
	atomic_store(&shared.leave, 0);
	if (!create_thread()) {
		atomic_store(&shared.failed, true); /* RLIMIT_NPROC: puts are dropped and counted */
		atomic_store(&shared.state, THREAD_NONE);
	}
}

static void start_thread(void)
{
	uint32_t state = atomic_load(&shared.state);
	struct sw_shelter shelter;

	if (state != THREAD_NONE && state != THREAD_GONE)
		return;
	sw_shelter_enter(&shelter);
	start_sheltered();
	sw_shelter_leave(&shelter);
}

/*
 * Making a thread allocates, and a handler may stand inside malloc. While a handler runs its signal
 * is blocked (but for SA_NODEFER); a blocked signal that has a handler is therefore a doubt.
 */
static bool perhaps_in_handler(void)
{
	struct {
		void (*handler)(int);
		unsigned long rest[20];
	} action = {SIG_DFL, {0}};
	uint64_t mask = 0;

	sw_sys(rt_sigprocmask, SIG_BLOCK, NULL, &mask, 8);
	for (int signal = 1; mask && signal <= 64; signal++) {
		if ((mask >> (signal - 1) & 1) &&
		    sw_sys(rt_sigaction, signal, NULL, &action, 8) == 0 &&
		    action.handler != SIG_DFL && action.handler != SIG_IGN)
			return true;
	}
	return false;
}

/* Asks our thread to leave and waits until it has, or `end`. */
static void make_leave(uint64_t end)
{
	uint32_t state;
	uint64_t now;

	atomic_store(&shared.leave, 1);
	if (agent.alive)
		sw_loop_wake(&agent.loop);
	while ((state = atomic_load(&shared.state)) == THREAD_STARTING &&
	       (now = sw_clock_ns(CLOCK_MONOTONIC)) < end) {
		sw_sys_futex_wait(&shared.state, state, SW_MIN(end - now, 1000000u));
		if (agent.alive)
			sw_loop_wake(&agent.loop);
	}
	join_gone();
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
	if (!atomic_load(&shared.failed) && atomic_load(&shared.state) == THREAD_NONE)
		atomic_store(&sw_ring_reader, SW_READER_ABSENT);
}

static void user_ends(void *mark)
{
	int saved = errno;

	if (mark == user_mark() && atomic_fetch_sub(&shared.users, 1) == 1 &&
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
		atomic_fetch_add(&shared.users, 1);
}

static void reporter_kick(void)
{
	if (atomic_load(&shared.failed))
		return;
	/* The next record asks again. A program that always blocks signals is believed in the end.
	 */
	if (atomic_load(&shared.state) == THREAD_NONE && perhaps_in_handler() &&
	    atomic_fetch_add(&shared.doubts, 1) < DOUBTS_MAX)
		return;
	note_user();
	start_thread();
	if (agent.alive)
		sw_loop_wake(&agent.loop);
}

static bool anything_left(void)
{
	return sw_ring_waiting() || atomic_load(&shared.holding);
}

/* Waits for the flush `wanted`. False: not within the time. */
static bool wait_flushed(uint32_t wanted, uint64_t end)
{
	uint32_t flushed;

	while ((int32_t)((flushed = atomic_load(&shared.flushed)) - wanted) < 0 &&
	       !atomic_load(&shared.failed)) {
		uint64_t now = sw_clock_ns(CLOCK_MONOTONIC);

		if (now >= end)
			return false;
		/* short sleeps: a wake-up lost to a starting thread must not cost the budget */
		sw_sys_futex_wait(&shared.flushed, flushed, SW_MIN(end - now, 10000000u));
		if (agent.alive)
			sw_loop_wake(&agent.loop);
	}
	return true;
}

/* A crash handler may stand inside malloc, where no thread can be made. One is there already unless
 * it has left for a fork. */
static bool worth_it(enum sw_leaving why)
{
	bool there = atomic_load(&shared.state) == THREAD_STARTING;
	bool wants_counters = sw_config.log_level == SW_LEVEL_DEBUG && is_end(why) && there;

	if (!anything_left() && !wants_counters)
		return false;
	return there || why == SW_LEAVING_EXIT || (why != SW_LEAVING_NOW && !perhaps_in_handler());
}

/* An end has several stations (atexit, _exit, a signal to itself): they share one budget, until a
 * flush succeeds. */
static void reporter_flush(enum sw_leaving why, uint64_t budget_ns)
{
	uint64_t begin = sw_clock_ns(CLOCK_MONOTONIC), spent = atomic_load(&shared.spent_ns);
	uint64_t end = begin + budget_ns - SW_MIN(spent, budget_ns);
	uint32_t wanted;

	if (atomic_load(&shared.failed) || !worth_it(why))
		return;
	atomic_store(&shared.why, why);
	atomic_store(&shared.flush_end_ns, end);
	wanted = atomic_fetch_add(&shared.asked, 1) + 1;
	reporter_kick();
	if (atomic_load(&shared.state) != THREAD_STARTING)
		return; /* in a handler, or in mid-fork: nobody would answer */
	if (wait_flushed(wanted, end) && !atomic_load(&shared.in_vain))
		atomic_store(&shared.spent_ns, 0);
	else
		atomic_fetch_add(&shared.spent_ns, sw_clock_ns(CLOCK_MONOTONIC) - begin);
}

/* This thread and ours, no other. Unknown (no /proc): yes. */
static bool lonely(void)
{
	struct stat tasks;

	return sw_sys(newfstatat, AT_FDCWD, "/proc/self/task", &tasks, 0) != 0 ||
	       tasks.st_nlink <= 2 + 2; /* ".", "..", this, ours */
}

/*
 * fork(3) in the midst of our thread is safe: libc brings malloc's locks and its own over, our
 * rings are freed, and what our thread had is forgotten by the child. Where it may stand inside a
 * lock that libc does not bring over (the loader's, the resolver's) it says so, and is waited for.
 * But whoever counts threads must not find ours; that costs a leave and a new start.
 */
static bool may_stay(enum sw_forking how)
{
	uint32_t counts = atomic_load(&shared.counts);

	if (how != SW_FORKING_COPY || counts == COUNTING_UNKNOWN)
		return false;
	return counts == COUNTING_NOT || !lonely();
}

/* A resolver may wait for a dead server for half a minute: only the first fork meanwhile waits for
 * it, the others find it as they would find a thread of the program's own in there. */
static void wait_delicate(uint64_t end)
{
	uint32_t stay = atomic_load(&shared.delicate);

	if (!(stay & 1) || atomic_load(&shared.waited) == stay)
		return;
	while (atomic_load(&shared.delicate) == stay) {
		if (sw_clock_ns(CLOCK_MONOTONIC) >= end) {
			atomic_store(&shared.waited, stay);
			return;
		}
		sw_sys(sched_yield);
	}
}

static void reporter_fork_prepare(enum sw_forking how)
{
	uint64_t end = sw_clock_ns(CLOCK_MONOTONIC) +
		       (how == SW_FORKING_SEAL ? SEAL_BUDGET_NS : FORK_BUDGET_NS);

	atomic_fetch_add(&shared.forks, 1);
	if (atomic_load(&shared.state) == THREAD_NONE)
		return;
	if (!may_stay(how))
		make_leave(end);
	wait_delicate(end);
}

/*
 * One that did not leave in time goes on. One that left comes back with the next record, or when
 * the program waits for something: not now, for CPython counts after the fork.
 */
static void reporter_fork_parent(void)
{
	atomic_fetch_sub(&shared.forks, 1);
	join_gone();
	if (!atomic_load(&shared.leave))
		return;
	if (atomic_load(&shared.state) != THREAD_NONE)
		atomic_store(&shared.leave, 0);
	else
		atomic_store(&sw_ring_reader,
			     atomic_load(&shared.failed) ? SW_READER_AWAKE : SW_READER_LEFT);
}

/* The thread is not here. What it had belongs to the parent; its memory may be in mid-change. */
static void reporter_fork_child(void)
{
	bool registered = shared.registered, complained = shared.complained;
	uint32_t counts = atomic_load(&shared.counts);

	if (agent.alive) {
		agent.transport->forked();
		sw_fd_close_ours(agent.loop.fd);
	}
	sw_fd_forget_private();
	memset(&agent, 0, sizeof(agent));
	memset(&shared, 0, sizeof(shared));
	shared.registered = registered;
	shared.complained = complained;
	atomic_store(&shared.counts, counts);
}

static void reporter_main_left(void)
{
	if (atomic_load(&shared.users) == 0 && atomic_load(&shared.state) != THREAD_NONE)
		retire();
	if (agent.alive)
		sw_loop_wake(&agent.loop);
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
