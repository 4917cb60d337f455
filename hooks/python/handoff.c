/*
 * What one thread, or greenlet, hands to another through a queue. The GIL serialises all of it.
 *
 * queue.SimpleQueue, below every executor, and gevent's, which stands for it: an executor's task
 * leads by its address to the request for which it was put. A task that is put twice, for different
 * requests, is for none: its address no longer tells which. Whoever takes anything else works for
 * nobody that was lent to him: it may be another's job. Only what is kept last in, first out, is a
 * store of things to use (connections), no list of jobs. deque, below queue.Queue: also whether
 * other requests fill it; who takes from such a queue no longer works for the request that he was
 * started in.
 */
#include "hooks/python/internal.h"

#define WAYS 4
#define ITEM_BITS 10
#define ITEMS (WAYS << ITEM_BITS)
#define DEQUE_BITS 10

struct item {
	const sw_object *at; /* NULL: free */
	struct sw_whom whom;
	uint32_t count; /* put and not yet taken */
};

static struct item items[ITEMS];
static uint32_t turn;
static __thread const sw_object *took_from; /* by this thread, last */

static struct item *row_of(const sw_object *item)
{
	return &items[sw_python_row(item, ITEM_BITS) * WAYS];
}

static struct item *find(const sw_object *item)
{
	struct item *row = row_of(item);

	for (int i = 0; i < WAYS; i++) {
		if (row[i].at == item)
			return &row[i];
	}
	return NULL;
}

/* A place for a new item; when the row is full another is forgotten, and will be for none. */
static struct item *make(const sw_object *item)
{
	struct item *row = row_of(item), *place = NULL;

	for (int i = 0; !place && i < WAYS; i++)
		place = row[i].at ? NULL : &row[i];
	if (!place)
		place = &row[turn++ % WAYS];
	*place = (struct item){.at = item};
	return place;
}

enum sw_lent sw_python_lent_by(void)
{
	struct sw_whom now;

	if (sw_python_greenlets() && sw_python_current(&now) == SW_PYTHON_HERE)
		return now.lent;
	return sw_guest_self.lent_by;
}

/* A greenlet is told by its context, a thread by itself. One that has read a request works for it,
 * whatever it takes. */
static void work_for(struct sw_whom whom)
{
	struct sw_whom now;
	bool told = sw_python_current(&now) == SW_PYTHON_HERE;

	whom.lent = SW_LENT_ITEM;
	if (told ? now.lent : whom.entry && sw_python_in_greenlet())
		sw_python_set(whom);
	else if (!told)
		sw_context_lend(&sw_guest_self, whom, SW_LENT_ITEM);
}

void sw_python_for_nobody(void)
{
	work_for((struct sw_whom){.talk = 0});
}

static bool is_of(const sw_object *item, const char *type)
{
	return strcmp(sw_python_type_name(sw_python_type(item)), type) == 0;
}

/* (function, arguments, keywords, ThreadResult): gevent's, for its native threads */
static bool is_native_task(const sw_object *item)
{
	sw_object *tuple = (sw_object *)(uintptr_t)item;

	return sw_python_greenlets() && is_of(item, "tuple") && sw_py.PyTuple_Size(tuple) == 4 &&
	       is_of(sw_py.PyTuple_GetItem(tuple, 3), "ThreadResult");
}

/* Of concurrent.futures, or that. */
static bool is_task(const sw_object *item)
{
	static const void *tasks, *others[8]; /* seen, and none: no name is looked at twice */
	const void *type = sw_python_type(item), **other = &others[sw_python_row(type, 3)];

	if (!tasks && type != *other) {
		if (is_of(item, "_WorkItem"))
			tasks = type;
		else
			*other = type;
	}
	return type == tasks || is_native_task(item);
}

void sw_python_given(const sw_object *item)
{
	struct item *known;
	struct sw_whom whom;

	if (!is_task(item))
		return;
	known = find(item);
	whom = sw_context_whom(&sw_guest_self);
	if (!known) {
		known = make(item); /* also for none: the next to put it may be somebody */
		known->whom = whom;
	} else if (known->whom.entry != whom.entry) {
		known->whom = (struct sw_whom){.talk = 0};
	}
	known->count++;
}

/* Of a queue that holds nothing (more): what was taken from it before is done. */
static void found_empty(const sw_object *queue)
{
	if (sw_guest_self.lent_by == SW_LENT_ITEM && took_from == queue)
		sw_context_lend(&sw_guest_self, (struct sw_whom){.talk = 0}, SW_LENT_NOT);
}

void sw_python_taken(const sw_object *queue, const sw_object *item)
{
	bool task = item && is_task(item);
	struct item *known = task ? find(item) : NULL;
	struct sw_whom whom = {.talk = 0};

	if (!item) {
		found_empty(queue);
		return;
	}
	if (!task && strstr(sw_python_type_name(sw_python_type(queue)), "Lifo"))
		return;
	took_from = queue;
	if (known) {
		whom = known->whom;
		if (--known->count == 0)
			known->at = NULL;
	}
	work_for(whom);
}

/* ---- deques ---- */

static struct {
	const sw_object *at;
	sw_ref entry; /* the request of all who appended since it was empty; 0: not of one */
} deques[1 << DEQUE_BITS];

/* A deque counts its items where every object of variable size does. */
static bool is_empty(const sw_object *deque)
{
	return !sw_python_word(deque, sw_python_at.head);
}

/* Condition.wait() makes a lock, takes it, appends it to a deque and waits for it. */
static __thread bool queued;

bool sw_python_waits_to_be_told(void)
{
	bool waits = queued || !sw_python_found() || !sw_py.Py_IsInitialized();

	queued = false;
	return waits;
}

static bool is_lock(const sw_object *item)
{
	static const void *other; /* the type seen last that is none */
	const void *type = sw_python_type(item);
	const char *name;

	if (type == other)
		return false;
	name = sw_python_type_name(type);
	if (strcmp(name, "_thread.lock") == 0 || strstr(name, "LockType"))
		return true;
	other = type;
	return false;
}

/* Is about to wait on a condition. A thread of the system's is asked again when it does. */
static void will_wait(void)
{
	struct sw_whom now;

	queued = sw_guest_self.lent_by == SW_LENT_BIRTH;
	if (sw_python_greenlets() && sw_python_current(&now) == SW_PYTHON_HERE)
		sw_python_for_nobody();
}

void sw_python_appended(const sw_object *deque, const sw_object *item)
{
	size_t slot = sw_python_row(deque, DEQUE_BITS);
	sw_ref entry;

	if (item)
		sw_python_given(item);
	if (!sw_python_greenlets() && !sw_context_has_lent())
		return;
	if (item && (sw_guest_self.lent_by == SW_LENT_BIRTH || sw_python_greenlets()) &&
	    is_lock(item))
		will_wait();
	entry = sw_context_request(&sw_guest_self);
	if (!is_empty(deque) && (deques[slot].at != deque || deques[slot].entry != entry))
		entry = 0;
	deques[slot].at = deque;
	deques[slot].entry = entry;
}

/* An executor's task where SimpleQueue is not to be had, or what one request gave to itself, or
 * anybody's. */
void sw_python_popped(const sw_object *deque, const sw_object *item)
{
	size_t slot = sw_python_row(deque, DEQUE_BITS);

	if (is_task(item))
		sw_python_taken(deque, item);
	else if (SW_UNLIKELY(sw_python_lent_by() != SW_LENT_NOT) &&
		 (deques[slot].at != deque || !deques[slot].entry ||
		  deques[slot].entry != sw_context_request(&sw_guest_self)))
		sw_python_for_nobody();
}
