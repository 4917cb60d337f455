/*
 * A program that uses SIGURG itself: urgent PORT HOW. Makes a request, so that an agent is there,
 * then gets SIGURG many times and makes a request now and then. Prints how often it got what.
 *
 * blocked      blocked in all threads, taken by sigtimedwait
 * signalfd     blocked in all threads, read from a signalfd
 * handler      a handler, by kill
 * queue        a handler with its value, by sigqueue
 * oob          a handler, by urgent data on a socket (F_SETOWN)
 * oob-blocked  the same, blocked and taken by sigwaitinfo
 */
#include "ask.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/signalfd.h>
#include <time.h>

#define TIMES 300

static atomic_int handled;
static atomic_int values;
static atomic_int codes; /* of another origin than asked for */
static int wanted_code;

static void handler(int signal, siginfo_t *info, void *context)
{
	(void)signal;
	(void)context;
	handled++;
	values += info->si_value.sival_int;
	codes += info->si_code != wanted_code;
}

static void install(int code)
{
	struct sigaction action = {.sa_sigaction = handler, .sa_flags = SA_SIGINFO | SA_RESTART};

	wanted_code = code;
	sigaction(SIGURG, &action, NULL);
}

static sigset_t only_urgent(void)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGURG);
	return set;
}

static void now_and_then(int i)
{
	if (i % 20 == 0 && ask("between"))
		printf("request %d failed\n", i);
}

/* Does it come? It may be taken by us at once, or a moment later. */
static int take(int fd)
{
	struct timespec soon = {0, 200000000};
	struct signalfd_siginfo info;
	sigset_t set = only_urgent();
	siginfo_t got;

	if (fd < 0)
		return sigtimedwait(&set, &got, &soon) == SIGURG;
	return poll(&(struct pollfd){fd, POLLIN, 0}, 1, 200) == 1 &&
	       read(fd, &info, sizeof(info)) == sizeof(info) && info.ssi_signo == SIGURG;
}

static void blocked(bool by_descriptor)
{
	sigset_t set = only_urgent();
	int fd = by_descriptor ? signalfd(-1, &set, SFD_CLOEXEC) : -1, got = 0;

	for (int i = 0; i < TIMES && i - got < 5; i++) {
		kill(getpid(), SIGURG);
		if (i % 3 == 0)
			usleep(1000);
		got += take(fd);
		now_and_then(i);
	}
	printf("taken %d of %d\n", got, TIMES);
}

static void pair(int *ret_one, int *ret_other)
{
	struct sockaddr_in address = {.sin_family = AF_INET};
	socklen_t len = sizeof(address);
	int listener = socket(AF_INET, SOCK_STREAM, 0);

	address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	bind(listener, (void *)&address, sizeof(address));
	listen(listener, 1);
	getsockname(listener, (void *)&address, &len);
	*ret_one = socket(AF_INET, SOCK_STREAM, 0);
	connect(*ret_one, (void *)&address, sizeof(address));
	*ret_other = accept(listener, NULL, NULL);
	fcntl(*ret_other, F_SETOWN, getpid());
	close(listener);
}

static void wait_for(int n)
{
	for (int i = 0; handled < n && i < 200; i++)
		usleep(1000);
}

int main(int argc, char **argv)
{
	const char *how = argv[2];
	sigset_t set = only_urgent();
	int one, other, got = 0;
	char byte;

	(void)argc;
	ask_port = atoi(argv[1]);
	if (strcmp(how, "blocked") == 0 || strcmp(how, "signalfd") == 0 ||
	    strcmp(how, "oob-blocked") == 0)
		sigprocmask(SIG_BLOCK, &set, NULL);
	else
		install(strcmp(how, "oob") == 0 ? SI_KERNEL : strcmp(how, "queue") == 0 ? SI_QUEUE : SI_USER);
	ASK("first");
	usleep(20000);
	if (strcmp(how, "blocked") == 0)
		blocked(false);
	if (strcmp(how, "signalfd") == 0)
		blocked(true);
	for (int i = 0; i < TIMES && i - handled < 5 && strcmp(how, "handler") == 0; i++) {
		kill(getpid(), SIGURG);
		wait_for(i + 1);
		now_and_then(i);
	}
	for (int i = 0; i < TIMES && i - handled < 5 && strcmp(how, "queue") == 0; i++) {
		sigqueue(getpid(), SIGURG, (union sigval){.sival_int = 1});
		wait_for(i + 1);
		now_and_then(i);
	}
	if (strncmp(how, "oob", 3) == 0) {
		pair(&one, &other);
		for (int i = 0; i < TIMES && i - got < 5; i++) {
			send(one, "!", 1, MSG_OOB);
			if (strcmp(how, "oob") == 0) {
				wait_for(i + 1);
				got = handled;
			} else {
				got += take(-1);
			}
			recv(other, &byte, 1, MSG_OOB);
			now_and_then(i);
		}
	}
	ASK("last");
	printf("handled %d values %d strange %d got %d\n", handled, values, codes, got);
	return 0;
}
