/*
 * Whether the table of offsets is true of the CPython that runs here.
 *
 * Nothing in it is believed until the chain of a thread has been walked by the kernel's answers
 * alone, and each frame led to a code object whose name, file and line can be read; and until the
 * lists of interpreters and threads lead to where the API says they do. From 3.13 on the
 * interpreter describes itself; 3.14 describes itself differently, and is left alone.
 */
#include <dlfcn.h>
#include <link.h>
#include <pthread.h>

#include "hooks/python/code.h"
#include "hooks/python/frames.h"
#include "hooks/python/frames_at.h"
#include "preload/counters.h"

#define LINKS 32	  /* frames looked at: enough to trust a table */
#define DOUBTS_MAX 64	  /* a thread that runs, or is in mid-call, proves nothing */
#define STATES_MAX 4096	  /* of one interpreter */
#define THREAD_BYTES 1024 /* of glibc's struct pthread, in which its id in the kernel stands */

static const struct sw_frames_row rows[] = {
#define SW_FRAMES(...) {__VA_ARGS__},
#include "hooks/python/frames.def"
#undef SW_FRAMES
};

static _Atomic int state; /* 0 not known, 1 ready, -1 off */
static _Atomic bool finding;
static const char *_Atomic reason;
static unsigned doubts;

const char *sw_frames_why_not(void)
{
	return atomic_load(&reason);
}

/* ---- which row ---- */

/* "3.11.2 (main, ...": 11. */
static int minor_version(const char *text)
{
	int minor = 0;

	if (text[0] != '3' || text[1] != '.')
		return -1;
	for (text += 2; *text >= '0' && *text <= '9' && minor < 1000; text++)
		minor = minor * 10 + (*text - '0');
	return minor;
}

/* The fields of 3.13's _Py_DebugOffsets that we use, as numbers of 64-bit words. */
enum {
	SAYS_VERSION = 1,
	SAYS_FREE_THREADED,
	SAYS_THREADS = 9,
	SAYS_NEXT = 21,
	SAYS_INTERP,
	SAYS_NEWEST,
	SAYS_THREAD_ID,
	SAYS_NATIVE_ID,
	SAYS_PREVIOUS = 29,
	SAYS_CODE,
	SAYS_INSTRUCTION,
	SAYS_LOCALS,
	SAYS_OWNER,
	SAYS_FILE = 35,
	SAYS_NAME,
	SAYS_QUALNAME,
	SAYS_LINES,
	SAYS_FIRST_LINE,
	SAYS_LOCAL_NAMES = 41,
	SAYS_LOCAL_KINDS,
	SAYS_INSTRUCTIONS,
	SAYS_COUNT
};

static bool is_sane(const uint64_t *says)
{
	for (int i = SAYS_THREADS; i < SAYS_COUNT; i++) {
		if (says[i] > INT16_MAX)
			return false;
	}
	/* Within what frames.c reads at once. */
	return says[SAYS_OWNER] < 120 && says[SAYS_INSTRUCTION] < 120 && says[SAYS_CODE] < 120 &&
	       says[SAYS_PREVIOUS] <= says[SAYS_INSTRUCTION] && says[SAYS_LINES] <= 136 &&
	       says[SAYS_QUALNAME] <= 136 && says[SAYS_NAME] <= 136 && says[SAYS_FIRST_LINE] <= 136;
}

static void believe(struct sw_frames_row *row, const uint64_t *says)
{
	row->threads = (int16_t)says[SAYS_THREADS];
	row->next = (int16_t)says[SAYS_NEXT];
	row->interp = (int16_t)says[SAYS_INTERP];
	row->newest = (int16_t)says[SAYS_NEWEST];
	row->thread_id = (int16_t)says[SAYS_THREAD_ID];
	row->native_id = (int16_t)says[SAYS_NATIVE_ID];
	row->previous = (int16_t)says[SAYS_PREVIOUS];
	row->code = (int16_t)says[SAYS_CODE];
	row->instruction = (int16_t)says[SAYS_INSTRUCTION];
	row->locals = (int16_t)says[SAYS_LOCALS];
	row->owner = (int16_t)says[SAYS_OWNER];
	row->file = (int16_t)says[SAYS_FILE];
	row->name = (int16_t)says[SAYS_NAME];
	row->qualname = (int16_t)says[SAYS_QUALNAME];
	row->lines = (int16_t)says[SAYS_LINES];
	row->first_line = (int16_t)says[SAYS_FIRST_LINE];
	row->local_names = (int16_t)says[SAYS_LOCAL_NAMES];
	row->local_kinds = (int16_t)says[SAYS_LOCAL_KINDS];
	row->instructions = (int16_t)says[SAYS_INSTRUCTIONS];
}

/* NULL: `row` is what the interpreter says; else why not. */
static const char *ask_interpreter(struct sw_frames_row *row)
{
	uint64_t says[SAYS_COUNT];

	if (!sw_sys_peek(says, sw_frames_runtime(), sizeof(says)) ||
	    memcmp(says, "xdebugpy", 8) != 0 ||
	    says[SAYS_VERSION] >> 16 != (0x0300u | (unsigned)row->minor))
		return "an interpreter that does not describe itself";
	if (says[SAYS_FREE_THREADED])
		return "an interpreter without the GIL";
	if (!is_sane(says))
		return "an interpreter that describes itself oddly";
	believe(row, says);
	return NULL;
}

static const char *find_row(void)
{
	int minor = minor_version(sw_frames_api.Py_GetVersion());

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		if (rows[i].minor == minor) {
			sw_frames_at = rows[i];
			return minor < 13 ? NULL : ask_interpreter(&sw_frames_at);
		}
	}
	return "an interpreter of another version";
}

/* ---- is it true? ---- */

/* The one place in this thread's struct pthread at which its id stands; 720 in all of glibc's for
 * x86_64, and asked for first, as the number of a process may stand elsewhere by chance. */
static size_t find_tid(int tid)
{
	const char *self = (const char *)pthread_self();
	size_t found = 0, count = 0;
	int word;

	if (memcmp(self + 720, &tid, sizeof(tid)) == 0)
		return 720;
	for (size_t at = 16; at < THREAD_BYTES; at += sizeof(tid)) {
		if (!sw_sys_peek(&word, self + at, sizeof(word)))
			break;
		if (word == tid) {
			found = at;
			count++;
		}
	}
	return count == 1 ? found : 0;
}

static bool lists_agree(const void *own, const void *interpreter)
{
	const void *first, *next, *of;

	return sw_frames_peek_word(interpreter, sw_frames_at.threads, &first) &&
	       first == sw_frames_api.PyInterpreterState_ThreadHead(
				(void *)(uintptr_t)interpreter) &&
	       sw_frames_peek_word(own, sw_frames_at.interp, &of) && of == interpreter &&
	       sw_frames_peek_word(own, sw_frames_at.next, &next) &&
	       next == sw_frames_api.PyThreadState_Next((void *)(uintptr_t)own);
}

/* Every frame's code has a name, a file and a line. */
static bool all_readable(const struct sw_frame *frames, int count)
{
	struct sw_code code;

	for (int i = 0; i < count; i++) {
		if (!sw_code_read(&frames[i], &code) || code.line < 0 || !code.name[0])
			return false;
	}
	return true;
}

enum verdict { TRUE, UNDECIDED, FALSE };

static enum verdict walks(const void *own)
{
	struct sw_frame frames[8];
	bool cut;
	int count = sw_frames_walk(SW_FRAMES_OTHERS, own, NULL, frames, 8, &cut);

	if (count == 0)
		return UNDECIDED; /* it runs no Python */
	return count > 0 && all_readable(frames, count) ? TRUE : FALSE;
}

/* On a thread of CPython's own, whose frames stand still. */
static enum verdict check_own(void)
{
	void *own = sw_frames_api.PyGILState_GetThisThreadState();
	void *interpreter = sw_frames_api.PyInterpreterState_Head();
	int tid = (int)sw_sys(gettid);
	enum verdict verdict;

	if (!own || !interpreter || sw_frames_api.PyInterpreterState_Next(interpreter))
		return UNDECIDED;
	verdict = walks(own);
	if (verdict != TRUE)
		return verdict;
	sw_frames_tid_at = find_tid(tid);
	return lists_agree(own, interpreter) && sw_frames_tid(own) == tid ? TRUE : FALSE;
}

/* The oldest, which is main's and is there for as long as the interpreter; NULL: not to be had. */
static const void *oldest_state(const void *interpreter)
{
	const void *at, *next;

	if (!sw_frames_peek_word(interpreter, sw_frames_at.threads, &at) || !at)
		return NULL;
	for (int i = 0; i < STATES_MAX; i++) {
		if (!sw_frames_peek_word(at, sw_frames_at.next, &next))
			return NULL;
		if (!next)
			return at;
		at = next;
	}
	return NULL;
}

/* On a thread of ours. The main thread may run meanwhile: what does not fit says nothing. */
static enum verdict check_beside(void)
{
	void *interpreter = sw_frames_api.PyInterpreterState_Head();
	int self = (int)sw_sys(gettid), tid;
	long pid = sw_sys(getpid);
	const void *main;

	if (!interpreter || sw_frames_api.PyInterpreterState_Next(interpreter) ||
	    !(main = oldest_state(interpreter)) || walks(main) != TRUE)
		return UNDECIDED;
	sw_frames_tid_at = find_tid(self);
	tid = sw_frames_tid(main);
	return lists_agree(main, interpreter) && tid > 0 && sw_sys(tgkill, pid, tid, 0) == 0
		       ? TRUE
		       : UNDECIDED;
}

/* The loop's size is that of its symbol. */
static void find_loop(void)
{
	const ElfW(Sym) * symbol;
	void *found = NULL;
	Dl_info info;

	if (!sw_frames_api._PyEval_EvalFrameDefault ||
	    !dladdr1(sw_frames_api._PyEval_EvalFrameDefault, &info, &found, RTLD_DL_SYMENT) ||
	    !found || info.dli_saddr != sw_frames_api._PyEval_EvalFrameDefault)
		return;
	symbol = found;
	sw_frames_loop = (uintptr_t)info.dli_saddr;
	sw_frames_loop_size = symbol->st_size;
}

static void give_up(const char *why)
{
	atomic_store(&reason, why);
	atomic_store(&state, -1);
	sw_count(FRAMES_OFF);
}

static void find(enum verdict (*check)(void))
{
	const char *missing = find_row();
	enum verdict verdict;

	if (missing) {
		give_up(missing);
		return;
	}
	verdict = check();
	if (verdict == TRUE)
		find_loop();
	if (verdict == TRUE)
		atomic_store_explicit(&state, 1, memory_order_release);
	/* A handler in the middle of a call meets half a frame: once is not for ever. */
	else if (verdict == FALSE && ++doubts >= DOUBTS_MAX)
		give_up("frames are not where they should be");
}

bool sw_frames_is_ready(void)
{
	return atomic_load_explicit(&state, memory_order_acquire) > 0;
}

static bool ready(enum verdict (*check)(void))
{
	int known = atomic_load_explicit(&state, memory_order_acquire);

	if (SW_LIKELY(known))
		return known > 0;
	if (!sw_frames_api_found() || !sw_frames_api.Py_IsInitialized() ||
	    atomic_exchange(&finding, true))
		return false;
	if (!atomic_load(&state))
		find(check);
	atomic_store(&finding, false);
	return atomic_load(&state) > 0;
}

bool sw_frames_ready(void)
{
	return ready(check_own);
}

bool sw_frames_beside(void)
{
	return ready(check_beside) && sw_frames_api.Py_IsInitialized();
}
