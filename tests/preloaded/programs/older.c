/*
 * Runs a program as on an older kernel: older WHAT PROGRAM ARGUMENT... System calls, or some of
 * their flags, fail as they did before they were there. WHAT, any of these letters:
 *
 * u  close_range with CLOSE_RANGE_UNSHARE: EINVAL     c  close_range: ENOSYS (before 5.9)
 * p  pidfd_open, pidfd_getfd: ENOSYS (5.3, 5.6)       w  madvise MADV_WIPEONFORK: EINVAL (4.14)
 * r  getrandom: ENOSYS (3.17)                         3  clone3: ENOSYS (5.3)
 * f  unshare: EPERM, as in a sandbox
 * t  getsockopt TCP_INFO and SO_COOKIE: ENOPROTOOPT (4.12)
 *
 * Or as in a sandbox, or with a limit:
 *
 * e  io_uring_setup: EPERM (containers, io_uring_disabled)   i  io_uring_setup: ENOSYS
 * k  io_uring_setup: the process is killed                   m  madvise MADV_DONTFORK: EINVAL
 * s  unshare: EPERM      l  as a user who may lock no memory (RLIMIT_MEMLOCK)
 * x  y  z  as a user of its own who may have one, two, three threads in all (RLIMIT_NPROC)
 */
#define _GNU_SOURCE
#include <errno.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <netinet/tcp.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

static struct sock_filter code[128];
static unsigned short len;

static void add(struct sock_filter one)
{
	code[len++] = one;
}

static void load(size_t offset)
{
	add((struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offset));
}

/* Argument `which`, unless -1, is masked and must be `value`. Error 0: fails by death. */
static void fail(int number, int which, unsigned mask, unsigned value, int error)
{
	load(offsetof(struct seccomp_data, nr));
	if (which < 0) {
		add((struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, number, 0, 1));
	} else {
		add((struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, number, 0, 4));
		load(offsetof(struct seccomp_data, args[0]) + 8 * (size_t)which);
		add((struct sock_filter)BPF_STMT(BPF_ALU | BPF_AND | BPF_K, mask));
		add((struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, value, 0, 1));
	}
	add((struct sock_filter)BPF_STMT(BPF_RET | BPF_K, error ? SECCOMP_RET_ERRNO | (unsigned)error
								: SECCOMP_RET_KILL_PROCESS));
}

static void lock_nothing(void)
{
	struct rlimit none = {0, 0};

	if (setrlimit(RLIMIT_MEMLOCK, &none) || (getuid() == 0 && setuid(65534)))
		perror("limit");
}

static void be_alone(unsigned threads)
{
	struct rlimit most = {threads, threads};
	uid_t user = 60000 + (uid_t)getpid() % 5000;

	if ((getuid() == 0 && setuid(user)) || setrlimit(RLIMIT_NPROC, &most))
		perror("limit");
}

int main(int argc, char **argv)
{
	struct sock_fprog program = {0, code};

	for (const char *what = argv[1]; *what; what++) {
		switch (*what) {
		case 'u':
			fail(SYS_close_range, 2, 2, 2, EINVAL);
			break;
		case 'c':
			fail(SYS_close_range, -1, 0, 0, ENOSYS);
			break;
		case 'p':
			fail(SYS_pidfd_open, -1, 0, 0, ENOSYS);
			fail(SYS_pidfd_getfd, -1, 0, 0, ENOSYS);
			break;
		case 'w':
			fail(SYS_madvise, 2, ~0u, 18, EINVAL);
			break;
		case 'r':
			fail(SYS_getrandom, -1, 0, 0, ENOSYS);
			break;
		case '3':
			fail(SYS_clone3, -1, 0, 0, ENOSYS);
			break;
		case 'f':
			fail(SYS_unshare, -1, 0, 0, EPERM);
			break;
		case 't':
			fail(SYS_getsockopt, 2, ~0u, TCP_INFO, ENOPROTOOPT);
			fail(SYS_getsockopt, 2, ~0u, SO_COOKIE, ENOPROTOOPT);
			break;
		case 'e':
			fail(SYS_io_uring_setup, -1, 0, 0, EPERM);
			break;
		case 'i':
			fail(SYS_io_uring_setup, -1, 0, 0, ENOSYS);
			break;
		case 'k':
			fail(SYS_io_uring_setup, -1, 0, 0, 0);
			break;
		case 'm':
			fail(SYS_madvise, 2, ~0u, 10, EINVAL);
			break;
		case 's':
			fail(SYS_unshare, -1, 0, 0, EPERM);
			break;
		case 'l':
			lock_nothing();
			break;
		case 'x':
		case 'y':
		case 'z':
			be_alone(1 + (unsigned)(*what - 'x'));
			break;
		}
	}
	add((struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW));
	program.len = len;
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) ||
	    syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program)) {
		perror("seccomp");
		return 125;
	}
	execvp(argv[2], argv + 2);
	perror(argv[2]);
	return 126;
}
