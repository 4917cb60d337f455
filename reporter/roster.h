/*
 * The addresses of all collectors that a program may use, and whose turn it is. Our thread only; no
 * socket, and no clock of its own.
 *
 * One is used until it is no good: then the next, and after the last the first. When all have been
 * no good in a row the owner waits before another round. The first, which a program began with, is
 * its home: many programs with one list begin at different ones, so it is returned to, or after a
 * restart of each collector in turn all programs would be with the same one.
 */
#pragma once

#include "reporter/address.h"

struct sw_roster {
	struct sw_address address[SW_ADDRESSES_MAX];
	unsigned count, at; /* those there are; the one in use or to be tried */
	bool drawn;
	uint32_t dice;	 /* where in a list this process begins, and among a host's addresses */
	unsigned failed; /* no good, one after the other */
	uint64_t resolved_ns; /* when the addresses were */
	uint64_t home_ns;     /* not before is the home tried again */
	uint64_t patience_ns; /* longer than usual, because returning to it was no good; 0: not */
};

/*
 * Between two rounds: resolves all hosts of the list, unless that was done in the last minute. May
 * wait for the resolver. 0, or a code for gai_strerror that is about the host ret_authority.
 */
int sw_roster_resolve(struct sw_roster *roster, const char *list, uint64_t now_ns,
		      char ret_authority[SW_AUTHORITY_MAX]);

/*
 * The one in use is no good; the turn is the next one's. False: so were all others, it is time to
 * wait. If it was the home that is left alone for `period_ns`.
 */
bool sw_roster_fail(struct sw_roster *roster, uint64_t now_ns, uint64_t period_ns);

/* Were the one in use no good, would another one's turn come at once? */
bool sw_roster_more(const struct sw_roster *roster);

/* The one in use has proved good. */
void sw_roster_good(struct sw_roster *roster);

/* Is another one in use than the home, and may that be tried again? */
bool sw_roster_homesick(const struct sw_roster *roster, uint64_t now_ns);

/* The home was tried and is still no good. */
void sw_roster_stay(struct sw_roster *roster, uint64_t now_ns, uint64_t period_ns);

/* It is there again, and now in use. If it fails at once it is left alone for longer. */
void sw_roster_return(struct sw_roster *roster, uint64_t period_ns);
