/*
 * A connection of ours to a collector: a socket, and TLS on it where that is wanted. Our thread
 * only, but for sw_channel_moved. Never waits.
 *
 * One at a time in a struct; it is used again for the next. The owner decides how long anything
 * may take, and closes.
 */
#pragma once

#include <stdatomic.h>

#include "proto/buffer.h"
#include "reporter/address.h"
#include "reporter/loop.h"
#include "reporter/tls.h"

struct sw_agent;

enum sw_channel_state {
	SW_CHANNEL_DOWN,
	SW_CHANNEL_CONNECTING,
	SW_CHANNEL_SHAKING, /* connected; the handshake of TLS is under way */
	SW_CHANNEL_OPEN,
};

/* What a read brought. */
enum sw_channel_got {
	SW_CHANNEL_NOTHING, /* for now */
	SW_CHANNEL_BYTES,
	SW_CHANNEL_OVER, /* `why` says so */
};

struct sw_channel {
	struct sw_watch watch; /* fd -1: none */
	uint32_t events;       /* watched for */
	struct sw_agent *agent;
	enum sw_channel_state state;
	uint64_t cookie; /* SO_COOKIE, in a shared table */
	_Atomic bool was_moved;
	const struct sw_tls *tls;	/* NULL: in the clear */
	struct sw_tls_context *context; /* Owned; asked for at each dial, for files change */
	struct sw_tls_session *session; /* Owned */
	struct sw_buffer plain;		/* Owned: what was opened and not given out yet */
	struct sw_buffer cipher;	/* Owned: what was sealed and not written yet */
	bool ended;			/* nothing comes after `plain` */
	bool more;			/* another read may bring something at once */
	bool by_tls;			/* `why` is about TLS: a file, a certificate, a refusal */
	char why[320];			/* why it failed, or ended; a sentence without its end */
};

/* Prepares memory that is zero. `ready` is what the loop calls. */
void sw_channel_init(struct sw_channel *channel, struct sw_agent *agent, const struct sw_tls *tls,
		     void (*ready)(struct sw_watch *watch, uint32_t events));

/* Before the first of one or more sw_channel_connect: reads the files of TLS. False: `why`. */
bool sw_channel_dial(struct sw_channel *channel);

/* Begins to connect. `host` is whom the certificate must name. 0; or -errno, and it is down. */
long sw_channel_connect(struct sw_channel *channel, const struct sw_address *address,
			const char *host);

/* Something happened on the socket while it was not open. Returns the new state; down: `why`. */
enum sw_channel_state sw_channel_proceed(struct sw_channel *channel);

/* Plain bytes, at most what one read of the socket brings. Borrowed until the next call,
 * of any channel. */
enum sw_channel_got sw_channel_read(struct sw_channel *channel, struct sw_bytes *ret_bytes);

/* Takes from the first of `bytes` as many as it can, perhaps none. False: it is over, `why`. */
bool sw_channel_write(struct sw_channel *channel, struct sw_bytes bytes, size_t *ret_taken);

/* Does something that was taken wait for the socket? */
bool sw_channel_waiting(const struct sw_channel *channel);

/* Watches for EPOLLIN, and for EPOLLOUT too. */
void sw_channel_watch(struct sw_channel *channel, bool out);

/* Is it still our socket, and where the loop looks? (The program may share our table.) */
bool sw_channel_ours(struct sw_channel *channel);

/* Closes what is open, and says goodbye in TLS. */
void sw_channel_close(struct sw_channel *channel);

/* On a thread of the program: `from` is `to` now. The new number is only closed. */
void sw_channel_moved(struct sw_channel *channel, int from, int to);

/* In the child of a fork: the descriptor is closed, memory is not looked at. */
void sw_channel_forget(struct sw_channel *channel);
