/* Resolving the real functions; see real.h. dlsym needs no allocation when it succeeds. */
#include "preload/real.h"

#include <dlfcn.h>
#include <errno.h>

/* For symbols newer than the libc we meet. Sets the errno that the kernel would have set. */
static long missing(void)
{
	errno = ENOSYS;
	return -1;
}

static const char *const names[] = {
#define SW_HOOK_FD(family, type, name, params, args, doc) #name,
#define SW_HOOK(family, type, name, params, args, doc) #name,
#define SW_HOOK_PLAIN(family, type, name, params, args, doc) #name,
#define SW_HOOK_MANUAL(family, type, name, params, doc) #name,
#define SW_HOOK_FOREIGN(family, type, name, params, doc)
#include "hooks/hooks.def"
#undef SW_HOOK_FD
#undef SW_HOOK
#undef SW_HOOK_PLAIN
#undef SW_HOOK_MANUAL
#undef SW_HOOK_FOREIGN
};

#define SW_HOOK_FD(family, type, name, params, args, doc)                                          \
	static type early_##name params                                                            \
	{                                                                                          \
		sw_real_resolve();                                                                 \
		return sw_real.name args;                                                          \
	}
#define SW_HOOK SW_HOOK_FD
#define SW_HOOK_PLAIN SW_HOOK_FD
#define SW_HOOK_MANUAL(family, type, name, params, doc)
#define SW_HOOK_FOREIGN(family, type, name, params, doc)
#include "hooks/hooks.def"
#undef SW_HOOK_FD
#undef SW_HOOK
#undef SW_HOOK_PLAIN
#undef SW_HOOK_MANUAL
#undef SW_HOOK_FOREIGN

/* Manual rows have no argument list to forward; their bodies resolve first when NULL. */
struct sw_real sw_real = {
#define SW_HOOK_FD(family, type, name, params, args, doc) .name = early_##name,
#define SW_HOOK SW_HOOK_FD
#define SW_HOOK_PLAIN SW_HOOK_FD
#define SW_HOOK_MANUAL(family, type, name, params, doc) .name = NULL,
#define SW_HOOK_FOREIGN(family, type, name, params, doc)
#include "hooks/hooks.def"
#undef SW_HOOK_FD
#undef SW_HOOK
#undef SW_HOOK_PLAIN
#undef SW_HOOK_MANUAL
#undef SW_HOOK_FOREIGN
};

void sw_real_resolve(void)
{
	void **slot = (void **)&sw_real;

	_Static_assert(sizeof(sw_real) == sizeof(names), "one pointer for each name");
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		void *symbol = dlsym(RTLD_NEXT, names[i]);

		slot[i] = symbol ? symbol : (void *)missing;
	}
}
