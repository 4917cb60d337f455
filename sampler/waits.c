/*
 * What a thread that stands still waits for; see waits.h.
 *
 * The kernel says which call a thread is in, and with what: /proc/self/task/TID/syscall. Of a
 * socket that the hooks follow they know the other end; nothing is asked of the program's
 * descriptors.
 */
#include "sampler/waits.h"

#include "hooks/flow.h"
#include "preload/proc.h"
#include "preload/sys.h"

#define TEXTS_MAX 256
#define TEXT_MAX 96

static const struct {
	long number;
	const char *name;
} calls[] = {
#define CALL(name)                                                                                 \
	{                                                                                          \
		SYS_##name, #name                                                                  \
	}
	CALL(accept),
	CALL(accept4),
	CALL(clock_nanosleep),
	CALL(clone),
	CALL(close),
	CALL(connect),
	CALL(copy_file_range),
	CALL(epoll_pwait),
	CALL(execve),
	CALL(fallocate),
	CALL(fcntl),
	CALL(fdatasync),
	CALL(flock),
	CALL(fsync),
	CALL(ftruncate),
	CALL(futex),
	CALL(getdents64),
	CALL(getrandom),
	CALL(io_getevents),
	CALL(io_uring_enter),
	CALL(ioctl),
	CALL(lseek),
	CALL(madvise),
	CALL(mkdirat),
	CALL(mmap),
	CALL(mprotect),
	CALL(mq_timedreceive),
	CALL(mq_timedsend),
	CALL(msgrcv),
	CALL(msgsnd),
	CALL(msync),
	CALL(munmap),
	CALL(nanosleep),
	CALL(newfstatat),
	CALL(openat),
	CALL(ppoll),
	CALL(pread64),
	CALL(preadv),
	CALL(pselect6),
	CALL(pwrite64),
	CALL(pwritev),
	CALL(read),
	CALL(readahead),
	CALL(readv),
	CALL(recvfrom),
	CALL(recvmmsg),
	CALL(recvmsg),
	CALL(renameat2),
	CALL(restart_syscall),
	CALL(rt_sigsuspend),
	CALL(rt_sigtimedwait),
	CALL(semop),
	CALL(semtimedop),
	CALL(sendfile),
	CALL(sendmmsg),
	CALL(sendmsg),
	CALL(sendto),
	CALL(shutdown),
	CALL(splice),
	CALL(statx),
	CALL(sync),
	CALL(syncfs),
	CALL(truncate),
	CALL(unlinkat),
	CALL(wait4),
	CALL(waitid),
	CALL(write),
	CALL(writev),
#ifdef SYS_poll /* what newer machines never had */
	CALL(access),
	CALL(epoll_wait),
	CALL(fork),
	CALL(lstat),
	CALL(mkdir),
	CALL(open),
	CALL(pause),
	CALL(poll),
	CALL(readlink),
	CALL(rename),
	CALL(rmdir),
	CALL(select),
	CALL(stat),
	CALL(unlink),
	CALL(vfork),
#endif
#ifdef SYS_epoll_pwait2
	CALL(epoll_pwait2),
#endif
#undef CALL
};

/* Those whose first argument is the descriptor that they wait for. */
static bool is_of_descriptor(long number)
{
	static const long of[] = {SYS_read,	SYS_write,    SYS_readv,   SYS_writev,
				  SYS_recvfrom, SYS_recvmsg,  SYS_sendto,  SYS_sendmsg,
				  SYS_connect,	SYS_recvmmsg, SYS_sendmmsg};

	for (size_t i = 0; i < SW_COUNT_OF(of); i++) {
		if (of[i] == number)
			return true;
	}
	return false;
}

/* One copy of each, for ever: "[name]" beyond the limit of different ones. */
static const char *keep(const char *text, const char *instead)
{
	static char texts[TEXTS_MAX][TEXT_MAX];
	static unsigned count;

	for (unsigned i = 0; i < count; i++) {
		if (strcmp(texts[i], text) == 0)
			return texts[i];
	}
	if (count == TEXTS_MAX)
		return instead;
	memcpy(texts[count], text, TEXT_MAX);
	return texts[count++];
}

static const char *describe(long number, int fd)
{
	char text[TEXT_MAX] = "[";
	struct sw_writer w = sw_writer(text + 1, sizeof(text) - 3);
	const char *name = NULL;

	for (size_t i = 0; i < SW_COUNT_OF(calls) && !name; i++)
		name = calls[i].number == number ? calls[i].name : NULL;
	sw_write(&w, name ? sw_bytes_text(name) : SW_BYTES("system call "));
	if (!name)
		sw_write_number(&w, (uint64_t)number);
	if (is_of_descriptor(number)) {
		size_t before = w.len;

		sw_write(&w, SW_BYTES(" "));
		if (!sw_flow_peer(fd, &w))
			w.len = before;
	}
	text[1 + w.len] = ']';
	return keep(text, "[waiting]");
}

/* Decimal, or with 0x. */
static const char *read_number(const char *at, uint64_t *ret_number)
{
	bool hex = at[0] == '0' && at[1] == 'x';
	uint64_t n = 0;

	for (at += hex ? 2 : 0;; at++) {
		if (*at >= '0' && *at <= '9')
			n = n * (hex ? 16 : 10) + (uint64_t)(*at - '0');
		else if (hex && *at >= 'a' && *at <= 'f')
			n = n * 16 + (uint64_t)(*at - 'a' + 10);
		else
			break;
	}
	*ret_number = n;
	return *at == ' ' ? at + 1 : at;
}

const char *sw_waits_of(int tid, const char *running)
{
	char text[192];
	long len = sw_proc_read_task(tid, "syscall", text, sizeof(text) - 1);
	uint64_t number, fd;

	if (len <= 0)
		return "[waiting]";
	text[len] = '\0';
	if (text[0] == 'r')
		return running;
	if (text[0] < '0' || text[0] > '9')
		return "[waiting]"; /* in the kernel, but in no call: a page fault */
	read_number(read_number(text, &number), &fd);
	return describe((long)number, (int)fd);
}
