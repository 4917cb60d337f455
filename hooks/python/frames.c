/* Walking frames; see frames.h. */
#include "hooks/python/frames.h"

#include "hooks/python/frames_at.h"
#include "preload/proc.h"

#define TRIES 3		 /* chains of a thread that runs, until one stays */
#define AGREE 10	 /* readings of it */
#define PAUSE_NS 16000	 /* between two of them, at most */
#define STILL_AGREE 4	 /* readings of one whose clock stood still, though it may run */
#define LASTING_TRIES 20 /* readings, of which so many must agree */
/* Instructions of 3.6 to 3.10. */
#define RETURN_VALUE 83
#define YIELD_VALUE 86
#define STAT_BYTES 512
#define BORDERS_MAX 1024 /* in one walk: a torn chain may be a ring */
#define THREADS_MAX 4096

struct sw_frames_row sw_frames_at;
size_t sw_frames_tid_at;
_Atomic bool sw_frames_forked;
uintptr_t sw_frames_loop, sw_frames_loop_size;

static size_t max_of(int a, int b, int c)
{
	int most = a > b ? a : b;

	return (size_t)(most > c ? most : c) + 8;
}

/* A short read near the end of a page must not fail for bytes that nobody wants. */
size_t sw_frames_body_bytes(void)
{
	return max_of(sw_frames_at.instruction, sw_frames_at.owner - 7, sw_frames_at.code);
}

size_t sw_frames_code_bytes(void)
{
	return max_of(sw_frames_at.lines, sw_frames_at.name, sw_frames_at.qualname);
}

static int first_line(const char *code)
{
	int line;

	memcpy(&line, code + sw_frames_at.first_line, sizeof(line));
	return line;
}

/*
 * Addresses alone do not tell: the parts of a code object that is freed go to the next one that is
 * made. Its name's hash does, which every name that was compiled has.
 */
uint64_t sw_frames_print_of(const char *code, uint64_t hash)
{
	uint64_t lines = (uintptr_t)sw_frames_word(code, sw_frames_at.lines);

	return (lines * 0x9e3779b97f4a7c15ull) ^ hash ^ (uint64_t)first_line(code) << 32;
}

bool sw_frames_print(bool ask, const char *code, uint64_t *ret_print)
{
	uint64_t room;
	const char *name = sw_frames_word(code, sw_frames_at.name);
	const char *hash = name ? sw_frames_view(ask, name + SW_PY_STR_HASH, &room, 8) : NULL;

	if (!hash)
		return false;
	memcpy(&room, hash, sizeof(room));
	*ret_print = sw_frames_print_of(code, room);
	return true;
}

static int32_t instruction(const char *body, const void *code)
{
	const char *next;
	int32_t at;

	if (sw_frames_at.minor >= 11) {
		next = sw_frames_word(body, sw_frames_at.instruction);
		return (int32_t)(next - ((const char *)code + sw_frames_at.instructions));
	}
	memcpy(&at, body + sw_frames_at.instruction, sizeof(at));
	return sw_frames_at.minor == 10 ? at * 2 : at;
}

static bool is_aligned(const void *object)
{
	return object && ((uintptr_t)object & 7) == 0;
}

/* Its code object, and what tells it from others. */
static bool read_code(bool ask, const void *code, uint64_t *ret_print)
{
	char room[SW_FRAMES_CODE];
	const char *seen =
		is_aligned(code) ? sw_frames_view(ask, code, room, sw_frames_code_bytes()) : NULL;

	return seen && sw_frames_word(seen, SW_PY_TYPE) == (void *)sw_frames_api.PyCode_Type &&
	       sw_frames_print(ask, seen, ret_print);
}

void sw_frames_take(const char *body, const void *frame, struct sw_frame *ret_frame)
{
	ret_frame->frame = frame;
	ret_frame->code = sw_frames_word(body, sw_frames_at.code);
	ret_frame->print = 0;
	ret_frame->at = instruction(body, ret_frame->code);
	ret_frame->entry = sw_frames_at.minor <= 10 ||
			   (sw_frames_at.is_entry >= 0 && body[sw_frames_at.is_entry]);
}

/* `known`: the same frame as it was read some us ago, or NULL; while a frame has a code object that
 * cannot become another. `later`: its code object is read with others'. */
static bool read_frame(bool ask, bool later, const void *frame, const char *body,
		       const struct sw_frame *known, struct sw_frame *ret_frame)
{
	sw_frames_take(body, frame, ret_frame);
	if (known && known->frame == frame && known->code == ret_frame->code)
		ret_frame->print = known->print;
	else if (!later && !read_code(ask, ret_frame->code, &ret_frame->print))
		return false;
	return ret_frame->at >= -2;
}

bool sw_frames_one(const void *frame, const char *body, const struct sw_frame *known,
		   struct sw_frame *ret_frame)
{
	return is_aligned(frame) && read_frame(true, false, frame, body, known, ret_frame);
}

/* Between frames whose calls went through C stands one that is none, from 3.12 on. */
bool sw_frames_is_border(const char *body)
{
	return sw_frames_at.minor >= 12 && body[sw_frames_at.owner] == SW_FRAMES_OWNER_C;
}

/*
 * Where a walk begins. 3.11 and 3.12 enter their interpreter by linking a struct on its C stack
 * whose newest frame is written an instruction later: what stands there until then is anything.
 * But a chain that is true leads, at its first frame that C called, to the newest frame of the
 * struct before: `border`, and until it has been reached nothing of it is believed. The struct
 * itself is on the stack of the thread, which need not ask for it; where it says that the one
 * before is may not be written yet.
 */
bool sw_frames_find_start(enum sw_frames_reader reader, const void *state,
			  struct sw_frames_start *ret_start)
{
	bool ask = reader == SW_FRAMES_OTHERS;
	char room[16];
	const void *link, *outer;
	const char *body;

	ret_start->bordered = sw_frames_at.cframe >= 0;
	ret_start->border = NULL;
	if (!ret_start->bordered) {
		body = sw_frames_view(ask, (const char *)state + sw_frames_at.newest, room, 8);
		ret_start->newest = body ? sw_frames_word(body, 0) : NULL;
		return body != NULL;
	}
	body = sw_frames_view(ask, (const char *)state + sw_frames_at.cframe, room, 8);
	link = body ? sw_frames_word(body, 0) : NULL;
	body = link ? sw_frames_view(ask, (const char *)link + sw_frames_at.newest, room, 16)
		    : NULL;
	if (!body)
		return false;
	ret_start->newest = sw_frames_word(body, 0);
	outer = sw_frames_word(body, 8);
	if (!outer)
		return true;
	ask = reader != SW_FRAMES_OWN;
	body = sw_frames_view(ask, (const char *)outer + sw_frames_at.newest, room, 8);
	ret_start->border = body ? sw_frames_word(body, 0) : NULL;
	return body != NULL;
}

static const struct sw_frame *nth(const struct sw_frames *known, unsigned n)
{
	return known && n < known->count ? &known->at[n] : NULL;
}

/* Where the rest of the array is for work. */
static bool has_room(unsigned count, unsigned max)
{
	return max - count >= SW_FRAMES_SPARE;
}

/* A generator that has just been left has nothing before it either; but from 3.12 on the first
 * thing of a thread is a border. */
static bool may_end(bool crossed)
{
	return crossed || sw_frames_at.minor < 12;
}

int sw_frames_walk_on(enum sw_frames_reader reader, struct sw_frames_start start,
		      const struct sw_frames *known, struct sw_frame *frames, unsigned count,
		      unsigned max, bool *ret_cut)
{
	char room[SW_FRAMES_BODY];
	const void *frame, *next;
	const char *body;
	unsigned borders = 0;
	bool ask = reader == SW_FRAMES_OTHERS, later = ask && has_room(count, max), crossed = true;

	for (frame = start.newest; frame && count < max; frame = next) {
		body = is_aligned(frame) ? sw_frames_view(ask, frame, room, sw_frames_body_bytes())
					 : NULL;
		if (!body)
			return -1;
		next = sw_frames_word(body, sw_frames_at.previous);
		crossed = sw_frames_is_border(body);
		if (crossed && count)
			frames[count - 1].entry = true;
		if (crossed ? ++borders > BORDERS_MAX
			    : !read_frame(ask, later, frame, body, nth(known, count),
					  &frames[count]))
			return -1;
		count += !crossed;
		if (later && !has_room(count + 1, max)) {
			later = false;
			if (!sw_frames_read_codes(frames, count, frames + count))
				return -1;
		}
		if (start.bordered && (crossed || frames[count - 1].entry)) {
			if (next != start.border)
				return -1;
			start.bordered = false;
		}
	}
	if (later && !sw_frames_read_codes(frames, count, frames + count))
		return -1;
	*ret_cut = frame != NULL;
	return !frame && count && (start.bordered || !may_end(crossed)) ? -1 : (int)count;
}

int sw_frames_walk(enum sw_frames_reader reader, const void *state, const struct sw_frames *known,
		   struct sw_frame *frames, unsigned max, bool *ret_cut)
{
	struct sw_frames_start start;

	if (!sw_frames_find_start(reader, state, &start))
		return -1;
	return sw_frames_walk_on(reader, start, known, frames, 0, max, ret_cut);
}

/* ---- the calling thread ---- */

/* The only interpreter, when it was looked for; NULL: not yet. */
static const void *_Atomic only;

bool sw_frames_several(void)
{
	return sw_frames_is_ready() && atomic_load(&only) && sw_frames_api.Py_IsInitialized() &&
	       sw_frames_api.PyInterpreterState_Head() != atomic_load(&only);
}

static const void *own_state(void)
{
	return sw_frames_api.Py_IsInitialized() ? sw_frames_api.PyGILState_GetThisThreadState()
						: NULL;
}

unsigned sw_frames_mine(struct sw_frame *frames, unsigned max, bool *ret_cut)
{
	const void *state = sw_frames_ready() ? own_state() : NULL;
	int count = 0;

	if (state)
		count = sw_frames_walk(SW_FRAMES_OWN, state, NULL, frames, max, ret_cut);
	return count > 0 ? (unsigned)count : 0;
}

static bool may_be_entering(uint64_t pc)
{
	return sw_frames_at.cframe >= 0 &&
	       (!sw_frames_loop_size || pc - sw_frames_loop < sw_frames_loop_size);
}

bool sw_frames_interrupted(uint64_t pc, struct sw_frames *ret_frames, struct sw_frames *spare)
{
	const void *state = sw_frames_is_ready() && !sw_frames_several() ? own_state() : NULL;
	struct sw_frame *frames = ret_frames->at;
	int count = 0;

	ret_frames->cut = false;
	if (state && may_be_entering(pc))
		count = sw_frames_walk_entering(state, frames, SW_FRAMES_MAX, spare,
						&ret_frames->cut);
	else if (state)
		count = sw_frames_walk(SW_FRAMES_OWN, state, NULL, frames, SW_FRAMES_MAX,
				       &ret_frames->cut);
	ret_frames->count = count > 0 ? (unsigned)count : 0;
	return count >= 0;
}

/* ---- others ---- */

/* As libc has it of the thread. */
static int tid_of_libc(const void *state)
{
	const void *word;
	int tid;

	/* NULL: not begun to run. */
	if (!sw_frames_tid_at || !sw_frames_peek_word(state, sw_frames_at.thread_id, &word) ||
	    !word || !sw_sys_peek(&tid, (const char *)word + sw_frames_tid_at, sizeof(tid)))
		return 0;
	return tid;
}

/* In a child that CPython was not told of (uWSGI's workers) the state of the thread that has forked
 * says what its number was in the parent; there it is main's, with main's memory. Of the others
 * that the parent had nothing is there. */
static bool was_forked(const void *state, int tid, int pid)
{
	return tid != pid && tid_of_libc(state) == pid;
}

int sw_frames_tid(const void *state)
{
	const void *word;
	int tid, pid;

	if (sw_frames_at.native_id < 0)
		return tid_of_libc(state);
	if (!sw_frames_peek_word(state, sw_frames_at.native_id, &word))
		return 0;
	tid = (int)(intptr_t)word;
	if (SW_LIKELY(!atomic_load_explicit(&sw_frames_forked, memory_order_relaxed)))
		return tid;
	pid = (int)sw_sys(getpid);
	return was_forked(state, tid, pid) ? pid : tid;
}

/* With several interpreters a thread may have several states. New ones are put before the others,
 * and may be freed while they are looked at: the one that is known to be the last is not asked. */
static const void *only_interpreter(void)
{
	void *head =
		sw_frames_api.Py_IsInitialized() ? sw_frames_api.PyInterpreterState_Head() : NULL;

	if (head && head != atomic_load(&only) && !sw_frames_api.PyInterpreterState_Next(head))
		atomic_store(&only, head);
	return head == atomic_load(&only) ? head : NULL;
}

bool sw_frames_threads(void (*each)(void *arg, int tid, const void *state), void *arg)
{
	const void *interpreter = sw_frames_ready() ? only_interpreter() : NULL;
	const void *state, *of;
	int tid;

	if (!interpreter || !sw_frames_peek_word(interpreter, sw_frames_at.threads, &state))
		return false;
	for (int i = 0; state && i < THREADS_MAX; i++) {
		/* States come and go under us. */
		if (!sw_frames_peek_word(state, sw_frames_at.interp, &of) || of != interpreter)
			return false;
		tid = sw_frames_tid(state);
		if (tid > 0)
			each(arg, tid, state);
		if (!sw_frames_peek_word(state, sw_frames_at.next, &state))
			return false;
	}
	return !state;
}

struct wanted {
	int tid;
	const void *state;
};

static void compare(void *arg, int tid, const void *state)
{
	struct wanted *wanted = arg;

	if (tid == wanted->tid)
		wanted->state = state;
}

const void *sw_frames_state(int tid)
{
	struct wanted wanted = {tid, NULL};

	sw_frames_threads(compare, &wanted);
	return wanted.state;
}

static bool is_same(const struct sw_frame *a, const struct sw_frame *b)
{
	return a->frame == b->frame && a->code == b->code && a->print == b->print && a->at == b->at;
}

static bool agree(const struct sw_frames *a, const struct sw_frames *b)
{
	if (a->count != b->count || a->cut != b->cut)
		return false;
	for (unsigned i = 0; i < a->count; i++) {
		if (!is_same(&a->at[i], &b->at[i]))
			return false;
	}
	return true;
}

/* Of the outermost frames, those that are in both; the last of them may have gone on. */
static unsigned in_common(const struct sw_frames *a, const struct sw_frames *b)
{
	unsigned most = a->count < b->count ? a->count : b->count;

	for (unsigned n = 0; n < most; n++) {
		const struct sw_frame *x = &a->at[a->count - 1 - n], *y = &b->at[b->count - 1 - n];

		if (!is_same(x, y))
			return x->frame == y->frame && x->print == y->print ? n + 1 : n;
	}
	return most;
}

static void copy(struct sw_frames *to, const struct sw_frames *from)
{
	to->count = from->count;
	to->cut = from->cut;
	memcpy(to->at, from->at, from->count * sizeof(to->at[0]));
}

static bool read_once(const void *state, const struct sw_frames *known,
		      struct sw_frames *ret_frames)
{
	int count = sw_frames_walk(SW_FRAMES_OTHERS, state, known, ret_frames->at, SW_FRAMES_MAX,
				   &ret_frames->cut);

	ret_frames->count = count < 0 ? 0 : (unsigned)count;
	return count >= 0;
}

/* What the thread has used of a processor; it cannot have moved while that stood still. False: it
 * has gone. Linux makes the number of a thread's clock of its id like this. */
bool sw_frames_used(int tid, uint64_t *ret_ns)
{
	struct timespec t = {0};

	if (sw_sys(clock_gettime, (clockid_t)((unsigned)~tid << 3 | 6), &t))
		return false;
	*ret_ns = (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
	return true;
}

/* Not as long as any round of the program's, whatever that is. */
static void pause_a_little(void)
{
	static _Atomic uint32_t seed = 0x9e3779b9u;
	uint32_t x = atomic_load_explicit(&seed, memory_order_relaxed);
	uint64_t end_ns = sw_clock_ns(CLOCK_MONOTONIC);

	x ^= x << 13;
	x ^= x >> 17;
	x ^= x << 5;
	atomic_store_explicit(&seed, x, memory_order_relaxed);
	end_ns += x % PAUSE_NS;
	while (sw_clock_ns(CLOCK_MONOTONIC) < end_ns)
		sw_pause();
}

/*
 * A chain that was read while a function of it returned, or a generator was left, ends there, as it
 * has no caller any more; and does so again and again where that is called often. But a function
 * that is in a call stands at that. Later versions leave what is before in dead frames, and have
 * another end (may_end).
 */
static bool ends_in_a_call(const struct sw_frames *frames)
{
	const struct sw_frame *last = &frames->at[frames->count - 1];
	const void *instructions;
	uint8_t opcode;

	if (sw_frames_at.minor > 10 || frames->cut)
		return true;
	return last->at >= 0 &&
	       sw_frames_peek_word(last->code, sw_frames_at.instructions, &instructions) &&
	       sw_sys_peek(&opcode, (const char *)instructions + SW_PY_BYTES + last->at, 1) &&
	       opcode != RETURN_VALUE && opcode != YIELD_VALUE;
}

/* Is `before` there in so many readings? `now` is the last. */
static bool stays(const void *state, struct sw_frames *now, const struct sw_frames *before,
		  unsigned readings)
{
	for (unsigned i = 1; i < readings; i++) {
		pause_a_little();
		if (!read_once(state, before, now) || !agree(now, before))
			return false;
	}
	return true;
}

/*
 * Of a thread that runs. Frames are used again and again at the same places, so what is read in the
 * midst of calls that come and go may be a chain that never was; and where rounds are short it is
 * read once more as soon as they and the readings are in step: three in a row that agreed were
 * wrong once in some 15,000 in a program of long rounds, and one in five in one of short ones. So
 * they are more, at moments that nobody is in step with: who is read is in one call of C's for all
 * this time, or stands still after all.
 */
static bool read_running(const void *state, struct sw_frames *now, struct sw_frames *before)
{
	for (int i = 0; i < TRIES; i++) {
		if (before->count && stays(state, now, before, AGREE))
			return ends_in_a_call(now);
		if (!read_once(state, NULL, before))
			before->count = 0;
	}
	return false;
}

/* It waits for something else than a processor. */
static bool sleeps(int tid)
{
	char text[STAT_BYTES] = {0};
	const char *at = sw_proc_read_task(tid, "stat", text, sizeof(text) - 1) > 0
				 ? sw_proc_field(text, SW_STAT_STATE)
				 : NULL;

	return at && *at != 'R';
}

/*
 * Of a thread whose clock stood still. It did not run, if it sleeps. Of one that does not it may be
 * that a hypervisor had taken the processor away some time before: the kernel takes that time off
 * the clock later on, which then stands while the thread runs, some ms at once. 5 of 220,000
 * readings of one that ran were wrong by that, on a busy machine.
 */
static bool read_still(const void *state, int tid, struct sw_frames *now,
		       const struct sw_frames *read)
{
	if (!sleeps(tid))
		return stays(state, now, read, STILL_AGREE) && (!now->count || ends_in_a_call(now));
	copy(now, read);
	return true;
}

bool sw_frames_of(const void *state, int tid, struct sw_frames *ret_frames, struct sw_frames *spare)
{
	uint64_t before, after;
	bool ok;

	if (!sw_frames_ready() || !sw_frames_api.Py_IsInitialized() ||
	    !sw_frames_used(tid, &before) || sw_frames_tid(state) != tid)
		return false;
	ok = read_once(state, NULL, spare);
	if (!sw_frames_used(tid, &after))
		return false;
	if (!ok || before != after || !read_still(state, tid, ret_frames, spare))
		ok = read_running(state, ret_frames, spare);
	return ok && sw_frames_tid(state) == tid;
}

bool sw_frames_lasting(const void *state, int tid, struct sw_frames *ret_frames,
		       struct sw_frames *spare)
{
	unsigned lasting, agreed = 1, common;

	if (sw_frames_of(state, tid, ret_frames, spare))
		return true;
	if (!sw_frames_is_ready() || !sw_frames_api.Py_IsInitialized() ||
	    !read_once(state, NULL, ret_frames))
		return false;
	lasting = ret_frames->count;
	for (int i = 0; i < LASTING_TRIES && agreed < AGREE; i++) {
		pause_a_little();
		if (!read_once(state, ret_frames, spare))
			continue;
		common = in_common(ret_frames, spare);
		/* What it begins with does not change: the shorter one is torn. */
		if (!common && spare->count > ret_frames->count)
			return false;
		if (!common)
			continue;
		lasting = SW_MIN(lasting, common);
		agreed++;
	}
	if (!lasting || agreed < AGREE || !ends_in_a_call(ret_frames))
		return false;
	memmove(ret_frames->at, ret_frames->at + ret_frames->count - lasting,
		lasting * sizeof(ret_frames->at[0]));
	ret_frames->count = lasting;
	return sw_frames_tid(state) == tid;
}
