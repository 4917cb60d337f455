/*
 * What C core, c-ares, OpenSSL and libstdc++ get when they ask libc for things that are the
 * program's. These definitions are hidden and win over libc's within this object only; more of them
 * are in ../libc.c.
 *
 *   the end of the process   C core's own (abort) is the end of that thread, and said; what is
 *                            registered for exit is not, for others may still run then
 *   stderr                   takes everything and shows nothing; in our table its number may be a
 *                            socket's by now
 *   environment, signal handlers, children, other objects, the resolver   none
 *   strerror, localtime      without the locks and the settings of the locale and the time zone
 */
#include <dlfcn.h>
#include <errno.h>
#include <netdb.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "preload/sys.h"
#include "reporter/plugins/grpc/core.h"

void (*sw_core_gives_up)(void);

/* ---- the end ---- */

/* Where it stands it may hold any lock of C core's, so it never goes on. */
void abort(void)
{
	static const struct timespec ages = {1l << 30, 0};

	if (sw_core_gives_up)
		sw_core_gives_up();
	for (;;)
		sw_sys6(SYS_nanosleep, (long)&ages, 0, 0, 0, 0, 0);
}

int __cxa_atexit(void (*function)(void *), void *arg, void *object);
int __cxa_atexit(void (*function)(void *), void *arg, void *object)
{
	(void)function, (void)arg, (void)object;
	return 0;
}

int atexit(void (*function)(void))
{
	(void)function;
	return 0;
}

/* ---- stderr ---- */

#undef stderr
FILE *stderr;

static ssize_t swallow(void *none, const char *bytes, size_t len)
{
	(void)none, (void)bytes;
	return (ssize_t)len;
}

/* Before what libstdc++ and abseil begin with. */
__attribute__((constructor(101))) static void make_stderr(void)
{
	stderr = fopencookie(NULL, "w", (cookie_io_functions_t){.write = swallow});
}

/* Abseil's last words are a plain write. */
long syscall(long number, ...)
{
	long a[6], result;
	va_list list;

	va_start(list, number);
	for (int i = 0; i < 6; i++)
		a[i] = va_arg(list, long);
	va_end(list);
	if (number == SYS_write)
		return a[2];
	result = sw_sys6(number, a[0], a[1], a[2], a[3], a[4], a[5]);
	if (result >= 0)
		return result;
	errno = (int)-result;
	return -1;
}

/* ---- what is the program's ---- */

int setenv(const char *name, const char *value, int replace)
{
	(void)name, (void)value, (void)replace;
	return 0;
}

int unsetenv(const char *name)
{
	(void)name;
	return 0;
}

int sigaction(int number, const struct sigaction *restrict action, struct sigaction *restrict old)
{
	(void)number, (void)action;
	if (old)
		*old = (struct sigaction){.sa_handler = SIG_DFL};
	return 0;
}

void (*signal(int number, void (*handler)(int)))(int)
{
	(void)number, (void)handler;
	return SIG_DFL;
}

pid_t fork(void)
{
	errno = EAGAIN;
	return -1;
}

void *dlopen(const char *path, int flags)
{
	(void)path, (void)flags;
	return NULL;
}

/* Addresses are given. */
int getaddrinfo(const char *restrict name, const char *restrict service,
		const struct addrinfo *restrict hints, struct addrinfo **restrict list)
{
	(void)name, (void)service, (void)hints, (void)list;
	return EAI_FAIL;
}

/* ---- locks and settings ---- */

static const char *describe(int error)
{
	const char *text = strerrordesc_np(error);

	return text ? text : "Unknown error";
}

char *strerror(int error)
{
	return (char *)(uintptr_t)describe(error);
}

/* libc's own, that of GNU. */
char *strerror_r(int error, char *text, size_t room)
{
	(void)text, (void)room;
	return (char *)(uintptr_t)describe(error);
}

/* And that of POSIX. */
int __xpg_strerror_r(int error, char *text, size_t room);
int __xpg_strerror_r(int error, char *text, size_t room)
{
	snprintf(text, room, "%s", describe(error));
	return 0;
}

/* As UTC. */
struct tm *localtime_r(const time_t *restrict time, struct tm *restrict ret_date)
{
	return gmtime_r(time, ret_date);
}

struct tm *localtime(const time_t *time)
{
	static struct tm date;

	return gmtime_r(time, &date);
}
