/*
 * What a process may be denied: limits PORT PART [ARGUMENT]. Requests before and after; each line
 * says what a call gave.
 */
#include "ask.h"

#include <fcntl.h>
#include <grp.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#define SAY(call)                                                                                  \
	do {                                                                                       \
		errno = 4242; /* success must leave it alone */                                    \
		long result_ = (long)(call);                                                       \
		int error_ = errno;                                                                \
		printf("%s = %ld, errno %d\n", #call, result_, error_);                            \
		fflush(stdout);                                                                    \
	} while (0)

static const char *argument;

/* Longer than a tick: what our thread does, it has done. */
static void rest(void)
{
	usleep(150000);
}

static void just(void)
{
	ASK("one");
	rest();
	ASK("two");
}

/* ---- descriptors ---- */

/* stdio closes past the hooks, and the number comes again. */
static void stream(void)
{
	for (int i = 0; i < 5; i++) {
		int fd = ask_open();
		FILE *file = fdopen(fd, "r+");

		printf("descriptor %d: %d\n", fd, ask_on(fd, "stream"));
		SAY(fclose(file));
		SAY(fcntl(fd, F_GETFD));
		SAY(write(fd, "x", 1));
	}
	/* and as a file: what was a conversation must not be looked for in it */
	int fd = ask_open(), other;

	ask_on(fd, "stream");
	FILE *file = fdopen(fd, "r+");

	fclose(file);
	other = open("/dev/zero", O_RDWR);
	printf("the same number: %d\n", other == fd);
	SAY(write(other, "GET / HTTP/1.1\r\nHost: h\r\n\r\n", 27));
	SAY(close(other));
	/* one more stream, with bytes of its own */
	fd = ask_open();
	file = fdopen(dup(fd), "w");
	fputs("GET /by-stdio HTTP/1.1\r\nHost: h\r\n\r\n", file);
	fflush(file);
	char text[1024] = "";
	printf("by stdio: %d\n", recv(fd, text, sizeof(text) - 1, 0) > 50);
	fclose(file);
	SAY(close(fd));
	ASK("last");
}

/* In every way, while requests are made between; the agent has descriptors of its own by then. */
static void close_all(void)
{
	for (int way = 0; way < 7; way++) {
		ASK("close");
		if (way == 0)
			rest();
		errno = 0;
		switch (way) {
		case 0:
			for (int i = 3; i < 1024; i++)
				close(i);
			break;
		case 1:
			closefrom(3);
			break;
		case 2:
			printf("%d ", close_range(3, ~0U, 0));
			break;
		case 3:
			printf("%d ", close_range(3, ~0U, CLOSE_RANGE_CLOEXEC));
			break;
		case 4:
			printf("%ld ", syscall(SYS_close_range, 3, ~0U, 0));
			break;
		case 5:
			for (int i = 3; i < 1024; i++)
				syscall(SYS_close, i);
			break;
		case 6:
			for (int i = 1023; i > 2; i--) {
				if (dup2(0, i) != i)
					printf("dup2 to %d: %s\n", i, strerror(errno));
			}
			for (int i = 1023; i > 2; i--)
				close(i);
			break;
		}
		printf("way %d: errno %d\n", way, errno == EBADF ? 0 : errno);
		for (int i = 0; i < 40; i++) {
			if (fcntl(i, F_GETFD) >= 0)
				printf("%d ", i);
		}
		printf("are open\n");
	}
	ASK("last");
}

/* Even 0, 1 and 2, and what is opened next gets their numbers. */
static void close_standard(void)
{
	char text[2000];
	int fd, len = 0;
	int out = dup(1);

	ASK("first");
	rest();
	close(0);
	close(1);
	close(2);
	fd = ask_open();
	len += snprintf(text + len, sizeof(text) - (size_t)len, "descriptor %d: %d\n", fd,
			ask_on(fd, "as-0"));
	fd = ask_open();
	len += snprintf(text + len, sizeof(text) - (size_t)len, "descriptor %d: %d\n", fd,
			ask_on(fd, "as-1"));
	fd = ask_open();
	len += snprintf(text + len, sizeof(text) - (size_t)len, "descriptor %d: %d\n", fd,
			ask_on(fd, "as-2"));
	rest();
	len += snprintf(text + len, sizeof(text) - (size_t)len, "again: %d\n", ask_on(fd, "as-2"));
	write(out, text, (size_t)len);
	_exit(0);
}

static void nofile(void)
{
	rlim_t n = strtoul(argument, NULL, 10);
	struct rlimit limit;
	int fd, high;

	getrlimit(RLIMIT_NOFILE, &limit);
	limit.rlim_cur = n < limit.rlim_max ? n : limit.rlim_max;
	if (n < limit.rlim_max)
		limit.rlim_max = n;
	SAY(setrlimit(RLIMIT_NOFILE, &limit));
	just();
	fd = ask_open();
	SAY((high = dup2(fd, (int)limit.rlim_cur - 1)) == (int)limit.rlim_cur - 1);
	printf("on the highest: %d\n", ask_on(high, "high"));
	SAY(close(high));
	SAY(dup2(fd, (int)limit.rlim_cur) < 0 ? -errno : 0);
	printf("on the first: %d\n", ask_on(fd, "low"));
	close(fd);
	if (n < 100) {
		while ((fd = dup(0)) >= 0)
			printf("%d ", fd);
		SAY(errno);
	}
}

/* ---- memory, files, processes ---- */

static void address_space(void)
{
	struct rlimit limit = {0, 0};
	char line[256];
	unsigned long pages = 0, got = 0;
	FILE *statm = fopen("/proc/self/statm", "r");

	/* so many MiB more than there are: the library itself is in what there is */
	fscanf(statm, "%lu", &pages);
	fclose(statm);
	limit.rlim_cur = limit.rlim_max = pages * 4096 + (strtoul(argument, NULL, 10) << 20);
	SAY(setrlimit(RLIMIT_AS, &limit));
	just();
	/* half of it must still be the program's */
	got = strtoul(argument, NULL, 10) / 2;
	void *block = malloc(got << 20);
	printf("a block of half of it: %d\n", block != NULL);
	free(block);
	ASK("last");
}

static void file_size(void)
{
	struct rlimit limit = {0, RLIM_INFINITY};

	limit.rlim_cur = strtoul(argument, NULL, 10);
	SAY(setrlimit(RLIMIT_FSIZE, &limit));
	just();
	rest();
	signal(SIGXFSZ, SIG_IGN);
	int fd = open("own", O_WRONLY | O_CREAT | O_TRUNC, 0600);
	SAY(lseek(fd, 1 << 20, SEEK_SET));
	SAY(write(fd, "x", 1));
	close(fd);
	signal(SIGXFSZ, SIG_DFL);
	ASK("three");
}

static void drop(void)
{
	if (strcmp(argument, "early") != 0) {
		ASK("before");
		rest();
	}
	SAY(setgroups(0, NULL));
	SAY(setresgid(65534, 65534, 65534));
	SAY(setresuid(65534, 65534, 65534));
	SAY(geteuid());
	just();
	SAY(seteuid(0));
	SAY(open("/etc/shadow", O_RDONLY));
}

/* No thread may be made. As nobody, who has others already. */
static void no_threads(void)
{
	struct rlimit limit = {0, 0};

	SAY(setresgid(65534, 65534, 65534));
	SAY(setrlimit(RLIMIT_NPROC, &limit));
	SAY(setresuid(65534, 65534, 65534));
	SAY(fork());
	just();
	SAY(fork());
	for (int i = 0; i < 200; i++) {
		if (ask("more"))
			printf("request %d failed\n", i);
	}
	ASK("last");
}

static void slowly(void)
{
	for (int i = 0; i < 8; i++) {
		ASK("now");
		usleep(500000);
	}
}

/* ---- namespaces ---- */

static void user_namespace(void)
{
	ASK("before");
	rest();
	SAY(unshare(CLONE_NEWUSER));
	SAY(geteuid());
	just();
	SAY(unshare(CLONE_NEWUSER | CLONE_NEWNS));
	ASK("last");
}

/* While others keep every core busy. The flags change nothing and fail beside a second thread. */
static void alone_under_load(void)
{
	pid_t busy[6];
	int failed = 0;

	for (int i = 0; i < 6; i++) {
		if ((busy[i] = fork()) == 0) {
			alarm(60);
			for (;;)
				continue;
		}
	}
	for (int i = 0; i < 60; i++) {
		ASK("turn");
		usleep((useconds_t)i * 50);
		failed += unshare(CLONE_THREAD | CLONE_SIGHAND | CLONE_VM) != 0;
	}
	SAY(failed);
	for (int i = 0; i < 6; i++) {
		kill(busy[i], SIGKILL);
		waitpid(busy[i], NULL, 0);
	}
}

static void enter(void)
{
	int mine = open("/proc/self/ns/user", O_RDONLY), mount, net;
	pid_t pid;
	char path[64];
	int ready[2];
	char byte;

	pipe(ready);
	ASK("before");
	rest();
	pid = fork();
	if (pid == 0) {
		unshare(CLONE_NEWUSER | CLONE_NEWNS | CLONE_NEWUTS);
		write(ready[1], "x", 1);
		pause();
	}
	read(ready[0], &byte, 1);
	snprintf(path, sizeof(path), "/proc/%d/ns/user", pid);
	SAY((mine = open(path, O_RDONLY)) >= 0);
	snprintf(path, sizeof(path), "/proc/%d/ns/mnt", pid);
	SAY((mount = open(path, O_RDONLY)) >= 0);
	SAY(setns(mine, CLONE_NEWUSER));
	just();
	SAY(setns(mount, CLONE_NEWNS));
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	ASK("last");
}

static void into(void)
{
	if (argument[0] != '-') {
		SAY(chroot(argument));
	} else {
		ASK("before");
		rest();
		SAY(chroot(argument + 1));
	}
	SAY(chdir("/"));
	just();
	SAY(open("/proc/self/stat", O_RDONLY));
}

/* ---- another process ---- */

static void become_daemon(void)
{
	bool at_once = strcmp(argument, "at-once") == 0;
	int fd = ask_open();

	printf("before: %d\n", ask_on(fd, "before"));
	fflush(stdout);
	if (!at_once)
		rest();
	if (daemon(1, 1) != 0)
		perror("daemon");
	printf("leader %d, kept: %d\n", getsid(0) == getpid(), ask_on(fd, "kept"));
	just();
}

int main(int argc, char **argv)
{
	static const struct {
		const char *name;
		void (*run)(void);
	} parts[] = {
		{"just", just},
		{"stream", stream},
		{"close_all", close_all},
		{"close_standard", close_standard},
		{"nofile", nofile},
		{"address_space", address_space},
		{"file_size", file_size},
		{"drop", drop},
		{"no_threads", no_threads},
		{"slowly", slowly},
		{"user_namespace", user_namespace},
		{"alone", alone_under_load},
		{"enter", enter},
		{"into", into},
		{"daemon", become_daemon},
	};

	ask_port = atoi(argv[1]);
	argument = argc > 3 ? argv[3] : "";
	for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++) {
		if (strcmp(parts[i].name, argv[2]) == 0)
			parts[i].run();
	}
	return 0;
}
