/*
 * Load, first use, fork, exec and exit: walks modules.def; no other logic.
 *
 * The constructor does next to nothing (pitfall 44): it finds the real functions and reads the
 * configuration. Memory is mapped when the process first accepts or connects; the thread starts
 * with the first record. A process that does no network work pays a few lookups in total.
 */
#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/auxv.h>
#include <sys/resource.h>
#include <unistd.h>

#include "preload/check.h"
#include "preload/config.h"
#include "preload/counters.h"
#include "preload/exports.h"
#include "preload/fds.h"
#include "preload/lineage.h"
#include "preload/module.h"
#include "preload/proc.h"
#include "preload/process.h"
#include "preload/sys.h"

#define SW_MODULE(name, doc) extern const struct sw_module sw_module_##name;
#include "preload/modules.def"
#undef SW_MODULE

static const struct sw_module *const modules[] = {
#define SW_MODULE(name, doc) &sw_module_##name,
#include "preload/modules.def"
#undef SW_MODULE
};

#define ROOM_LEAST (512ull << 20)
/* What starting waits for is memory, and while a large process forks there is none. */
#define START_WAIT_NS 200000000ull
#define MODULES ((int)SW_COUNT_OF(modules))

static _Atomic uint32_t started; /* 0 no, 1 one thread is at it, 2 yes, 3 it was refused */

/* Public: which version is loaded. Also how a second copy of us finds that it is not the first. */
SW_EXPORT const char *swagent_version(void);
const char *swagent_version(void)
{
	return SW_VERSION;
}

/* Pages that are mapped, the first number of the file; 0: unknown. */
static uint64_t mapped_pages(void)
{
	char text[32] = {0};
	long fd = sw_sys(openat, AT_FDCWD, "/proc/self/statm", O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return 0;
	sw_sys(read, fd, text, sizeof(text) - 1);
	sw_sys(close, fd);
	return sw_proc_number(text);
}

/*
 * A program that limits its address space wants it for itself. We map some 20 MiB, and libc
 * reserves 64 and more for the memory of our thread; within a multiple of that we stand down.
 */
static bool is_room(void)
{
	struct rlimit limit = {RLIM_INFINITY, RLIM_INFINITY};
	uint64_t used;

	sw_sys(prlimit64, 0, RLIMIT_AS, NULL, &limit);
	if (limit.rlim_cur == RLIM_INFINITY)
		return true;
	used = mapped_pages() * SW_PAGE;
	return used && limit.rlim_cur > used && limit.rlim_cur - used >= ROOM_LEAST;
}

static bool start_each(void)
{
	bool ok = is_room();

	for (int i = 0; ok && i < MODULES; i++)
		ok = !modules[i]->start || modules[i]->start();
	if (!ok)
		atomic_store(&sw_armed, false); /* memory refused: stand down */
	atomic_store(&started, ok ? 2 : 3);
	sw_sys_futex_wake(&started);
	return ok;
}

/* What begins is finished: a jump out of it would leave it for ever half done. */
static bool start_all(void)
{
	struct sw_shelter shelter;
	uint32_t none = 0;
	bool all = false;

	sw_shelter_enter(&shelter);
	if (atomic_compare_exchange_strong(&started, &none, 1))
		all = start_each();
	sw_shelter_leave(&shelter);
	return all;
}

/*
 * Another thread is mapping a few pools. Without it the connection that this one begins would never
 * be followed, so it is waited for, asleep: the other one may want this processor. Not for ever: it
 * may wait for a lock that this thread holds, the loader's.
 */
static void wait_started(void)
{
	uint64_t begin = sw_clock_ns(CLOCK_MONOTONIC), now = begin;

	while (atomic_load(&started) == 1 && now - begin < START_WAIT_NS) {
		sw_sys_futex_wait(&started, 1, begin + START_WAIT_NS - now);
		now = sw_clock_ns(CLOCK_MONOTONIC);
	}
	if (atomic_load(&started) == 1)
		sw_count(CONNECTION_EARLY);
}

bool sw_modules_start(void)
{
	if (SW_LIKELY(atomic_load_explicit(&started, memory_order_acquire) == 2))
		return true;
	if (atomic_load(&started) == 0 && start_all())
		return true;
	wait_started();
	return atomic_load(&started) == 2;
}

/*
 * Around every walk errno stays the program's. What must not be left in the middle takes shelter by
 * itself (preload/guard.h): a walk as a whole must not, for it may wait, and a handler of the
 * program's may then jump out of it, as out of any call.
 */
struct walk {
	int error;
};

/* False: nothing runs, or this thread must not touch it. */
static bool walk_begin(struct walk *ret_walk)
{
	if (atomic_load(&started) != 2 || sw_guest_hidden())
		return false;
	ret_walk->error = errno;
	if (!atomic_load(sw_process_mark))
		sw_modules_forked(); /* a child made behind our back */
	return true;
}

static void walk_end(const struct walk *walk)
{
	errno = walk->error;
}

/* Calls one slot of every module, in start order or (back) against it. True: it did. */
#define WALK(back, slot, ...)                                                                      \
	({                                                                                         \
		struct walk walk_;                                                                 \
		bool began_ = walk_begin(&walk_);                                                  \
                                                                                                   \
		for (int i_ = 0; began_ && i_ < MODULES; i_++) {                                   \
			const struct sw_module *m_ = modules[(back) ? MODULES - 1 - i_ : i_];      \
                                                                                                   \
			if (m_->slot)                                                              \
				m_->slot(__VA_ARGS__);                                             \
		}                                                                                  \
		if (began_)                                                                        \
			walk_end(&walk_);                                                          \
		began_;                                                                            \
	})

void sw_modules_kick(void)
{
	WALK(false, kick);
}

void sw_modules_left(struct sw_guest *g)
{
	for (int i = 0; i < MODULES && !sw_guest_hidden(); i++) {
		if (modules[i]->left)
			modules[i]->left(g);
	}
}

void sw_modules_main_left(void)
{
	WALK(false, main_left);
}

uint64_t sw_modules_watch(uint64_t now_ns)
{
	uint64_t first = 0;

	for (int i = 0; i < MODULES; i++) {
		uint64_t next = modules[i]->watch ? modules[i]->watch(now_ns) : 0;

		if (next && (!first || next < first))
			first = next;
	}
	return first;
}

void sw_modules_work(void (*delicate)(bool delicate))
{
	for (int i = 0; i < MODULES; i++) {
		if (modules[i]->work)
			modules[i]->work(delicate);
	}
}

void sw_modules_flush(enum sw_leaving why)
{
	WALK(true, flush, why, sw_config.exit_flush_ms * 1000000u);
}

bool sw_modules_fork_prepare(enum sw_forking how)
{
	return WALK(true, fork_prepare, how);
}

void sw_modules_fork_parent(void)
{
	WALK(false, fork_parent);
}

void sw_modules_forked(void)
{
	int saved = errno;

	sw_guest_self.tid = 0; /* also where nothing has started, so nobody else is told */
	/* A thread of the parent may have been at starting; it does not exist here. Nothing leads
	 * to what it had mapped, so the child starts afresh. */
	if (atomic_load(&started) == 1)
		atomic_store(&started, 0);
	/* Once per child: a handler of pthread_atfork may have come before us. */
	if (atomic_load(&started) != 2 || atomic_load(sw_process_mark))
		return;
	for (int i = 0; i < MODULES; i++) {
		if (modules[i]->fork_child)
			modules[i]->fork_child();
	}
	errno = saved;
}

void sw_leaving_exit(void)
{
	sw_modules_flush(SW_LEAVING_EXIT);
}

void sw_leaving_bare(void)
{
	sw_modules_flush(SW_LEAVING_BARE);
}

void sw_leaving_now(void)
{
	sw_modules_flush(SW_LEAVING_NOW);
}

void sw_leaving_exec(void)
{
	sw_modules_flush(SW_LEAVING_EXEC);
}

bool sw_modules_are_wanted(void)
{
	return sw_config.control == SW_CONTROL_START || sw_config.profile_output[0];
}

void sw_modules_wanted(void)
{
	if (sw_modules_are_wanted() && atomic_load(&sw_armed) && !sw_guest_hidden() &&
	    sw_modules_start())
		sw_modules_kick();
}

/* Takes our entry out of LD_PRELOAD, in place, for SW_AGENT_SW_PYTHON_BOOTSTRAP_PROPAGATE. */
static void leave_preload(void)
{
	char *list = getenv("LD_PRELOAD");
	size_t in = 0, out = 0;

	while (list && list[in]) {
		size_t len = strcspn(list + in, ": "), sep = list[in + len] ? 1 : 0;
		struct sw_bytes entry = sw_bytes(list + in, len);

		if (!sw_bytes_ends(entry, SW_BYTES("libswagent.so"))) {
			memmove(list + out, list + in, len + sep);
			out += len + sep;
		}
		in += len + sep;
	}
	if (list)
		list[out] = 0;
}

/* After the atexit handlers: what those of the program that are older than ours have done. */
__attribute__((destructor)) static void unload(void)
{
	sw_modules_flush(SW_LEAVING_EXIT);
}

__attribute__((constructor)) static void load(void)
{
	if (getauxval(AT_SECURE) ||
	    (void *)dlsym(RTLD_DEFAULT, "swagent_version") != (void *)swagent_version)
		return; /* setuid, or a second copy: every hook passes through */
	sw_real_resolve();
	sw_stderr_note();
	sw_process_note();
	sw_lineage_load(environ);
	sw_config_read(environ, &sw_config);
	if (sw_bytes_equal_nocase(sw_bytes_text(sw_config.propagate), SW_BYTES("false")))
		leave_preload();
	atomic_store(&sw_armed, sw_config.enable);
	sw_modules_wanted();
}
