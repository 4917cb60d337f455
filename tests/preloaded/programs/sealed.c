/*
 * Seals itself: sealed PORT HOW. Makes a request, installs a filter that kills for every system
 * call but a few, makes another on the same connection, and leaves. HOW: prctl, seccomp or strict.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

static int fd;

static void ask(const char *path)
{
	char text[4096];
	int len = snprintf(text, sizeof(text), "GET %s HTTP/1.1\r\nHost: h\r\n\r\n", path);
	ssize_t got = 0, n;

	if (write(fd, text, (size_t)len) != len)
		_exit(2);
	memset(text, 0, sizeof(text));
	while (!strstr(text, "bytes\n")) {
		n = read(fd, text + got, sizeof(text) - 1 - (size_t)got);
		if (n <= 0)
			_exit(3);
		got += n;
	}
}

#define ALLOW(name)                                                                                \
	BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_##name, 0, 1),                                     \
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)

static int filter(const char *how)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		ALLOW(read),
		ALLOW(write),
		ALLOW(exit_group),
		ALLOW(rt_sigreturn),
		ALLOW(kill),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
	};
	struct sock_fprog program = {sizeof(code) / sizeof(code[0]), code};

	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
		return -1;
	if (strcmp(how, "prctl") == 0)
		return prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program);
	return (int)syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_TSYNC,
			    &program);
}

int main(int argc, char **argv)
{
	struct sockaddr_in address = {.sin_family = AF_INET,
				      .sin_port = htons((uint16_t)atoi(argv[1]))};
	const char *how = argv[2];

	(void)argc;
	address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	fd = socket(AF_INET, SOCK_STREAM, 0);
	if (connect(fd, (struct sockaddr *)&address, sizeof(address)))
		return 1;
	ask("/before");
	usleep(50000);
	/* one that fails changes nothing */
	if (prctl(PR_SET_SECCOMP, 77, NULL) == 0)
		return 4;
	ask("/between");
	if (strcmp(how, "strict") ? filter(how) : prctl(PR_SET_SECCOMP, SECCOMP_MODE_STRICT))
		return 5;
	ask("/after");
	if (write(1, "done\n", 5) != 5)
		return 6;
	if (strcmp(how, "strict") == 0)
		syscall(SYS_exit, 0);
	if (strcmp(how, "seccomp") == 0)
		exit(0);
	_exit(0);
}
