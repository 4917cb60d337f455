/*
 * CPython's API; see api.def. Weak references: the loader fills them where the program, or a
 * library that it is linked with, is a CPython, and leaves them empty elsewhere. Asking dlsym for
 * what is not there would allocate, and leave a message that the program may read. A CPython that
 * comes later, by dlopen, is not found.
 */
#include "hooks/python/internal.h"
#include "preload/sys.h"

#define SW_PY(type, name, params) extern type name params __attribute__((weak));
#include "hooks/python/api.def"
#undef SW_PY

struct sw_python_api sw_py;

static _Atomic int present; /* 0 not looked, 1 yes, -1 no */

/* Two threads may look at once: both write the same. */
static int look(void)
{
	bool all = true;

#define SW_PY(type, name, params)                                                                  \
	sw_py.name = name;                                                                         \
	all = all && sw_py.name;
#include "hooks/python/api.def"
#undef SW_PY
	return all ? 1 : -1;
}

bool sw_python_found(void)
{
	int seen = atomic_load_explicit(&present, memory_order_acquire);

	if (SW_UNLIKELY(!seen)) {
		seen = look();
		atomic_store_explicit(&present, seen, memory_order_release);
	}
	return seen > 0;
}
