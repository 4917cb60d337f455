/*
 * Children made past fork(3): clones PORT HOW. The parent makes a request, the child another, the
 * parent a third on its first connection. HOW: clone, syscall, clone3, vm (CLONE_VM with
 * CLONE_VFORK; the child closes the parent's descriptor numbers in a table of its own, and makes no
 * request).
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <linux/sched.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

int clone(int (*fn)(void *), void *stack, int flags, void *arg, ...);

static int port;
static char stack[256 << 10];

static int open_connection(void)
{
	struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	if (connect(fd, (struct sockaddr *)&address, sizeof(address)))
		exit(1);
	return fd;
}

static void ask(int fd, const char *path)
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

static int child(void *arg)
{
	(void)arg;
	ask(open_connection(), "/child");
	return 0;
}

static int child_in_our_memory(void *arg)
{
	close(*(int *)arg);
	dup2(0, *(int *)arg);
	close(*(int *)arg);
	return 0;
}

static pid_t make(const char *how, int *fd)
{
	struct clone_args args = {.exit_signal = SIGCHLD};
	pid_t pid;

	if (strcmp(how, "clone") == 0)
		return clone(child, stack + sizeof(stack), SIGCHLD, NULL);
	if (strcmp(how, "vm") == 0)
		return clone(child_in_our_memory, stack + sizeof(stack),
			     CLONE_VM | CLONE_VFORK | SIGCHLD, fd);
	pid = strcmp(how, "clone3") ? (pid_t)syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0)
				    : (pid_t)syscall(SYS_clone3, &args, sizeof(args));
	if (pid == 0) {
		child(NULL);
		_exit(0);
	}
	return pid;
}

int main(int argc, char **argv)
{
	int fd, status;
	pid_t pid;

	(void)argc;
	port = atoi(argv[1]);
	fd = open_connection();
	ask(fd, "/first");
	pid = make(argv[2], &fd);
	if (pid < 0 || waitpid(pid, &status, 0) != pid || status)
		return 4;
	ask(fd, "/last");
	puts("done");
	return 0;
}
