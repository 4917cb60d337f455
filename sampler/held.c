/*
 * See held.h. The thread is never asked by signal, as in a profile: it stands in a call (a sleep, a
 * lock, a name server), of which the kernel says where, and its stack is read from beside. That and
 * Python's frames are of one moment if the clock of its processor time stood still meanwhile. Of a
 * loop that computes Python's frames alone are told.
 *
 * What unwinds and names is made for one thread at a time, which is the sampler while there is one:
 * it is borrowed for each look. Symbols, which take long to read and some MB, are kept for a while.
 */
#include "sampler/held.h"

#include "hooks/blocked.h"
#include "hooks/python/frames.h"
#include "preload/config.h"
#include "preload/fds.h"
#include "preload/proc.h"
#include "preload/profile.h"
#include "preload/sys.h"
#include "sampler/eval.h"
#include "sampler/merge.h"
#include "sampler/names.h"
#include "sampler/native/native.h"
#include "sampler/signal.h"

#define PIECE_BYTES (32u << 10)
#define TEXT_BYTES SW_BLOCKED_TEXT_MAX
#define FRAMES_SHOWN 64
#define CALL_BYTES 256
#define KEPT_NS (10 * SW_SECOND_NS)

/* One thread. */
static struct held {
	struct sw_native_registers at;
	struct sw_frames frames, spare;
	size_t piece_len;
	uint64_t taken_ns;
	uint8_t piece[PIECE_BYTES];
} held;

/* False: it runs. */
static bool read_place(int tid)
{
	char text[CALL_BYTES];
	long got = sw_proc_read_task(tid, "syscall", text, sizeof(text) - 1);

	if (got <= 0)
		return false;
	text[got] = 0;
	held.at = (struct sw_native_registers){.all = false};
	return sw_signal_parse_call(text, &held.at.sp, &held.at.pc);
}

static void read_piece(void)
{
	long got = sw_sys_copy(held.piece, (void *)(uintptr_t)held.at.sp, sizeof(held.piece));

	held.piece_len = got > 0 ? (size_t)got : 0;
}

/* No Python is an ordinary answer. */
static bool read_python(const struct sw_turns *t, int tid)
{
	const void *state = atomic_load(&t->python);

	held.frames.count = 0;
	held.frames.cut = false;
	return !state || !sw_frames_is_ready() ||
	       sw_frames_of(state, tid, &held.frames, &held.spare);
}

static bool read_thread(const struct sw_blocked_held *h)
{
	int tid = atomic_load(&h->turns->tid);
	uint64_t before_ns, after_ns;

	held.taken_ns = sw_clock_ns(CLOCK_MONOTONIC);
	if (!sw_frames_used(tid, &before_ns) || !read_place(tid))
		return false;
	read_piece();
	return read_python(h->turns, tid) && sw_frames_used(tid, &after_ns) &&
	       before_ns == after_ns && atomic_load(&h->turns->turns) == h->turn;
}

static void write_frame(struct sw_writer *w, const struct sw_stack_frame *frame)
{
	const struct sw_name *name = sw_names_of(frame);
	bool has_line = name->line || name->kind == SW_STACK_PYTHON;

	sw_blocked_write(w, name->function, name->file, has_line ? (int64_t)name->line : -1);
	sw_write(w, SW_BYTES("\n"));
}

static void tell(const struct sw_blocked_held *h, const struct sw_stack *stack)
{
	static uint8_t text[TEXT_BYTES];
	struct sw_writer w = sw_writer(text, sizeof(text));
	size_t whole = 0, python = SIZE_MAX;

	for (uint32_t i = 0; i < stack->count && i < FRAMES_SHOWN; i++) {
		if (stack->at[i].kind == SW_STACK_PYTHON)
			python = SW_MIN(python, w.len);
		write_frame(&w, &stack->at[i]);
		if (w.cut)
			break;
		whole = w.len;
	}
	if (whole)
		sw_blocked_tell(h, sw_bytes(text, whole), python < whole ? python : 0);
}

static void look_at(const struct sw_blocked_held *h)
{
	static struct sw_native_stack native;
	static struct sw_stack stack;
	const struct sw_eval *eval;

	if (!read_thread(h) || !sw_native_refresh())
		return;
	eval = sw_eval_find();
	sw_native_unwind(&held.at,
			 &(struct sw_native_piece){held.piece, held.at.sp, held.piece_len},
			 held.taken_ns, &native);
	sw_merge(eval, &held.frames, &native, &stack);
	tell(h, &stack);
}

/* Until when symbols are kept; 0: there are none. */
static uint64_t kept_end_ns;

static void forget_symbols(void)
{
	if (!kept_end_ns || sw_clock_ns(CLOCK_MONOTONIC) < kept_end_ns || !sw_native_take(NULL))
		return;
	sw_native_forget_names();
	sw_native_give();
	kept_end_ns = 0;
}

void sw_held_look(void (*delicate)(bool delicate))
{
	struct sw_blocked_held h = {.loop = 0};

	forget_symbols();
	if (!sw_config.profile_native || atomic_load(&sw_profile_current) ||
	    atomic_load(&sw_profile_whole_current) || !sw_fd_private())
		return;
	while (sw_blocked_next(&h)) {
		if (!sw_native_take(delicate))
			return;
		look_at(&h);
		sw_names_clear();
		kept_end_ns = sw_clock_ns(CLOCK_MONOTONIC) + KEPT_NS;
		sw_native_give();
	}
}
