/*
 * One conversation: the state that hooks/flow.c and hooks/inject.c share. Private to these two.
 *
 * Fields are touched only while the talk is held, but for the atomic ones.
 */
#pragma once

#include <netinet/in.h>

#include "hooks/flow.h"
#include "preload/arena.h"

/* Requests without answer on one connection; a client that pipelines more is given up. */
#define SW_TALK_OPEN 16
/* Longest address of IPv4 as text: "255.255.255.255:65535". */
#define SW_TALK_PEER 21

enum sw_phase {
	SW_PHASE_SNIFF, /* no parser yet */
	SW_PHASE_FEED,
	SW_PHASE_DEAF, /* opaque, lost or blind: nothing is looked at any more */
};

/* What is to become of our lines for the request head that is on its way out. */
enum sw_injection {
	SW_INJECT_UNDECIDED,
	SW_INJECT_PENDING, /* decided; text stands in `lines`, `lines_sent` of it gone */
	SW_INJECT_FLYING,  /* a call is sending from `lines`, which is that call's meanwhile */
	SW_INJECT_DONE,	   /* all gone, or decided against for this head */
};

struct sw_talk {
	_Atomic uint64_t lock; /* generation << 1 | held */
	_Atomic bool blind;    /* set by who could not enter; seen at the next hold */
	_Atomic sw_ref oldest; /* copy of open[first] for other threads */
	_Atomic sw_ref
		writes; /* whose bytes come next, where they are sent later (sw_flow_writes) */
	uint32_t index; /* in the pool */
	uint8_t role;	/* enum sw_role */
	uint8_t phase;	/* enum sw_phase */
	uint8_t parser;
	bool no_carry; /* our lines are out of the question for the life of the talk */
	uint16_t fds;  /* descriptors that lead here */

	uint8_t family; /* of the other end */
	uint16_t port;
	uint8_t address[16];
	uint8_t peer_len; /* of `peer`, which is made once; 0: not yet, or too long */
	uint8_t peer[SW_TALK_PEER];
	_Atomic int reader; /* thread that read the last request */
	uint64_t passed[2]; /* bytes that we saw, by direction */
	uint64_t tallied[2]; /* of these, counted (preload/tallies.h) */
	uint64_t cookie;    /* SO_COOKIE at connect (Linux 4.6); 0: never inject */

	uint64_t shaking_ns; /* when its handshake began; once answered, how long that took */
	uint32_t forks;	     /* of the process, when it began (preload/process.h) */
	bool answered;

	/* A message head in pieces, by side: index + 1 in sw_pool_heads, and bytes in it. */
	struct {
		uint32_t slot, len;
		uint64_t since_ns; /* when its first byte came */
	} kept[SW_SIDE_COUNT];

	/* Open spans, oldest first; 0 stands for a request that is not traced. */
	uint8_t first, count;
	sw_ref open[SW_TALK_OPEN];
	uint16_t injected; /* bit i: the request of open[i] bore our lines */

	uint8_t injection; /* enum sw_injection */
	bool replacing;	   /* the program's own sw8 lines are left out */
	bool skip_exit;	   /* the head that is on its way gets no Exit */
	bool bears;	   /* the head that is on its way bears our lines */
	bool prepared;	   /* `exit` (which may be 0) was begun before the head was fed */
	uint32_t lines;	   /* index + 1 in sw_pool_heads of the text and the vector */
	uint32_t lines_len, lines_sent;
	sw_ref exit;

	uint64_t parser_state[SW_PARSER_STATE_MAX / 8];
};

/* The conversation of `fd`, held, or NULL: unknown, given up, or not to be had now. */
struct sw_talk *sw_talk_hold(struct sw_guest *g, int fd);
void sw_talk_let_go(struct sw_talk *talk);

/* Do we call on `fd`, as far as is known? The talk is not held. What it is does not change as long as
 * it lives, and of one that is gone nobody can get hold. */
bool sw_talk_calls(const struct sw_guest *g, int fd);

extern const struct sw_parser *const sw_parsers[];

static inline enum sw_side sw_talk_side(const struct sw_talk *talk, enum sw_direction direction)
{
	bool requests = (talk->role == SW_ROLE_SERVER) == (direction == SW_IN);

	return requests ? SW_REQUESTS : SW_RESPONSES;
}

static inline const struct sw_parser *sw_talk_parser(const struct sw_talk *talk)
{
	return sw_parsers[talk->parser];
}

/* Feeds bytes to a held talk. The talk may be deaf afterwards. */
void sw_talk_feed(struct sw_guest *g, int fd, struct sw_talk *talk, enum sw_side side,
		  struct sw_bytes bytes);

/* Finds the parser by the first bytes of a request; may make the talk deaf. True: phase is FEED. */
bool sw_talk_sniff(struct sw_guest *g, struct sw_talk *talk, struct sw_bytes first);

/* The other end as text, for spans: "10.0.0.1:80", "[::1]:80", "unix:/path". In `w`, or in the talk,
 * which is held. */
struct sw_bytes sw_talk_peer(int fd, struct sw_talk *talk, struct sw_writer *w);

/* The server as the program called it: `named` by the request, else the name that it looked up,
 * else the numbers; a UNIX socket by its path, whatever the request says. */
struct sw_bytes sw_talk_called(int fd, struct sw_talk *talk, struct sw_bytes named,
			       struct sw_writer *w);

/* Whose call the head is that is on its way out. The talk is held. */
sw_ref sw_talk_request(struct sw_guest *g, struct sw_talk *talk);

void sw_talk_find_address(int fd, struct sw_talk *talk);

/* Did everything that passed on this socket pass through us? False also where nobody knows. */
bool sw_talk_saw_all(int fd, const struct sw_talk *talk);

/* Releases what an injection holds. forget: the Exit never began. */
void sw_inject_drop(struct sw_talk *talk, bool forget);

static inline uint8_t *sw_head_at(uint32_t slot)
{
	return sw_pool_item(&sw_pool_heads, slot - 1);
}
