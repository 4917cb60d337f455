/* Shared by the files of hooks/python/ alone. All of it with the GIL unless it says otherwise. */
#pragma once

#include <sys/types.h>

#include "hooks/context.h"
#include "hooks/python/python.h"

typedef void sw_object; /* PyObject: no layout but layout.h's is known to us */

#define SW_PY(type, name, params) type(*name) params;
struct sw_python_api {
#include "hooks/python/api.def"
};
#undef SW_PY

extern struct sw_python_api sw_py;

/* Finds the API; once, then a load. False: no CPython of a version with contexts. Any thread. */
bool sw_python_found(void);

/* For a CPython that was loaded after the program began: when it begins to serve. */
void sw_python_look_again(void);

enum sw_python_state { SW_PYTHON_UNKNOWN, SW_PYTHON_READY, SW_PYTHON_OFF };

/* Off for the rest of the process; `why` is said once. Any thread. */
void sw_python_off(const char *why);
enum sw_python_state sw_python_state(void);

/* Finds and verifies the layout, patches what is there. True: ready. Then cheap; notices modules
 * that were imported meanwhile. */
bool sw_python_prepare(void);

/* ---- layout.c ---- */

/* Where CPython keeps things, found at run time. Offsets in bytes. */
struct sw_python_layout {
	size_t head;		    /* sizeof(PyObject): 16, or 32 without the GIL */
	size_t context;		    /* PyThreadState.context */
	size_t version;		    /* PyThreadState.context_ver; 0: not found */
	size_t prev;		    /* PyContext.ctx_prev */
	size_t vars;		    /* PyContext.ctx_vars, a HAMT */
	size_t bytes;		    /* the characters of a bytes object */
	const void *contexts;	    /* the type of a context */
	const void *bitmap, *array; /* the node types of the HAMT */
	sw_object *var;		    /* our context variable, for ever */
	uint32_t hash;		    /* its hash, folded as the HAMT does */
	sw_object *name_context;    /* "context", for ever: a string made for each look is 800
				     * instructions of each task */
};

extern struct sw_python_layout sw_python_at;

/* NULL: everything was found once, and verified; else what was not. */
const char *sw_python_find_layout(void);

static inline void *sw_python_word(const void *object, size_t offset)
{
	return *(void *const *)((const char *)object + offset);
}

static inline const void *sw_python_type(const sw_object *object)
{
	return sw_python_word(object, sw_python_at.head - sizeof(void *));
}

/* PyTypeObject has had this order since 3.0. */
#define SW_PYTHON_TP_NAME 8
#define SW_PYTHON_TP_BASICSIZE 16
#define SW_PYTHON_TP_TRAVERSE 168
#define SW_PYTHON_TP_INIT 280
#define SW_PYTHON_TP_NEW 296

/* A member of PyTypeObject, from the end of its PyObject head. */
static inline void **sw_python_slot(const void *type, size_t member)
{
	return (void **)((char *)(uintptr_t)type + sw_python_at.head + member);
}

static inline const char *sw_python_type_name(const void *type)
{
	return *sw_python_slot(type, SW_PYTHON_TP_NAME);
}

static inline bool sw_python_is_none(const sw_object *object)
{
	return strcmp(sw_python_type_name(sw_python_type(object)), "NoneType") == 0;
}

/* The row of `object` in a table of 1 << bits rows. Objects lie at the same places of many pages,
 * so all bits of the address must count: Fibonacci hashing. */
static inline size_t sw_python_row(const sw_object *object, int bits)
{
	return ((uintptr_t)object >> 4) * 0x9e3779b97f4a7c15ull >> (64 - bits);
}

/* Our value in `context`. Without the GIL only for the calling thread's own. */
bool sw_python_read(const sw_object *context, struct sw_whom *ret_whom);

/* ---- gil.c ---- */
void sw_python_find_gil(void);

/* ---- current.c ---- */

/* Writes into the current context. */
bool sw_python_set(struct sw_whom whom);
/* The same, to be undone by sw_python_unset. NULL: not set. */
sw_object *sw_python_set_for_now(struct sw_whom whom);
void sw_python_unset(sw_object *token);
/* Into another, that is not entered. */
void sw_python_set_in(sw_object *context, struct sw_whom whom);
/* The context object that is current, or NULL. */
sw_object *sw_python_context(void);
void sw_python_note_reading(const sw_object *context);
/* The context that the last request head of this thread was written to, since it last waited. */
const sw_object *sw_python_reading(void);

/* The request whose context this thread has, for something that outlives this moment: the request
 * itself, not the connection. False: of none, or what is copied says so already. */
bool sw_python_unbound(struct sw_whom *ret_whom);

/* ---- patch.c ---- */

/* Patches the types of modules that have been imported. Cheap when no module is new. */
void sw_python_patch(void);
/* A new reference to the named thing, or NULL without an exception. */
sw_object *sw_python_attribute(sw_object *of, const char *name);
/* Whatever hands work to threads is patched, as far as it has been imported. */
bool sw_python_handoffs_seen(void);
/* greenlet is loaded and keeps a context for each. */
bool sw_python_greenlets(void);
/* True in a greenlet that is not its thread's first. */
bool sw_python_in_greenlet(void);

/* ---- handoff.c: an item that one thread puts and another takes ---- */
void sw_python_given(const sw_object *item);
/* NULL: there was none. */
void sw_python_taken(const sw_object *queue, const sw_object *item);
/* Before it is. `item` is NULL where it may be several. */
void sw_python_appended(const sw_object *deque, const sw_object *item);
void sw_python_popped(const sw_object *deque, const sw_object *item);
/* How what runs here, a thread or a greenlet, came to work for a request that it has not read; and
 * that it no longer does. */
enum sw_lent sw_python_lent_by(void);
void sw_python_for_nobody(void);

/* ---- locks.c: what else may tell a thread what to do next ---- */
void sw_python_lock_made(const sw_object *lock);
/* It is about to be taken. */
void sw_python_locks(const sw_object *lock);
/* A condition asks its lock whether the thread holds it. */
void sw_python_rlock_asked(const sw_object *lock);
void sw_python_rlocks(const sw_object *lock);

/* ---- records.c: what a line is of ---- */

/* A text is about to be written to a stream, or (NULL) what the stream has kept of it: looks for
 * the record of a logging library that it was made of. True: sw_log_told_end must follow. */
bool sw_python_record_begin(const sw_object *text);

/* ---- awaits_find.c: where asyncio keeps its tasks ---- */
void sw_python_find_tasks(sw_object *modules);

/* ---- greenlets.c: which greenlet serves a request ---- */
void sw_python_greenlet_type(const sw_object *greenlets);
/* The one that runs has read it: noted if it is profiled. */
void sw_python_greenlet_serves(sw_ref entry);
/* This one is new, and no other that was where it is. */
void sw_python_greenlet_made(const sw_object *greenlet);

/* ---- uv.c ---- */

/* What this thread read or accepted last, until it waits again; for callbacks of libuv. */
extern __thread struct sw_whom sw_python_fresh;

/* A stream of uvloop's is written to. */
void sw_python_uv_writes(const sw_object *stream);
