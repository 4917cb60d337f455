/*
 * The rows of hooks.def that end in "...": printf and its kin, syslog, open. Arguments are handed
 * on as a list; printf is vfprintf to stdout, as in libc.
 */
#include <limits.h>
#include <stdarg.h>

#include "preload/exports.h"

#define EXPORT(type, name, params)                                                                 \
	SW_EXPORT type export_##name params __asm__(#name);                                        \
	SW_EXPORT type export_##name params

#define RESOLVED(name) (sw_real.name ? (void)0 : sw_real_resolve())

#define FORMATTED(type, name, last, params, call)                                                  \
	EXPORT(type, name, params)                                                                 \
	{                                                                                          \
		va_list list;                                                                      \
		type result;                                                                       \
                                                                                                   \
		va_start(list, last);                                                              \
		RESOLVED(name);                                                                    \
		result = call;                                                                     \
		va_end(list);                                                                      \
		return result;                                                                     \
	}

FORMATTED(int, printf, format, (const char *format, ...),
	  sw_stdio_vfprintf(stdout, -1, format, list))
FORMATTED(int, __printf_chk, format, (int flag, const char *format, ...),
	  sw_stdio_vfprintf(stdout, flag &INT_MAX, format, list))
FORMATTED(int, fprintf, format, (FILE * file, const char *format, ...),
	  sw_stdio_vfprintf(file, -1, format, list))
FORMATTED(int, __fprintf_chk, format, (FILE * file, int flag, const char *format, ...),
	  sw_stdio_vfprintf(file, flag &INT_MAX, format, list))
FORMATTED(int, dprintf, format, (int fd, const char *format, ...),
	  sw_stdio_vdprintf(fd, -1, format, list))
FORMATTED(int, __dprintf_chk, format, (int fd, int flag, const char *format, ...),
	  sw_stdio_vdprintf(fd, flag &INT_MAX, format, list))

EXPORT(void, syslog, (int priority, const char *format, ...))
{
	va_list list;

	va_start(list, format);
	RESOLVED(syslog);
	sw_stdio_vsyslog(priority, -1, format, list);
	va_end(list);
}

EXPORT(void, __syslog_chk, (int priority, int flag, const char *format, ...))
{
	va_list list;

	va_start(list, format);
	RESOLVED(__syslog_chk);
	sw_stdio_vsyslog(priority, flag & INT_MAX, format, list);
	va_end(list);
}

/* The mode is there only when a file may be made; handed on, what is there instead does no harm. */
#define OPEN(name, params, path, flags, call)                                                      \
	EXPORT(int, name, params)                                                                  \
	{                                                                                          \
		va_list list;                                                                      \
		unsigned mode;                                                                     \
                                                                                                   \
		va_start(list, flags);                                                             \
		mode = va_arg(list, unsigned);                                                     \
		va_end(list);                                                                      \
		RESOLVED(name);                                                                    \
		return sw_opened(call, path, flags);                                               \
	}

OPEN(open, (const char *path, int flags, ...), path, flags, sw_real.open(path, flags, mode))
OPEN(open64, (const char *path, int flags, ...), path, flags, sw_real.open64(path, flags, mode))
OPEN(openat, (int dir, const char *path, int flags, ...), path, flags,
     sw_real.openat(dir, path, flags, mode))
OPEN(openat64, (int dir, const char *path, int flags, ...), path, flags,
     sw_real.openat64(dir, path, flags, mode))
