/*
 * Locks, for threads that were made for a request: one that takes a lock which others use may be
 * told by them what to do next, and a job may be there before it has to wait. So it works for
 * nobody from then on. Locks made and taken for its own request alone are no sign, nor are those
 * with which threading begins a thread and those of libraries that keep something by them that is
 * no work. The GIL serialises all of it.
 *
 * threading.RLock is taken around anything (logging does). It is a sign where a condition uses it,
 * which asks it for its owner.
 */
#include "hooks/python/internal.h"

#define WAYS 4
#define LOCK_BITS 12
#define CONDITION_BITS 11

/* Locks that one request alone has used. What is not here may be anybody's. */
static struct own {
	const sw_object *at;
	sw_ref entry;
} own[WAYS << LOCK_BITS];

static uint32_t turn;

/* Recursive locks that a condition uses. Where one had no room, each may be one. */
static struct row {
	const sw_object *at[WAYS];
	bool more;
} conditions[1 << CONDITION_BITS];

static struct own *find_own(const sw_object *lock)
{
	struct own *row = &own[sw_python_row(lock, LOCK_BITS) * WAYS];

	for (int i = 0; i < WAYS; i++) {
		if (row[i].at == lock)
			return &row[i];
	}
	return NULL;
}

/* A place for it; when the row is full another is forgotten, and is anybody's from then on. */
static struct own *make_own(const sw_object *lock)
{
	struct own *row = &own[sw_python_row(lock, LOCK_BITS) * WAYS], *place = find_own(lock);

	for (int i = 0; !place && i < WAYS; i++)
		place = row[i].at ? NULL : &row[i];
	return place ? place : &row[turn++ % WAYS];
}

static struct row *row_of(const sw_object *lock)
{
	return &conditions[sw_python_row(lock, CONDITION_BITS)];
}

static const sw_object **find_condition(const sw_object *lock)
{
	struct row *row = row_of(lock);

	for (int i = 0; i < WAYS; i++) {
		if (row->at[i] == lock)
			return &row->at[i];
	}
	return NULL;
}

static void forget_condition(const sw_object *lock)
{
	const sw_object **known = find_condition(lock);

	if (known)
		*known = NULL;
}

void sw_python_lock_made(const sw_object *lock)
{
	struct own *known = find_own(lock); /* its address was another's */
	sw_ref entry = sw_context_request(&sw_guest_self);

	forget_condition(lock);
	if (entry)
		*make_own(lock) = (struct own){lock, entry};
	else if (known)
		known->at = NULL;
}

/* Through these modules a lock is taken for whoever called them. */
static const char *const means[] = {"threading", "queue", "gevent.thread", "gevent.lock"};

/*
 * These keep modules, connections, names and caches behind their locks: what a thread gets there is
 * for what it does already. With their submodules; but logging.handlers has a thread that is told.
 */
static const char *const keepers[] = {
	"_frozen_importlib", "_strptime",  "gevent",	"http",	 "boto3",
	"botocore",	     "httpcore",   "importlib", "redis", "requests",
	"tempfile",	     "sqlalchemy", "urllib3",
};

/* Of one of these modules, or of a submodule. */
static bool is_among(const char *name, const char *const *names, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		size_t length = strlen(names[i]);

		if (strncmp(name, names[i], length) == 0 && (!name[length] || name[length] == '.'))
			return true;
	}
	return false;
}

#define IS_AMONG(name, names) is_among(name, names, sizeof(names) / sizeof(*(names)))

/* The name of the module whose code `frame` runs, or NULL; as long as the module lives. */
static const char *module_of(sw_object *frame)
{
	sw_object *globals = sw_python_attribute(frame, "f_globals");
	sw_object *name = globals ? sw_py.PyDict_GetItemString(globals, "__name__") : NULL;
	const char *text = name ? sw_py.PyUnicode_AsUTF8(name) : NULL;

	if (globals)
		sw_py.Py_DecRef(globals);
	if (name && !text)
		sw_py.PyErr_Restore(NULL, NULL, NULL);
	return text;
}

/* The lock tells a keeper something, or is part of the first and last steps of a thread, below
 * which is nothing but threading. Who asks is not a mere means, but its caller. */
static bool is_harmless(void)
{
	sw_object *frame = sw_py.PyEval_GetFrame(), *held = NULL;
	const char *module = frame ? module_of(frame) : NULL;
	bool bottom = false;

	while (module && IS_AMONG(module, means)) {
		frame = sw_python_attribute(frame, "f_back");
		if (held)
			sw_py.Py_DecRef(held);
		held = frame;
		bottom = frame && sw_python_is_none(frame);
		module = frame && !bottom ? module_of(frame) : NULL;
	}
	if (held)
		sw_py.Py_DecRef(held);
	return bottom || (module && (strcmp(module, "logging") == 0 || IS_AMONG(module, keepers)));
}

void sw_python_locks(const sw_object *lock)
{
	struct own *known = find_own(lock);

	if (known && known->entry != sw_context_request(&sw_guest_self))
		known->at = NULL;
	if (SW_UNLIKELY(sw_python_lent_by() == SW_LENT_BIRTH) && !(known && known->at) &&
	    !is_harmless())
		sw_python_for_nobody();
}

void sw_python_rlock_asked(const sw_object *lock)
{
	struct row *row = row_of(lock);

	if (find_condition(lock))
		return;
	for (int i = 0; i < WAYS; i++) {
		if (!row->at[i]) {
			row->at[i] = lock;
			return;
		}
	}
	row->more = true;
}

void sw_python_rlocks(const sw_object *lock)
{
	if (find_condition(lock) || row_of(lock)->more)
		sw_python_locks(lock);
}
