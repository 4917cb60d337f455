/*
 * Signals in the midst of calls: alarms PORT PART. What is said does not depend on how often a
 * signal came, only on what calls gave.
 */
#include "ask.h"

#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/select.h>
#include <sys/signalfd.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>

#define ROUNDS 400

static atomic_int came, bad;
static int spare[2]; /* a connection that handlers use */
static sigjmp_buf back;
static volatile sig_atomic_t jumping;
static const char *argument;

static void handle(int signal, void (*handler)(int), int flags)
{
	struct sigaction action = {.sa_handler = handler, .sa_flags = flags};

	sigaction(signal, &action, NULL);
}

static void every(long us)
{
	setitimer(ITIMER_REAL, &(struct itimerval){{0, us}, {0, us}}, NULL);
}

/* Two ends of one connection on this host, both made by us. */
static void pair(int *ret)
{
	struct sockaddr_in address = {.sin_family = AF_INET};
	socklen_t len = sizeof(address);
	int listener = socket(AF_INET, SOCK_STREAM, 0);

	address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	bind(listener, (void *)&address, sizeof(address));
	listen(listener, 1);
	getsockname(listener, (void *)&address, &len);
	ret[0] = socket(AF_INET, SOCK_STREAM, 0);
	connect(ret[0], (void *)&address, len);
	ret[1] = accept(listener, NULL, NULL);
	close(listener);
}

static void requests(int count)
{
	int fd = ask_open(), failed = 0, error = 0, one;

	for (int i = 0; i < count; i++) {
		one = ask_on(fd, "stormy");
		failed += one != 0;
		error = one ? one : error;
	}
	close(fd);
	printf("%d requests failed, %d; handlers met %d\n", failed, error, bad);
}

/* ---- handlers that call ---- */

static void calls(int signal)
{
	int saved = errno;
	char byte = 'x';

	(void)signal;
	came++;
	bad += send(spare[0], "ab", 2, MSG_NOSIGNAL) != 2;
	bad += recv(spare[1], &byte, 1, 0) != 1 || byte != 'a';
	bad += read(spare[1], &byte, 1) != 1 || byte != 'b';
	bad += write(spare[0], "cd", 2) != 2;
	bad += readv(spare[1], (struct iovec[]){{&byte, 1}, {&byte, 1}}, 2) != 2 || byte != 'd';
	errno = saved;
}

/* Conversations that begin and end in a handler. */
static void opens(int signal)
{
	int saved = errno, fd = socket(AF_INET, SOCK_STREAM, 0), other;
	struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)ask_port)};

	(void)signal;
	came++;
	address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	bad += fd < 0 || connect(fd, (void *)&address, sizeof(address)) != 0;
	bad += (other = dup(fd)) < 0;
	bad += close(fd) != 0 || close(other) != 0;
	bad += close(other) == 0;
	errno = saved;
}

static void forks(int signal)
{
	int saved = errno, status = 0;
	pid_t pid = fork();

	(void)signal;
	came++;
	if (pid == 0)
		_exit(5);
	bad += waitpid(pid, &status, 0) != pid || WEXITSTATUS(status) != 5;
	errno = saved;
}

static void *storm_on(void *arg)
{
	(void)arg;
	requests(ROUNDS);
	return NULL;
}

static void storm(void)
{
	void (*handlers[])(int) = {calls, opens, forks};
	long us[] = {200, 1000, 2000};
	int which = argument[0] == 'o' ? 1 : argument[0] == 'f' ? 2 : 0;

	pair(spare);
	handle(SIGALRM, handlers[which], SA_RESTART);
	every(us[which]);
	requests(ROUNDS);
	every(0);
	printf("often: %d\n", came > 3);
	close(spare[0]);
	close(spare[1]);
}

/* The same by timer_create, on a stack of its own, nested, in a second thread. */
static void nested(void)
{
	static char stack[1 << 16];
	stack_t alternate = {.ss_sp = stack, .ss_size = sizeof(stack)};
	struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGRTMIN + 3};
	struct itimerspec spec = {{0, 300000}, {0, 300000}};
	timer_t timer[2];
	pthread_t thread;

	pair(spare);
	sigaltstack(&alternate, NULL);
	handle(SIGRTMIN + 3, calls, SA_RESTART | SA_ONSTACK);
	handle(SIGRTMIN + 4, opens, SA_RESTART | SA_ONSTACK);
	timer_create(CLOCK_MONOTONIC, &event, &timer[0]);
	event.sigev_signo = SIGRTMIN + 4;
	timer_create(CLOCK_MONOTONIC, &event, &timer[1]);
	timer_settime(timer[0], 0, &spec, NULL);
	spec.it_interval.tv_nsec = spec.it_value.tv_nsec = 3000000;
	timer_settime(timer[1], 0, &spec, NULL);
	requests(ROUNDS);
	timer_delete(timer[0]);
	timer_delete(timer[1]);
	printf("often: %d\n", came > 3);
	(void)thread;
}

static void leaves(int signal)
{
	(void)signal;
	if (++came < 40)
		return;
	if (argument[0] == 'e')
		exit(9); /* not allowed, and done */
	if (argument[0] == 'k')
		kill(getpid(), SIGTERM);
	if (argument[0] == 'a')
		abort();
	_exit(8);
}

static void end(void)
{
	handle(SIGALRM, leaves, SA_RESTART);
	every(1000);
	for (;;)
		ask("endless");
}

/* ---- jumps ---- */

static void jump(int signal)
{
	(void)signal;
	came++;
	if (jumping)
		siglongjmp(back, 1);
}

/* Out of running calls of every kind, and of blocked ones; what follows must be seen again. */
static void jumps(void)
{
	static char stack[1 << 16];
	stack_t alternate = {.ss_sp = stack, .ss_size = sizeof(stack)};
	bool other = argument[0] == 'a';
	volatile int jumped = 0;

	if (other)
		sigaltstack(&alternate, NULL);
	handle(SIGALRM, jump, other ? SA_ONSTACK : 0);
	for (volatile int i = 0; i < 200; i++) {
		volatile int fd = ask_open();

		if (sigsetjmp(back, 1) == 0) {
			jumping = 1;
			setitimer(ITIMER_REAL, &(struct itimerval){{0, 0}, {0, 50 + i * 5}}, NULL);
			for (;;)
				ask_on(fd, "jump");
		}
		jumping = 0;
		jumped++;
		close(fd);
	}
	printf("jumped %d\n", jumped);
	requests(10);
	ASK("after");
}

/* ---- cancellation ---- */

static void *until_cancelled(void *arg)
{
	int type;

	if (arg)
		pthread_setcanceltype(PTHREAD_CANCEL_ASYNCHRONOUS, &type);
	for (;;)
		ask(arg ? "async" : "deferred");
	return NULL;
}

static void cancels(void)
{
	void *how = argument[0] == 'a' ? (void *)1 : NULL, *result;
	int cancelled = 0;

	for (int i = 0; i < 60; i++) {
		pthread_t thread;

		pthread_create(&thread, NULL, until_cancelled, how);
		usleep(500 + i * 37);
		pthread_cancel(thread);
		pthread_join(thread, &result);
		cancelled += result == PTHREAD_CANCELED;
	}
	printf("cancelled %d\n", cancelled);
	requests(10);
	for (int i = 3; i < 200; i++)
		close(i);
	ASK("after");
}

/* ---- interruptions ---- */

static void nothing(int signal)
{
	(void)signal;
	came++;
}

/* Does the main thread sleep? */
static int waits(void)
{
	char text[256] = {0}, *after;
	int fd = open("/proc/self/stat", O_RDONLY);
	ssize_t n = read(fd, text, sizeof(text) - 1);

	close(fd);
	after = strrchr(text, ')');
	return n > 0 && after && after[2] == 'S';
}

/* Three signals, each when the one before has been met and the thread waits again, by its state and not
 * by the clock: two that come before it runs are one. */
static void *poke(void *arg)
{
	int before = came;
	sigset_t set;

	sigfillset(&set);
	pthread_sigmask(SIG_BLOCK, &set, NULL);
	for (int i = 0; i < 3; i++) {
		do {
			usleep(2000);
		} while (came != before + i || !waits());
		pthread_kill(*(pthread_t *)arg, SIGUSR1);
	}
	usleep(15000);
	if (spare[1] >= 0) /* what waits for bytes gets one */
		send(spare[1], "z", 1, 0);
	return NULL;
}

/* Each kind of waiting, interrupted three times, then given what it waits for. */
static void interrupted(int flags)
{
	struct pollfd fds[2];
	struct epoll_event event = {.events = EPOLLIN}, got[2];
	struct timeval tv;
	struct timespec ts;
	fd_set set;
	char buffer[16];
	struct iovec iov = {buffer, 1};
	struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};
	pthread_t self = pthread_self(), thread;
	int epoll = epoll_create1(0), n, error, listener = socket(AF_INET, SOCK_STREAM, 0);
	struct sockaddr_in any = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
	long calls;

	bind(listener, (void *)&any, sizeof(any));
	listen(listener, 4);
	handle(SIGUSR1, nothing, flags);
	pair(spare);
	for (int kind = 0; kind < 14; kind++) {
		calls = 0;
		if (kind == 12) {
			struct timeval limit = {0, 80000};

			setsockopt(spare[0], SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
			setsockopt(listener, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
		}
		pthread_create(&thread, NULL, poke, &self);
		do {
			errno = 0;
			fds[0] = (struct pollfd){spare[0], POLLIN, 0};
			fds[1] = (struct pollfd){listener, POLLIN, 0};
			tv = (struct timeval){5, 0};
			ts = (struct timespec){5, 0};
			FD_ZERO(&set);
			FD_SET(spare[0], &set);
			event.data.fd = spare[0];
			if (kind >= 8 && kind <= 9)
				epoll_ctl(epoll, EPOLL_CTL_ADD, spare[0], &event);
			switch (kind) {
			case 0: n = recv(spare[0], buffer, 1, 0); break;
			case 1: n = read(spare[0], buffer, 1); break;
			case 2: n = recvmsg(spare[0], &msg, 0); break;
			case 3: n = readv(spare[0], &iov, 1); break;
			case 4: n = poll(fds, 2, 5000); break;
			case 5: n = ppoll(fds, 2, &ts, NULL); break;
			case 6: n = select(spare[0] + 1, &set, NULL, NULL, &tv); break;
			case 7: n = pselect(spare[0] + 1, &set, NULL, NULL, &ts, NULL); break;
			case 8: n = epoll_wait(epoll, got, 2, 5000); break;
			case 9: n = epoll_pwait(epoll, got, 2, 5000, NULL); break;
			case 10: n = recvfrom(spare[0], buffer, 1, MSG_WAITALL, NULL, NULL); break;
			case 11: n = poll(fds, 1, 5000); break;
			case 12: n = recv(spare[0], buffer, 1, 0); break;
			case 13: n = accept(listener, NULL, NULL); break;
			}
			error = errno;
			calls++;
		} while (n < 0 && error == EINTR && calls < 10);
		pthread_join(thread, NULL);
		printf("kind %d, flags %x: %d, errno %d, calls %ld\n", kind, (unsigned)flags, n, error, calls);
		fflush(stdout);
		recv(spare[0], buffer, 16, MSG_DONTWAIT);
	}
	close(spare[0]);
	close(spare[1]);
	close(epoll);
	close(listener);
}

static void eintr(void)
{
	ASK("before");
	interrupted(0);
	ASK("between");
	interrupted(SA_RESTART);
	ASK("after");
}

/* A connect that waits (a full backlog), and a send into a full socket. */
static void eintr_out(void)
{
	struct sockaddr_in any = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
	socklen_t len = sizeof(any);
	int listener = socket(AF_INET, SOCK_STREAM, 0), fd, n, error, ends[2];
	pthread_t self = pthread_self(), thread;
	static char much[8 << 20];

	ASK("before");
	bind(listener, (void *)&any, sizeof(any));
	listen(listener, 0);
	getsockname(listener, (void *)&any, &len);
	for (int i = 0; i < 3; i++) { /* fill it */
		fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
		connect(fd, (void *)&any, sizeof(any));
	}
	spare[1] = -1;
	for (int flags = 0; flags < 2; flags++) {
		handle(SIGUSR1, nothing, flags ? SA_RESTART : 0);
		fd = socket(AF_INET, SOCK_STREAM, 0);
		struct timeval limit = {20, 0}; /* signals come first, however late */
		setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit));
		pthread_create(&thread, NULL, poke, &self);
		errno = 0;
		n = connect(fd, (void *)&any, sizeof(any));
		error = errno;
		printf("connect: %d, errno %d\n", n, error);
		errno = 0;
		n = connect(fd, (void *)&any, sizeof(any));
		printf("again: %d, errno %d\n", n, errno);
		pthread_join(thread, NULL);
		close(fd);
		/* a head first, so that there is a conversation; nobody reads what follows */
		pair(ends);
		spare[1] = -1;
		static const char head[] = "POST /long HTTP/1.1\r\nHost: h\r\nContent-Length: 99999999\r\n\r\n";
		send(ends[0], head, sizeof(head) - 1, 0);
		setsockopt(ends[0], SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit));
		pthread_create(&thread, NULL, poke, &self);
		errno = 0;
		n = send(ends[0], much, sizeof(much), 0);
		error = errno;
		printf("send: partial %d, errno %d\n", n > 0 && n < (int)sizeof(much), error);
		errno = 0; /* a busy machine may find room for more after a while */
		while (send(ends[0], much, sizeof(much), MSG_DONTWAIT) > 0)
			;
		printf("at once: %d\n", -errno);
		pthread_join(thread, NULL);
		close(ends[0]);
		close(ends[1]);
	}
	ASK("after");
}

/* ---- other uses of signals ---- */

static void *wait_signals(void *arg)
{
	sigset_t *set = arg;
	int got, n = 0;

	while (sigwait(set, &got) == 0 && got != SIGTERM) {
		n++;
		if (n % 10 == 0 && ask("sigwait"))
			printf("a request failed\n");
	}
	printf("sigwait: %d\n", n);
	return NULL;
}

/* All blocked in all threads: one waits, one reads a signalfd, requests go on. */
static void blocked(void)
{
	struct signalfd_siginfo info;
	sigset_t all, waited, read_set;
	pthread_t thread;
	int fd, n = 0;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, NULL);
	sigemptyset(&waited);
	sigaddset(&waited, SIGRTMIN + 1); /* these queue */
	sigaddset(&waited, SIGTERM);
	sigemptyset(&read_set);
	sigaddset(&read_set, SIGRTMIN + 2);
	sigaddset(&read_set, SIGINT);
	fd = signalfd(-1, &read_set, SFD_CLOEXEC | SFD_NONBLOCK);
	ASK("first");
	pthread_create(&thread, NULL, wait_signals, &waited);
	for (int i = 0; i < 100; i++) {
		kill(getpid(), SIGRTMIN + 1);
		kill(getpid(), SIGRTMIN + 2);
		if (i % 10 == 0 && ask("blocked"))
			printf("a request failed\n");
		while (read(fd, &info, sizeof(info)) == sizeof(info))
			n++;
	}
	usleep(50000);
	kill(getpid(), SIGTERM);
	pthread_join(thread, NULL);
	printf("signalfd: %d\n", n);
	sigset_t mask;
	pthread_sigmask(SIG_BLOCK, NULL, &mask);
	int count = 0;
	for (int i = 1; i < 65; i++)
		count += sigismember(&mask, i) == 1;
	printf("blocked: %d\n", count);
	sigpending(&mask);
	count = 0;
	for (int i = 1; i < 65; i++)
		count += sigismember(&mask, i) == 1;
	printf("pending: %d\n", count);
}

static void recover(int signal)
{
	(void)signal;
	came++;
	siglongjmp(back, 2);
}

/* Faults that the program survives, between requests and in a call's buffer. */
static void faults(void)
{
	int fd = ask_open();
	char *page = mmap(NULL, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	handle(SIGSEGV, recover, argument[0] == 'n' ? SA_NODEFER : 0);
	handle(SIGBUS, recover, 0);
	handle(SIGFPE, recover, 0);
	for (volatile int i = 0; i < 20; i++) {
		if (sigsetjmp(back, 1) == 0)
			*(volatile char *)page = 1;
		if (sigsetjmp(back, 1) == 0)
			raise(SIGFPE);
		errno = 0;
		if (sigsetjmp(back, 1) == 0) {
			ssize_t n = send(fd, page, 100, 0);

			printf("send of nothing: %zd, errno %d\n", n, errno);
		}
		if (ask_on(fd, "between-faults"))
			printf("failed\n");
	}
	printf("faults %d\n", came);
	ASK("after");
}

/* Bytes to somebody who is gone. */
static void pipes(void)
{
	static const char head[] = "GET /gone HTTP/1.1\r\nHost: h\r\n\r\n";
	struct linger hard = {1, 0};
	struct iovec iov = {(void *)head, sizeof(head) - 1};
	int ends[2];

	ASK("before");
	if (argument[0] == 'i')
		signal(SIGPIPE, SIG_IGN);
	if (argument[0] == 'h')
		handle(SIGPIPE, nothing, 0);
	for (int i = 0; i < 6; i++) {
		pair(ends);
		setsockopt(ends[1], SOL_SOCKET, SO_LINGER, &hard, sizeof(hard));
		if (i % 2)
			shutdown(ends[0], SHUT_WR);
		close(ends[1]);
		for (int j = 0; j < 3; j++) {
			errno = 0;
			long n = i < 2 ? send(ends[0], head, sizeof(head) - 1, i ? MSG_NOSIGNAL : 0)
				 : i < 4 ? write(ends[0], head, sizeof(head) - 1)
					 : writev(ends[0], &iov, 1);
			printf("%d.%d: %ld, errno %d, signals %d\n", i, j, n, errno, came);
			fflush(stdout);
		}
		close(ends[0]);
	}
	ASK("after");
}

static void death(void)
{
	int number = atoi(argument);

	ASK("last-words");
	if (strstr(argument, "kill"))
		kill(getpid(), number);
	if (strstr(argument, "raise"))
		raise(number);
	if (strstr(argument, "thread"))
		pthread_kill(pthread_self(), number);
	if (strstr(argument, "queue"))
		sigqueue(getpid(), number, (union sigval){0});
	if (strstr(argument, "null"))
		*(volatile int *)NULL = 1;
	if (strstr(argument, "ill"))
		__builtin_trap();
	if (strstr(argument, "alarm")) {
		alarm(1);
		pause();
	}
	printf("alive\n");
}

int main(int argc, char **argv)
{
	static const struct {
		const char *name;
		void (*run)(void);
	} parts[] = {
		{"storm", storm}, {"nested", nested}, {"end", end}, {"jumps", jumps},
		{"cancels", cancels}, {"eintr", eintr}, {"eintr_out", eintr_out},
		{"blocked", blocked}, {"faults", faults}, {"pipes", pipes}, {"death", death},
	};

	ask_port = atoi(argv[1]);
	argument = argc > 3 ? argv[3] : "-";
	for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++) {
		if (strcmp(parts[i].name, argv[2]) == 0)
			parts[i].run();
	}
	return 0;
}
