/*
 * A server for what the tests' own in Python is too slow: answers PORT. The same answers; one
 * thread and epoll. Never under the agent. At SIGTERM: how many requests came, over how many
 * connections, and how many carried one sw8 and one sw8-correlation.
 */
#include "ask.h"

#include <signal.h>
#include <sys/epoll.h>
#include <sys/resource.h>

#define FDS 65536
#define ROOM 8192

static struct {
	char *text;
	size_t len;
} have[FDS];
static volatile sig_atomic_t over;
static long requests, connections, carried, strange;

static void stop(int signal)
{
	(void)signal;
	over = 1;
}

static int count_of(const char *text, const char *what)
{
	int n = 0;

	for (; (text = strstr(text, what)); text++)
		n++;
	return n;
}

static void answer(int fd, char *head)
{
	char path[256] = "", body[512], text[1024];
	int sw8 = count_of(head, "\r\nsw8: "), correlation = count_of(head, "\r\nsw8-correlation: "), n;

	if (sscanf(head, "GET %255s HTTP/1.1\r\n", path) != 1)
		strange++;
	requests++;
	carried += sw8 == 1 && correlation == 1;
	strange += sw8 > 1 || correlation != sw8;
	snprintf(body, sizeof(body), "answer to GET %s of 0 bytes\n", path);
	n = snprintf(text, sizeof(text),
		     "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: %zu\r\n\r\n%s",
		     strlen(body), body);
	send(fd, text, (size_t)n, MSG_NOSIGNAL);
}

static void end(int fd)
{
	close(fd);
	free(have[fd].text);
	have[fd].text = NULL;
	have[fd].len = 0;
}

static void more(int fd)
{
	char *text, *tail;
	ssize_t n;

	if (!have[fd].text)
		have[fd].text = calloc(1, ROOM);
	n = recv(fd, have[fd].text + have[fd].len, ROOM - 1 - have[fd].len, 0);
	if (n <= 0) {
		end(fd);
		return;
	}
	have[fd].len += (size_t)n;
	text = have[fd].text;
	text[have[fd].len] = 0;
	while ((tail = strstr(text, "\r\n\r\n"))) {
		char saved = tail[4];

		tail[4] = 0;
		answer(fd, text);
		tail[4] = saved;
		text = tail + 4;
	}
	have[fd].len -= (size_t)(text - have[fd].text);
	memmove(have[fd].text, text, have[fd].len + 1);
}

int main(int argc, char **argv)
{
	struct sockaddr_in address = {.sin_family = AF_INET,
				      .sin_port = htons((uint16_t)atoi(argv[1]))};
	struct epoll_event event = {.events = EPOLLIN}, got[256];
	int listener = socket(AF_INET, SOCK_STREAM, 0), epoll = epoll_create1(0), one = 1;

	(void)argc;
	signal(SIGTERM, stop);
	siginterrupt(SIGTERM, 1);
	setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	if (bind(listener, (void *)&address, sizeof(address)) || listen(listener, 4096))
		return 1;
	event.data.fd = listener;
	epoll_ctl(epoll, EPOLL_CTL_ADD, listener, &event);
	while (!over) {
		int n = epoll_wait(epoll, got, 256, 1000);

		for (int i = 0; i < n; i++) {
			int fd = got[i].data.fd;

			if (fd != listener) {
				more(fd);
				continue;
			}
			fd = accept(listener, NULL, NULL);
			if (fd < 0 || fd >= FDS)
				continue;
			connections++;
			event.data.fd = fd;
			epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event);
		}
	}
	printf("%ld requests %ld connections %ld carried %ld strange\n", requests, connections, carried,
	       strange);
	return 0;
}
