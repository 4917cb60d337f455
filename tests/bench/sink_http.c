/*
 * A collector that only counts: HTTP/1.1, by hand.
 *
 * usage: sink_http PORT COUNTS
 *
 * Answers every POST with 200 and an empty object. Segments are told by the name of a field that
 * each has once, and nothing else is looked into, so that the sink costs little beside what is
 * measured. COUNTS is a file of the numbers of `struct counts`, in shared memory, up to date at any
 * time. One thread; nothing wakes it but the network.
 */
#include <netinet/tcp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/epoll.h>

#include "counts.h"
#include "serve.h"

#define COLLECT "POST /v3/segments "
#define FIELD "\"traceSegmentId\":"
#define ANSWER "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}"
#define IN_BYTES (8u << 20) /* a request is never longer */
#define EVENTS 64

struct connection {
	int fd;
	size_t len;
	size_t wanted; /* head and body of the request under way; 0: the head is not whole */
	size_t head;
	char in[IN_BYTES]; /* touched only as far as it is used */
};

static int poller;
static struct counts *counts;
static volatile sig_atomic_t asked_to_end;

static void watch(int fd, void *whom)
{
	struct epoll_event event = {.events = EPOLLIN, .data.ptr = whom};

	must(epoll_ctl(poller, EPOLL_CTL_ADD, fd, &event), "epoll_ctl");
}

static void accept_one(int listener)
{
	int on = 1, fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
	struct connection *c;

	if (fd < 0)
		return;
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	c = mmap(NULL, sizeof(*c), PROT_READ | PROT_WRITE,
		 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (c == MAP_FAILED)
		must(-1, "mmap");
	c->fd = fd;
	watch(fd, c);
	counts->connections++;
}

/* ---- requests ---- */

static size_t count_field(const char *at, size_t len)
{
	const char *end = at + len;
	size_t n = 0;

	while ((at = memmem(at, (size_t)(end - at), FIELD, strlen(FIELD)))) {
		at += strlen(FIELD);
		n++;
	}
	return n;
}

/* False: what came is not what we speak. */
static bool head_came(struct connection *c)
{
	char *end = memmem(c->in, c->len, "\r\n\r\n", 4), *length;

	if (!end)
		return c->len < 4096;
	*end = '\0';
	length = strcasestr(c->in, "\r\nContent-Length:");
	if (strncmp(c->in, "POST ", 5) != 0 || !length)
		return false;
	c->head = (size_t)(end - c->in) + 4;
	c->wanted = c->head + strtoul(length + 17, NULL, 10);
	return c->wanted <= IN_BYTES;
}

static bool request_came(struct connection *c)
{
	size_t body = c->wanted - c->head;

	if (strncmp(c->in, COLLECT, strlen(COLLECT)) == 0) {
		counts->segments += count_field(c->in + c->head, body);
		counts->segment_bytes += body;
		counts->segment_calls++;
	} else {
		counts->others++;
		counts->other_bytes += body;
		counts->other_calls++;
	}
	memmove(c->in, c->in + c->wanted, c->len - c->wanted);
	c->len -= c->wanted;
	c->wanted = 0;
	counts->answered++;
	return send(c->fd, ANSWER, strlen(ANSWER), MSG_NOSIGNAL) == (ssize_t)strlen(ANSWER);
}

/* False: the connection is over. */
static bool receive(struct connection *c)
{
	ssize_t n = recv(c->fd, c->in + c->len, IN_BYTES - c->len, 0);

	if (n < 0)
		return errno == EAGAIN || errno == EINTR;
	if (n == 0)
		return false;
	c->len += (size_t)n;
	counts->received += (uint64_t)n;
	counts->reads++;
	if (!c->wanted && !head_came(c)) {
		counts->broken++;
		return false;
	}
	return !c->wanted || c->len < c->wanted || request_came(c);
}

static void serve(struct connection *c)
{
	if (receive(c))
		return;
	counts->torn += c->len > 0;
	close(c->fd);
	munmap(c, sizeof(*c));
}

static void end(int number)
{
	(void)number;
	asked_to_end = 1;
}

int main(int argc, char **argv)
{
	struct sigaction action = {.sa_handler = end};
	struct epoll_event event[EVENTS];
	sigset_t term, asleep;
	int listener;

	if (argc != 3)
		return 2;
	sigemptyset(&term);
	sigaddset(&term, SIGTERM);
	sigprocmask(SIG_BLOCK, &term, &asleep); /* it arrives while we sleep, and only then */
	sigaction(SIGTERM, &action, NULL);
	counts = map_counts(argv[2], sizeof(*counts));
	memset(counts, 0, sizeof(*counts));
	poller = (int)must(epoll_create1(EPOLL_CLOEXEC), "epoll_create1");
	listener = listen_on(atoi(argv[1]), SOCK_NONBLOCK);
	watch(listener, NULL);
	while (!asked_to_end) {
		int n = epoll_pwait(poller, event, EVENTS, -1, &asleep);

		for (int i = 0; i < n; i++) {
			if (event[i].data.ptr)
				serve(event[i].data.ptr);
			else
				accept_one(listener);
		}
	}
	return 0;
}
