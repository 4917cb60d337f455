/*
 * Children made past fork(3): clones PORT HOW. The parent makes a request, the child another, the
 * parent a third on its first connection. HOW: clone, syscall, clone3, vm (CLONE_VM with
 * CLONE_VFORK; the child closes the parent's descriptor numbers in a table of its own, and makes no
 * request).
 */
#define _GNU_SOURCE
#include <linux/sched.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "ask.h"

int clone(int (*fn)(void *), void *stack, int flags, void *arg, ...);

static char stack[256 << 10];

static int open_connection(void)
{
	int fd = ask_open();

	if (fd < 0)
		exit(1);
	return fd;
}

static void must_ask(int fd, const char *path)
{
	if (ask_on(fd, path))
		_exit(2);
}

static int child(void *arg)
{
	(void)arg;
	must_ask(open_connection(), "child");
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
	ask_port = atoi(argv[1]);
	fd = open_connection();
	must_ask(fd, "first");
	pid = make(argv[2], &fd);
	if (pid < 0 || waitpid(pid, &status, 0) != pid || status)
		return 4;
	must_ask(fd, "last");
	puts("done");
	return 0;
}
