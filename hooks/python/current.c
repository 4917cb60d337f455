/*
 * Writing our variable, and when.
 *
 * A hook runs while Python's code waits for a system call: the GIL is not held. On the main thread
 * the write is left to a pending call, which CPython makes as soon as its own code goes on, and
 * which costs no fight for the GIL. On another thread that runs an event loop the GIL is taken, and
 * on all of CPython 3.8: there Py_AddPendingCall needs the GIL while atexit handlers run.
 * Threads that serve one request at a time need neither: hooks/context.h knows.
 *
 * Only contexts that were entered are written, or those of greenlets: the first context of a
 * thread belongs to no request, and whatever is begun from it later would inherit a stranger.
 */
#include <dlfcn.h>
#include <errno.h>

#include "hooks/blocked.h"
#include "hooks/flow.h"
#include "hooks/python/frames_at.h"
#include "hooks/python/internal.h"
#include "preload/counters.h"
#include "preload/module.h"
#include "preload/sys.h"

/* What the pending call is to write. Its writer and its reader are the main thread. */
static struct {
	_Atomic bool queued;
	bool wanted; /* a value, not only the layout */
	struct sw_whom whom;
	const void *thread;
	const sw_object *context;
} pending;

static _Atomic int state; /* enum sw_python_state */
static _Atomic bool preparing;
static __thread const sw_object *reading;

enum sw_python_state sw_python_state(void)
{
	return (enum sw_python_state)atomic_load_explicit(&state, memory_order_acquire);
}

bool sw_python_ready(void)
{
	return sw_python_state() == SW_PYTHON_READY;
}

bool sw_python_is_off(void)
{
	return sw_python_state() == SW_PYTHON_OFF;
}

bool sw_python_present(void)
{
	return sw_python_found();
}

void sw_python_off(const char *why)
{
	sw_no_contexts(why);
	if (atomic_exchange(&state, SW_PYTHON_OFF) != SW_PYTHON_OFF)
		sw_count(PYTHON_OFF);
}

/* The API keeps states by thread alone: with several interpreters it may answer for another. */
static bool one_interpreter(void)
{
	void *head = sw_py.PyInterpreterState_Head();

	return head && !sw_py.PyInterpreterState_Next(head);
}

static bool usable(void)
{
	if (sw_python_state() == SW_PYTHON_OFF || !sw_python_found() || !sw_py.Py_IsInitialized())
		return false;
	if (one_interpreter())
		return true;
	sw_python_off("it has several interpreters");
	return false;
}

bool sw_python_prepare(void)
{
	sw_object *type, *value, *traceback;
	const char *missing;

	if (sw_python_state() == SW_PYTHON_UNKNOWN && !atomic_exchange(&preparing, true)) {
		sw_py.PyErr_Fetch(&type, &value, &traceback);
		sw_python_find_gil();
		missing = sw_python_find_layout();
		if (missing)
			sw_python_off(missing);
		else
			atomic_store(&state, SW_PYTHON_READY);
		sw_py.PyErr_Restore(type, value, traceback);
	}
	if (!sw_python_ready())
		return false;
	sw_python_patch();
	return true;
}

/* ---- writing ---- */

sw_object *sw_python_set_for_now(struct sw_whom whom)
{
	sw_object *value = sw_py.PyBytes_FromStringAndSize((const char *)&whom, sizeof(whom));
	sw_object *token = value ? sw_py.PyContextVar_Set(sw_python_at.var, value) : NULL;

	if (value)
		sw_py.Py_DecRef(value);
	return token;
}

void sw_python_unset(sw_object *token)
{
	sw_object *type, *value, *traceback;

	sw_py.PyErr_Fetch(&type, &value, &traceback);
	if (sw_py.PyContextVar_Reset(sw_python_at.var, token))
		sw_python_off("a variable could not be reset");
	sw_py.Py_DecRef(token);
	sw_py.PyErr_Restore(type, value, traceback);
}

/* Out of memory, then: what the context said before would be a lie from now on. */
static bool failed(void)
{
	sw_py.PyErr_Restore(NULL, NULL, NULL);
	sw_python_off("a variable could not be set");
	return false;
}

bool sw_python_set(struct sw_whom whom)
{
	sw_object *token = sw_python_set_for_now(whom);

	if (!token)
		return failed();
	sw_py.Py_DecRef(token);
	return true;
}

void sw_python_set_in(sw_object *context, struct sw_whom whom)
{
	if (sw_py.PyContext_Enter(context)) {
		sw_py.PyErr_Restore(NULL, NULL, NULL);
		return;
	}
	sw_python_set(whom);
	sw_py.PyContext_Exit(context);
}

sw_object *sw_python_context(void)
{
	const void *thread = sw_py.PyGILState_GetThisThreadState();

	return thread ? (sw_object *)(uintptr_t)sw_python_word(thread, sw_python_at.context) : NULL;
}

const sw_object *sw_python_reading(void)
{
	return reading;
}

void sw_python_note_reading(const sw_object *context)
{
	reading = context;
}

void sw_python_waits(void)
{
	reading = NULL;
	sw_python_fresh = (struct sw_whom){.talk = 0};
}

bool sw_python_unbound(struct sw_whom *ret_whom)
{
	enum sw_python_found found = sw_python_current(ret_whom);

	if (found == SW_PYTHON_NOTHING || (found == SW_PYTHON_HERE && ret_whom->entry))
		return false;
	if (!ret_whom->entry)
		ret_whom->entry = sw_flow_unanswered(ret_whom->talk);
	return ret_whom->entry != 0;
}

/* ---- when ---- */

/* Entered by somebody, not the first of its thread. */
static bool is_entered(const sw_object *context)
{
	return context && sw_python_word(context, sw_python_at.prev);
}

bool sw_python_plain(void)
{
	return sw_python_ready() && !sw_python_greenlets() && !is_entered(sw_python_context());
}

const void *sw_python_here(void)
{
	return sw_python_ready() && sw_py.Py_IsInitialized() ? sw_python_context() : NULL;
}

enum sw_python_apart sw_python_apart(const void *waits)
{
	const void *here = sw_python_here();

	if (!here || (here == waits && !is_entered(here)))
		return SW_PYTHON_SAME;
	return waits || is_entered(here) ? SW_PYTHON_APART : SW_PYTHON_FIRST;
}

/*
 * With the GIL, in the context that is current. Greenlets inherit no context, so only who reads a
 * request says so in its own: one that accepts connections (gevent's hub, which also waits for
 * everybody's events) works for none of them.
 */
static void write_here(struct sw_whom whom)
{
	bool entered = is_entered(sw_python_context());

	if (!entered && (!whom.entry || !sw_python_in_greenlet()))
		return;
	if (!sw_python_set(whom) || !whom.entry)
		return;
	reading = sw_python_context();
	sw_python_greenlet_serves(whom.entry);
	if (!entered)
		sw_blocked_interleaves(&sw_guest_self);
}

static int make_pending(void *none)
{
	int error = errno;

	(void)none;
	atomic_store(&pending.queued, false);
	if (usable() && sw_python_prepare() && pending.wanted) {
		pending.wanted = false;
		if (sw_py.PyThreadState_Get() != pending.thread ||
		    sw_python_context() != pending.context)
			sw_python_off("a request was taken over by another context");
		else
			write_here(pending.whom);
	}
	errno = error;
	return 0; /* no exception */
}

/* The main thread alone makes pending calls. */
static void leave_to_pending(struct sw_whom whom, bool wanted)
{
	pending.thread = sw_py.PyGILState_GetThisThreadState();
	if (wanted) {
		pending.context = sw_python_context();
		pending.whom = whom;
		pending.wanted = true;
	}
	if (!atomic_exchange(&pending.queued, true) &&
	    sw_py.Py_AddPendingCall(make_pending, NULL)) {
		atomic_store(&pending.queued, false);
		if (wanted)
			sw_python_off("no pending call was free");
	}
}

static void prepare_with_gil(void)
{
	int gil = sw_py.PyGILState_Ensure();

	sw_python_prepare();
	sw_py.PyGILState_Release(gil);
}

static void take_gil(struct sw_whom whom)
{
	int gil = sw_py.PyGILState_Ensure();

	if (sw_python_prepare())
		write_here(whom);
	sw_py.PyGILState_Release(gil);
}

static bool is_main(struct sw_guest *g)
{
	return sw_guest_tid(g) == (int)sw_sys(getpid);
}

/* The main thread, of a version where it may ask for a pending call. */
static bool may_leave(struct sw_guest *g)
{
	static _Atomic int allowed = -1; /* CPython composes the text anew for each call */

	if (allowed < 0)
		allowed = strncmp(sw_py.Py_GetVersion(), "3.8.", 4) != 0;
	return is_main(g) && allowed;
}

/* Before the layout is known nothing is written. */
static void prepare_soon(struct sw_guest *g)
{
	if (may_leave(g))
		leave_to_pending((struct sw_whom){.talk = 0}, false);
	else
		prepare_with_gil();
}

/* Does the calling thread interleave requests, in the context that is current? Else there is
 * nothing to write: the thread itself tells. */
static bool interleaves(const struct sw_guest *g)
{
	if (!g->loop)
		return false;
	return !sw_python_ready() || is_entered(sw_python_context()) || sw_python_greenlets();
}

static bool says_already(struct sw_whom whom)
{
	struct sw_whom now;

	return sw_python_current(&now) == SW_PYTHON_HERE && now.talk == whom.talk &&
	       now.entry == whom.entry;
}

static void write_soon(struct sw_guest *g, struct sw_whom whom)
{
	if (may_leave(g))
		leave_to_pending(whom, true);
	else
		take_gil(whom);
}

/* Outside the guest, after the call: the GIL may be waited for. */
static void python_left(struct sw_guest *g)
{
	struct sw_whom whom = g->serves;
	int error = errno;

	g->serves = (struct sw_whom){.talk = 0};
	if (!usable() || !sw_py.PyGILState_GetThisThreadState())
		whom.talk = 0;
	else if (!sw_python_ready() && is_main(g))
		prepare_soon(g);
	else if (whom.talk && interleaves(g) && !says_already(whom))
		write_soon(g, whom);
	errno = error;
}

void sw_python_serves(struct sw_guest *g, struct sw_whom whom)
{
	if (sw_python_state() == SW_PYTHON_OFF || !sw_python_found())
		return;
	sw_python_fresh = whom;
	if (sw_python_ready() && !interleaves(g))
		return;
	g->serves = whom;
	g->left = true;
}

void sw_python_listens(struct sw_guest *g)
{
	if (!sw_python_found())
		sw_python_look_again();
	if (sw_python_state() == SW_PYTHON_UNKNOWN && sw_python_found())
		g->left = true;
}

static const void *object_of(const void *address)
{
	Dl_info info;

	return address && dladdr(address, &info) ? info.dli_fbase : NULL;
}

bool sw_python_makes_thread(const void *caller)
{
	if (!sw_python_found() || !sw_py.Py_IsInitialized())
		return true;
	if (object_of(caller) != object_of((const void *)sw_py.Py_IsInitialized))
		return false;
	/* So that its queues and locks are known before it is; else nobody would see that it is
	 * told to work for another. */
	return usable() && sw_py.PyGILState_Check() && sw_python_prepare() &&
	       sw_python_handoffs_seen();
}

/* The thread that was to make the pending call may not exist here, nor the call itself. */
static void python_forked(void)
{
	pending.wanted = false;
	atomic_store(&pending.queued, false);
	atomic_store(&sw_frames_forked, true);
}

/* Who wants our thread from the start on wants it back after a fork, too (hooks/wait.c). */
static bool python_start(void)
{
	if (sw_modules_are_wanted() && sw_frames_api_found())
		sw_python_find_gil();
	return true;
}

const struct sw_module sw_module_python = {
	.name = "python",
	.start = python_start,
	.left = python_left,
	.fork_child = python_forked,
};
