/* Entering and leaving the guest; see guard.h. */
#include "preload/guard.h"

#include <pthread.h>
#include <signal.h>

#include "preload/module.h"
#include "preload/sys.h"
#include "preload/tallies.h"

/* Two frames of one thread are nearer to each other than this, or on different stacks. */
#define STACK_SPAN (8u << 20)
/* Who makes this many calls inside one of our sections is no handler: it was left by a jump, and
 * what calls now is deeper, or on another stack. */
#define REFUSALS_MAX 256

#define GUESTS 4096 /* threads whose guests can be found by their ids */

__thread struct sw_guest sw_guest_self;
__thread int sw_guest_vfork;

static const _Atomic uint64_t unmarked = 1;
const _Atomic uint64_t *_Atomic sw_process_mark = &unmarked;

/* Is the frame that holds the stamp gone? */
static bool stamp_is_dead(struct sw_guest *g, uintptr_t frame)
{
	uintptr_t distance = frame > g->frame ? frame - g->frame : g->frame - frame;

	if (distance < STACK_SPAN && frame >= g->frame)
		return true;
	return ++g->refused > REFUSALS_MAX;
}

struct sw_guest *sw_guest_enter_slow(struct sw_guest *g, uintptr_t frame)
{
	if (g->ours || sw_guest_vfork)
		return NULL;
	if (!atomic_load_explicit(sw_process_mark, memory_order_relaxed))
		sw_modules_forked(); /* a child made behind our back: raw clone, daemon(3) */
	if (g->frame && !stamp_is_dead(g, frame))
		return NULL;
	g->refused = 0;
	g->timed = false; /* the one that was left, if any */
	g->frame = frame;
	atomic_signal_fence(memory_order_seq_cst);
	return g;
}

void sw_guest_kick(struct sw_guest *g)
{
	bool kick = g->kick, left = g->left;

	g->kick = g->left = false;
	if (kick)
		sw_modules_kick();
	if (left)
		sw_modules_left(g);
	if (g->timed) {
		sw_guest_time_end(g);
		g->timed = false;
	}
}

/* Processor time, not the clock's: a thread that is put off in our section is not kept by it. */
static uint64_t spent_ns(void)
{
	return sw_clock_ns(CLOCK_THREAD_CPUTIME_ID);
}

void sw_guest_draw(struct sw_guest *g)
{
	static _Atomic uint32_t dice;
	int32_t n = (int32_t)(atomic_fetch_add_explicit(&dice, 0x9e3779b9u, memory_order_relaxed) /
			      (UINT32_MAX / SW_GUEST_TIMED_EACH + 1));
	uint64_t begin_ns;

	g->untimed = g->drawn ? n + SW_GUEST_TIMED_EACH / 2 - 1 : n;
	if (g->drawn) {
		g->timed = true;
		begin_ns = spent_ns();
		sw_guest_time_begin(g);
		g->clock_ns = g->timed_ns - begin_ns;
	}
	g->drawn = true;
}

void sw_guest_time_begin(struct sw_guest *g)
{
	g->timed_ns = spent_ns();
}

void sw_guest_time_end(struct sw_guest *g)
{
	uint64_t took_ns = g->timed_ns ? spent_ns() - g->timed_ns : 0;

	g->timed_ns = 0;
	if (took_ns > g->clock_ns)
		sw_tally_add(g, SW_TALLY_HOOK_NS, (took_ns - g->clock_ns) * SW_GUEST_TIMED_EACH);
}

void sw_guest_mark_ours(void)
{
	sw_guest_self.ours = true;
	sw_guest_tid(&sw_guest_self); /* so that it can be told from the program's */
}

void sw_shelter_enter(struct sw_shelter *shelter)
{
	uint64_t all =
		~(1ull << 32); /* but 33, libc's own: setuid waits for every thread's answer */

	sw_sys(rt_sigprocmask, SIG_SETMASK, &all, &shelter->mask, sizeof(all));
	pthread_setcanceltype(PTHREAD_CANCEL_DEFERRED, &shelter->cancel_type);
	pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &shelter->cancel);
}

void sw_shelter_leave(const struct sw_shelter *shelter)
{
	pthread_setcancelstate(shelter->cancel, NULL);
	sw_sys(rt_sigprocmask, SIG_SETMASK, &shelter->mask, NULL, sizeof(shelter->mask));
	/* Last: a thread that was cancelled meanwhile and may be at any moment ends here, with the
	 * program's signals. Of one that ends in setcancelstate glibc 2.36 says that it returned
	 * NULL. */
	pthread_setcanceltype(shelter->cancel_type, NULL);
}

/* Where guests are, by the last bits of their thread's id. A later thread takes the place of one
 * that may have gone, so what stands there is only read by the kernel's answer. */
static struct sw_guest *_Atomic guests[GUESTS];

int sw_guest_tid(struct sw_guest *g)
{
	if (SW_UNLIKELY(!g->tid)) {
		g->tid = (int)sw_sys(gettid);
		atomic_store(&guests[(unsigned)g->tid % GUESTS], g);
	}
	return g->tid;
}

bool sw_guest_copy(int tid, struct sw_guest *ret_guest)
{
	struct sw_guest *g = atomic_load(&guests[(unsigned)tid % GUESTS]);

	return g && sw_sys_peek(ret_guest, g, sizeof(*g)) && ret_guest->tid == tid;
}

bool sw_guest_doubtful(void)
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
