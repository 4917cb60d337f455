/*
 * A client of HTTP/1.1 on our loop: curl's multi-socket interface, some calls at once, each with an
 * easy handle that is kept for the next one. Which collector is called when, and what an answer
 * means, is transport.c's. Our thread only.
 */
#pragma once

#include "reporter/plugins/http/http.h"

/* Calls underway at once, each on a connection of its own. */
#define SW_CLIENT_CALLS 4

enum sw_client_outcome {
	SW_CLIENT_ANSWERED, /* wholly; `status` is what it said */
	SW_CLIENT_NO_WAY,   /* no connection came about */
	SW_CLIENT_NO_TRUST, /* no connection that could be trusted came about */
	SW_CLIENT_CUT,	    /* the connection ended, or nothing came in time */
	SW_CLIENT_STALE,    /* the connection was an old one and had ended */
	SW_CLIENT_STRANGE,  /* what came is not HTTP */
	SW_CLIENT_LEFT,	    /* we end it ourselves */
};

struct sw_client_end {
	enum sw_client_outcome outcome;
	long status;
	uint64_t retry_after_s; /* 0: it did not say */
	bool perhaps;		/* all of the body left, and whether it was read is not known */
	const char *why;	/* for a line of ours, unless answered. Borrowed */
};

struct sw_client_wish {
	const char *token;	/* empty: none */
	const char *proxy;	/* HOST:PORT; empty: none */
	const char *proxy_user; /* USER:PASSWORD; empty: none */
	bool tls;
	const char *ca, *store_file, *store_folder; /* as in struct sw_tls_wish */
	const char *chain, *key;		    /* PEM files; empty: none */
	unsigned connect_ms, call_ms; /* deadlines of connecting and of a whole call */
	/* A call that was started has ended; it may be started again from here. */
	void (*ended)(void *owner, const struct sw_client_end *end);
};

struct sw_client_call {
	const char *url;
	/* HOST:PORT:ADDRESS,ADDRESS... to be used from now on for that host; NULL: as before. */
	const char *addresses;
	struct sw_bytes body; /* Borrowed until the call has ended */
	void *owner;
};

/* The texts of `wish` are constant. 0 or -ENOMEM. */
int sw_client_open(struct sw_agent *agent, const struct sw_client_wish *wish);
/* Ends all calls as SW_CLIENT_LEFT, closes all connections. */
void sw_client_close(void);
/* In the child of a fork: closes descriptors, and forgets what else there is without a look. */
void sw_client_forget(void);

/* False: so many calls are underway already, or no memory. Nothing is sent before the next run. */
bool sw_client_start(const struct sw_client_call *call);
unsigned sw_client_calls(void);
/* Does what is due. Returns when it wants to be run again; 0: only after an event. */
uint64_t sw_client_run(void);
/* Would the next event let a call go on, rather than end? */
bool sw_client_busy(void);
/* When a call was started or something last happened on a socket, CLOCK_MONOTONIC. */
uint64_t sw_client_stirred_ns(void);
