/*
 * The other service: answers every HTTP request with the same small JSON, as fast as it can.
 *
 * usage: stock PORT COUNTS
 *
 * One thread, connections kept. Bodies with a Content-Length or chunked ones are read and
 * forgotten. COUNTS is a file of two numbers in shared memory: requests, and bytes received. It
 * also stands in for an agent that takes traces over HTTP.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "serve.h"

#define HEAD_MAX 16384
#define EVENTS 64

static const char ANSWER[] = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
			     "Content-Length: 20\r\n\r\n{\"item\":7,\"stock\":3}";

static struct counts {
	uint64_t requests, bytes;
} * counts;

struct connection {
	int fd;
	size_t len;    /* bytes of a head, or of what ends a chunked body */
	uint64_t body; /* bytes of the body that are to come */
	int chunked;   /* its body ends with an empty chunk */
	char head[HEAD_MAX + 1];
};

static int poller;

static const char *header(const char *head, const char *name)
{
	const char *line = strcasestr(head, name);

	return line ? line + strlen(name) : NULL;
}

/* 0, or -1: the connection is of no more use. */
static int answer(struct connection *c)
{
	counts->requests++;
	return send(c->fd, ANSWER, sizeof(ANSWER) - 1, MSG_NOSIGNAL) == sizeof(ANSWER) - 1 ? 0 : -1;
}

/* A whole head is in c->head. Returns its length. */
static size_t begin_request(struct connection *c, const char *end)
{
	size_t len = (size_t)(end - c->head) + 4;
	char after = c->head[len];
	const char *length, *coding;

	c->head[len] = 0;
	length = header(c->head, "\r\nContent-Length:");
	coding = header(c->head, "\r\nTransfer-Encoding:");
	c->body = length ? strtoull(length, NULL, 10) : 0;
	c->chunked = coding && strcasestr(coding, "chunked");
	c->head[len] = after;
	return len;
}

static void forget(struct connection *c, size_t n)
{
	c->len -= n;
	memmove(c->head, c->head + n, c->len);
	c->head[c->len] = 0;
}

/* Chunks: only their end is looked for. Returns 1 when it is there. */
static int skip_chunks(struct connection *c)
{
	char *end = memmem(c->head, c->len, "0\r\n\r\n", 5);

	if (end)
		forget(c, (size_t)(end - c->head) + 5);
	else if (c->len > 4)
		forget(c, c->len - 4);
	c->chunked = !end;
	return end != NULL;
}

/* Takes what has come. 0, or -1: close. */
static int take(struct connection *c)
{
	for (;;) {
		size_t n = c->body < c->len ? (size_t)c->body : c->len;
		char *end;

		forget(c, n);
		c->body -= n;
		if (c->body)
			return 0;
		if (n && !c->chunked && answer(c) < 0)
			return -1;
		if (c->chunked && (!skip_chunks(c) || answer(c) < 0))
			return c->chunked ? 0 : -1;
		end = memmem(c->head, c->len, "\r\n\r\n", 4);
		if (!end)
			return c->len < HEAD_MAX ? 0 : -1;
		forget(c, begin_request(c, end));
		if (!c->body && !c->chunked && answer(c) < 0)
			return -1;
	}
}

static void serve(struct connection *c)
{
	ssize_t n = recv(c->fd, c->head + c->len, HEAD_MAX - c->len, 0);

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n > 0) {
		counts->bytes += (uint64_t)n;
		c->len += (size_t)n;
		c->head[c->len] = 0;
	}
	if (n <= 0 || take(c) < 0) {
		close(c->fd);
		free(c);
	}
}

static void watch(int fd, void *whom)
{
	struct epoll_event event = {.events = EPOLLIN, .data.ptr = whom};

	must(epoll_ctl(poller, EPOLL_CTL_ADD, fd, &event), "epoll_ctl");
}

static void accept_one(int listener)
{
	int on = 1, fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
	struct connection *c = fd < 0 ? NULL : calloc(1, sizeof(*c));

	if (!c)
		return;
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	c->fd = fd;
	watch(fd, c);
}

int main(int argc, char **argv)
{
	struct epoll_event events[EVENTS];
	int listener;

	if (argc != 3) {
		fprintf(stderr, "usage: stock PORT COUNTS\n");
		return 2;
	}
	counts = map_counts(argv[2], sizeof(*counts));
	poller = (int)must(epoll_create1(EPOLL_CLOEXEC), "epoll_create1");
	listener = listen_on((int)strtol(argv[1], NULL, 10), 0);
	watch(listener, NULL);
	for (;;) {
		int n = epoll_wait(poller, events, EVENTS, -1);

		for (int i = 0; i < n; i++) {
			if (events[i].data.ptr)
				serve(events[i].data.ptr);
			else
				accept_one(listener);
		}
	}
}
