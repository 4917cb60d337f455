/*
 * Two threads that connect for the first time at the same moment, while the program forks: early
 * PORT MEGABYTES. Who maps memory waits for a fork, the longer the more there is to copy, and the
 * first connection of all maps some. Each thread makes one request.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

static int port;
static pthread_barrier_t begin;

static void fail(const char *what)
{
	perror(what);
	exit(1);
}

static void *ask(void *who)
{
	struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	char text[4096];
	int len =
		snprintf(text, sizeof(text), "GET /%s HTTP/1.1\r\nHost: h:80\r\n\r\n", (char *)who);

	address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	pthread_barrier_wait(&begin);
	if (connect(fd, (struct sockaddr *)&address, sizeof(address)) != 0)
		fail("connect");
	if (send(fd, text, (size_t)len, 0) != len || recv(fd, text, sizeof(text), 0) <= 0)
		fail(who);
	close(fd);
	return NULL;
}

int main(int argc, char **argv)
{
	size_t size = (argc > 2 ? strtoul(argv[2], NULL, 10) : 0) << 20;
	pthread_t thread[2];
	char *names[] = {"first", "second"};
	pid_t pid;

	port = argc > 1 ? atoi(argv[1]) : 0;
	if (mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1,
		 0) == MAP_FAILED)
		fail("mmap");
	pthread_barrier_init(&begin, NULL, 3);
	for (int i = 0; i < 2; i++)
		pthread_create(&thread[i], NULL, ask, names[i]);
	pthread_barrier_wait(&begin);
	pid = fork();
	if (pid == 0)
		_exit(0);
	waitpid(pid, NULL, 0);
	for (int i = 0; i < 2; i++)
		pthread_join(thread[i], NULL);
	return 0;
}
