/*
 * A connection that speaks gRPC: a channel, and the session on it. Our thread only. And a scout: a
 * second one, which finds out whether the home of a roster is well again while the first goes on:
 * it connects, and makes one call.
 */
#pragma once

#include "reporter/channel.h"
#include "reporter/session.h"

struct sw_link {
	struct sw_channel channel;
	struct sw_session *session; /* Owned; NULL until it is used first */
	char authority[SW_AUTHORITY_MAX];
};

/* Begins to connect; the channel has been dialled. 0 or -errno. */
long sw_link_connect(struct sw_link *link, const struct sw_address *address);
/* Writes what the session has to say. False: the connection is over, the channel knows why. */
bool sw_link_write(struct sw_link *link);
/* Does anything wait for the socket to take it? */
bool sw_link_blocked(const struct sw_link *link);

enum sw_scout_state {
	SW_SCOUT_HOME,	/* no connection */
	SW_SCOUT_AWAY,	/* it is being found out */
	SW_SCOUT_FOUND, /* the other side has answered its call with OK */
};

struct sw_scout {
	struct sw_link *link; /* Borrowed */
	enum sw_scout_state state;
	struct sw_session_peer peer; /* of the session to be, once it has found */
	const char *path;      /* of the call that it makes; NULL: it has nothing to say yet */
	struct sw_buffer word; /* Owned: the call's body */
	bool asked, refused;   /* the call was made; had another answer, or none */
	uint64_t end_ns;       /* it has found by then, or has failed */
};

/* What it is to say when it is sent next: a call of which it does not matter how often it is made,
 * and that nobody counts. Not while it is away. */
void sw_scout_learn(struct sw_scout *scout, const char *path, struct sw_bytes body);

/*
 * Sends it off. `peer` is for the session that it makes, whose calls end there from sw_scout_take
 * on; its authority and `secure` are written here. False: it failed at once, or has nothing to say.
 */
bool sw_scout_send(struct sw_scout *scout, const struct sw_address *address,
		   const struct sw_session_peer *peer, uint64_t end_ns);
/* Something happened on its socket. */
void sw_scout_ready(struct sw_scout *scout);
/* Looks whether it still is, and is in time. Returns the new state. */
enum sw_scout_state sw_scout_tick(struct sw_scout *scout, uint64_t now_ns);
/* It has found: its link is the caller's now, and another one is lent to it. */
struct sw_link *sw_scout_take(struct sw_scout *scout, struct sw_link *instead);
/* Ends it and its connection. */
void sw_scout_end(struct sw_scout *scout);
