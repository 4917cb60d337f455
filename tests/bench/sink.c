/*
 * A collector that only counts: gRPC by nghttp2, an implementation that shares nothing with ours.
 *
 * usage: sink PORT COUNTS [DELAY_MS [CHAIN KEY]]
 *
 * With two PEM files it speaks TLS, by OpenSSL; bytes are then counted inside of it.
 *
 * Answers every call, whatever its path, with an empty message and OK once it has ended, or
 * DELAY_MS later. Messages are told by their length prefixes and not looked into, so that the sink
 * costs little beside what is measured. COUNTS is a file of the numbers of `struct counts`, in
 * shared memory, up to date at any time; at the end (SIGTERM) they are printed as JSON. One thread;
 * nothing wakes it but the network and answers that are due.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <netinet/tcp.h>
#include <nghttp2/nghttp2.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/queue.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "counts.h"
#include "serve.h"

#define WINDOW (1 << 20) /* what SkyWalking's collector (grpc-java) grants */
#define IN_BYTES (256 << 10)
#define OUT_BYTES (64 << 10)
#define OUT_LEAST (20 << 10) /* a frame of ours is never longer */
#define EVENTS 64
#define COLLECT "/skywalking.v3.TraceSegmentReportService/collect"

static struct counts *counts;

struct connection {
	int fd;
	SSL *tls;	/* NULL: in the clear */
	bool wants_out; /* the kernel took less than we had */
	nghttp2_session *session;
	LIST_HEAD(, call) calls; /* open ones */
	size_t out_len;
	uint8_t out[OUT_BYTES];
};

/* A call. Those that wait for their answer are a queue, as the delay is the same for all. */
struct call {
	struct connection *connection; /* NULL: gone, only the queue knows it still */
	int32_t id;
	bool collect, queued, answer_given;
	uint64_t left;	    /* bytes that the message under way lacks */
	uint8_t prefix_len; /* bytes of the prefix that are here */
	uint8_t prefix[5];
	int64_t due_ms;
	struct call *next; /* the one that ended after it */
	LIST_ENTRY(call) of_connection;
};

static int poller;
static int64_t delay_ms;
static struct call *first_due, **last_due = &first_due;
static SSL_CTX *identity; /* NULL: in the clear */
static nghttp2_session_callbacks *callbacks;
static nghttp2_option *settings;
static uint8_t in[IN_BYTES];
static volatile sig_atomic_t asked_to_end;

static int64_t now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* ---- messages ---- */

static uint64_t message_len(const uint8_t *prefix)
{
	return (uint64_t)prefix[1] << 24 | prefix[2] << 16 | prefix[3] << 8 | prefix[4];
}

static void message_begins(struct call *call)
{
	call->prefix_len = 0;
	call->left = message_len(call->prefix);
	*(call->collect ? &counts->segments : &counts->others) += 1;
	*(call->collect ? &counts->segment_bytes : &counts->other_bytes) += call->left;
}

static void take_bytes(struct call *call, const uint8_t *at, size_t len)
{
	while (len) {
		if (call->left) {
			size_t n = len < call->left ? len : call->left;

			call->left -= n;
			at += n;
			len -= n;
			continue;
		}
		call->prefix[call->prefix_len++] = *at++;
		len--;
		if (call->prefix_len == sizeof(call->prefix))
			message_begins(call);
	}
}

/* ---- answers ---- */

static ssize_t answer_body(nghttp2_session *session, int32_t id, uint8_t *buf, size_t room,
			   uint32_t *flags, nghttp2_data_source *source, void *arg)
{
	nghttp2_nv trailer = {(uint8_t *)"grpc-status", (uint8_t *)"0", 11, 1, 0};

	(void)source, (void)arg;
	if (room < 5)
		return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
	memset(buf, 0, 5); /* an empty message, uncompressed */
	*flags = NGHTTP2_DATA_FLAG_EOF | NGHTTP2_DATA_FLAG_NO_END_STREAM;
	nghttp2_submit_trailer(session, id, &trailer, 1);
	return 5;
}

static void answer(struct call *call)
{
	nghttp2_nv head[] = {{(uint8_t *)":status", (uint8_t *)"200", 7, 3, 0},
			     {(uint8_t *)"content-type", (uint8_t *)"application/grpc", 12, 16, 0}};
	nghttp2_data_provider body = {{.ptr = NULL}, answer_body};

	call->answer_given = true;
	counts->answered++;
	nghttp2_submit_response(call->connection->session, call->id, head, 2, &body);
}

static void answer_later(struct call *call)
{
	call->queued = true;
	call->due_ms = now_ms() + delay_ms;
	*last_due = call;
	last_due = &call->next;
}

static void call_ends(struct call *call)
{
	counts->torn += call->left || call->prefix_len;
	if (delay_ms)
		answer_later(call);
	else
		answer(call);
}

/* ---- what nghttp2 tells ---- */

static int on_begin(nghttp2_session *session, const nghttp2_frame *frame, void *arg)
{
	struct call *call;

	if (frame->hd.type != NGHTTP2_HEADERS || frame->headers.cat != NGHTTP2_HCAT_REQUEST)
		return 0;
	call = calloc(1, sizeof(*call));
	if (!call)
		return NGHTTP2_ERR_CALLBACK_FAILURE;
	call->connection = arg;
	call->id = frame->hd.stream_id;
	LIST_INSERT_HEAD(&call->connection->calls, call, of_connection);
	nghttp2_session_set_stream_user_data(session, call->id, call);
	return 0;
}

static int on_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name,
		     size_t name_len, const uint8_t *value, size_t len, uint8_t flags, void *arg)
{
	struct call *call = nghttp2_session_get_stream_user_data(session, frame->hd.stream_id);

	(void)flags, (void)arg;
	if (!call || name_len != 5 || memcmp(name, ":path", 5) != 0)
		return 0;
	call->collect = len == strlen(COLLECT) && memcmp(value, COLLECT, len) == 0;
	*(call->collect ? &counts->segment_calls : &counts->other_calls) += 1;
	return 0;
}

static int on_data(nghttp2_session *session, uint8_t flags, int32_t id, const uint8_t *data,
		   size_t len, void *arg)
{
	struct call *call = nghttp2_session_get_stream_user_data(session, id);

	(void)flags, (void)arg;
	if (call)
		take_bytes(call, data, len);
	return 0;
}

static int on_frame(nghttp2_session *session, const nghttp2_frame *frame, void *arg)
{
	struct call *call = nghttp2_session_get_stream_user_data(session, frame->hd.stream_id);

	(void)arg;
	if (call && frame->hd.flags & NGHTTP2_FLAG_END_STREAM &&
	    (frame->hd.type == NGHTTP2_DATA || frame->hd.type == NGHTTP2_HEADERS))
		call_ends(call);
	return 0;
}

static void call_gone(struct call *call)
{
	counts->cut += !call->answer_given;
	LIST_REMOVE(call, of_connection);
	call->connection = NULL;
	if (!call->queued)
		free(call);
}

static int on_close(nghttp2_session *session, int32_t id, uint32_t error, void *arg)
{
	struct call *call = nghttp2_session_get_stream_user_data(session, id);

	(void)error, (void)arg;
	if (call)
		call_gone(call);
	return 0;
}

static void prepare_nghttp2(void)
{
	nghttp2_option_new(&settings);
	nghttp2_option_set_no_closed_streams(settings, 1); /* or memory grows with calls */
	nghttp2_session_callbacks_new(&callbacks);
	nghttp2_session_callbacks_set_on_begin_headers_callback(callbacks, on_begin);
	nghttp2_session_callbacks_set_on_header_callback(callbacks, on_header);
	nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, on_data);
	nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, on_frame);
	nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, on_close);
}

/* ---- TLS ---- */

static int choose_h2(SSL *tls, const unsigned char **ret_at, unsigned char *ret_len,
		     const unsigned char *offered, unsigned len, void *arg)
{
	(void)tls, (void)arg;
	return SSL_select_next_proto((unsigned char **)ret_at, ret_len,
				     (const unsigned char *)"\2h2", 3, offered,
				     len) == OPENSSL_NPN_NEGOTIATED
		       ? SSL_TLSEXT_ERR_OK
		       : SSL_TLSEXT_ERR_ALERT_FATAL;
}

static void prepare_tls(const char *chain, const char *key)
{
	identity = SSL_CTX_new(TLS_server_method());
	SSL_CTX_set_alpn_select_cb(identity, choose_h2, NULL);
	SSL_CTX_set_mode(identity,
			 SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
	if (SSL_CTX_use_certificate_chain_file(identity, chain) != 1 ||
	    SSL_CTX_use_PrivateKey_file(identity, key, SSL_FILETYPE_PEM) != 1) {
		ERR_print_errors_fp(stderr);
		exit(1);
	}
}

static SSL *begin_tls(int fd)
{
	SSL *tls = identity ? SSL_new(identity) : NULL;

	if (tls) {
		SSL_set_fd(tls, fd);
		SSL_set_accept_state(tls);
	}
	return tls;
}

/* As recv and send say it: -1 with EAGAIN, -1, 0 at the end, or how many bytes. */
static ssize_t result_of(SSL *tls, int result)
{
	int error = result > 0 ? SSL_ERROR_NONE : SSL_get_error(tls, result);

	if (error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_WRITE) {
		errno = EAGAIN;
		return -1;
	}
	ERR_clear_error();
	return error == SSL_ERROR_NONE ? result : 0;
}

static ssize_t get(struct connection *c)
{
	if (c->tls) /* never more than a record: none is left inside */
		return result_of(c->tls, SSL_read(c->tls, in, sizeof(in)));
	return recv(c->fd, in, sizeof(in), 0);
}

static ssize_t put(struct connection *c)
{
	if (c->tls)
		return result_of(c->tls, SSL_write(c->tls, c->out, (int)c->out_len));
	return send(c->fd, c->out, c->out_len, MSG_NOSIGNAL);
}

/* In a handshake the kernel's readiness means nothing to what we have. */
static bool shaking(const struct connection *c)
{
	return c->tls && !SSL_is_init_finished(c->tls);
}

/* ---- connections ---- */

static void watch(int operation, int fd, uint32_t events, void *whom)
{
	struct epoll_event event = {.events = events, .data.ptr = whom};

	must(epoll_ctl(poller, operation, fd, &event), "epoll_ctl");
}

static void accept_one(int listener)
{
	nghttp2_settings_entry window = {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, WINDOW};
	int on = 1, fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
	struct connection *c;

	if (fd < 0)
		return;
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	c = malloc(sizeof(*c));
	if (!c)
		exit(1);
	c->fd = fd;
	c->tls = begin_tls(fd);
	c->wants_out = false;
	c->out_len = 0;
	LIST_INIT(&c->calls);
	nghttp2_session_server_new2(&c->session, callbacks, c, settings);
	nghttp2_submit_settings(c->session, NGHTTP2_FLAG_NONE, &window, 1);
	nghttp2_session_set_local_window_size(c->session, NGHTTP2_FLAG_NONE, 0, WINDOW);
	watch(EPOLL_CTL_ADD, fd, EPOLLIN, c);
	counts->connections++;
}

static void close_connection(struct connection *c)
{
	while (!LIST_EMPTY(&c->calls)) /* nghttp2 does not tell of them */
		call_gone(LIST_FIRST(&c->calls));
	nghttp2_session_del(c->session);
	SSL_free(c->tls);
	close(c->fd);
	free(c);
}

/* Hands out what is in c->out. False: the kernel takes no more now, or never again. */
static bool flush(struct connection *c)
{
	ssize_t n = c->out_len ? put(c) : 0;

	if (n < 0 || shaking(c))
		return false;
	c->out_len -= (size_t)n;
	memmove(c->out, c->out + n, c->out_len);
	return c->out_len == 0;
}

static void send_all(struct connection *c)
{
	const uint8_t *chunk;
	ssize_t n = 1;

	while (n > 0) {
		while (OUT_BYTES - c->out_len >= OUT_LEAST &&
		       (n = nghttp2_session_mem_send(c->session, &chunk)) > 0) {
			memcpy(c->out + c->out_len, chunk, (size_t)n);
			c->out_len += (size_t)n;
		}
		if (!flush(c))
			break;
	}
	if (c->wants_out != (c->out_len > 0 && !shaking(c))) {
		c->wants_out = !c->wants_out;
		watch(EPOLL_CTL_MOD, c->fd, EPOLLIN | (c->wants_out ? EPOLLOUT : 0), c);
	}
}

/* False: the connection is over. */
static bool receive(struct connection *c)
{
	ssize_t n = get(c);

	if (n < 0)
		return errno == EAGAIN || errno == EINTR;
	if (n == 0)
		return false;
	counts->received += (uint64_t)n;
	counts->reads++;
	if (nghttp2_session_mem_recv(c->session, in, (size_t)n) < 0) {
		counts->broken++;
		return false;
	}
	return true;
}

static void serve(struct connection *c, uint32_t events)
{
	bool goes_on = events & (EPOLLIN | EPOLLHUP | EPOLLERR) ? receive(c) : true;

	if (goes_on)
		send_all(c);
	if (!goes_on || (!nghttp2_session_want_read(c->session) &&
			 !nghttp2_session_want_write(c->session) && !c->out_len))
		close_connection(c);
}

static void answer_now(struct call *call)
{
	struct connection *c = call->connection;

	answer(call);
	send_all(c); /* may free the call */
}

/* Answers what is due. Returns for how many ms to sleep, -1: until something comes. */
static int answer_due(void)
{
	while (first_due && first_due->due_ms <= now_ms()) {
		struct call *call = first_due;

		first_due = call->next;
		if (!first_due)
			last_due = &first_due;
		call->queued = false;
		if (call->connection)
			answer_now(call);
		else
			free(call);
	}
	return first_due ? (int)(first_due->due_ms - now_ms() + 1) : -1;
}

/* ---- the program ---- */

static void end(int number)
{
	(void)number;
	asked_to_end = 1;
}

static void print_counts(void)
{
	printf("{\"segments\": %" PRIu64 ", \"segment_bytes\": %" PRIu64
	       ", \"segment_calls\": %" PRIu64 ", \"others\": %" PRIu64
	       ", \"other_bytes\": %" PRIu64 ", \"other_calls\": %" PRIu64
	       ", \"answered\": %" PRIu64 ", \"cut\": %" PRIu64 ", \"torn\": %" PRIu64
	       ", \"connections\": %" PRIu64 ", \"broken\": %" PRIu64 ", \"received\": %" PRIu64
	       ", \"reads\": %" PRIu64 "}\n",
	       counts->segments, counts->segment_bytes, counts->segment_calls, counts->others,
	       counts->other_bytes, counts->other_calls, counts->answered, counts->cut,
	       counts->torn, counts->connections, counts->broken, counts->received, counts->reads);
}

/* Signals arrive while we sleep, and only then. */
static void prepare_signals(sigset_t *ret_asleep)
{
	struct sigaction action = {.sa_handler = end};
	sigset_t both;

	sigemptyset(&both);
	sigaddset(&both, SIGTERM);
	sigaddset(&both, SIGINT);
	sigprocmask(SIG_BLOCK, &both, ret_asleep);
	sigaction(SIGTERM, &action, NULL);
	sigaction(SIGINT, &action, NULL);
}

int main(int argc, char **argv)
{
	struct epoll_event events[EVENTS];
	sigset_t asleep;
	int listener;

	if (argc < 3 || argc == 5 || argc > 6) {
		fprintf(stderr, "usage: sink PORT COUNTS [DELAY_MS [CHAIN KEY]]\n");
		return 2;
	}
	delay_ms = argc > 3 ? strtol(argv[3], NULL, 10) : 0;
	if (argc > 4)
		prepare_tls(argv[4], argv[5]);
	prepare_signals(&asleep);
	counts = map_counts(argv[2], sizeof(*counts));
	memset(counts, 0, sizeof(*counts));
	prepare_nghttp2();
	poller = (int)must(epoll_create1(EPOLL_CLOEXEC), "epoll_create1");
	listener = listen_on((int)strtol(argv[1], NULL, 10), SOCK_NONBLOCK);
	watch(EPOLL_CTL_ADD, listener, EPOLLIN, NULL);
	while (!asked_to_end) {
		int n = epoll_pwait(poller, events, EVENTS, answer_due(), &asleep);

		for (int i = 0; i < n; i++) {
			if (events[i].data.ptr)
				serve(events[i].data.ptr, events[i].events);
			else
				accept_one(listener);
		}
	}
	print_counts();
	return 0;
}
