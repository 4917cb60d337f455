/*
 * What hooks/python/frames.h and code.h answer, for test_frames.py, which loads this by ctypes into
 * interpreters of all versions: without the GIL (ctypes.CDLL), as a hook would ask.
 */
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "hooks/python/code.h"
#include "hooks/python/frames.h"
#include "preload/sys.h"

#define SHOWN __attribute__((visibility("default")))

static struct sw_frames found, spare;

/* "FLAGS NAME LINE FILE\n" for each frame, innermost first. */
static size_t used;

static int print(char *to, size_t room)
{
	struct sw_code code;

	used = 0;
	for (unsigned i = 0; i < found.count; i++) {
		bool known = sw_code_read(&found.at[i], &code);

		used += (size_t)snprintf(to + used, used < room ? room - used : 0,
					 "%p %d %s %d %s\n", found.at[i].code, found.at[i].entry,
					 known ? code.name : "?", known ? code.line : 0,
					 known ? code.file : "?");
	}
	return used < room ? (int)found.count : -1;
}

SHOWN int probe_ready(void)
{
	return sw_frames_ready() ? 1 : sw_frames_why_not() ? -1 : 0;
}

SHOWN const char *probe_why_not(void)
{
	return sw_frames_why_not();
}

SHOWN int probe_mine(char *to, int room)
{
	found.cut = false;
	found.count = sw_frames_mine(found.at, SW_FRAMES_MAX, &found.cut);
	return print(to, (size_t)room);
}

/* Frames, or -1: not read. 1 << 16: cut. */
SHOWN int probe_of(int tid, char *to, int room)
{
	const void *state = sw_frames_state(tid);
	int count;

	if (!state || !sw_frames_of(state, tid, &found, &spare))
		return -1;
	count = print(to, (size_t)room);
	return count < 0 ? count : count | found.cut << 16;
}

/* Reads it so many times, that many us apart; after each stack stands an empty line. `lasting`: by
 * sw_frames_lasting. Returns how many could not be read; -1: CPython knows no such thread. A
 * listing may miss it while others come and go. Nothing here waits for the GIL, or hinders it. */
SHOWN int probe_watch(int tid, int times, int apart_us, char *to, int room, bool lasting)
{
	const void *state = NULL;
	size_t at = 0;
	int failed = 0;

	for (int i = 0; !state && i < 100; i++) {
		state = sw_frames_state(tid);
		usleep((unsigned)apart_us);
	}
	if (!state)
		return -1;
	for (int i = 0; i < times && room - (int)at > 1 << 16; i++) {
		usleep((unsigned)apart_us);
		if (!(lasting ? sw_frames_lasting : sw_frames_of)(state, tid, &found, &spare)) {
			failed++;
			continue;
		}
		print(to + at, (size_t)room - at);
		at += used;
		to[at++] = '\n';
	}
	to[at] = 0;
	return failed;
}

/* From now on the clocks of threads' processor time stand still, as one may on a virtual machine.
 */
SHOWN int probe_freeze(void)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_clock_gettime, 0, 3),
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[0])),
		BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, 1u << 31, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO), /* 0, and nothing written */
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog program = {sizeof(code) / sizeof(code[0]), code};

	return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) ||
	       prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program);
}

/* The address of what the innermost frame of that function holds in that variable. */
SHOWN const void *probe_local(const char *function, const char *variable)
{
	struct sw_code code;
	int local;

	found.count = sw_frames_mine(found.at, SW_FRAMES_MAX, &found.cut);
	for (unsigned i = 0; i < found.count; i++) {
		if (!sw_code_read(&found.at[i], &code) || strcmp(code.name, function) != 0)
			continue;
		local = sw_code_local(&found.at[i], variable);
		return local < 0 ? NULL : sw_code_value(&found.at[i], local);
	}
	return NULL;
}

/* Keeps what the calling thread's frames are now, and says later whether their code is there. */
static struct sw_frame kept[SW_FRAMES_MAX];
static unsigned kept_count;

SHOWN int probe_keep(void)
{
	bool cut;

	kept_count = sw_frames_mine(kept, SW_FRAMES_MAX, &cut);
	return (int)kept_count;
}

/* The name of the kept frame, or "gone". */
SHOWN const char *probe_kept(int which)
{
	static struct sw_code code;

	return (unsigned)which < kept_count && sw_code_read(&kept[which], &code) ? code.name
										 : "gone";
}

SHOWN int probe_tid(void)
{
	return (int)sw_sys(gettid);
}

/* Nanoseconds that one reading of the caller's frames takes. */
SHOWN int probe_cost(int rounds)
{
	uint64_t begin = sw_clock_ns(CLOCK_MONOTONIC);

	for (int i = 0; i < rounds; i++)
		found.count = sw_frames_mine(found.at, SW_FRAMES_MAX, &found.cut);
	return (int)((sw_clock_ns(CLOCK_MONOTONIC) - begin) / (uint64_t)rounds);
}
