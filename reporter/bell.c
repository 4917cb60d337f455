/* See bell.h. */
#include "reporter/bell.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "preload/fds.h"
#include "preload/proc.h"
#include "preload/sys.h"

#ifndef SYS_futex_waitv /* Linux 5.16; the same number everywhere */
#define SYS_futex_waitv 449
struct futex_waitv {
	__u64 val;
	__u64 uaddr;
	__u32 flags;
	__u32 __reserved;
};
#endif
#define WAIT_U32 2u /* FUTEX_32 of linux/futex.h */
#define STATUS_BYTES 4096

static struct {
	_Atomic uint32_t *word; /* NULL: it does not hang */
	uint32_t heard;
} bell;

/* What /proc says of our own thread: any filter, whatever it lets through. */
static bool is_filtered(void)
{
	char text[STATUS_BYTES];
	int self = (int)sw_sys(gettid);
	long got = sw_proc_read_task(self, "status", text, sizeof(text) - 1);
	const char *at;

	if (got <= 0)
		return true;
	text[got] = 0;
	at = strstr(text, "\nSeccomp:\t");
	return !at || at[sizeof("\nSeccomp:\t") - 1] != '0';
}

/* Nobody may make it shorter: to read what is not there any more would be a SIGBUS. */
static bool make_file(int fd)
{
	return sw_sys(ftruncate, fd, SW_BELL_BYTES) == 0 &&
	       sw_sys(fcntl, fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) == 0;
}

/* A child must not sleep on its parent's. */
static _Atomic uint32_t *map_file(int fd)
{
	long at = sw_sys(mmap, 0, SW_BELL_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

	if (at < 0 && at > -4096)
		return NULL;
	if (sw_sys(madvise, at, SW_BELL_BYTES, MADV_DONTFORK) == 0)
		return (_Atomic uint32_t *)at;
	sw_sys(munmap, at, SW_BELL_BYTES);
	return NULL;
}

static long wait_for_both(_Atomic uint32_t *word, uint64_t timeout_ns)
{
	uint64_t end_ns = sw_clock_ns(CLOCK_MONOTONIC) + timeout_ns;
	struct timespec end = {(time_t)(end_ns / SW_SECOND_NS), (long)(end_ns % SW_SECOND_NS)};
	struct futex_waitv both[] = {
		{0, (uintptr_t)word, WAIT_U32 | FUTEX_PRIVATE_FLAG, 0},
		{bell.heard, (uintptr_t)bell.word, WAIT_U32, 0},
	};

	return sw_sys(futex_waitv, both, SW_COUNT_OF(both), 0, &end, CLOCK_MONOTONIC);
}

static bool works(void)
{
	_Atomic uint32_t word = 0;
	long error;

	bell.heard = atomic_load(bell.word);
	error = wait_for_both(&word, 0);
	return error == -ETIMEDOUT || error == -EAGAIN;
}

bool sw_bell_open(void)
{
	long fd;

	if (bell.word)
		return true;
	if (!sw_fd_private() || is_filtered())
		return false;
	fd = sw_sys(memfd_create, "swagent-bell", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (fd < 0)
		return false;
	if (make_file((int)fd))
		bell.word = map_file((int)fd);
	if (bell.word && works())
		return true;
	sw_bell_close();
	sw_sys(close, fd);
	return false;
}

void sw_bell_close(void)
{
	if (bell.word)
		sw_sys(munmap, bell.word, SW_BELL_BYTES);
	bell.word = NULL;
}

void sw_bell_forked(void)
{
	bell.word = NULL;
}

bool sw_bell_sleep(_Atomic uint32_t *word, uint64_t timeout_ns)
{
	uint32_t heard = bell.heard;

	if (!bell.word) {
		sw_sys_futex_wait(word, 0, timeout_ns);
		return false;
	}
	wait_for_both(word, timeout_ns);
	bell.heard = atomic_load(bell.word);
	return bell.heard != heard;
}
