/* An event loop in C: blocks (epoll|select) PORT. Each request is one read; /sleep/MS holds the
 * loop by usleep, /burn/MS by work, anything else does not; /exit ends the program. */
#include <arpa/inet.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

static long long now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000LL + t.tv_nsec / 1000000;
}

static void answer(int fd)
{
	static const char done[] = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ndone";
	char head[4096] = {0}, what[64] = "";
	int ms = 0;
	ssize_t got = read(fd, head, sizeof(head) - 1);

	if (got <= 0) {
		close(fd);
		return;
	}
	sscanf(head, "GET /%63[a-z]/%d", what, &ms);
	if (strcmp(what, "poll") == 0)
		poll((struct pollfd[]){{.fd = -1}, {.fd = -1}}, 2, ms);
	if (strcmp(what, "sleep") == 0)
		usleep(ms * 1000);
	for (long long end = now_ms() + ms; strcmp(what, "burn") == 0 && now_ms() < end;)
		;
	write(fd, done, sizeof(done) - 1);
	if (strcmp(what, "exit") == 0)
		exit(0);
}

static int listener(int port)
{
	struct sockaddr_in addr = {.sin_family = AF_INET, .sin_port = htons(port)};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0), one = 1;

	inet_pton(AF_INET, "127.0.0.1", &addr.sin_addr);
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (bind(fd, (void *)&addr, sizeof(addr)) || listen(fd, 64))
		exit(1);
	return fd;
}

static void by_select(int listening)
{
	fd_set all, ready;
	int most = listening;

	FD_ZERO(&all);
	FD_SET(listening, &all);
	for (;;) {
		ready = all;
		if (select(most + 1, &ready, NULL, NULL, NULL) < 0)
			continue;
		for (int fd = 0; fd <= most; fd++) {
			if (!FD_ISSET(fd, &ready))
				continue;
			if (fd == listening) {
				int got = accept4(fd, NULL, NULL, SOCK_NONBLOCK);

				FD_SET(got, &all);
				most = got > most ? got : most;
				continue;
			}
			answer(fd);
			if (fcntl(fd, F_GETFD) < 0)
				FD_CLR(fd, &all);
		}
	}
}

static void by_epoll(int listening)
{
	struct epoll_event event = {.events = EPOLLIN, .data.fd = listening}, ready[16];
	int epoll = epoll_create1(0);

	epoll_ctl(epoll, EPOLL_CTL_ADD, listening, &event);
	for (;;) {
		int count = epoll_wait(epoll, ready, 16, -1);

		for (int i = 0; i < count; i++) {
			if (ready[i].data.fd != listening) {
				answer(ready[i].data.fd);
				continue;
			}
			event.data.fd = accept4(listening, NULL, NULL, SOCK_NONBLOCK);
			epoll_ctl(epoll, EPOLL_CTL_ADD, event.data.fd, &event);
		}
	}
}

int main(int argc, char **argv)
{
	int listening = listener(atoi(argv[2]));

	if (argc == 3 && strcmp(argv[1], "select") == 0)
		by_select(listening);
	else
		by_epoll(listening);
}
