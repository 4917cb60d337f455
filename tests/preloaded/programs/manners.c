/*
 * What a guest must not disturb: each line says what a call gave. Run with and without us the
 * output is the same. manners PORT
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <spawn.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#define SAY(call)                                                                  \
	do {                                                                       \
		errno = 4242; /* success must leave it alone */                    \
		long result_ = (long)(call);                                       \
		int error_ = errno;                                                \
		printf("%s = %ld, errno %d\n", #call, result_, error_);           \
		fflush(stdout);                                                    \
	} while (0)

extern char **environ;
static struct sockaddr_in address;
static char buffer[65536];
static sigjmp_buf back;

static int connected(void)
{
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof(address)) != 0)
		abort();
	return fd;
}

static const char get[] = "GET /manners HTTP/1.1\r\nHost: h:80\r\n\r\n";

static void one_request(int fd)
{
	size_t got = 0;

	SAY(send(fd, get, sizeof(get) - 1, 0));
	memset(buffer, 0, sizeof(buffer));
	while (!strstr(buffer, "bytes\n")) {
		ssize_t n = recv(fd, buffer + got, sizeof(buffer) - 1 - got, 0);

		if (n <= 0)
			abort();
		got += (size_t)n;
	}
	printf("answer of %zu\n", got);
}

static void errors(void)
{
	int fd = connected(), files[2];
	volatile int minus = -1;

	SAY(read(-1, buffer, 1));
	SAY(write(-1, buffer, 1));
	SAY(close(-1));
	SAY(close(123456));
	SAY(dup2(-1, 5));
	SAY(dup3(fd, fd, 0));
	SAY(recv(0, buffer, 1, 0));
	SAY(send(fd, get, 0, 0));
	SAY(recv(fd, buffer, 10, MSG_DONTWAIT));
	SAY(writev(fd, NULL, minus));
	SAY(connect(fd, (struct sockaddr *)&address, sizeof(address)));
	SAY(accept(fd, NULL, NULL));
	SAY(listen(-1, 1));
	SAY(fcntl(fd, F_GETFL) & O_NONBLOCK);
	SAY(fcntl(-1, F_DUPFD, 0));
	SAY(shutdown(0, SHUT_RDWR));
	SAY(syscall(SYS_close, -1));
	SAY(syscall(SYS_write, -1, buffer, 1L));
	SAY(syscall(-1L));
	SAY(socket(-1, -1, -1));
	SAY(pipe(files));
	SAY(write(files[1], "x", 1));
	SAY(read(files[0], buffer, 10));
	one_request(fd);
	SAY(close(fd));
	SAY(close(fd));
	close(files[0]);
	close(files[1]);
}

static void descriptors_while(bool race)
{
	int fd = connected(), other, high;

	one_request(fd);
	if (!race)
		usleep(700000); /* the agent has its own descriptors now */
	SAY((other = dup(fd)) >= 0);
	SAY(close(fd));
	one_request(other);
	SAY((high = fcntl(other, F_DUPFD_CLOEXEC, 100)) >= 100);
	close(other);
	one_request(high);
	SAY(dup2(high, 50));
	close(high);
	one_request(50);
	SAY(close_range(40, 60, 0));
	SAY(write(50, "x", 1));
	/* every number up to the limit, ours among them */
	for (int i = 3; i < 1100; i++) {
		if (i < 1000 && fcntl(i, F_GETFD) >= 0) /* ours are high */
			printf("descriptor %d is open\n", i);
		close(i);
	}
	fd = connected();
	printf("descriptor %d\n", fd);
	one_request(fd);
	closefrom(3);
	fd = connected();
	printf("descriptor %d\n", fd);
	one_request(fd);
	for (int i = 3; i < 1024; i++) { /* and taken */
		if (i != fd && dup2(fd, i) != i)
			printf("dup2 to %d: %s\n", i, strerror(errno));
	}
	one_request(1023);
	SAY(close_range(3, ~0U, CLOSE_RANGE_UNSHARE));
	fd = connected();
	one_request(fd);
	close(fd);
}

static void descriptors(void)
{
	descriptors_while(false);
}

/* While the agent is opening its own. */
static void descriptors_at_once(void)
{
	descriptors_while(true);
}

/* Pointers that the kernel refuses: EFAULT. */
static void bad_pointers(void)
{
	int fd = connected();
	struct iovec iov = {NULL, 10};
	struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};

	SAY(read(fd, NULL, 0));
	SAY(send(fd, NULL, 10, 0));
	SAY(write(fd, (void *)16, 10));
	SAY(writev(fd, &iov, 1));
	SAY(sendmsg(fd, &msg, 0));
	SAY(connect(fd, NULL, 16));
	SAY(accept(fd, (void *)16, (void *)16));
	one_request(fd);
	close(fd);
}

static void jump(int signal)
{
	(void)signal;
	siglongjmp(back, 1);
}

/* Leaves a call of ours by a jump; what follows must be seen again. */
static void jumps(void)
{
	int fd = connected();

	signal(SIGALRM, jump);
	for (int i = 0; i < 3; i++) {
		if (sigsetjmp(back, 1) == 0) {
			ualarm(20000, 0);
			recv(fd, buffer, 1, 0);
			printf("no jump\n");
		}
		one_request(fd);
	}
	signal(SIGALRM, SIG_DFL);
	close(fd);
}

static void *wait_for_ever(void *arg)
{
	char byte;

	recv(*(int *)arg, &byte, 1, 0);
	return NULL;
}

static void cancellation(void)
{
	int fd = connected();
	pthread_t thread;
	void *result;

	SAY(pthread_create(&thread, NULL, wait_for_ever, &fd));
	usleep(20000);
	SAY(pthread_cancel(thread));
	SAY(pthread_join(thread, &result));
	printf("cancelled: %d\n", result == PTHREAD_CANCELED);
	one_request(fd);
	close(fd);
}

static void *request_on_small_stack(void *arg)
{
	(void)arg;
	int fd = connected();

	one_request(fd);
	close(fd);
	return NULL;
}

static void small_stacks(void)
{
	pthread_attr_t attributes;
	pthread_t thread;

	pthread_attr_init(&attributes);
	SAY(pthread_attr_setstacksize(&attributes, 16384));
	for (int i = 0; i < 20; i++) {
		if (pthread_create(&thread, &attributes, request_on_small_stack, NULL) != 0)
			printf("no thread\n");
		pthread_join(thread, NULL);
	}
}

static void children(void)
{
	char *argv[] = {"sh", "-c", "exit 5", NULL};
	int fd = connected(), status = 0;
	pid_t pid = vfork();

	if (pid == 0) {
		close_range(3, ~0U, 0); /* in our memory: nothing of ours may be written */
		execv("/bin/sh", argv);
		_exit(1);
	}
	SAY(waitpid(pid, &status, 0) == pid);
	printf("vfork status %x\n", (unsigned)status);
	one_request(fd);
	pid = vfork();
	if (pid == 0)
		_exit(6);
	waitpid(pid, &status, 0);
	printf("vfork status %x\n", (unsigned)status);
	SAY(posix_spawn(&pid, "/bin/sh", NULL, NULL, argv, environ));
	waitpid(pid, &status, 0);
	printf("spawn status %x\n", (unsigned)status);
	SAY(posix_spawn(&pid, "/nonexistent", NULL, NULL, argv, environ));
	SAY(system("exit 9"));
	pid = _Fork();
	if (pid == 0)
		_exit(8);
	waitpid(pid, &status, 0);
	printf("_Fork status %x\n", (unsigned)status);
	pid = (pid_t)syscall(SYS_fork);
	if (pid == 0)
		syscall(SYS_exit_group, 11);
	waitpid(pid, &status, 0);
	printf("raw fork status %x\n", (unsigned)status);
	one_request(fd);
	close(fd);
}

static void broken_pipe(void)
{
	int pair[2];

	signal(SIGPIPE, SIG_IGN);
	SAY(socketpair(AF_UNIX, SOCK_STREAM, 0, pair));
	close(pair[1]);
	SAY(send(pair[0], get, sizeof(get) - 1, 0));
	SAY(send(pair[0], get, sizeof(get) - 1, MSG_NOSIGNAL));
	signal(SIGPIPE, SIG_DFL);
	close(pair[0]);
}

static void limits(void)
{
	struct rlimit limit = {10, 10};
	int fd;

	SAY(setrlimit(RLIMIT_NOFILE, &limit));
	fd = connected();
	one_request(fd);
	close(fd);
	for (fd = 0; fd >= 0;)
		fd = dup(0);
	SAY(dup(0));
	SAY(socket(AF_INET, SOCK_STREAM, 0));
}

static void masks(void)
{
	sigset_t set;
	int count = 0;

	sigemptyset(&set);
	sigprocmask(SIG_SETMASK, NULL, &set);
	for (int i = 1; i < 65; i++) {
		struct sigaction action;

		count += sigismember(&set, i) == 1;
		if (sigaction(i, NULL, &action) == 0 && action.sa_handler != SIG_DFL)
			printf("signal %d has a handler or is ignored\n", i);
	}
	printf("%d signals are blocked\n", count);
}

int main(int argc, char **argv)
{
	static const struct {
		const char *name;
		void (*run)(void);
	} parts[] = {
		{"errors", errors}, {"bad_pointers", bad_pointers},
		{"descriptors", descriptors}, {"descriptors_at_once", descriptors_at_once},
		{"jumps", jumps},
		{"cancellation", cancellation}, {"small_stacks", small_stacks},
		{"children", children}, {"broken_pipe", broken_pipe}, {"masks", masks},
		{"limits", limits},
	};

	if (argc < 3)
		return 2;
	address = (struct sockaddr_in){.sin_family = AF_INET,
				       .sin_port = htons((uint16_t)atoi(argv[1])),
				       .sin_addr = {htonl(INADDR_LOOPBACK)}};
	for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++) {
		if (strcmp(parts[i].name, argv[2]) == 0)
			parts[i].run();
	}
	return 0;
}
