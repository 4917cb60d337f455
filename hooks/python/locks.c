/*
 * Locks, for threads that were made for a request: one that takes a lock which others use may be
 * told by them what to do next, and a job may be there before it has to wait. So it works for
 * nobody from then on. Locks made and taken for its own request alone are no sign, nor are those
 * with which threading begins a thread. The GIL serialises all of it.
 *
 * threading.RLock is taken around anything (logging does). It is a sign where a condition uses it,
 * which asks it for its owner.
 */
#include "hooks/python/internal.h"

#define LOCKS 4096
#define CONDITIONS 2048

/* Locks that one request alone has used. What is not here may be anybody's. */
static struct {
	const sw_object *at;
	sw_ref entry;
} own[LOCKS];

static const sw_object *conditions[CONDITIONS];

static size_t slot_of(const sw_object *lock, size_t slots)
{
	return ((uintptr_t)lock >> 4) * 2654435761u % slots;
}

void sw_python_lock_made(const sw_object *lock)
{
	size_t slot = slot_of(lock, LOCKS);
	sw_ref entry = sw_context_request(&sw_guest_self);

	if (entry) {
		own[slot].at = lock;
		own[slot].entry = entry;
	} else if (own[slot].at == lock) {
		own[slot].at = NULL; /* its address was another's */
	}
}

/* A fork exchanges them, so they are looked up. */
static bool is_threadings(const sw_object *lock)
{
	static const char *const names[] = {"_active_limbo_lock", "_shutdown_locks_lock"};
	sw_object *module =
		sw_py.PyDict_GetItemString(sw_py.PyImport_GetModuleDict(), "threading");
	bool is = false;

	for (size_t i = 0; module && !is && i < sizeof(names) / sizeof(*names); i++) {
		sw_object *known = sw_python_attribute(module, names[i]);

		is = known == lock;
		if (known)
			sw_py.Py_DecRef(known);
	}
	return is;
}

/* Something else, from now on. */
static void may_be_told(void)
{
	sw_context_lend(&sw_guest_self, (struct sw_whom){.talk = 0}, SW_LENT_NOT);
}

void sw_python_locked(const sw_object *lock)
{
	size_t slot = slot_of(lock, LOCKS);
	bool born = sw_guest_self.lent_by == SW_LENT_BIRTH;

	if (own[slot].at == lock && own[slot].entry != sw_context_request(&sw_guest_self))
		own[slot].at = NULL;
	if (SW_UNLIKELY(born) && own[slot].at != lock && !is_threadings(lock))
		may_be_told();
}

void sw_python_rlock_asked(const sw_object *lock)
{
	conditions[slot_of(lock, CONDITIONS)] = lock;
}

void sw_python_rlocked(const sw_object *lock)
{
	if (SW_UNLIKELY(sw_guest_self.lent_by == SW_LENT_BIRTH) &&
	    conditions[slot_of(lock, CONDITIONS)] == lock)
		may_be_told();
}
