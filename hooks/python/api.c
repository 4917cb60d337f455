/*
 * CPython's API; see api.def and frames_api.def. Weak references: the loader fills them where the
 * program, or a library that it is linked with, is a CPython, and leaves them empty elsewhere.
 * Asking dlsym for what is not there would allocate, and leave a message that the program may read.
 * A CPython that comes later, by dlopen, is not found.
 */
#include <dlfcn.h>
#include <link.h>

#include "hooks/python/frames_at.h"
#include "hooks/python/internal.h"
#include "preload/sys.h"

#define SW_PY(type, name, params) extern type name params __attribute__((weak));
#include "hooks/python/api.def"
#include "hooks/python/frames_api.def"
#undef SW_PY

struct sw_python_api sw_py;
struct sw_frames_api sw_frames_api;

static _Atomic int present; /* 0 not looked, 1 yes, -1 no */
static _Atomic int framed;  /* likewise: what frames.c needs, which is there from 3.6 on */

static bool complete(const void *api, size_t size)
{
	void *const *slot = api;

	for (size_t i = 0; i < size / sizeof(*slot); i++) {
		if (!slot[i])
			return false;
	}
	return true;
}

static int has_contexts(void)
{
	return complete(&sw_py, sizeof(sw_py)) ? 1 : -1;
}

/* _PyRuntime, the last, is not for 3.6. */
static int has_frames(void)
{
	return complete(&sw_frames_api, offsetof(struct sw_frames_api, _PyRuntime)) ? 1 : -1;
}

/* Two threads may look at once: both write the same. The rows that both tables have are of one
 * function. */
static void look(void)
{
#define SW_PY(type, name, params) sw_py.name = &name;
#include "hooks/python/api.def"
#undef SW_PY
#define SW_PY(type, name, params) sw_frames_api.name = &name;
#include "hooks/python/frames_api.def"
#undef SW_PY
	atomic_store_explicit(&framed, has_frames(), memory_order_release);
	atomic_store_explicit(&present, has_contexts(), memory_order_release);
}

static int is_libpython(struct dl_phdr_info *info, size_t size, void *none)
{
	(void)size;
	(void)none;
	return strstr(info->dlpi_name, "libpython3.") != NULL;
}

/* It is there, so only an older version lacks a name. */
static void look_later(void)
{
#define SW_PY(type, name, params) sw_py.name = (type(*) params)dlsym(RTLD_DEFAULT, #name);
#include "hooks/python/api.def"
#undef SW_PY
#define SW_PY(type, name, params) sw_frames_api.name = (type(*) params)dlsym(RTLD_DEFAULT, #name);
#include "hooks/python/frames_api.def"
#undef SW_PY
	atomic_store_explicit(&framed, has_frames(), memory_order_release);
	if (has_contexts() > 0)
		atomic_store_explicit(&present, 1, memory_order_release);
}

void sw_python_look_again(void)
{
	if (atomic_load(&framed) < 0 && dl_iterate_phdr(is_libpython, NULL))
		look_later();
}

bool sw_python_found(void)
{
	int seen = atomic_load_explicit(&present, memory_order_acquire);

	if (SW_UNLIKELY(!seen)) {
		look();
		seen = atomic_load(&present);
	}
	return seen > 0;
}

bool sw_frames_api_found(void)
{
	if (SW_UNLIKELY(!atomic_load_explicit(&framed, memory_order_acquire)))
		look();
	return atomic_load(&framed) > 0;
}

const void *sw_frames_runtime(void)
{
	return sw_frames_api._PyRuntime;
}
