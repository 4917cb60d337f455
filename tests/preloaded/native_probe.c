/*
 * What sampler/native/native.h and sampler/merge.h make of a thread of an interpreter, for
 * test_native.py, which loads this by ctypes (CDLL: without the GIL): one thread asks to be looked
 * at, another looks, by a signal whose handler copies what the sampler's will copy.
 */
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <ucontext.h>

#include "hooks/python/code.h"
#include "preload/sys.h"
#include "sampler/merge.h"

#define SHOWN __attribute__((visibility("default")))
#define BYTES (128u << 10)

static struct {
	pthread_t thread;
	uint64_t stack_end;
	_Atomic int there;
	struct sw_native_registers registers;
	struct sw_frames frames;
	uint64_t at, taken_ns;
	size_t len;
	uint8_t bytes[BYTES];
} seen;

static struct sw_native_stack native;
static struct sw_stack stack;
static struct sw_frames spare;

static void on_signal(int number, siginfo_t *info, void *context)
{
	const greg_t *registers = ((const ucontext_t *)context)->uc_mcontext.gregs;

	(void)number;
	(void)info;
	seen.registers = (struct sw_native_registers){
		.pc = (uint64_t)registers[REG_RIP],
		.sp = (uint64_t)registers[REG_RSP],
		.fp = (uint64_t)registers[REG_RBP],
		.lr = (uint64_t)registers[REG_R10],
		.all = true,
	};
	seen.frames.cut = false;
	if (!sw_frames_interrupted(seen.registers.pc, &seen.frames, &spare))
		seen.frames.count = 0;
	seen.at = seen.registers.sp;
	seen.len = SW_MIN(seen.stack_end - seen.at, (uint64_t)BYTES);
	memcpy(seen.bytes, (void *)seen.at, seen.len);
	seen.taken_ns = sw_clock_ns(CLOCK_MONOTONIC);
	atomic_store(&seen.there, 1);
}

/* The calling thread is the one that is looked at. 1: its frames can be read. */
SHOWN int probe_begin(void)
{
	struct sigaction action = {.sa_sigaction = on_signal, .sa_flags = SA_SIGINFO | SA_RESTART};
	pthread_attr_t attr;
	void *from;
	size_t size;

	pthread_getattr_np(pthread_self(), &attr);
	pthread_attr_getstack(&attr, &from, &size);
	pthread_attr_destroy(&attr);
	seen.stack_end = (uint64_t)from + size;
	seen.thread = pthread_self();
	sigaction(SIGUSR2, &action, NULL);
	return sw_frames_ready();
}

static size_t print_frame(char *to, size_t room, const struct sw_stack_frame *frame)
{
	struct sw_native_name name;
	struct sw_code code;

	if (frame->kind == SW_STACK_NOTE)
		return (size_t)snprintf(to, room, "- %s\n", frame->note);
	if (frame->kind == SW_STACK_PYTHON)
		return (size_t)snprintf(to, room, "P %s\n",
					sw_code_read(&frame->python, &code) ? code.name : "?");
	if (!sw_native_name(frame->pc, &name))
		return (size_t)snprintf(to, room, "N ? ?\n");
	return (size_t)snprintf(to, room, "N %.*s %.*s\n", (int)name.library.len,
				(const char *)name.library.at, (int)name.symbol.len,
				(const char *)name.symbol.at);
}

/* enum sw_merged, and the frames; 16 is added where the native stack is cut. */
SHOWN int probe_look(char *to, int room)
{
	enum sw_merged how;
	size_t used = 0;
	static long turn;

	/* The thread has only now been given the GIL back. */
	nanosleep(&(struct timespec){0, turn++ * 7919 % 997 * 1000}, NULL);
	atomic_store(&seen.there, 0);
	pthread_kill(seen.thread, SIGUSR2);
	while (!atomic_load(&seen.there))
		nanosleep(&(struct timespec){0, 20000}, NULL);
	sw_native_refresh();
	sw_native_unwind(&seen.registers, &(struct sw_native_piece){seen.bytes, seen.at, seen.len},
			 seen.taken_ns, &native);
	how = sw_merge(sw_eval_find(), &seen.frames, &native, &stack);
	to[0] = 0;
	for (unsigned i = 0; i < stack.count && used + 1024 < (size_t)room; i++)
		used += print_frame(to + used, 1024, &stack.at[i]);
	return (int)how | (sw_native_is_cut(&native) ? 16 : 0);
}

/* What is known of the interpreter: lengths of its two parts. */
SHOWN void probe_eval(uint64_t ret[2])
{
	const struct sw_eval *eval;

	sw_native_refresh();
	eval = sw_eval_find();
	ret[0] = eval->hot.to - eval->hot.from;
	ret[1] = eval->cold.to - eval->cold.from;
}

/* Only unwinds, as often as said; ns of each, and its frames. */
SHOWN double probe_speed(int times, int *ret_frames)
{
	struct sw_native_piece piece = {seen.bytes, seen.at, seen.len};
	uint64_t from;

	sw_native_refresh();
	sw_native_unwind(&seen.registers, &piece, seen.taken_ns, &native);
	from = sw_clock_ns(CLOCK_MONOTONIC);
	for (int i = 0; i < times; i++)
		sw_native_unwind(&seen.registers, &piece, seen.taken_ns, &native);
	*ret_frames = (int)native.count;
	return (double)(sw_clock_ns(CLOCK_MONOTONIC) - from) / times;
}
