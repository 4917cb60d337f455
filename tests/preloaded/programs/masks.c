/*
 * A thread that blocks all signals but where it waits, as one that handles them for others does:
 * masks SECONDS HOW. It wakes up every few ms and computes for longer than a tick of the kernel's,
 * in which a signal of a profile's may come, and says what it got that nobody here has sent.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/select.h>
#include <time.h>
#include <unistd.h>

#define WAIT_NS 9000000
#define WORK_NS 6000000

static volatile sig_atomic_t handled;
static volatile unsigned sink;
static _Atomic int over;
static int epoll;
static sigset_t all, none;

static void handler(int number)
{
	(void)number;
	handled++;
}

static double now(clockid_t clock)
{
	struct timespec t;

	clock_gettime(clock, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void work(void)
{
	double end = now(CLOCK_THREAD_CPUTIME_ID) + WORK_NS / 1e9;

	while (now(CLOCK_THREAD_CPUTIME_ID) < end)
		sink++;
}

/* 0: as it should be. */
static int wait_once(const char *how)
{
	struct timespec wait = {0, WAIT_NS};
	struct epoll_event event;
	siginfo_t info;
	int number = 0, before = handled, got;

	errno = 0;
	if (strcmp(how, "sigwait") == 0)
		return sigwait(&all, &number) || number != SIGUSR1;
	if (strcmp(how, "sigwaitinfo") == 0)
		return sigwaitinfo(&all, &info) != SIGUSR1;
	if (strcmp(how, "sigtimedwait") == 0) {
		got = sigtimedwait(&all, &info, &wait);
		return got != SIGUSR1 && !(got < 0 && errno == EAGAIN);
	}
	if (strcmp(how, "sigsuspend") == 0)
		got = sigsuspend(&none);
	else if (strcmp(how, "ppoll") == 0)
		got = ppoll(NULL, 0, &wait, &none);
	else if (strcmp(how, "pselect") == 0)
		got = pselect(0, NULL, NULL, NULL, &wait, &none);
	else
		got = epoll_pwait(epoll, &event, 1, WAIT_NS / 1000000, &none);
	return got && handled == before;
}

static void *handle_signals(void *how)
{
	int times = 0, wrong = 0;

	for (; !over; times++) {
		wrong += wait_once(how);
		work();
	}
	printf("%d of %d\n", wrong, times);
	return NULL;
}

int main(int argc, char **argv)
{
	double end = now(CLOCK_MONOTONIC) + (argc > 2 ? atof(argv[1]) : 1);
	struct sigaction action = {.sa_handler = handler};
	pthread_t thread;

	sigfillset(&all);
	sigemptyset(&none);
	epoll = epoll_create1(0);
	sigaction(SIGUSR1, &action, NULL);
	sigprocmask(SIG_SETMASK, &all, NULL);
	pthread_create(&thread, NULL, handle_signals, argv[2]);
	while (now(CLOCK_MONOTONIC) < end) {
		usleep(15000);
		pthread_kill(thread, SIGUSR1);
	}
	over = 1;
	pthread_kill(thread, SIGUSR1);
	pthread_join(thread, NULL);
	return 0;
}
