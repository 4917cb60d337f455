/*
 * Our thread: drain, batch, send, sleep; what it owns, and how it comes to its end.
 *
 * It wakes on a tick while records come, and with nothing to do it sleeps until the next heartbeat:
 * the first put after that wakes it (preload/ring.h). What it does in a turn is work.c's; when it
 * is started and asked to leave is reporter.c's.
 */
#include "reporter/thread.h"

#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/stat.h>

#include "preload/check.h"
#include "preload/config.h"
#include "preload/counters.h"
#include "preload/fds.h"
#include "preload/guard.h"
#include "preload/module.h"
#include "preload/ours.h"
#include "preload/process.h"
#include "preload/profile.h"
#include "preload/ring.h"
#include "preload/sys.h"
#include "reporter/control.h"
#include "reporter/plugin.h"
#include "reporter/say.h"
#include "reporter/unknown.h"

#define ALONE_NS 1000000000ull
#define LEAVE_NS 2000000ull
#define WATCH_NS 2000000
#define FORK_PASSES_NS 100000ull

#define SW_TRANSPORT(name, doc) extern const struct sw_transport sw_transport_##name;
#include "reporter/transports.def"
#undef SW_TRANSPORT

static const struct sw_transport *const transports[] = {
#define SW_TRANSPORT(name, doc) &sw_transport_##name,
#include "reporter/transports.def"
#undef SW_TRANSPORT
};

static const char *const protocol_names[] = {"grpc", "http", "kafka", "file"};

struct sw_shared sw_shared;
struct sw_agent sw_agent;

void sw_reporter_go_native(struct sw_agent *a)
{
	a->go_native = true;
}

/* What it had underway comes back and is offered to ours, which frames a batch in the same way. */
static void go_native(struct sw_agent *a)
{
	a->go_native = false;
	a->left = a->transport->threads;
	a->transport->pause(a);
	a->transport = &sw_transport_grpc;
	a->retry_ns = 0;
	a->transport_open = a->transport->open(a) == 0;
}

/* One turn, and what other threads may know of it. */
static void turn(struct sw_agent *a, bool all)
{
	/* Before the rings are empty: who ends the process now must wait for us. */
	atomic_store(&sw_shared.holding, true);
	sw_reporter_turn(a, all);
	if (a->go_native)
		go_native(a);
	atomic_store(&sw_shared.holding, sw_reporter_holding(a));
}

bool sw_thread_is_end(uint32_t why)
{
	return why == SW_LEAVING_EXIT || why == SW_LEAVING_BARE;
}

/* For SW_AGENT_LOGGING_LEVEL=debug: the answer to "why do I see no data". Once. */
static void say_counters(struct sw_agent *a)
{
	static bool said;

	if (said || sw_config.log_level != SW_LEVEL_DEBUG ||
	    !sw_thread_is_end(atomic_load(&sw_shared.why)))
		return;
	said = true;
	for (int kind = 0; kind < SW_BATCH_KINDS; kind++)
		sw_kind_count((enum sw_batch_kind)kind, SW_FATE_LEFT, a->queue.messages[kind]);
	for (int i = 0; i < SW_COUNTER_COUNT; i++) {
		uint64_t n = sw_counter_read((enum sw_counter)i);

		if (n)
			sw_say(SW_LEVEL_DEBUG, "%s %llu", sw_counter_names[i],
			       (unsigned long long)n);
	}
}

static bool flushing(const struct sw_agent *a)
{
	return a->asked != atomic_load(&sw_shared.flushed);
}

/* Whoever asked before this turn waits no longer when waiting would bring nothing, or just before
 * he gives up: the counters are worth most then. */
static void answer_flush(struct sw_agent *a)
{
	bool settled;

	if (!flushing(a))
		return;
	settled = sw_reporter_settled(a);
	if (!settled &&
	    sw_clock_ns(CLOCK_MONOTONIC) + SW_LATE_NS < atomic_load(&sw_shared.flush_end_ns))
		return;
	atomic_store(&sw_shared.in_vain, !settled);
	say_counters(a);
	atomic_store(&sw_shared.flushed, a->asked);
	sw_sys_futex_wake(&sw_shared.flushed);
}

static void not_after(uint64_t *moment, uint64_t other)
{
	*moment = SW_MIN(*moment, other);
}

/* The next moment at which there is something to do. */
static uint64_t next_moment(const struct sw_agent *a, uint64_t tick_ns)
{
	uint64_t moment = SW_MIN(a->heartbeat_ns, a->meters_ns);

	not_after(&moment, a->profiles_ns);
	not_after(&moment, a->control_ns);
	not_after(&moment, a->whole_ns);
	if (a->ticking || a->queue.underway) /* answers are taken with the tick */
		not_after(&moment, tick_ns);
	if (a->queue.first && a->retry_ns > a->now_ns)
		not_after(&moment, a->retry_ns);
	if (a->due_ns)
		not_after(&moment, a->due_ns);
	if (flushing(a))
		not_after(&moment, atomic_load(&sw_shared.flush_end_ns) - SW_LATE_NS);
	if (atomic_load(&sw_process_main_left))
		not_after(&moment, a->now_ns + ALONE_NS);
	return moment;
}

/* What another thread wants of us, or a record that came before it could see us asleep. */
static bool called(const struct sw_agent *a)
{
	/* Pairs with consider_kick in ring.c: either we see the record or its writer sees us. */
	return atomic_load(&a->loop.woken) || (!a->ticking && sw_ring_waiting()) ||
	       atomic_load(&sw_shared.asked) != a->asked || atomic_load(&sw_shared.leave);
}

/* Does an event on a socket matter now? Then we wait there, shortly: nobody can wake us. */
static bool watchful(struct sw_agent *a)
{
	return flushing(a) ||
	       (a->transport_open && a->transport->watchful && a->transport->watchful(a));
}

/* A put need not wake us while we come soon anyway. */
static void say_asleep(const struct sw_agent *a)
{
	atomic_store(&sw_ring_reader, a->ticking || a->watch_ns ? SW_READER_TICK : SW_READER_IDLE);
}

static void watch_threads(struct sw_agent *a)
{
	a->watch_ns = sw_modules_watch(a->now_ns);
	sw_modules_work(sw_reporter_delicate);
}

/* Modules look at the program's threads when they have asked for it. */
static void look(struct sw_agent *a)
{
	if (!a->watch_ns || a->now_ns < a->watch_ns)
		return;
	watch_threads(a);
	say_asleep(a);
}

/* Sleeps until the moment, or until it is time to look. True: looked, and nothing else is due. */
static bool sleeps_for_look(struct sw_agent *a, uint64_t moment)
{
	bool looks = a->watch_ns && a->watch_ns < moment;
	uint64_t until = looks ? SW_MAX(a->watch_ns, a->now_ns + 1) : moment;

	sw_loop_sleep(&a->loop, (int64_t)(until - a->now_ns));
	if (!looks)
		return false;
	a->now_ns = sw_clock_ns(CLOCK_MONOTONIC);
	look(a);
	return a->now_ns < moment;
}

/*
 * Until the next turn: on the tick while records come, else until something is due. Answers of the
 * collector in between are taken, but the rings are left alone: many small harvests cost more.
 */
static int nap(struct sw_agent *a)
{
	uint64_t tick_ns = a->now_ns + SW_TICK_NS, moment;
	int error = 0;

	watch_threads(a);
	say_asleep(a);
	while (!called(a) && (moment = next_moment(a, tick_ns)) > a->now_ns && !error) {
		int64_t limit = (int64_t)(moment - a->now_ns);
		bool watch = watchful(a);

		if (watch)
			look(a);
		else if (sleeps_for_look(a, moment))
			continue;
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
	sw_unknown_say();
	sw_shared.complained = true;
}

/*
 * gRPC C core does not outlive a fork: its threads are not in the child, its locks may be held
 * there. So a child of a process that has begun with it goes on with our own engine, and so does a
 * parent whose threads had to leave for the fork. That is said once for all of them, by the first
 * that gets here; hence a page that they share.
 */
static _Atomic bool *core_over; /* was it said? NULL: not begun with */

static void say_core_over(void)
{
	if (!atomic_exchange(core_over, true))
		sw_say(SW_LEVEL_WARNING, "gRPC C core begins only once, and not in the child of a "
					 "fork: our own gRPC is "
					 "used from now on "
					 "(SW_AGENT_GRPC_ENGINE)");
}

/* False: not here, not now. */
static bool begin_core(void)
{
	long page;

	if (core_over) {
		say_core_over();
		return false;
	}
	page = sw_sys(mmap, 0, sizeof(*core_over), PROT_READ | PROT_WRITE,
		      MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (page >= 0 || page < -4096)
		core_over = (_Atomic bool *)page;
	return core_over != NULL;
}

static const struct sw_transport *choose_core(void)
{
	const struct sw_plugin *plugin;

	if (!begin_core())
		return NULL;
	plugin = sw_plugin_load("grpc", "our own gRPC is used");
	return plugin ? plugin->transport : NULL;
}

static const struct sw_transport *choose_transport(void)
{
	const char *wanted = protocol_names[sw_config.protocol];
	const struct sw_transport *core;
	const struct sw_plugin *plugin;

	if (sw_config.protocol == SW_PROTOCOL_GRPC &&
	    sw_config.grpc_engine == SW_GRPC_ENGINE_CORE && (core = choose_core()))
		return core;
	for (size_t i = 0; i < SW_COUNT_OF(transports); i++) {
		if (strcmp(transports[i]->name, wanted) == 0)
			return transports[i];
	}
	plugin = sw_plugin_load(wanted, "nothing is sent");
	return plugin ? plugin->transport : &sw_transport_nowhere;
}

static void fds_moved(int from, int to)
{
	if (sw_agent.loop.fd == from)
		sw_agent.loop.fd = to;
	sw_control_moved(from, to);
	if (sw_agent.transport && sw_agent.transport->moved)
		sw_agent.transport->moved(from, to);
}

/* A fork that asks us to leave waits for that, not we for it. */
static bool forking(void)
{
	uint64_t end = atomic_load(&sw_shared.fork_end_ns);

	return end && !atomic_load(&sw_shared.leave) && sw_clock_ns(CLOCK_MONOTONIC) < end;
}

/* Pairs with reporter_fork_prepare: either it sees us inside and waits, or we see it and stay out
 * until it is over, for memory is copied while we go on. */
void sw_reporter_delicate(bool delicate)
{
	if ((atomic_load(&sw_shared.delicate) & 1) == delicate)
		return;
	atomic_fetch_add(&sw_shared.delicate, 1);
	while (delicate && forking()) {
		atomic_fetch_add(&sw_shared.delicate, 1);
		sw_sys_futex_wait(&sw_shared.leave, 0, FORK_PASSES_NS);
		atomic_fetch_add(&sw_shared.delicate, 1);
	}
}

void sw_reporter_loading(bool loading)
{
	atomic_store(&sw_shared.loading, loading);
	sw_reporter_delicate(loading);
}

/* What the thread owns for as long as the process lives. */
static bool make_memory(struct sw_agent *a)
{
	if (atomic_load(&sw_shared.counts) == COUNTING_UNKNOWN)
		atomic_store(&sw_shared.counts,
			     sw_management_python() >= 312 ? COUNTING_PYTHON : COUNTING_NOT);
	if (a->encoder)
		return true;
	if (!sw_shared.complained)
		complain();
	a->transport = choose_transport();
	a->sender = (struct sw_sender){sw_process_service(), sw_process_instance()};
	return sw_reporter_make(a);
}

/* Another engine of gRPC that cannot work here has said so, but for this reason. */
static void open_transport(struct sw_agent *a)
{
	int error = a->transport->open(a);

	if (error && sw_config.protocol == SW_PROTOCOL_GRPC && a->transport != &sw_transport_grpc) {
		if (error == -EALREADY)
			say_core_over();
		a->transport = &sw_transport_grpc;
		error = a->transport->open(a);
	}
	a->transport_open = error == 0;
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
	open_transport(a);
	sw_fd_leave_stderr();
	atomic_store(&a->alive, true);
	return true;
}

static void drop_descriptors(struct sw_agent *a)
{
	if (!sw_fd_private() || !atomic_load(&a->alive))
		return;
	atomic_store(&a->alive, false);
	sw_control_pause();
	a->transport->pause(a);
	sw_loop_close(&a->loop);
}

/* What the guest half found out and cannot say itself. Each once. */
static void say_findings(void)
{
	static bool disarmed, shy, contexts;

	if (!disarmed && sw_disarmed_by()) {
		disarmed = true;
		sw_say(SW_LEVEL_WARNING, "an internal check failed (%s); nothing more is observed",
		       sw_disarmed_by());
	}
	if (!contexts && sw_why_no_contexts()) {
		contexts = true;
		sw_say(SW_LEVEL_WARNING,
		       "this Python's contexts cannot be followed (%s): calls made by its tasks "
		       "are traces of their own",
		       sw_why_no_contexts());
	}
	if (!shy && sw_counter_read(SW_COUNTER_PEER_SHY)) {
		shy = true;
		sw_say(SW_LEVEL_WARNING,
		       "a server refuses request heads that carry sw8 and gets no "
		       "more of them (SW_AGENT_INJECT_IGNORE_PEERS)");
	}
}

long sw_thread_tasks(void)
{
	struct stat tasks;
	long error = sw_sys(newfstatat, AT_FDCWD, "/proc/self/task", &tasks, 0);

	return error ? error : (long)tasks.st_nlink - 2; /* "." and ".." */
}

long sw_thread_ours(void)
{
	const struct sw_transport *transport = sw_agent.transport;
	long count = 1 + (long)atomic_load(&sw_profile_threads);

	if (transport && transport->threads)
		count += transport->threads();
	if (sw_agent.left)
		count += sw_agent.left();
	return count;
}

/*
 * The main thread has ended by pthread_exit, and libc ends the process with its last thread. That
 * must be one of the program's: when only we are left beside the dead main thread, we go.
 */
static bool alone(void)
{
	long tasks = atomic_load(&sw_process_main_left) ? sw_thread_tasks() : -1;

	return tasks >= 0 && tasks <= 1 + sw_thread_ours(); /* main's remains, ours */
}

/* A last turn, and time for the answers. */
static void finish(struct sw_agent *a, uint64_t budget_ns)
{
	uint64_t end = sw_clock_ns(CLOCK_MONOTONIC) + budget_ns;

	a->ending = true;
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

	while (!atomic_load(&sw_shared.leave) && error == 0) {
		a->asked = atomic_load(&sw_shared.asked);
		a->ending = flushing(a);
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
		atomic_store(&sw_shared.failed, true);
		turn(a, true);
	} else {
		leave(a);
	}
}

/* The thread that made the first record may be real-time, or bound to a core: ours is neither. */
static void be_ordinary(void)
{
	struct sched_param none = {0};
	cpu_set_t cores;
	long policy = sw_sys(sched_getscheduler, 0), self = sw_sys(getpid), size;

	if (policy == SCHED_FIFO || policy == SCHED_RR)
		sw_sys(sched_setscheduler, 0, SCHED_OTHER, &none);
	size = sw_sys(sched_getaffinity, self, sizeof(cores), &cores); /* main's */
	if (size > 0)
		sw_sys(sched_setaffinity, 0, size, &cores);
}

void *sw_thread_main(void *arg)
{
	(void)arg;
	sw_ours_fresh_stack();
	sw_guest_mark_ours();
	atomic_store(&sw_shared.tid, (int)sw_sys(gettid));
	prctl(PR_SET_NAME, "swagent");
	be_ordinary();
	atomic_store(&sw_ring_reader, SW_READER_AWAKE);
	if (make_memory(&sw_agent) && make_descriptors(&sw_agent))
		run(&sw_agent);
	else
		atomic_store(&sw_shared.failed, true);
	/* A failed reporter stays "awake": puts fill the rings, are dropped and counted. */
	drop_descriptors(&sw_agent);
	if (!atomic_load(&sw_shared.failed))
		atomic_store(&sw_ring_reader, SW_READER_ABSENT);
	atomic_store(&sw_shared.flushed, atomic_load(&sw_shared.asked));
	sw_sys_futex_wake(&sw_shared.flushed);
	atomic_store(&sw_shared.state, THREAD_GONE);
	sw_sys_futex_wake(&sw_shared.state);
	/* The kernel gives a process the status of its last thread. */
	if (alone() && atomic_load(&sw_process_main_status) >= 0)
		sw_sys(exit_group, atomic_load(&sw_process_main_status));
	return NULL;
}
