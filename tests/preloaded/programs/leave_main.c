/*
 * leave_main PORT: the main thread makes a request and ends by pthread_exit, another makes one a
 * little later and ends. libc ends the process with its last thread.
 */
#include <arpa/inet.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static int port;

static void ask(const char *what)
{
	struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
	int fd = socket(AF_INET, SOCK_STREAM, 0);
	char text[4096];
	int len = snprintf(text, sizeof(text),
			   "GET /%s HTTP/1.1\r\nHost: h:80\r\nConnection: close\r\n\r\n", what);

	address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	if (connect(fd, (struct sockaddr *)&address, sizeof(address)) ||
	    send(fd, text, (size_t)len, 0) != len)
		perror("ask");
	while (recv(fd, text, sizeof(text), 0) > 0)
		;
	close(fd);
}

static void *other(void *arg)
{
	(void)arg;
	usleep(700000);
	ask("other");
	return NULL;
}

int main(int argc, char **argv)
{
	pthread_t thread;

	port = argc > 1 ? atoi(argv[1]) : 0;
	ask("main");
	pthread_create(&thread, NULL, other, NULL);
	pthread_exit(NULL);
}
