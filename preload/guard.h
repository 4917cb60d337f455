/*
 * The guard: who is inside our code on this thread.
 *
 * A hook of a descriptor or call that concerns us enters the guest, works, *leaves* for the real
 * call and enters again after it, so nothing of ours is ever held across a call that may block, be
 * cancelled or be left by longjmp. While a thread is inside, its further hooked calls (a signal
 * handler's) go straight to the real function.
 *
 * The stamp is the address of the entering stack frame. Stacks grow down, so a frame that was left by
 * siglongjmp, cancellation or a killed greenlet is below the next frame that asks, or where that is
 * when its caller calls again. By this it is recognised, and its stamp taken over. Otherwise (deeper
 * frames, another stack) the stamp is taken over after many refusals, because no handler makes so
 * many.
 */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "preload/bytes.h"
#include "preload/check.h"

/* A handle of something in a pool: index + 1 and generation; 0 is none. */
typedef uint64_t sw_ref;

/* For whom something is done: a conversation in which we serve, and one request on it. */
struct sw_whom {
	sw_ref talk;
	sw_ref entry;  /* 0: whatever request is the conversation's oldest unanswered one */
	uint64_t lent; /* 1: came with what was begun or taken here, not read here */
};

/* How a thread came to work for a request that it did not read. */
enum sw_lent {
	SW_LENT_NOT,
	SW_LENT_ITEM,  /* by an item that it took from a queue */
	SW_LENT_BIRTH, /* by the thread that made it, until it waits for something */
};

struct sw_turns;

struct sw_guest {
	uintptr_t frame;  /* 0: outside */
	uint32_t refused; /* entries refused since the stamp was set */
	bool ours;	  /* a thread of ours, or made by one: never observed */
	bool loop;	 /* this thread has waited for many descriptors at once (hooks/context.h) */
	bool tentative;	 /* it might be such a thread, but has answered before it waited so far */
	bool mixed;	 /* this thread has had two requests open at once (hooks/context.h) */
	bool kick;	 /* the reporter wants to be told, once we have left */
	bool left;	 /* modules want to be told, once we have left (preload/module.h) */
	bool drawn;	 /* `untimed` was set, not only begun with */
	bool timed;	 /* this section is one of those that are timed */
	int32_t untimed; /* entries before the next that is */
	uint64_t timed_ns;   /* processor time at which its present part began; 0: none runs */
	uint64_t clock_ns;   /* what asking for that time took */
	uint8_t lent_by; /* enum sw_lent */
	uint32_t ring;	 /* the ring that this thread tries first */
	int tid;	 /* of this thread, 0 until asked */
	sw_ref talk;	 /* conversation whose request this thread read last */
	int call_fd;	 /* descriptor of the call that is being made */
	sw_ref call;	 /* the conversation that it led to before the call; 0: none */
	struct sw_turns *turns; /* its turns as a loop (preload/turns.h); NULL: none */
	struct sw_whom lent;   /* whose work this thread does, by lent_by */
	struct sw_whom serves; /* what was just read or accepted, for hooks/python */
};

/* One per thread, in the static TLS block: no allocation, no __tls_get_addr (pitfall 30). */
extern __thread struct sw_guest sw_guest_self __attribute__((tls_model("initial-exec")));

/* Not 0 while this thread is in a vfork child, which shares our memory: nothing is written then.
 * Set and cleared by preload/vfork.S. */
extern __thread int sw_guest_vfork __attribute__((tls_model("initial-exec")));

/* Points at a page that a fork of any kind hands to the child as zeros (MADV_WIPEONFORK, Linux
 * 4.14); the first 8 bytes are not 0 in the process that armed. */
extern const _Atomic uint64_t *_Atomic sw_process_mark;

struct sw_guest *sw_guest_enter_slow(struct sw_guest *g, uintptr_t frame);
void sw_guest_kick(struct sw_guest *g);

/*
 * How much processor time our sections take is told from one in some thousand, without the real
 * calls between (preload/tallies.def, HOOK_NS). These three: whether the one that begins is timed,
 * and around its parts.
 */
#define SW_GUEST_TIMED_EACH 1024 /* on the average, at random, so that no rhythm meets another */

void sw_guest_draw(struct sw_guest *g);
void sw_guest_time_begin(struct sw_guest *g);
void sw_guest_time_end(struct sw_guest *g);

/* The guest of this thread, or NULL: pass straight through. */
static inline struct sw_guest *sw_guest_enter(void)
{
	struct sw_guest *g = &sw_guest_self;
	uintptr_t frame = (uintptr_t)__builtin_frame_address(0);

	if (SW_UNLIKELY(!atomic_load_explicit(&sw_armed, memory_order_relaxed)))
		return NULL;
	if (SW_UNLIKELY(g->frame || g->ours || sw_guest_vfork ||
			!atomic_load_explicit(sw_process_mark, memory_order_relaxed)))
		return sw_guest_enter_slow(g, frame);
	g->frame = frame;
	atomic_signal_fence(memory_order_seq_cst);
	if (SW_UNLIKELY(g->untimed-- <= 0))
		sw_guest_draw(g);
	return g;
}

/* After the real call: whoever entered meanwhile on this thread is gone. */
static inline void sw_guest_resume(struct sw_guest *g)
{
	g->frame = (uintptr_t)__builtin_frame_address(0);
	atomic_signal_fence(memory_order_seq_cst);
	if (SW_UNLIKELY(g->timed))
		sw_guest_time_begin(g);
}

/* Before the real call. */
static inline void sw_guest_pause(struct sw_guest *g)
{
	if (SW_UNLIKELY(g->timed))
		sw_guest_time_end(g);
	atomic_signal_fence(memory_order_seq_cst);
	g->frame = 0;
}

/* At the end. */
static inline void sw_guest_leave(struct sw_guest *g)
{
	atomic_signal_fence(memory_order_seq_cst);
	g->frame = 0;
	if (SW_UNLIKELY(g->kick | g->left | g->timed))
		sw_guest_kick(g);
}

/* True where nothing of ours may happen: on our thread, in a vfork child, and for good when we have
 * stood down. */
static inline bool sw_guest_hidden(void)
{
	return sw_guest_self.ours || sw_guest_vfork ||
	       atomic_load_explicit(&sw_stood_down, memory_order_relaxed);
}

/* Makes the calling thread one of ours for ever. */
void sw_guest_mark_ours(void);

/*
 * Around what must not be left in the middle: no handler of the program's runs, so none can jump
 * out, and the thread is not cancelled. Bounded and rare: threads started or joined, pools mapped.
 */
struct sw_shelter {
	uint64_t mask;
	int cancel, cancel_type;
};

void sw_shelter_enter(struct sw_shelter *shelter);
void sw_shelter_leave(const struct sw_shelter *shelter);

/* The thread id; one system call per thread and process. */
int sw_guest_tid(struct sw_guest *g);

/*
 * Does a signal handler seem to run on this thread? Making a thread allocates, and a handler may
 * stand inside malloc. While one runs its signal is blocked (but for SA_NODEFER); a blocked signal
 * that has a handler is therefore a doubt.
 */
bool sw_guest_doubtful(void);

/* What the guest of another thread says; false: that thread has gone, or never asked for its id. It
 * may change while it is read. */
bool sw_guest_copy(int tid, struct sw_guest *ret_guest);

/* The real call, outside the guest. Its errno is left as it is. */
#define sw_call(g, name, ...)                                                                      \
	({                                                                                         \
		__typeof__(sw_real.name(__VA_ARGS__)) sw_result_;                                  \
		sw_guest_pause(g);                                                                 \
		sw_result_ = sw_real.name(__VA_ARGS__);                                            \
		sw_guest_resume(g);                                                                \
		sw_result_;                                                                        \
	})
