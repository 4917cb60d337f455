/* Connections that speak gRPC; see link.h. */
#include "reporter/link.h"

#include <stdlib.h>

#include "preload/config.h"

long sw_link_connect(struct sw_link *link, const struct sw_address *address)
{
	char host[SW_AUTHORITY_MAX] = "", port[8];

	sw_address_nth(sw_config.collector, address->host, link->authority, host, port);
	return sw_channel_connect(&link->channel, address, host);
}

bool sw_link_blocked(const struct sw_link *link)
{
	return link->session->out.len || sw_channel_waiting(&link->channel);
}

bool sw_link_write(struct sw_link *link)
{
	struct sw_session *s = link->session;
	size_t taken;

	for (;;) {
		sw_session_fill(s);
		if (!sw_link_blocked(link))
			break;
		if (!sw_channel_write(&link->channel, sw_bytes(s->out.at, s->out.len), &taken))
			return false;
		sw_session_wrote(s, taken);
		if (sw_link_blocked(link))
			break;
	}
	sw_channel_watch(&link->channel, sw_link_blocked(link));
	return true;
}

/* ---- the scout ---- */

void sw_scout_end(struct sw_scout *scout)
{
	if (scout->state == SW_SCOUT_HOME)
		return;
	sw_channel_close(&scout->link->channel);
	sw_session_abort(scout->link->session);
	scout->state = SW_SCOUT_HOME;
}

void sw_scout_learn(struct sw_scout *scout, const char *path, struct sw_bytes body)
{
	if (scout->state != SW_SCOUT_HOME)
		return;
	scout->word.len = 0;
	scout->word.failed = false;
	sw_buffer_add(&scout->word, body);
	scout->path = scout->word.failed ? NULL : path;
}

/* From within feed, or abort. */
static void answered(void *arg, void *owner, const struct sw_answer *answer)
{
	struct sw_scout *scout = arg;

	(void)owner;
	if (answer->given && answer->status == SW_GRPC_OK)
		scout->state = SW_SCOUT_FOUND;
	else
		scout->refused = true;
}

bool sw_scout_send(struct sw_scout *scout, const struct sw_address *address,
		   const struct sw_session_peer *peer, uint64_t end_ns)
{
	struct sw_link *link = scout->link;

	if (!scout->path)
		return false;
	if (!link->session)
		link->session = calloc(1, sizeof(*link->session));
	if (!link->session || !sw_channel_dial(&link->channel) || sw_link_connect(link, address))
		return false;
	scout->peer = *peer;
	scout->peer.authority = link->authority;
	scout->peer.secure = link->channel.tls != NULL;
	scout->asked = scout->refused = false;
	scout->end_ns = end_ns;
	scout->state = SW_SCOUT_AWAY;
	return true;
}

/* False: that is none. */
static bool listen_to(struct sw_scout *scout)
{
	struct sw_link *link = scout->link;
	enum sw_channel_got got;
	struct sw_bytes bytes;

	do {
		got = sw_channel_read(&link->channel, &bytes);
		if (got == SW_CHANNEL_OVER ||
		    (got == SW_CHANNEL_BYTES && sw_session_feed(link->session, bytes)))
			return false;
	} while (got == SW_CHANNEL_BYTES && link->channel.more);
	if (link->session->settled && !scout->asked)
		scout->asked = sw_session_call(link->session, scout->path,
					       sw_bytes(scout->word.at, scout->word.len), scout,
					       UINT64_MAX);
	return !scout->refused && !link->session->going && sw_link_write(link);
}

/* False: there is nobody. */
static bool proceed(struct sw_scout *scout)
{
	struct sw_channel *channel = &scout->link->channel;
	struct sw_session_peer peer = scout->peer;

	if (channel->state == SW_CHANNEL_OPEN)
		return listen_to(scout);
	if (sw_channel_proceed(channel) != SW_CHANNEL_OPEN)
		return channel->state != SW_CHANNEL_DOWN;
	peer.done = answered;
	peer.arg = scout;
	sw_session_start(scout->link->session, &peer);
	return sw_link_write(scout->link) && listen_to(scout);
}

void sw_scout_ready(struct sw_scout *scout)
{
	if (scout->state != SW_SCOUT_HOME && sw_channel_ours(&scout->link->channel) &&
	    !proceed(scout))
		sw_scout_end(scout);
}

enum sw_scout_state sw_scout_tick(struct sw_scout *scout, uint64_t now_ns)
{
	bool late = scout->state == SW_SCOUT_AWAY && now_ns >= scout->end_ns;

	if (scout->state != SW_SCOUT_HOME && (late || !sw_channel_ours(&scout->link->channel)))
		sw_scout_end(scout);
	return scout->state;
}

struct sw_link *sw_scout_take(struct sw_scout *scout, struct sw_link *instead)
{
	struct sw_link *found = scout->link;

	found->session->peer = scout->peer;
	scout->link = instead;
	scout->state = SW_SCOUT_HOME;
	return found;
}
