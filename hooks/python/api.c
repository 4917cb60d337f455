/*
 * CPython's API; see api.def. Weak references: the loader fills them where the program, or a
 * library that it is linked with, is a CPython, and leaves them empty elsewhere. Asking dlsym for
 * what is not there would allocate, and leave a message that the program may read. A CPython that
 * comes later, by dlopen, is not found.
 */
#include <dlfcn.h>
#include <link.h>

#include "hooks/python/internal.h"
#include "preload/sys.h"

#define SW_PY(type, name, params) extern type name params __attribute__((weak));
#include "hooks/python/api.def"
#undef SW_PY

struct sw_python_api sw_py;

static _Atomic int present; /* 0 not looked, 1 yes, -1 no */

static bool complete(void)
{
	void *const *slot = (void *const *)&sw_py;

	for (size_t i = 0; i < sizeof(sw_py) / sizeof(*slot); i++) {
		if (!slot[i])
			return false;
	}
	return true;
}

/* Two threads may look at once: both write the same. */
static int look(void)
{
#define SW_PY(type, name, params) sw_py.name = name;
#include "hooks/python/api.def"
#undef SW_PY
	return complete() ? 1 : -1;
}

static int is_libpython(struct dl_phdr_info *info, size_t size, void *none)
{
	(void)size;
	(void)none;
	return strstr(info->dlpi_name, "libpython3.") != NULL;
}

/* It is there, so only a version without contexts lacks a name. */
static int look_later(void)
{
	if (!dl_iterate_phdr(is_libpython, NULL))
		return -1;
#define SW_PY(type, name, params) sw_py.name = (type(*) params)dlsym(RTLD_DEFAULT, #name);
#include "hooks/python/api.def"
#undef SW_PY
	return complete() ? 1 : -1;
}

void sw_python_look_again(void)
{
	if (atomic_load(&present) < 0 && look_later() > 0)
		atomic_store_explicit(&present, 1, memory_order_release);
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
