/*
 * A socket, and TLS on it; see channel.h.
 *
 * TLS is a plug-in of pure bytes: what the socket gives is fed to it, what it wants written is kept
 * until the socket takes it. Each call into it stands between two of sw_reporter_delicate, because
 * a child that is forked meanwhile would miss its locks.
 */
#include "reporter/channel.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <sys/epoll.h>

#include "preload/config.h"
#include "preload/fds.h"
#include "preload/sys.h"
#include "reporter/reporter.h"
#include "reporter/say.h"

/* A peer that vanished is found out by data that it does not acknowledge. */
#define PATIENCE_MS 20000

static uint8_t in[16384]; /* what one read of a socket gave */

void sw_channel_init(struct sw_channel *c, struct sw_agent *agent, const struct sw_tls *tls,
		     void (*ready)(struct sw_watch *watch, uint32_t events))
{
	c->watch = (struct sw_watch){-1, ready};
	c->agent = agent;
	c->tls = tls;
	c->state = SW_CHANNEL_DOWN;
}

static void note_why(struct sw_channel *c, const char *why, bool by_tls)
{
	if (why != c->why)
		snprintf(c->why, sizeof(c->why), "%s", why);
	c->by_tls = by_tls;
}

/* ---- the descriptor ---- */

static void watch_for(struct sw_channel *c, uint32_t events)
{
	if (events != c->events &&
	    c->agent->loop.backend->watch(&c->agent->loop, &c->watch, events) == 0)
		c->events = events;
}

void sw_channel_watch(struct sw_channel *c, bool out)
{
	watch_for(c, out ? EPOLLIN | EPOLLOUT : EPOLLIN);
}

/* It may also have been moved out of the program's way, which the loop has not seen. */
bool sw_channel_ours(struct sw_channel *c)
{
	return !atomic_load(&c->was_moved) && sw_fd_same(c->watch.fd, c->cookie);
}

static void close_descriptor(struct sw_channel *c)
{
	if (c->watch.fd >= 0 && c->events)
		c->agent->loop.backend->watch(&c->agent->loop, &c->watch, 0);
	if (c->watch.fd >= 0 && sw_channel_ours(c))
		sw_fd_close_ours(c->watch.fd);
	else if (c->watch.fd >= 0)
		sw_fd_clear(c->watch.fd, SW_FD_OURS);
	c->events = 0;
	c->watch.fd = -1;
}

void sw_channel_moved(struct sw_channel *c, int from, int to)
{
	if (c->watch.fd != from)
		return;
	atomic_store(&c->was_moved, true);
	if (to >= 0)
		sw_fd_close_ours(to);
}

void sw_channel_forget(struct sw_channel *c)
{
	if (c->watch.fd >= 0)
		sw_fd_close_ours(c->watch.fd);
	memset(c, 0, sizeof(*c));
	c->watch.fd = -1;
}

static long open_socket(struct sw_channel *c, int family)
{
	int on = 1, patience_ms = PATIENCE_MS;
	long fd = sw_sys(socket, family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return fd;
	fd = sw_fd_adopt((int)fd);
	if (fd < 0)
		return fd;
	atomic_store(&c->was_moved, false);
	c->cookie = sw_fd_cookie((int)fd);
	sw_sys(setsockopt, fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	sw_sys(setsockopt, fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &patience_ms, sizeof(patience_ms));
	c->watch.fd = (int)fd;
	return 0;
}

/* ---- going up ---- */

bool sw_channel_dial(struct sw_channel *c)
{
	struct sw_tls_wish wish = {.ca = sw_config.tls_ca,
				   .store_file = sw_config.tls_store_file,
				   .store_folder = sw_config.tls_store_folder,
				   .chain = sw_config.tls_chain,
				   .key = sw_config.tls_key,
				   .protocol = "h2"};

	if (!c->tls)
		return true;
	sw_reporter_delicate(true);
	c->context = c->tls->context_free(c->context);
	c->context = c->tls->context_new(&wish, c->why, sizeof(c->why));
	sw_reporter_delicate(false);
	c->by_tls = true;
	return c->context;
}

static bool begin_session(struct sw_channel *c, const char *host)
{
	c->ended = false;
	c->plain.len = c->cipher.len = 0;
	c->plain.failed = c->cipher.failed = false;
	if (!c->tls)
		return true;
	sw_reporter_delicate(true);
	c->session = c->tls->session_new(c->context, host);
	sw_reporter_delicate(false);
	return c->session;
}

long sw_channel_connect(struct sw_channel *c, const struct sw_address *address, const char *host)
{
	long error = begin_session(c, host) ? 0 : -ENOMEM;

	if (!error)
		error = open_socket(c, address->at.ss_family);
	if (!error)
		error = sw_sys(connect, c->watch.fd, &address->at, address->len);
	if (error && error != -EINPROGRESS) {
		sw_channel_close(c);
		return error;
	}
	c->state = SW_CHANNEL_CONNECTING;
	watch_for(c, EPOLLOUT);
	return 0;
}

static enum sw_channel_state fail(struct sw_channel *c, const char *why, bool by_tls)
{
	note_why(c, why, by_tls);
	sw_channel_close(c);
	return SW_CHANNEL_DOWN;
}

static enum sw_tls_state feed(struct sw_channel *c, struct sw_bytes bytes)
{
	enum sw_tls_state state;

	sw_reporter_delicate(true);
	state = c->tls->feed(c->session, bytes, &c->plain, &c->cipher);
	sw_reporter_delicate(false);
	return state;
}

/* What was sealed goes to the socket, as far as that takes it. 0 or -errno. */
static long flush(struct sw_channel *c)
{
	while (c->cipher.len) {
		long wrote = sw_sys(sendto, c->watch.fd, c->cipher.at, c->cipher.len,
				    MSG_NOSIGNAL | MSG_DONTWAIT, NULL, 0);

		if (wrote == -EAGAIN || wrote == -EINTR)
			return 0;
		if (wrote < 0)
			return wrote;
		sw_buffer_drop(&c->cipher, (size_t)wrote);
	}
	return 0;
}

static enum sw_channel_state fail_shaking(struct sw_channel *c, long error)
{
	char why[128];

	snprintf(why, sizeof(why), "%s in the TLS handshake (does it speak TLS?)",
		 error ? sw_say_error(error) : "it was closed");
	return fail(c, why, true);
}

/* What one read of the socket gave, through TLS. */
static enum sw_channel_state shake_with(struct sw_channel *c, struct sw_bytes bytes)
{
	enum sw_tls_state state = feed(c, bytes);
	long error = flush(c); /* also the last words of a handshake that failed */

	if (state == SW_TLS_FAILED)
		return fail(c, c->tls->why(c->session), true);
	if (state == SW_TLS_CLOSED)
		return fail(c, "it ended the TLS handshake", true);
	if (error)
		return fail_shaking(c, error);
	c->state = state == SW_TLS_OPEN ? SW_CHANNEL_OPEN : SW_CHANNEL_SHAKING;
	sw_channel_watch(c, c->cipher.len);
	return c->state;
}

static enum sw_channel_state shake(struct sw_channel *c)
{
	shake_with(c, sw_bytes(NULL, 0)); /* what the socket did not take at once */
	while (c->state == SW_CHANNEL_SHAKING) {
		long got = sw_sys(recvfrom, c->watch.fd, in, sizeof(in), MSG_DONTWAIT, NULL, 0);

		if (got == -EAGAIN || got == -EINTR)
			break;
		if (got <= 0)
			return fail_shaking(c, got);
		shake_with(c, sw_bytes(in, (size_t)got));
	}
	return c->state;
}

static enum sw_channel_state connected(struct sw_channel *c)
{
	int error = 0;
	socklen_t len = sizeof(error);

	if (sw_sys(getsockopt, c->watch.fd, SOL_SOCKET, SO_ERROR, &error, &len) < 0)
		error = EBADF;
	if (error)
		return fail(c, sw_say_error(-error), false);
	if (c->tls)
		return shake_with(c, sw_bytes(NULL, 0));
	c->state = SW_CHANNEL_OPEN;
	sw_channel_watch(c, false);
	return c->state;
}

enum sw_channel_state sw_channel_proceed(struct sw_channel *c)
{
	if (c->state == SW_CHANNEL_CONNECTING)
		return connected(c);
	return c->state == SW_CHANNEL_SHAKING ? shake(c) : c->state;
}

/* ---- bytes ---- */

static void note_end(struct sw_channel *c, enum sw_tls_state state)
{
	if (state == SW_TLS_FAILED)
		note_why(c, c->tls->why(c->session), true);
	else
		note_why(c, "it was closed", false);
}

static enum sw_channel_got give_plain(struct sw_channel *c, struct sw_bytes *ret_bytes)
{
	*ret_bytes = sw_bytes(c->plain.at, c->plain.len);
	c->plain.len = 0; /* the memory stays as it is until the next feed */
	return SW_CHANNEL_BYTES;
}

/* The end of the session, if it is one, comes with the read that follows. */
static enum sw_channel_got open_sealed(struct sw_channel *c, size_t len, struct sw_bytes *ret_bytes)
{
	enum sw_tls_state state = feed(c, sw_bytes(in, len));

	flush(c); /* an error shows in the next read */
	if (state != SW_TLS_OPEN) {
		note_end(c, state);
		c->ended = c->more = true;
	}
	return give_plain(c, ret_bytes);
}

enum sw_channel_got sw_channel_read(struct sw_channel *c, struct sw_bytes *ret_bytes)
{
	long got;

	c->more = true;
	if (c->plain.len)
		return give_plain(c, ret_bytes);
	if (c->ended)
		return SW_CHANNEL_OVER;
	got = sw_sys(recvfrom, c->watch.fd, in, sizeof(in), MSG_DONTWAIT, NULL, 0);
	c->more = got == sizeof(in);
	if (got == -EAGAIN || got == -EINTR)
		return SW_CHANNEL_NOTHING;
	if (got <= 0) {
		note_why(c, got ? sw_say_error(got) : "it was closed", false);
		return SW_CHANNEL_OVER;
	}
	if (c->tls)
		return open_sealed(c, (size_t)got, ret_bytes);
	*ret_bytes = sw_bytes(in, (size_t)got);
	return SW_CHANNEL_BYTES;
}

/* False: the session has ended, and why is noted. */
static bool seal(struct sw_channel *c, struct sw_bytes bytes)
{
	enum sw_tls_state state;

	sw_reporter_delicate(true);
	state = c->tls->seal(c->session, bytes, &c->cipher);
	sw_reporter_delicate(false);
	if (state != SW_TLS_OPEN)
		note_end(c, state);
	return state == SW_TLS_OPEN;
}

/* Nothing new is sealed while something waits: what waits is better kept once. */
static long write_sealed(struct sw_channel *c, struct sw_bytes bytes, size_t *ret_taken)
{
	long error = flush(c);

	*ret_taken = 0;
	if (error || c->cipher.len || !bytes.len)
		return error;
	if (!seal(c, bytes))
		return -EPIPE;
	*ret_taken = bytes.len;
	return flush(c);
}

bool sw_channel_write(struct sw_channel *c, struct sw_bytes bytes, size_t *ret_taken)
{
	long wrote;

	c->why[0] = 0;
	if (c->tls) {
		wrote = write_sealed(c, bytes, ret_taken);
	} else {
		wrote = sw_sys(sendto, c->watch.fd, bytes.at, bytes.len,
			       MSG_NOSIGNAL | MSG_DONTWAIT, NULL, 0);
		*ret_taken = wrote > 0 ? (size_t)wrote : 0;
	}
	if (wrote >= 0 || wrote == -EAGAIN || wrote == -EINTR)
		return true;
	if (!c->why[0])
		note_why(c, sw_say_error(wrote), false);
	return false;
}

bool sw_channel_waiting(const struct sw_channel *c)
{
	return c->cipher.len;
}

void sw_channel_close(struct sw_channel *c)
{
	if (c->session) {
		sw_reporter_delicate(true);
		c->tls->end(c->session, &c->cipher);
		c->session = c->tls->session_free(c->session);
		sw_reporter_delicate(false);
		if (c->state == SW_CHANNEL_OPEN && sw_channel_ours(c))
			flush(c);
		c->cipher.len = c->plain.len = 0;
	}
	close_descriptor(c);
	c->state = SW_CHANNEL_DOWN;
}
