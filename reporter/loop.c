/* Choosing a loop, sleeping and being woken; see loop.h. */
#include "reporter/loop.h"

#include "preload/config.h"
#include "preload/sys.h"
#include "reporter/bell.h"
#include "reporter/say.h"

#define LONG_NS 200000000 /* whoever rings can wait for a shorter sleep */

#define SW_LOOP(name, doc) extern const struct sw_loop_backend sw_loop_##name;
#include "reporter/loops.def"
#undef SW_LOOP

/* In the order of enum sw_loop_choice, which begins with SW_LOOP_AUTO. */
static const struct sw_loop_backend *const backends[] = {
#define SW_LOOP(name, doc) &sw_loop_##name,
#include "reporter/loops.def"
#undef SW_LOOP
};

/* Once, also for all children. */
static void say_refused(const char *name, long error)
{
	static bool said;

	if (!said)
		sw_say(SW_LEVEL_WARNING, "SW_AGENT_LOOP=%s cannot be had (%s); %s is used", name,
		       sw_say_error(error), backends[0]->name);
	said = true;
}

static int try_open(struct sw_loop *loop, const struct sw_loop_backend *backend)
{
	int error = backend->open(loop);

	loop->backend = backend;
	if (!error && sw_config.loop != SW_LOOP_AUTO)
		sw_say(SW_LEVEL_DEBUG, "the loop is %s", backend->name);
	return error;
}

/*
 * `auto` is the first and never asks for another one. io_uring is not faster (docs/performance.md);
 * many sandboxes refuse it, one that kills for it gives no warning, and a ring counts against
 * the memory that the program's user may lock.
 */
int sw_loop_open(struct sw_loop *loop)
{
	int wanted = sw_config.loop == SW_LOOP_AUTO ? 0 : sw_config.loop - 1;
	int error = try_open(loop, backends[wanted]);

	if (!error || wanted == 0)
		return error;
	say_refused(backends[wanted]->name, error);
	return try_open(loop, backends[0]);
}

void sw_loop_close(struct sw_loop *loop)
{
	loop->backend->close(loop);
}

void sw_loop_sleep(struct sw_loop *loop, int64_t timeout_ns)
{
	bool rung = false;

	if (!atomic_load(&loop->woken) && timeout_ns > LONG_NS)
		rung = sw_bell_sleep(&loop->woken, (uint64_t)timeout_ns);
	else if (!atomic_load(&loop->woken) && timeout_ns > 0)
		sw_sys_futex_wait(&loop->woken, 0, (uint64_t)timeout_ns);
	atomic_store(&loop->woken, rung);
}

/* Pairs with sw_loop_sleep: either it sees the word, or it sleeps on it and is woken. */
void sw_loop_wake(struct sw_loop *loop)
{
	if (!atomic_exchange(&loop->woken, 1))
		sw_sys_futex_wake(&loop->woken);
}
