/*
 * Handshakes, counted: begun, done, failed, and how long those that were done took; see
 * handshake.h.
 *
 * That a connection ended before its handshake did is a failure only if it was certainly this
 * handshake that ended: no bytes passed unseen, and no other process that a fork has made may go on
 * with it. What is neither done nor failed can be told from the sum.
 */
#include "hooks/handshake.h"

#include "preload/process.h"
#include "preload/sys.h"
#include "preload/tallies.h"

/* By enum sw_role. */
static const struct {
	enum sw_tally begun, done, failed, ns;
} tallies[] = {
	[SW_ROLE_SERVER] = {SW_TALLY_TLS_ACCEPTED, SW_TALLY_TLS_ACCEPTED_DONE,
			    SW_TALLY_TLS_ACCEPTED_FAILED, SW_TALLY_TLS_ACCEPTED_NS},
	[SW_ROLE_CLIENT] = {SW_TALLY_TLS_MADE, SW_TALLY_TLS_MADE_DONE, SW_TALLY_TLS_MADE_FAILED,
			    SW_TALLY_TLS_MADE_NS},
};

static uint64_t since(const struct sw_talk *talk)
{
	return sw_clock_ns(CLOCK_MONOTONIC) - talk->shaking_ns;
}

/* Its first byte may have come in a piece of its own. */
static void begins(struct sw_guest *g, struct sw_talk *talk)
{
	talk->shaking_ns = talk->kept[SW_REQUESTS].slot ? talk->kept[SW_REQUESTS].since_ns
							: sw_clock_ns(CLOCK_MONOTONIC);
	talk->forks = atomic_load(&sw_process_forks);
	sw_tally_add(g, tallies[talk->role].begun, 1);
}

static void answered(struct sw_talk *talk)
{
	talk->shaking_ns = since(talk);
	talk->answered = true;
}

static void done(struct sw_guest *g, const struct sw_talk *talk)
{
	uint64_t ns = talk->answered ? talk->shaking_ns : since(talk);

	sw_tally_add(g, tallies[talk->role].done, 1);
	sw_tally_add(g, tallies[talk->role].ns, ns);
	sw_tally_most(&sw_handshake_longest_ns[talk->role], ns);
}

static bool certain(int fd, const struct sw_talk *talk)
{
	return talk->forks == atomic_load(&sw_process_forks) && sw_talk_saw_all(fd, talk);
}

bool sw_handshake(struct sw_guest *g, int fd, struct sw_talk *talk, enum sw_handshake what)
{
	switch (what) {
	case SW_HANDSHAKE_BEGINS:
		begins(g, talk);
		return true;
	case SW_HANDSHAKE_ANSWERED:
		answered(talk);
		return true;
	case SW_HANDSHAKE_DONE:
		done(g, talk);
		return false;
	case SW_HANDSHAKE_CUT:
		if (!certain(fd, talk))
			return false;
		/* fallthrough */
	case SW_HANDSHAKE_FAILED:
		sw_tally_add(g, tallies[talk->role].failed, 1);
		return false;
	case SW_HANDSHAKE_UNKNOWN:
		break;
	}
	return false;
}
