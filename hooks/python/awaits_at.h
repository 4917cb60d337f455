/* Shared by awaits.c, awaits_find.c, awaits_chain.c and awaits_tasks.c. */
#pragma once

#include "hooks/python/awaits.h"
#include "hooks/python/frames_at.h"
#include "hooks/python/internal.h"

/* One row of awaits.def. */
struct sw_awaits_row {
	int16_t minor;
	int16_t state;
	int16_t waiter, coro, name, context;
	int16_t frame, runs;
};

struct sw_awaits_at {
	struct sw_awaits_row row;
	const void *set;     /* of weak references to all tasks; owned, for ever */
	const void *tasks;   /* the type of tasks; likewise */
	const void *futures; /* likewise */
};

extern struct sw_awaits_at sw_awaits_at;

/* Members that are the same from 3.7 to 3.13. */
#define SW_PY_WRAPPED 16    /* the one member of what wraps an awaitable, or refers weakly */
#define SW_PY_TYPE_NAME 24  /* of a type */
#define SW_PY_TYPE_SIZE 32  /* likewise: of its objects */
#define SW_PY_TYPE_BASE 256 /* likewise */
#define SW_PY_LIST_ITEMS 24
#define SW_PY_FUTURE_CALLBACK 24
#define SW_PY_FUTURE_CALLBACKS 40
#define SW_PY_SET_MASK 32
#define SW_PY_SET_TABLE 40

/* ---- awaits_memory.c ---- */

/* Memory is as it is now, or a little later: each page as it was when it was first asked for since.
 * False: no memory of ours. */
bool sw_awaits_anew(void);
/* False: it could not be read. */
bool sw_awaits_copy(void *to, const void *from, size_t len);
/* The word there, or NULL, also where there is none. */
const void *sw_awaits_word(const void *object, ptrdiff_t offset);

/* ---- awaits_tasks.c ---- */

struct sw_awaits_task {
	const void *task;
	uint64_t number; /* tasks are counted as they are made; UINT64_MAX: not known */
	bool own;	 /* its context says the request itself, not only the connection */
};

#define SW_AWAITS_EACH 32 /* tasks of a request that are known */

struct sw_awaits_request {
	sw_ref entry;
	uint32_t count; /* those made first, in this order */
	struct sw_awaits_task at[SW_AWAITS_EACH];
};

/* Lists them if it is time to, in a round of its own. NULL: none is known. */
const struct sw_awaits_request *sw_awaits_tasks(sw_ref entry, bool (*wanted)(sw_ref entry));
/* The request that a context says, or 0. */
sw_ref sw_awaits_entry_in(const void *context);
/* It is pending, of that request, and no other that was made where it was. */
bool sw_awaits_still(const struct sw_awaits_task *one, sw_ref entry);

/* ---- greenlets.c ---- */

/* The same of the greenlet that read the request; `on` says that it was switched away. */
const struct sw_awaits *sw_awaits_greenlet(sw_ref entry);

/* ---- awaits_chain.c ---- */

bool sw_awaits_is_a(const void *object, const void *type);
bool sw_awaits_is_task(const void *object);
bool sw_awaits_is_pending(const void *future);
/* The chain of this task, in a buffer that is good until the next call. NULL: it could not be read,
 * or runs. The last of its readings is the current round. `others`: tasks that may have to end
 * first. */
const struct sw_awaits *sw_awaits_chain(const void *task, const struct sw_awaits_request *others);
