/*
 * The pool of turns.h: taking, freeing, and what is rare.
 *
 * A thread that ends tells nobody. Its struct is found by its thread id, which the kernel no longer
 * knows, or which a new thread bears that comes for one of its own.
 */
#include "preload/turns.h"

#include "preload/config.h"
#include "preload/counters.h"
#include "preload/module.h"
#include "preload/sys.h"

#define CACHE_LINE 64

struct sw_turns *sw_turns;
_Atomic uint32_t sw_turns_used;
uint64_t sw_turns_long_ns = UINT64_MAX;

static const uint32_t bounds_ms[SW_TURNS_CLASSES] = SW_TURNS_BOUNDS;

/* Nobody need look for a free one before the next sweep. */
static _Atomic bool full;

void sw_turns_slow(struct sw_turns *turns, uint64_t ns)
{
	int at = SW_TURNS_CLASSES - 1;

	while (at && ns < bounds_ms[at] * 1000000ull)
		at--;
	sw_turns_add(&turns->slow[at], 1);
}

static void make_new(struct sw_turns *t)
{
	atomic_store(&t->began, 0);
	atomic_store(&t->turns, 0);
	atomic_store(&t->busy_ns, 0);
	atomic_store(&t->square, 0);
	atomic_store(&t->longest_ns, 0);
	atomic_store(&t->heads, 0);
	atomic_store(&t->entry, 0);
	atomic_store(&t->loop, false);
	t->by_epoll = false;
	t->other_waits = 0;
	t->waits_in = NULL;
	t->apart_turn = 0;
	atomic_store(&t->python, NULL);
	for (int i = 0; i < SW_TURNS_CLASSES; i++)
		atomic_store(&t->slow[i], 0);
	atomic_fetch_add(&t->generation, 1);
}

static void note_used(uint32_t count)
{
	uint32_t used = atomic_load(&sw_turns_used);

	while (used < count && !atomic_compare_exchange_weak(&sw_turns_used, &used, count))
		;
}

/* That of a thread with this id, which must be gone, or a free one. */
static struct sw_turns *claim(int tid)
{
	for (int i = 0; i < SW_TURNS_MAX; i++) {
		if (atomic_load(&sw_turns[i].tid) == tid)
			return &sw_turns[i];
	}
	for (int i = 0; i < SW_TURNS_MAX; i++) {
		int none = 0;

		if (!atomic_compare_exchange_strong(&sw_turns[i].tid, &none, tid))
			continue;
		note_used((uint32_t)i + 1);
		return &sw_turns[i];
	}
	return NULL;
}

struct sw_turns *sw_turns_take(struct sw_guest *g)
{
	struct sw_turns *t;

	if (!sw_turns || atomic_load_explicit(&full, memory_order_relaxed) || !sw_ticks_known())
		return NULL;
	t = claim(sw_guest_tid(g));
	if (t) {
		make_new(t);
		g->turns = t;
		return t;
	}
	if (!atomic_exchange(&full, true))
		sw_count(LOOP_POOL);
	return NULL;
}

void sw_turns_sweep(void)
{
	long self = sw_sys(getpid);

	sw_ticks_refine();
	for (uint32_t i = 0; i < atomic_load(&sw_turns_used); i++) {
		int tid = atomic_load(&sw_turns[i].tid);

		if (!tid || sw_sys(tgkill, self, tid, 0) != -ESRCH)
			continue;
		/* Not one that another thread with this id has taken meanwhile: it exists. */
		atomic_compare_exchange_strong(&sw_turns[i].tid, &tid, 0);
	}
	atomic_store(&full, false);
}

static bool turns_start(void)
{
	size_t size = (sizeof(*sw_turns) * SW_TURNS_MAX + SW_PAGE - 1) / SW_PAGE * SW_PAGE;

	_Static_assert(sizeof(*sw_turns) % CACHE_LINE == 0, "loops share no cache line");
	sw_ticks_start();
	if (sw_config.loop_blocked_ms)
		sw_turns_long_ns = sw_config.loop_blocked_ms * 1000000ull;
	sw_turns = sw_sys_map(size);
	return sw_turns != NULL;
}

/* Its loops begin with its first waits: the threads of the parent are not here, and this one has
 * another id. */
static void turns_fork_child(void)
{
	for (uint32_t i = 0; i < atomic_load(&sw_turns_used); i++)
		atomic_store(&sw_turns[i].tid, 0);
	sw_guest_self.turns = NULL;
	atomic_store(&full, false);
}

const struct sw_module sw_module_turns = {
	.name = "turns",
	.start = turns_start,
	.fork_child = turns_fork_child,
};
