/*
 * The two threads of the plug-in that call C core, and what passes between them and ours.
 *
 * C core is begun by the driver and ended by it, once, so that after a stop this process has none
 * of its threads. The lock is held for some instructions, never while C core is
 * called.
 */
#include <errno.h>
#include <grpc/support/log.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "preload/sys.h"
#include "reporter/plugins/grpc/core.h"

/* For C core to end its calls and threads. It takes some milliseconds. */
#define STOP_S 3
#define LINES_NS 200000000ull

grpc_completion_queue *sw_core_queue;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static struct {
	pthread_cond_t changed; /* orders came, or it has stopped */
	pthread_t driver, pump;
	struct sw_core_order *orders, *last_order; /* Owned */
	struct sw_core_news *news, *last_news;	   /* Owned */
	int wake;
	bool running, spent; /* our thread's: the driver is there; has been told to stop */
	bool stop, stopped;
} engine = {.wake = -1};

static _Atomic bool dead;

/* ---- news ---- */

static void wake_up(void)
{
	static const uint64_t one = 1;

	sw_sys(write, engine.wake, &one, sizeof(one));
}

struct sw_core_news *sw_core_news_new(enum sw_core_what what, unsigned line)
{
	struct sw_core_news *news = calloc(1, sizeof(*news));

	if (news) {
		news->what = what;
		news->line = line;
	}
	return news;
}

void sw_core_tell(struct sw_core_news *news)
{
	bool first;

	if (!news)
		return;
	pthread_mutex_lock(&lock);
	first = !engine.news;
	if (first)
		engine.news = news;
	else
		engine.last_news->next = news;
	engine.last_news = news;
	pthread_mutex_unlock(&lock);
	if (first)
		wake_up();
}

struct sw_core_news *sw_core_take_news(void)
{
	struct sw_core_news *news;

	pthread_mutex_lock(&lock);
	news = engine.news;
	engine.news = engine.last_news = NULL;
	pthread_mutex_unlock(&lock);
	return news;
}

/* ---- orders ---- */

void sw_core_post(struct sw_core_order *order)
{
	order->next = NULL;
	pthread_mutex_lock(&lock);
	if (engine.orders)
		engine.last_order->next = order;
	else
		engine.orders = order;
	engine.last_order = order;
	pthread_cond_broadcast(&engine.changed);
	pthread_mutex_unlock(&lock);
}

/* NULL: the driver is to stop. */
static struct sw_core_order *next_order(void)
{
	struct sw_core_order *order;

	pthread_mutex_lock(&lock);
	while (!engine.orders && !engine.stop)
		pthread_cond_wait(&engine.changed, &lock);
	order = engine.orders;
	if (order)
		engine.orders = order->next;
	pthread_mutex_unlock(&lock);
	return order;
}

/* ---- the threads ---- */

static void *pump_main(void *none)
{
	gpr_timespec never = gpr_inf_future(GPR_CLOCK_MONOTONIC);
	grpc_event event;

	(void)none;
	pthread_setname_np(pthread_self(), "swagent-pump");
	while ((event = grpc_completion_queue_next(sw_core_queue, never, NULL)).type !=
	       GRPC_QUEUE_SHUTDOWN) {
		struct sw_core_tag *tag = event.tag;

		if (event.type == GRPC_OP_COMPLETE)
			tag->done(tag, event.success);
	}
	return NULL;
}

static void carry_out_orders(void)
{
	struct sw_core_order *order;

	while ((order = next_order()))
		order->run(order);
}

static void note_stopped(void)
{
	pthread_mutex_lock(&lock);
	engine.stopped = true;
	pthread_cond_broadcast(&engine.changed);
	pthread_mutex_unlock(&lock);
}

/* For a moment; the pump goes on. */
static void wait_while(bool (*holds)(void))
{
	static const struct timespec nap = {0, 100000};
	uint64_t end = sw_clock_ns(CLOCK_MONOTONIC) + LINES_NS;

	while (holds() && sw_clock_ns(CLOCK_MONOTONIC) < end)
		sw_sys(nanosleep, &nap, NULL);
}

static bool lines_there(void)
{
	return !sw_core_lines_gone();
}

static void *driver_main(void *none)
{
	(void)none;
	pthread_setname_np(pthread_self(), "swagent-grpc");
	grpc_init();
	sw_core_queue = grpc_completion_queue_create_for_next(NULL);
	if (pthread_create(&engine.pump, NULL, pump_main, NULL)) {
		sw_core_gives_up(); /* as good as */
		return NULL;
	}
	carry_out_orders();
	wait_while(sw_core_line_connecting); /* C core, and its threads, would stay for it */
	sw_core_drop_line();
	wait_while(lines_there);
	grpc_completion_queue_shutdown(sw_core_queue);
	pthread_join(engine.pump, NULL);
	grpc_completion_queue_destroy(sw_core_queue);
	grpc_shutdown_blocking();
	note_stopped();
	return NULL;
}

/* ---- our thread ---- */

static void give_up(void)
{
	atomic_store(&dead, true);
	wake_up();
}

static void init_cond(void)
{
	pthread_condattr_t attr;

	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&engine.changed, &attr);
	pthread_condattr_destroy(&attr);
}

bool sw_core_start(int wake)
{
	engine.wake = wake;
	if (engine.running)
		return true;
	init_cond();
	engine.stop = engine.stopped = false;
	sw_core_gives_up = give_up;
	engine.running = pthread_create(&engine.driver, NULL, driver_main, NULL) == 0;
	return engine.running;
}

static bool wait_stopped(void)
{
	struct timespec end;
	int error = 0;
	bool stopped;

	clock_gettime(CLOCK_MONOTONIC, &end);
	end.tv_sec += STOP_S;
	pthread_mutex_lock(&lock);
	engine.stop = true;
	pthread_cond_broadcast(&engine.changed);
	while (!engine.stopped && !error && !atomic_load(&dead))
		error = pthread_cond_timedwait(&engine.changed, &lock, &end);
	stopped = engine.stopped;
	pthread_mutex_unlock(&lock);
	return stopped;
}

bool sw_core_stop(void)
{
	if (!engine.running)
		return true;
	engine.spent = true;
	if (atomic_load(&dead) || !wait_stopped()) {
		atomic_store(&dead, true);
		return false;
	}
	pthread_join(engine.driver, NULL);
	engine.running = false;
	sw_core_threads_settle();
	return true;
}

bool sw_core_spent(void)
{
	return engine.spent;
}

bool sw_core_dead(void)
{
	return atomic_load(&dead);
}
