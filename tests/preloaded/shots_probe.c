/*
 * A sampler without requests, for test_shots.py and tests/bench, which load this by ctypes or by
 * LD_PRELOAD into programs of all kinds: a thread looks at all threads of a CPython as
 * sampler/threads.c does, and writes down what it sees of one.
 */
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/types.h>
#include <unistd.h>

#include "hooks/python/code.h"
#include "preload/config.h"
#include "preload/exports.h"
#include "preload/fds.h"
#include "preload/module.h"
#include "preload/real.h"
#include "preload/sys.h"
#include "sampler/threads.h"

#define SHOWN __attribute__((visibility("default")))
#define LIST_EVERY 50

const struct sw_module sw_module_reporter = {.name = "reporter"}; /* there is none */

static struct {
	int tid, times, period_us;
	uint32_t stack_max;
	char *to;
	size_t room, used;
	pthread_t thread;
	_Atomic uint32_t leave;
	/* Looks at which it had run, those of which it answered itself, those told at all. */
	int due, shots, told;
	/* Of the last one that came with a stack, and how many there were. */
	uint64_t pc, sp, top;
	uint32_t stack_len, with_stack;
	uint64_t cpu_ns, wall_ns, spent_ns, frames;
} probe;

static bool all(sw_ref entry)
{
	(void)entry;
	return true;
}

static void print(const struct sw_frames *frames)
{
	struct sw_code code;

	for (unsigned i = 0; i < frames->count && probe.used + 2048 < probe.room; i++) {
		bool known = sw_code_read(&frames->at[i], &code);

		probe.used += (size_t)snprintf(probe.to + probe.used, probe.room - probe.used,
					       "%p %d %s %d %s\n", frames->at[i].code,
					       frames->at[i].entry, known ? code.name : "?",
					       known ? code.line : 0, known ? code.file : "?");
	}
	probe.to[probe.used++] = '\n';
	probe.to[probe.used] = 0;
}

static void note(const struct sw_sampled *t)
{
	probe.due += t->ran;
	if (t->shot && t->shot->stack_len) {
		probe.with_stack++;
		probe.pc = t->shot->pc;
		probe.sp = t->shot->sp;
		probe.stack_len = t->shot->stack_len;
		memcpy(&probe.top, t->shot->stack, sizeof(probe.top));
	}
	probe.shots += t->ran && t->shot;
	if (t->ran && t->shot) {
		probe.spent_ns += t->shot->spent_ns;
		probe.frames += t->frames.count;
	}
	probe.told += t->ran && t->sure && t->frames.count;
	if (probe.to && t->ran && t->sure && t->frames.count && probe.used + 65536 < probe.room)
		print(&t->frames);
}

static const struct sw_sampled *find(int tid)
{
	const struct sw_sampled *t;

	for (unsigned i = 0; (t = sw_threads_at(i)); i++) {
		if (t->tid == tid)
			return t;
	}
	return NULL;
}

static void look(int i)
{
	struct sw_look how = {all, probe.stack_max, &probe.leave, .running = false};
	const struct sw_sampled *t;

	if (i % LIST_EVERY == 0)
		sw_threads_list(sw_clock_ns(CLOCK_MONOTONIC), false);
	sw_threads_look(&how);
	t = find(probe.tid);
	if (t)
		note(t);
}

static void *work(void *none)
{
	uint64_t next_ns = sw_clock_ns(CLOCK_MONOTONIC), begin_ns = next_ns, now_ns;

	sw_guest_mark_ours();
	sw_signal_begin(sw_fd_part());
	for (int i = 0; i < probe.times && !atomic_load(&probe.leave); i++) {
		look(i);
		next_ns += (uint64_t)probe.period_us * 1000;
		now_ns = sw_clock_ns(CLOCK_MONOTONIC);
		if (next_ns <= now_ns)
			next_ns = now_ns;
		else
			sw_sys_futex_wait(&probe.leave, 0, next_ns - now_ns);
	}
	probe.wall_ns = sw_clock_ns(CLOCK_MONOTONIC) - begin_ns;
	sw_threads_clear();
	sw_signal_end();
	probe.cpu_ns = sw_clock_ns(CLOCK_THREAD_CPUTIME_ID);
	return none;
}

SHOWN int probe_ready(void)
{
	return sw_frames_ready();
}

SHOWN int probe_tid(void)
{
	return (int)sw_sys(gettid);
}

/* What the kernel calls for the signal: 0 nothing, 1 the handler of ours, 2 another. */
SHOWN int probe_handler(void)
{
	struct {
		void *handler;
		unsigned long rest[20];
	} action = {NULL, {0}};

	sw_sys(rt_sigaction, SW_SHOT_SIGNAL, NULL, &action, 8);
	return !action.handler ? 0 : action.handler == (void *)sw_shot_handler ? 1 : 2;
}

/* As preload/exports.c, where this is preloaded. */
SHOWN int sigaction(int number, const struct sigaction *action, struct sigaction *old)
{
	sw_real_resolve();
	return sw_plain_sigaction(number, action, old);
}

SHOWN int pthread_sigmask(int how, const sigset_t *set, sigset_t *old)
{
	sw_real_resolve();
	return sw_plain_pthread_sigmask(how, set, old);
}

SHOWN int sigblock(int mask)
{
	sw_real_resolve();
	return sw_plain_sigblock(mask);
}

SHOWN int sigsetmask(int mask)
{
	sw_real_resolve();
	return sw_plain_sigsetmask(mask);
}

SHOWN int sighold(int number)
{
	sw_real_resolve();
	return sw_plain_sighold(number);
}

SHOWN int sigaltstack(const stack_t *stack, stack_t *old)
{
	sw_real_resolve();
	return sw_plain_sigaltstack(stack, old);
}

SHOWN sighandler_t signal(int number, sighandler_t handler)
{
	sw_real_resolve();
	return sw_plain_signal(number, handler);
}

static uint32_t wanted_stack;

/* From now on stacks are copied. */
SHOWN void probe_want_stack(unsigned bytes)
{
	wanted_stack = bytes;
}

/* `how`: enum sw_profile_signal. Looks `times` times; of the thread `tid` stacks are written. */
SHOWN int probe_start(int how, int tid, int times, int period_us, char *to, size_t room)
{
	struct sw_shelter shelter;
	int error;

	sw_real_resolve();
	sw_config.profile_signal = how;
	memset(&probe, 0, sizeof(probe));
	probe.tid = tid;
	probe.stack_max = wanted_stack;
	probe.times = times;
	probe.period_us = period_us;
	probe.to = to;
	probe.room = room;
	sw_shelter_enter(&shelter); /* as the sampler's thread is made: it takes no signals */
	error = pthread_create(&probe.thread, NULL, work, NULL);
	sw_shelter_leave(&shelter);
	return error;
}

SHOWN void probe_leave(void)
{
	atomic_store(&probe.leave, 1);
	sw_sys_futex_wake(&probe.leave);
	sw_shots_look_up();
}

/* How many came with a stack; of the last one pc, sp, bytes, and the first word. */
SHOWN int probe_stack(uint64_t *ret_values)
{
	ret_values[0] = probe.pc;
	ret_values[1] = probe.sp;
	ret_values[2] = probe.stack_len;
	ret_values[3] = probe.top;
	return (int)probe.with_stack;
}

/* Of its answers: time in the handler on average, and frames. */
SHOWN int probe_spent_ns(void)
{
	return probe.shots ? (int)(probe.spent_ns / (unsigned)probe.shots) : 0;
}

SHOWN int probe_depth(void)
{
	return probe.shots ? (int)(probe.frames / (unsigned)probe.shots) : 0;
}

/* Waits for its end: looks at which the thread had run, its own answers, those told at all, CPU of
 * ours and time in us. */
SHOWN void probe_join(int *ret_due, int *ret_shots, int *ret_told, int *ret_cpu_us, int *ret_us)
{
	pthread_join(probe.thread, NULL);
	*ret_due = probe.due;
	*ret_shots = probe.shots;
	*ret_told = probe.told;
	*ret_cpu_us = (int)(probe.cpu_ns / 1000);
	*ret_us = (int)(probe.wall_ns / 1000);
}
