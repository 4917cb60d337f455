/*
 * A fork storm: forks PORT FORKS. Two threads make requests over kept connections while the main
 * thread forks. Every child makes a system call or two and leaves; every tenth makes a request of
 * its own first, every hundredth a grandchild that does. Prints what went wrong, and how many
 * requests were made.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

static int port;
static atomic_int requests, stop, failures;

static int open_connection(void)
{
	struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof(address)) != 0) {
		perror("connect");
		atomic_fetch_add(&failures, 1);
	}
	return fd;
}

static void ask(int fd, const char *who)
{
	char text[4096];
	int len = snprintf(text, sizeof(text), "GET /%s HTTP/1.1\r\nHost: h:80\r\n\r\n", who);
	ssize_t got = 0;

	if (send(fd, text, (size_t)len, 0) != len)
		goto failed;
	memset(text, 0, sizeof(text));
	while (!strstr(text, "bytes\n")) { /* the answer's last word */
		ssize_t n = recv(fd, text + got, sizeof(text) - 1 - (size_t)got, 0);

		if (n <= 0)
			goto failed;
		got += n;
	}
	atomic_fetch_add(&requests, 1);
	return;
failed:
	perror(who);
	atomic_fetch_add(&failures, 1);
}

static void *keep_asking(void *arg)
{
	int fd = open_connection();

	while (!atomic_load(&stop)) {
		ask(fd, arg);
		usleep(500);
	}
	close(fd);
	return NULL;
}

static void child(int number)
{
	int status = 0;

	if (number % 100 == 0) {
		pid_t pid = fork();

		if (pid == 0) {
			ask(open_connection(), "grandchild");
			_exit(atomic_load(&failures) ? 1 : 7);
		}
		waitpid(pid, &status, 0);
		if (!WIFEXITED(status) || WEXITSTATUS(status) != 7)
			_exit(1);
	} else if (number % 10 == 0) {
		ask(open_connection(), "child");
	}
	if (number % 3)
		_exit(atomic_load(&failures) ? 1 : 7);
	exit(atomic_load(&failures) ? 1 : 7);
}

int main(int argc, char **argv)
{
	int forks = argc > 2 ? atoi(argv[2]) : 0, bad = 0;
	pthread_t thread[2];
	char *names[] = {"first", "second"};

	port = argc > 1 ? atoi(argv[1]) : 0;
	for (int i = 0; i < 2; i++)
		pthread_create(&thread[i], NULL, keep_asking, names[i]);
	for (int i = 0; i < forks; i++) {
		int status = 0;
		pid_t pid = fork();

		if (pid == 0)
			child(i);
		if (pid < 0 || waitpid(pid, &status, 0) != pid || !WIFEXITED(status) ||
		    WEXITSTATUS(status) != 7) {
			fprintf(stderr, "fork %d: pid %d status %x\n", i, pid, (unsigned)status);
			bad++;
		}
	}
	atomic_store(&stop, 1);
	for (int i = 0; i < 2; i++)
		pthread_join(thread[i], NULL);
	printf("%d\n", atomic_load(&requests));
	return bad || atomic_load(&failures);
}
