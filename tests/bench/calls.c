/*
 * Hooked calls over and over: what does one cost?
 *
 * usage: calls CASE LOOPS CHUNKS
 *
 * Runs CHUNKS times LOOPS rounds of a case and prints CPU nanoseconds of this thread per round for
 * each chunk, then, in a line that starts with "others", what other threads used per round. Under
 * callgrind, two runs with different LOOPS and one chunk give instructions per round by difference.
 *
 * In the cases with a peer the other end of the connection is driven from this thread by raw system
 * calls (raw.h), so each round runs without a switch and is repeatable to the instruction. Cases
 * that make records pause between chunks, as no program serves 200,000 requests in a second.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdbool.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "raw.h"

#define PAUSE_NS 20000000
#define DRAIN_NS 1500000000

/* As wrk sends it, uvicorn answers it, and Python's http.client asks for it. */
static const char WRK_REQUEST[] = "GET /hello HTTP/1.1\r\nHost: 127.0.0.1:8000\r\n\r\n";
static const char TRACED_REQUEST[] =
	"GET /hello HTTP/1.1\r\nHost: 127.0.0.1:8000\r\n"
	"sw8: 1-ZjVhYzY0ZmYwYjVkNGQ3Yzk4ZGQ0ZTc2ZmQ2YjU0MjE=-"
	"YTc1MGU5MWI1YzI0NDg0NGE2YWY0ZDE1YzE0NjQwZDk=-1-c2hvcA==-"
	"ZDM0YzQ4YzA0ZDM2NDdkYmE3ZjM1ZjE5ZDc2ZjM2YmU=-L2J1eQ==-MTI3LjAuMC4xOjgwMDA=\r\n"
	"sw8-correlation: \r\n\r\n";
static const char CALL[] =
	"GET /stock?item=7 HTTP/1.1\r\nHost: 127.0.0.1:8000\r\nUser-Agent: "
	"python-requests/2.32.3\r\n"
	"Accept-Encoding: gzip, deflate\r\nAccept: */*\r\nConnection: keep-alive\r\n\r\n";
static const char UPLOAD[] =
	"POST /upload HTTP/1.1\r\nHost: 127.0.0.1:8000\r\nContent-Length: 1099511627776\r\n\r\n";
static const char ANSWER[] =
	"HTTP/1.1 200 OK\r\ndate: Sat, 21 Nov 2026 05:33:14 GMT\r\nserver: uvicorn\r\n"
	"content-length: 17\r\ncontent-type: application/json\r\n\r\n{\"message\":\"hi\"}\n";
static const char OPAQUE[] =
	"\001\002\003 no protocol that anybody knows, in sixty-four bytes.....";

/* 120 bytes, as a service logs them. */
static const char LINE[] =
	"2026-11-21 20:55:01,123 - shop.orders - WARNING - order 12345678 of customer 4711 has "
	"waited for 250 milliseconds, twice\n";

static int near;  /* the end that is measured */
static int far;	  /* a second descriptor of the case */
static long peer; /* the other end, unseen */
static char buf[65536];

static void work(long result, const char *what)
{
	if (result <= 0)
		must(-1, what);
}

/* ---- connections with an unseen other end ---- */

static struct sockaddr_in address_of(int fd)
{
	struct sockaddr_in address;
	socklen_t len = sizeof(address);

	must(getsockname(fd, (struct sockaddr *)&address, &len), "getsockname");
	return address;
}

static struct sockaddr_in loopback(void)
{
	return (struct sockaddr_in){.sin_family = AF_INET,
				    .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
}

static void without_delay(long fd)
{
	int on = 1;

	must(raw_call(SYS_setsockopt, fd, IPPROTO_TCP, TCP_NODELAY, (long)&on, sizeof(on)),
	     "setsockopt");
}

/* We accept; the peer connects. */
static void serve(void)
{
	struct sockaddr_in address = loopback();
	int listener = (int)must(socket(AF_INET, SOCK_STREAM, 0), "socket");

	must(bind(listener, (struct sockaddr *)&address, sizeof(address)), "bind");
	must(listen(listener, 1), "listen");
	address = address_of(listener);
	peer = raw_socket();
	raw_connect(peer, &address);
	near = (int)must(accept(listener, NULL, NULL), "accept");
	without_delay(near);
	without_delay(peer);
}

/* We connect; the peer accepts. */
static void call(void)
{
	struct sockaddr_in address = loopback();
	long listener = raw_socket();

	must(raw_call(SYS_bind, listener, (long)&address, sizeof(address), 0, 0), "raw bind");
	must(raw_call(SYS_listen, listener, 1, 0, 0, 0), "raw listen");
	address = address_of((int)listener);
	near = (int)must(socket(AF_INET, SOCK_STREAM, 0), "socket");
	must(connect(near, (struct sockaddr *)&address, sizeof(address)), "connect");
	peer = must(raw_call(SYS_accept, listener, 0, 0, 0, 0), "raw accept");
	without_delay(near);
	without_delay(peer);
}

static void serve_once(const char *request, size_t len)
{
	raw_send(peer, request, len);
	work(recv(near, buf, sizeof(buf), 0), "recv");
	work(send(near, ANSWER, sizeof(ANSWER) - 1, 0), "send");
	raw_receive(peer, buf, sizeof(buf));
}

/* ---- cases ---- */

static void zero_setup(void)
{
	near = (int)must(open("/dev/zero", O_RDONLY), "/dev/zero");
	far = (int)must(open("/dev/null", O_WRONLY), "/dev/null");
}

static void read_step(void)
{
	work(read(near, buf, 1), "read");
}

static void write_step(void)
{
	work(write(far, buf, 1), "write");
}

static void regular_setup(void)
{
	near = (int)must(open("/proc/self/exe", O_RDONLY), "/proc/self/exe");
}

static void regular_step(void)
{
	must(lseek(near, 64, SEEK_SET), "lseek");
	work(read(near, buf, 64), "read");
}

static void pair_setup(void)
{
	int pair[2];

	must(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), "socketpair");
	near = pair[0];
	far = pair[1];
}

static void pair_step(void)
{
	work(send(near, buf, 64, 0), "send");
	work(recv(far, buf, 64, 0), "recv");
}

static void opaque_step(void)
{
	raw_send(peer, OPAQUE, sizeof(OPAQUE) - 1);
	work(recv(near, buf, sizeof(buf), 0), "recv");
	work(send(near, OPAQUE, sizeof(OPAQUE) - 1, 0), "send");
	raw_receive(peer, buf, sizeof(buf));
}

static void opaque_setup(void)
{
	serve();
	opaque_step();
}

static void serve_step(void)
{
	serve_once(WRK_REQUEST, sizeof(WRK_REQUEST) - 1);
}

static void serve_traced_step(void)
{
	serve_once(TRACED_REQUEST, sizeof(TRACED_REQUEST) - 1);
}

static void call_step(void)
{
	work(send(near, CALL, sizeof(CALL) - 1, 0), "send");
	raw_receive(peer, buf, sizeof(buf));
	raw_send(peer, ANSWER, sizeof(ANSWER) - 1);
	work(recv(near, buf, sizeof(buf), 0), "recv");
}

static void body_step(void)
{
	raw_send(peer, OPAQUE, sizeof(OPAQUE) - 1);
	work(recv(near, buf, sizeof(buf), 0), "recv");
}

static void body_setup(void)
{
	serve();
	raw_send(peer, UPLOAD, sizeof(UPLOAD) - 1);
	work(recv(near, buf, sizeof(buf), 0), "recv");
}

/* stderr leads to a file, and this thread works for a request. */
static void line_setup(void)
{
	serve();
	raw_send(peer, WRK_REQUEST, sizeof(WRK_REQUEST) - 1);
	work(recv(near, buf, sizeof(buf), 0), "recv");
	must(dup2((int)must(open("/dev/shm", O_TMPFILE | O_WRONLY, 0600), "/dev/shm"), 2), "dup2");
}

static void line_step(void)
{
	work(write(2, LINE, sizeof(LINE) - 1), "write");
}

static FILE *lines;

static void stdio_setup(void)
{
	line_setup();
	lines = fdopen(2, "a");
}

static void fputs_step(void)
{
	work(fputs(LINE, lines), "fputs");
}

static void printf_step(void)
{
	work(fprintf(lines, "%.*s - shop.orders - WARNING - order %d of customer %d %s\n", 23, LINE,
		     12345678, 4711, "has waited for 250 milliseconds, twice: "),
	     "fprintf");
}

static void putc_step(void)
{
	for (size_t i = 0; i < sizeof(LINE) - 1; i++)
		putc(LINE[i], lines);
}

/* An event loop with one descriptor that is always ready: nothing but its turns. */
static void turn_step(void)
{
	struct epoll_event ready;

	must(epoll_wait(far, &ready, 1, 0), "epoll_wait");
}

static void turn_setup(void)
{
	struct epoll_event event = {.events = EPOLLOUT};

	serve();
	far = (int)must(epoll_create1(0), "epoll_create1");
	must(epoll_ctl(far, EPOLL_CTL_ADD, near, &event), "epoll_ctl");
}

static const struct bench_case {
	const char *name;
	void (*setup)(void);
	void (*step)(void);
	bool thread; /* the program has a second thread of its own, which sleeps */
	bool beside; /* another connection of the process speaks HTTP */
	bool paced;  /* each round makes records */
} cases[] = {
	{"read", zero_setup, read_step, false, false, false},
	{"write", zero_setup, write_step, false, false, false},
	{"seek-read", regular_setup, regular_step, false, false, false},
	{"socketpair", pair_setup, pair_step, false, false, false},
	{"read-threads", zero_setup, read_step, true, true, false},
	{"write-threads", zero_setup, write_step, true, true, false},
	{"seek-read-threads", regular_setup, regular_step, true, true, false},
	{"socketpair-threads", pair_setup, pair_step, true, true, false},
	{"read-beside", zero_setup, read_step, false, true, false},
	{"write-beside", zero_setup, write_step, false, true, false},
	{"turn", turn_setup, turn_step, true, false, false},
	{"opaque", opaque_setup, opaque_step, true, false, false},
	{"http-body", body_setup, body_step, true, false, false},
	{"http-serve", serve, serve_step, true, false, true},
	{"http-serve-sw8", serve, serve_traced_step, true, false, true},
	{"http-call", call, call_step, true, false, true},
	{"line-write", line_setup, line_step, true, false, true},
	{"line-fputs", stdio_setup, fputs_step, true, false, true},
	{"line-fprintf", stdio_setup, printf_step, true, false, true},
	{"line-fprintf-alone", stdio_setup, printf_step, false, false, true},
	{"line-putc", stdio_setup, putc_step, true, false, true},
};

/* ---- measuring ---- */

static const struct bench_case *case_named(const char *name)
{
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		if (strcmp(cases[i].name, name) == 0)
			return &cases[i];
	fprintf(stderr, "calls: no case '%s'\n", name);
	exit(2);
}

static long long clock_ns(clockid_t clock)
{
	struct timespec t;

	clock_gettime(clock, &t);
	return t.tv_sec * 1000000000ll + t.tv_nsec;
}

static void pause_ns(long long ns)
{
	struct timespec t = {(time_t)(ns / 1000000000), (long)(ns % 1000000000)};

	nanosleep(&t, NULL);
}

/* glibc's cancellable calls take a longer way once a process has had a second thread. */
static void *sleeper(void *unused)
{
	for (;;)
		pause();
	return unused;
}

static double chunk_ns(const struct bench_case *c, long loops)
{
	long long began = clock_ns(CLOCK_THREAD_CPUTIME_ID);

	for (long i = 0; i < loops; i++)
		c->step();
	return (double)(clock_ns(CLOCK_THREAD_CPUTIME_ID) - began) / (double)loops;
}

static void print_others(double rounds)
{
	long long all = clock_ns(CLOCK_PROCESS_CPUTIME_ID);
	long long mine = clock_ns(CLOCK_THREAD_CPUTIME_ID);

	printf("others %.1f\n", (double)(all - mine) / rounds);
}

int main(int argc, char **argv)
{
	const struct bench_case *c;
	long loops, chunks;

	if (argc != 4) {
		fprintf(stderr, "usage: calls CASE LOOPS CHUNKS\n");
		return 2;
	}
	c = case_named(argv[1]);
	loops = strtol(argv[2], NULL, 10);
	chunks = strtol(argv[3], NULL, 10);
	if (c->thread)
		must(-pthread_create(&(pthread_t){0}, NULL, sleeper, NULL), "pthread_create");
	if (c->beside) {
		serve();
		serve_step();
	}
	c->setup();
	c->step(); /* first calls bind symbols and map pages */
	for (long i = 0; i < chunks; i++) {
		printf("%.2f\n", chunk_ns(c, loops));
		if (c->paced && chunks > 1)
			pause_ns(PAUSE_NS);
	}
	if (c->paced && chunks > 1)
		pause_ns(DRAIN_NS);
	if (chunks > 1)
		print_others((double)loops * (double)chunks);
	return 0;
}
