/* The disarm switch; see check.h. */
#include "preload/check.h"

#include "preload/counters.h"

_Atomic bool sw_armed;
static const char *_Atomic reason;

void sw_disarm(const char *what)
{
	const char *none = NULL;

#ifdef SW_CHECK_ABORT
	__builtin_trap();
#endif
	atomic_compare_exchange_strong(&reason, &none, what);
	atomic_store(&sw_armed, false);
	sw_count(DISARMED);
}

_Atomic bool sw_stood_down;

static _Atomic bool was_armed;

void sw_stand_down(void)
{
	atomic_store(&was_armed, atomic_load(&sw_armed));
	atomic_store(&sw_stood_down, true);
	atomic_store(&sw_armed, false);
}

void sw_stand_up(void)
{
	atomic_store(&sw_armed, atomic_load(&was_armed));
	atomic_store(&sw_stood_down, false);
}

const char *sw_disarmed_by(void)
{
	return atomic_load(&reason);
}

static const char *_Atomic no_contexts;

const char *sw_why_no_contexts(void)
{
	return atomic_load(&no_contexts);
}

void sw_no_contexts(const char *why)
{
	const char *none = NULL;

	atomic_compare_exchange_strong(&no_contexts, &none, why);
}
