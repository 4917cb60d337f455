/*
 * A thread of the test that runs a function again and again, and what a signal finds of it: its
 * registers and a copy of its stack, as the sampler's handler would take them. For tests only: one
 * thread at a time.
 */
#pragma once

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <time.h>
#include <ucontext.h>

#include "preload/sys.h"
#include "sampler/native/native.h"

#define CAUGHT_BYTES (256u << 10)
/* What functions may use below sp: whoever reads what was popped finds it still. */
#define CAUGHT_BELOW 128

static struct {
	_Atomic int state; /* 0 asked, 1 there */
	gregset_t registers;
	uint64_t at, taken_ns;
	int mark; /* the worker's at that moment */
	size_t len;
	uint8_t bytes[CAUGHT_BYTES];
} caught;

static struct {
	pthread_t thread;
	void (*run)(void);
	_Atomic bool leave;
	_Atomic int mark; /* whatever it says of itself */
	_Atomic uint64_t stack_end;
} worker;

static inline uint64_t caught_register(int which)
{
	return (uint64_t)caught.registers[which];
}

static inline void caught_signal(int number, siginfo_t *info, void *context)
{
	const ucontext_t *uc = context;

	(void)number;
	(void)info;
	memcpy(&caught.registers, &uc->uc_mcontext.gregs, sizeof(caught.registers));
	caught.at = caught_register(REG_RSP) - CAUGHT_BELOW;
	caught.len = SW_MIN(worker.stack_end - caught.at, (uint64_t)CAUGHT_BYTES);
	memcpy(caught.bytes, (void *)caught.at, caught.len);
	caught.mark = atomic_load(&worker.mark);
	caught.taken_ns = sw_clock_ns(CLOCK_MONOTONIC);
	atomic_store(&caught.state, 1);
}

static inline void *worker_main(void *arg)
{
	pthread_attr_t attr;
	void *stack;
	size_t size;

	(void)arg;
	pthread_getattr_np(pthread_self(), &attr);
	pthread_attr_getstack(&attr, &stack, &size);
	pthread_attr_destroy(&attr);
	atomic_store(&worker.stack_end, (uint64_t)stack + size);
	while (!atomic_load(&worker.leave))
		worker.run();
	return NULL;
}

static inline void worker_start(void (*run)(void))
{
	struct sigaction action = {.sa_sigaction = caught_signal,
				   .sa_flags = SA_SIGINFO | SA_RESTART};

	sigaction(SIGUSR2, &action, NULL);
	worker.run = run;
	atomic_store(&worker.leave, false);
	atomic_store(&worker.stack_end, 0);
	pthread_create(&worker.thread, NULL, worker_main, NULL);
	while (!atomic_load(&worker.stack_end))
		sched_yield();
}

static inline void worker_stop(void)
{
	atomic_store(&worker.leave, true);
	pthread_join(worker.thread, NULL);
}

/* `ns`: how long it runs on before, so that it is caught at many places. */
static inline void catch_it(long ns)
{
	struct timespec t = {0, ns};

	nanosleep(&t, NULL);
	atomic_store(&caught.state, 0);
	pthread_kill(worker.thread, SIGUSR2);
	while (!atomic_load(&caught.state))
		sched_yield();
}

/* By DWARF's numbers. */
static const int caught_numbers[] = {REG_RAX, REG_RDX, REG_RCX, REG_RBX, REG_RSI, REG_RDI,
				     REG_RBP, REG_RSP, REG_R8,	REG_R9,	 REG_R10, REG_R11,
				     REG_R12, REG_R13, REG_R14, REG_R15};

static inline void caught_others(uint64_t *ret_others)
{
	for (unsigned i = 0; i < SW_COUNT_OF(caught_numbers); i++)
		ret_others[i] = caught_register(caught_numbers[i]);
}

static inline void unwind_it(bool all, struct sw_native_stack *ret_stack)
{
	static uint64_t others[SW_NATIVE_REGISTERS];
	struct sw_native_registers from = {.pc = caught_register(REG_RIP),
					   .sp = caught_register(REG_RSP),
					   .fp = all ? caught_register(REG_RBP) : 0,
					   .lr = all ? caught_register(REG_R10) : 0,
					   .all = all,
					   .others = all ? others : NULL};
	struct sw_native_piece piece = {caught.bytes, caught.at, caught.len};

	caught_others(others);
	sw_native_unwind(&from, &piece, caught.taken_ns, ret_stack);
}
