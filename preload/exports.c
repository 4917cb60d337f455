/*
 * Turns the rows of hooks.def into exported symbols. With exports_manual.c and vfork.S this is the
 * only code with default visibility. Functions get their public name by an asm label, so that no
 * libc prototype (transparent unions, macros) stands in the way.
 */
#include "preload/exports.h"
#include "preload/fds.h"

/* Cold half of a descriptor row: kept out of line so that the hot half needs no stack frame. */
#define SW_HOOK_FD(family, type, name, params, args, doc)                                          \
	static __attribute__((noinline)) type entered_##name params                                \
	{                                                                                          \
		struct sw_guest *g = sw_guest_enter();                                             \
		struct sw_call_note outer;                                                         \
		type sw_got;                                                                       \
                                                                                                   \
		if (!g) {                                                                          \
			sw_refused(fd);                                                            \
			return sw_real.name args;                                                  \
		}                                                                                  \
		outer = sw_call_begin(g, fd);                                                      \
		sw_got = sw_hook_##name(g, SW_UNPACK args);                                        \
		sw_call_end(g, outer);                                                             \
		sw_guest_leave(g);                                                                 \
		return sw_got;                                                                     \
	}                                                                                          \
	SW_EXPORT type export_##name params __asm__(#name);                                        \
	SW_EXPORT type export_##name params                                                        \
	{                                                                                          \
		if (SW_LIKELY(!sw_fd_known(fd)))                                                   \
			return sw_real.name args;                                                  \
		return entered_##name args;                                                        \
	}

#define SW_HOOK(family, type, name, params, args, doc)                                             \
	SW_EXPORT type export_##name params __asm__(#name);                                        \
	SW_EXPORT type export_##name params                                                        \
	{                                                                                          \
		struct sw_guest *g = sw_guest_enter();                                             \
		type sw_got;                                                                       \
                                                                                                   \
		if (!g)                                                                            \
			return sw_real.name args;                                                  \
		sw_got = sw_hook_##name(g, SW_UNPACK args);                                        \
		sw_guest_leave(g);                                                                 \
		return sw_got;                                                                     \
	}

#define SW_HOOK_PLAIN(family, type, name, params, args, doc)                                       \
	SW_EXPORT type export_##name params __asm__(#name);                                        \
	SW_EXPORT type export_##name params                                                        \
	{                                                                                          \
		return sw_plain_##name args;                                                       \
	}
#define SW_HOOK_MANUAL(family, type, name, params, doc)
#define SW_HOOK_FOREIGN(family, type, name, params, doc)

#include "hooks/hooks.def"
