/*
 * Addresses of collectors: the text of a key, and what a resolver makes of it. Our thread only.
 */
#pragma once

#include <sys/socket.h>

#include "preload/bytes.h"

/* Addresses of one attempt, of all hosts together; further ones are left out. */
#define SW_ADDRESSES_MAX 16
/* Longest HOST:PORT (a name has 253 characters at most). */
#define SW_AUTHORITY_MAX 264

struct sw_address {
	struct sockaddr_storage at;
	socklen_t len;
	unsigned host; /* the n-th of the list */
};

/*
 * The n-th HOST:PORT of a comma separated list, as "HOST:PORT" and apart. Brackets around an IPv6
 * address are taken off `host`. 1, 0 when the list has no n-th, -EINVAL when it is none.
 */
int sw_address_nth(const char *list, unsigned n, char ret_authority[SW_AUTHORITY_MAX],
		   char ret_host[SW_AUTHORITY_MAX], char ret_port[8]);

/* -EINVAL: some part of the list is no HOST:PORT. Otherwise the number of hosts, at least 1. */
int sw_address_check(const char *list);

/*
 * Resolves the n-th host and appends what was found, up to SW_ADDRESSES_MAX, in the
 * order that `dice`, the process's, makes of them (sw_address_shuffle). Numbers are
 * understood at once; names ask the system's resolver, which may take seconds. 0, or a code for
 * gai_strerror.
 */
int sw_address_resolve(const char *list, unsigned n, uint32_t dice, struct sw_address *address,
		       unsigned *count);

/*
 * Many programs with one name share the load of its addresses: those of one family that stand side
 * by side change places as `dice` falls: the same for the same dice, whatever their order was, so
 * that whose turn comes next is another one. The resolver's order of families is left as it is.
 */
void sw_address_shuffle(struct sw_address *address, unsigned count, uint32_t dice);

/* The n-th of the list as it is written, for a message or :authority. */
void sw_address_authority(const char *list, unsigned n, char ret_authority[SW_AUTHORITY_MAX]);
