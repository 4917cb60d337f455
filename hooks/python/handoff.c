/*
 * What one thread hands to another through a queue. The GIL serialises all of it.
 *
 * queue.SimpleQueue, below every executor: the item's address leads to the request for which it
 * was put. An item that is put twice, for different requests, is for none: its address no longer
 * tells which. deque, below queue.Queue: only whether somebody else fills it; a thread that takes
 * from such a queue no longer works for the request that it was started in.
 */
#include "hooks/python/internal.h"

#define WAYS 4
#define ITEMS 4096
#define DEQUES 1024

struct item {
	const sw_object *at; /* NULL: free */
	struct sw_whom whom;
	uint32_t count; /* put and not yet taken */
};

static struct item items[ITEMS];
static uint32_t turn;

static struct item *row_of(const sw_object *item)
{
	return &items[((uintptr_t)item >> 4) * 2654435761u % ITEMS / WAYS * WAYS];
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

void sw_python_given(const sw_object *item)
{
	struct sw_whom whom = sw_context_whom(&sw_guest_self);
	struct item *known = find(item);

	if (!known) {
		if (!whom.entry)
			return;
		known = make(item);
		known->whom = whom;
	} else if (known->whom.entry != whom.entry) {
		known->whom = (struct sw_whom){0, 0};
	}
	known->count++;
}

void sw_python_taken(const sw_object *item)
{
	struct item *known = find(item);
	struct sw_whom whom = {0, 0};

	if (known) {
		whom = known->whom;
		if (--known->count == 0)
			known->at = NULL;
	}
	sw_context_lend(&sw_guest_self, whom, SW_LENT_ITEM);
}

/* ---- deques ---- */

static struct {
	const sw_object *at;
	const void *thread; /* of who appended; NULL: several */
} deques[DEQUES];

static size_t deque_slot(const sw_object *deque)
{
	return ((uintptr_t)deque >> 4) * 2654435761u % DEQUES;
}

/* Condition.wait() makes a lock, takes it, appends it to a deque and waits for it. */
static __thread bool queued;

bool sw_python_waits_to_be_told(void)
{
	bool waits = queued || !sw_python_found() || !sw_py.Py_IsInitialized();

	queued = false;
	return waits;
}

void sw_python_appended(const sw_object *deque, const sw_object *item)
{
	size_t slot = deque_slot(deque);
	const void *thread = &sw_guest_self;

	if (SW_UNLIKELY(sw_guest_self.lent_by == SW_LENT_BIRTH) && item &&
	    strcmp(sw_python_type_name(sw_python_type(item)), "_thread.lock") == 0)
		queued = true;
	if (deques[slot].at == deque && deques[slot].thread != thread)
		thread = NULL;
	deques[slot].at = deque;
	deques[slot].thread = thread;
}

void sw_python_popped(const sw_object *deque)
{
	size_t slot = deque_slot(deque);

	if (sw_guest_self.lent_by == SW_LENT_BIRTH &&
	    (deques[slot].at != deque || deques[slot].thread != &sw_guest_self))
		sw_context_lend(&sw_guest_self, (struct sw_whom){0, 0}, SW_LENT_BIRTH);
}
