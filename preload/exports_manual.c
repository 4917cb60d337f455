/*
 * The rows of hooks.def that a macro cannot say: variadic functions, functions that do not return,
 * and vfork (preload/vfork.S). The exec*l forms collect their arguments where POSIX wants it
 * async-signal-safe: on the stack, sized by a first pass.
 */
#include <alloca.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <stdarg.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "preload/exports.h"
#include "preload/fds.h"
#include "preload/module.h"
#include "preload/process.h"
#include "preload/sys.h"

#define EXPORT(type, name, params)                                                                 \
	SW_EXPORT type export_##name params __asm__(#name);                                        \
	SW_EXPORT type export_##name params

#define RESOLVED(name) (sw_real.name ? (void)0 : sw_real_resolve())

EXPORT(void, _exit, (int status))
{
	RESOLVED(_exit);
	sw_leaving_bare();
	sw_real._exit(status);
	__builtin_unreachable();
}

EXPORT(void, _Exit, (int status))
{
	RESOLVED(_Exit);
	sw_leaving_bare();
	sw_real._Exit(status);
	__builtin_unreachable();
}

EXPORT(void, exit, (int status))
{
	RESOLVED(exit);
	sw_leaving_exit();
	sw_real.exit(status);
	__builtin_unreachable();
}

EXPORT(void, quick_exit, (int status))
{
	RESOLVED(quick_exit);
	sw_leaving_bare();
	sw_real.quick_exit(status);
	__builtin_unreachable();
}

/* This thread ends, and the process with its last one: when that is ours, ours ends it. */
static void thread_ends(int status)
{
	if (sw_guest_hidden() || sw_sys(gettid) != sw_sys(getpid))
		return;
	atomic_store(&sw_process_main_status, status);
	atomic_store(&sw_process_main_left, true);
	sw_modules_main_left();
}

EXPORT(void, pthread_exit, (void *value))
{
	RESOLVED(pthread_exit);
	thread_ends(-1);
	sw_real.pthread_exit(value);
	__builtin_unreachable();
}

EXPORT(void, abort, (void))
{
	RESOLVED(abort);
	sw_leaving_now();
	sw_real.abort();
	__builtin_unreachable();
}

static char *const none[] = {NULL};

/* Counts the arguments up to NULL, then copies them. `list` stays usable for what follows. */
#define COLLECT_ARGV(first, list, argv)                                                            \
	do {                                                                                       \
		va_list count_;                                                                    \
		size_t n_ = 1;                                                                     \
                                                                                                   \
		va_copy(count_, list);                                                             \
		while (n_++, va_arg(count_, char *))                                               \
			;                                                                          \
		va_end(count_);                                                                    \
		char **all_ = alloca(n_ * sizeof(char *));                                         \
                                                                                                   \
		all_[0] = (char *)(uintptr_t)(first);                                              \
		for (size_t i_ = 1; i_ < n_; i_++)                                                 \
			all_[i_] = va_arg(list, char *);                                           \
		argv = all_;                                                                       \
	} while (0)

EXPORT(int, execl, (const char *path, const char *arg, ...))
{
	char *const *argv = none;
	va_list list;

	va_start(list, arg);
	if (arg)
		COLLECT_ARGV(arg, list, argv);
	va_end(list);
	return sw_plain_execv(path, argv);
}

EXPORT(int, execlp, (const char *file, const char *arg, ...))
{
	char *const *argv = none;
	va_list list;

	va_start(list, arg);
	if (arg)
		COLLECT_ARGV(arg, list, argv);
	va_end(list);
	return sw_plain_execvp(file, argv);
}

EXPORT(int, execle, (const char *path, const char *arg, ...))
{
	char *const *argv = none;
	char *const *envp;
	va_list list;

	va_start(list, arg);
	if (arg)
		COLLECT_ARGV(arg, list, argv);
	envp = va_arg(list, char **);
	va_end(list);
	return sw_plain_execve(path, argv, envp);
}

static void duplicated(int fd, int to)
{
	struct sw_guest *g = to >= 0 ? sw_guest_enter() : NULL;

	if (!g)
		return;
	sw_duplicated(g, fd, to);
	sw_guest_leave(g);
}

/* The kernel reads one word whatever the command; so do we. */
#define FCNTL(name)                                                                                \
	EXPORT(int, name, (int fd, int command, ...))                                              \
	{                                                                                          \
		va_list list;                                                                      \
		void *arg;                                                                         \
		int result;                                                                        \
                                                                                                   \
		va_start(list, command);                                                           \
		arg = va_arg(list, void *);                                                        \
		va_end(list);                                                                      \
		RESOLVED(name);                                                                    \
		if (command != F_DUPFD && command != F_DUPFD_CLOEXEC)                              \
			return sw_real.name(fd, command, arg);                                     \
		result = sw_real.name(fd, command, arg);                                           \
		duplicated(fd, result);                                                            \
		return result;                                                                     \
	}

FCNTL(fcntl)
FCNTL(fcntl64)

EXPORT(int, prctl, (int option, ...))
{
	bool seals = option == PR_SET_SECCOMP, prepared = false;
	va_list list;
	long arg[4];
	int result;

	va_start(list, option);
	for (int i = 0; i < 4; i++)
		arg[i] = va_arg(list, long);
	va_end(list);
	RESOLVED(prctl);
	if (seals)
		prepared = sw_seal_begin();
	result = sw_real.prctl(option, arg[0], arg[1], arg[2], arg[3]);
	if (seals)
		sw_seal_end(prepared, result == 0);
	return result;
}

struct cloned {
	int (*fn)(void *);
	void *arg;
};

/* libc ends the child by exit(2), past our hooks. */
static int run_cloned(void *arg)
{
	struct cloned cloned = *(struct cloned *)arg;
	int result;

	sw_clone_end(false, true);
	result = cloned.fn(cloned.arg);
	thread_ends(result & 0xff);
	return result;
}

/*
 * A child that copies our memory finds it as fork's children do. One that shares it while we are
 * suspended (CLONE_VM with CLONE_VFORK, without a thread area of its own) is a vfork child under
 * another name. Threads by clone(2) itself are none of libc's, and run as they are.
 */
EXPORT(int, clone, (int (*fn)(void *), void *stack, int flags, void *arg, ...))
{
	struct cloned cloned = {fn, arg};
	bool forks = fn && stack && sw_clone_forks((unsigned long)flags), prepared = false;
	bool vforks = (flags & (CLONE_VM | CLONE_VFORK | CLONE_SETTLS)) == (CLONE_VM | CLONE_VFORK);
	void *more[3];
	va_list list;
	int result;

	va_start(list, arg);
	for (int i = 0; i < 3; i++)
		more[i] = va_arg(list, void *);
	va_end(list);
	RESOLVED(clone);
	if (forks)
		prepared = sw_clone_begin();
	sw_guest_vfork += vforks;
	result = forks ? sw_real.clone(run_cloned, stack, flags, &cloned, more[0], more[1], more[2])
		       : sw_real.clone(fn, stack, flags, arg, more[0], more[1], more[2]);
	sw_guest_vfork -= vforks;
	if (forks)
		sw_clone_end(prepared, false);
	return result;
}

EXPORT(int, pthread_create,
       (pthread_t * thread, const pthread_attr_t *attr, void *(*start)(void *), void *arg))
{
	RESOLVED(pthread_create);
	return sw_thread_create(__builtin_return_address(0), thread, attr, start, arg);
}

/* Numbers that make, end or use descriptors. Others cost this switch. */
static bool of_interest(long number, long fd)
{
	switch (number) {
	case SYS_accept:
	case SYS_accept4:
	case SYS_connect:
	case SYS_close_range:
	case SYS_dup:
	case SYS_dup3:
#ifdef SYS_dup2
	case SYS_dup2:
#endif
	case SYS_socket:
		return true;
	case SYS_close:
	case SYS_read:
	case SYS_readv:
	case SYS_recvfrom:
	case SYS_recvmsg:
	case SYS_recvmmsg:
	case SYS_sendfile:
	case SYS_sendmmsg:
	case SYS_sendmsg:
	case SYS_sendto:
	case SYS_shutdown:
	case SYS_splice:
	case SYS_write:
	case SYS_writev:
		return sw_fd_entry((int)fd) != 0;
	default:
		return false;
	}
}

static long forking_syscall(long number, const long *arg)
{
	bool prepared = sw_clone_begin();
	long result;

	result = sw_real.syscall(number, arg[0], arg[1], arg[2], arg[3], arg[4], arg[5]);
	sw_clone_end(prepared, result == 0);
	return result;
}

static long sealing_syscall(long number, const long *arg)
{
	bool prepared = sw_seal_begin();
	long result;

	result = sw_real.syscall(number, arg[0], arg[1], arg[2], arg[3], arg[4]);
	sw_seal_end(prepared, result >= 0);
	return result;
}

EXPORT(long, syscall, (long number, ...))
{
	struct sw_guest *g = NULL;
	struct sw_call_note outer;
	va_list list;
	long arg[6], result;

	va_start(list, number);
	for (int i = 0; i < 6; i++)
		arg[i] = va_arg(list, long);
	va_end(list);
	RESOLVED(syscall);
	if (sw_raw_instead(number, arg, &result))
		return result;
	if (sw_raw_forks(number, arg))
		return forking_syscall(number, arg);
	if (number == SYS_exit)
		thread_ends((int)(arg[0] & 0xff));
	if (number == SYS_exit_group)
		sw_leaving_bare();
	if ((number == SYS_seccomp && arg[0] <= SECCOMP_SET_MODE_FILTER) ||
	    (number == SYS_prctl && arg[0] == PR_SET_SECCOMP))
		return sealing_syscall(number, arg);
	if (of_interest(number, arg[0]))
		g = sw_guest_enter();
	if (!g)
		return sw_real.syscall(number, arg[0], arg[1], arg[2], arg[3], arg[4], arg[5]);
	outer = sw_call_begin(g, (int)arg[0]);
	sw_raw_before(g, number, arg);
	if (!sw_raw_send(g, number, arg, &result)) {
		result =
			sw_call(g, syscall, number, arg[0], arg[1], arg[2], arg[3], arg[4], arg[5]);
		sw_raw_after(g, number, arg, result);
	}
	sw_call_end(g, outer);
	sw_guest_leave(g);
	return result;
}
