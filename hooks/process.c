/*
 * Processes and threads that begin, end, or become something else.
 *
 * fork: the reporter is told first. It goes on, and libc brings its locks over, but where threads
 * are counted (unshare, setns, CPython from 3.12 on) or no care is taken (_Fork) it leaves. exec
 * and the ends of a process: what is left leaves first, within a bound. A fatal signal to itself is
 * an end too (uvicorn stops by raise(SIGTERM)).
 */
#include <errno.h>
#include <sched.h>
#include <signal.h>

#include "hooks/context.h"
#include "hooks/python/python.h"
#include "preload/arena.h"
#include "preload/exports.h"
#include "preload/lineage.h"
#include "preload/module.h"
#include "preload/process.h"
#include "preload/sys.h"

/* ---- fork ---- */

/* After what was prepared, in the parent or its child: exactly one of the two. */
static void fork_over(bool prepared, bool child)
{
	if (child)
		sw_modules_forked();
	else if (prepared)
		sw_modules_fork_parent();
}

static pid_t forked(pid_t (*real)(void), enum sw_forking how)
{
	bool prepared;
	pid_t pid;

	if (sw_guest_hidden())
		return real();
	prepared = sw_modules_fork_prepare(how);
	pid = real();
	fork_over(prepared, pid == 0);
	return pid;
}

pid_t sw_plain_fork(void)
{
	pid_t pid = forked(sw_real.fork, SW_FORKING_COPY);

	if (pid == 0)
		sw_modules_wanted();
	return pid;
}

pid_t sw_plain__Fork(void)
{
	return forked(sw_real._Fork, SW_FORKING_BARE);
}

/* libc forks inside and ends the parent there, both past our hooks; the child is recognised by its
 * wiped mark. */
int sw_plain_daemon(int nochdir, int noclose)
{
	bool prepared;
	int result;

	if (sw_guest_hidden())
		return sw_real.daemon(nochdir, noclose);
	sw_leaving_exec();
	prepared = sw_modules_fork_prepare(SW_FORKING_BARE);
	result = sw_real.daemon(nochdir, noclose);
	fork_over(prepared, !atomic_load(sw_process_mark));
	return result;
}

/* EINVAL in a process of several threads, for some flags: ours must not be the second. */
int sw_plain_unshare(int flags)
{
	bool prepared;
	int result;

	if (sw_guest_hidden())
		return sw_real.unshare(flags);
	prepared = sw_modules_fork_prepare(SW_FORKING_ALONE);
	result = sw_real.unshare(flags);
	fork_over(prepared, false);
	return result;
}

int sw_plain_setns(int fd, int type)
{
	bool prepared;
	int result;

	if (sw_guest_hidden())
		return sw_real.setns(fd, type);
	prepared = sw_modules_fork_prepare(SW_FORKING_ALONE);
	result = sw_real.setns(fd, type);
	fork_over(prepared, false);
	return result;
}

/* clone(2) that copies the process: libc brings no locks over. */
bool sw_clone_forks(unsigned long flags)
{
	return !(flags & CLONE_VM) && !sw_guest_hidden();
}

bool sw_clone_begin(void)
{
	return sw_modules_fork_prepare(SW_FORKING_BARE);
}

void sw_clone_end(bool prepared, bool child)
{
	fork_over(prepared, child);
}

/* ---- seccomp ---- */

/*
 * A filter may kill for any system call that it does not list, ours among them, and there is no way
 * to ask it. So what is left leaves, our thread ends, and we stand down for good (pitfall 57).
 */
bool sw_seal_begin(void)
{
	bool prepared;

	if (sw_guest_hidden())
		return false;
	sw_leaving_exec();
	prepared = sw_modules_fork_prepare(SW_FORKING_ALONE);
	sw_stand_down(); /* before: with TSYNC it meets other threads in the midst of our hooks */
	return prepared;
}

void sw_seal_end(bool prepared, bool sealed)
{
	if (sealed || sw_guest_self.ours || sw_guest_vfork)
		return;
	sw_stand_up();
	fork_over(prepared, false);
}

/* ---- exec ---- */

/* What is left leaves; the new image is told whose it is, unless that would be too long for the
 * kernel. A call that returns has failed. */
#define EXEC(call, given)                                                                          \
	struct sw_lineage_env env;                                                                 \
	char *const *with = given;                                                                 \
	int result;                                                                                \
                                                                                                   \
	sw_leaving_exec();                                                                         \
	sw_lineage_env(with, &env);                                                                \
	with = env.environment;                                                                    \
	result = call;                                                                             \
	if (sw_lineage_done(&env) && errno == E2BIG) {                                             \
		with = given;                                                                      \
		result = call;                                                                     \
	}                                                                                          \
	return result

int sw_plain_execve(const char *path, char *const argv[], char *const envp[])
{
	EXEC(sw_real.execve(path, argv, with), envp);
}

int sw_plain_execv(const char *path, char *const argv[])
{
	EXEC(sw_real.execve(path, argv, with), environ);
}

int sw_plain_execvp(const char *file, char *const argv[])
{
	EXEC(sw_real.execvpe(file, argv, with), environ);
}

int sw_plain_execvpe(const char *file, char *const argv[], char *const envp[])
{
	EXEC(sw_real.execvpe(file, argv, with), envp);
}

int sw_plain_execveat(int dir, const char *path, char *const argv[], char *const envp[], int flags)
{
	EXEC(sw_real.execveat(dir, path, argv, with, flags), envp);
}

int sw_plain_fexecve(int fd, char *const argv[], char *const envp[])
{
	EXEC(sw_real.fexecve(fd, argv, with), envp);
}

/* libc's own child: it runs nothing of ours, and its image begins afresh. */
#define SPAWN(call)                                                                                \
	struct sw_lineage_env env;                                                                 \
	char *const *with;                                                                         \
	int result;                                                                                \
                                                                                                   \
	sw_lineage_env(envp, &env);                                                                \
	with = env.environment;                                                                    \
	result = call;                                                                             \
	if (sw_lineage_done(&env) && result == E2BIG) {                                            \
		with = envp;                                                                       \
		result = call;                                                                     \
	}                                                                                          \
	return result

int sw_plain_posix_spawn(pid_t *pid, const char *path, const posix_spawn_file_actions_t *actions,
			 const posix_spawnattr_t *attr, char *const argv[], char *const envp[])
{
	SPAWN(sw_real.posix_spawn(pid, path, actions, attr, argv, with));
}

int sw_plain_posix_spawnp(pid_t *pid, const char *file, const posix_spawn_file_actions_t *actions,
			  const posix_spawnattr_t *attr, char *const argv[], char *const envp[])
{
	SPAWN(sw_real.posix_spawnp(pid, file, actions, attr, argv, with));
}

/* ---- fatal signals to itself ---- */

static bool ends_by_default(int signal)
{
	switch (signal) {
	case SIGCHLD:
	case SIGCONT:
	case SIGURG:
	case SIGWINCH:
	case SIGSTOP:
	case SIGTSTP:
	case SIGTTIN:
	case SIGTTOU:
		return false;
	default:
		return signal > 0 && signal < NSIG;
	}
}

/* struct sigaction of the kernel begins with the handler; the rest is not looked at. */
static bool is_fatal(int signal)
{
	struct {
		void (*handler)(int);
		unsigned long rest[20];
	} action = {SIG_DFL, {0}};
	uint64_t mask = 0;

	if (!ends_by_default(signal))
		return false;
	sw_sys(rt_sigprocmask, SIG_BLOCK, NULL, &mask, 8);
	if (mask >> (signal - 1) & 1)
		return false; /* it will wait */
	return sw_sys(rt_sigaction, signal, NULL, &action, 8) == 0 && action.handler == SIG_DFL;
}

/* pid 0: this process. */
static void signals_itself(pid_t pid, int signal)
{
	if (!sw_guest_hidden() && (!pid || pid == (pid_t)sw_sys(getpid)) && is_fatal(signal))
		sw_leaving_now();
}

int sw_plain_raise(int signal)
{
	signals_itself(0, signal);
	return sw_real.raise(signal);
}

/* kill(-1) spares who calls it. */
static bool to_our_group(pid_t pid)
{
	return pid == 0 || (pid < -1 && !sw_guest_hidden() && sw_sys(getpgid, 0) == -pid);
}

int sw_plain_kill(pid_t pid, int signal)
{
	if (pid > 0 || to_our_group(pid))
		signals_itself(pid > 0 ? pid : 0, signal);
	return sw_real.kill(pid, signal);
}

int sw_plain_tgkill(pid_t pid, pid_t tid, int signal)
{
	if (pid > 0)
		signals_itself(pid, signal);
	return sw_real.tgkill(pid, tid, signal);
}

int sw_plain_pthread_kill(pthread_t thread, int signal)
{
	signals_itself(0, signal);
	return sw_real.pthread_kill(thread, signal);
}

/* ---- threads ---- */

/* What a thread gives to one that it makes. A pool, because nothing may allocate here; when it is
 * empty the new thread works for nobody. */
struct birth {
	void *(*start)(void *arg);
	void *arg;
	struct sw_whom whom; /* of none: made by ours */
};

#define BIRTHS 1024
static struct birth births[BIRTHS];
static _Atomic bool birth_taken[BIRTHS];

static void *born(void *arg)
{
	struct birth birth = *(struct birth *)arg;

	atomic_store(&birth_taken[(struct birth *)arg - births], false);
	if (birth.whom.entry)
		sw_context_lend(&sw_guest_self, birth.whom, SW_LENT_BIRTH);
	else
		sw_guest_mark_ours();
	return birth.start(birth.arg);
}

static struct birth *take_birth(void)
{
	static _Atomic unsigned next;
	unsigned from = atomic_fetch_add_explicit(&next, 1, memory_order_relaxed);

	for (unsigned i = 0; i < BIRTHS; i++) {
		unsigned at = (from + i) % BIRTHS;
		bool taken = false;

		if (atomic_compare_exchange_strong(&birth_taken[at], &taken, true))
			return &births[at];
	}
	return NULL;
}

/* Whose work a thread made here goes on with. */
static struct sw_whom whose(const void *caller)
{
	if (sw_guest_self.ours || sw_guest_hidden() || !atomic_load(&sw_armed) ||
	    !sw_python_makes_thread(caller))
		return (struct sw_whom){.talk = 0};
	return sw_context_whom(&sw_guest_self);
}

int sw_thread_create(const void *caller, pthread_t *thread, const pthread_attr_t *attr,
		     void *(*start)(void *), void *arg)
{
	struct sw_whom whom = whose(caller);
	struct birth *birth = sw_guest_self.ours || whom.entry ? take_birth() : NULL;
	int result;

	if (!sw_guest_self.ours)
		atomic_store_explicit(&sw_process_threads, true, memory_order_relaxed);
	if (!birth)
		return sw_real.pthread_create(thread, attr, start, arg);
	*birth = (struct birth){start, arg, whom};
	result = sw_real.pthread_create(thread, attr, born, birth);
	if (result)
		atomic_store(&birth_taken[birth - births], false);
	return result;
}
