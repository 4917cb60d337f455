/*
 * The contract of a transport: one way for records to leave. Rows in transports.def.
 *
 * All slots run on our thread, from the loop, and do not wait. The reporter owns batches until a
 * transport says what became of them.
 */
#pragma once

#include "proto/encode.h"
#include "reporter/queue.h"

struct sw_agent;

/* What became of a batch. */
enum sw_sent {
	SW_SENT,	  /* delivered */
	SW_SENT_LATER,	  /* not now: offered again in the next turn, or when retry_ns has come */
	SW_SENT_NEVER,	  /* refused for good: counted as lost */
	SW_SENT_UNDERWAY, /* the transport keeps it and will call sw_reporter_sent */
};

struct sw_transport {
	const char *name; /* value of SW_AGENT_PROTOCOL */
	enum sw_format format;

	/* Appends one encoded message to a batch as this transport wants it framed. */
	void (*frame)(struct sw_batch *batch, struct sw_bytes message);
	/* Prepares; called whenever the thread starts. 0 or -errno: the transport cannot ever work
	 * (said once); records are dropped and counted from then on. */
	int (*open)(struct sw_agent *agent);
	/* Takes a batch. A transport that wants to be left alone for a while sets agent->retry_ns;
	 * nothing is offered before that moment. */
	enum sw_sent (*send)(struct sw_agent *agent, struct sw_batch *batch);
	/* The end of every turn: write what `send` took, look at deadlines. A transport that wants
	 * a turn at a certain moment sets agent->due_ns. May be NULL. */
	void (*tick)(struct sw_agent *agent);
	/* Does an event on a socket matter now, rather than at the next tick? May be NULL: never.
	 */
	bool (*watchful)(struct sw_agent *agent);
	/* One of our descriptors got another number (the program wanted that one). */
	void (*moved)(int from, int to);
	/* Our thread ends and may start again: give back what is underway, close descriptors. */
	void (*pause)(struct sw_agent *agent);
	/* This is the child of a fork: close descriptors without telling the other side. Batches
	 * are the parent's, and memory may be in mid-change: nothing else may be looked at. */
	void (*forked)(void);
	/* Around a fork that our thread is not asked to leave for, or has not left for in time, on
	 * the thread that forks: its library is to stand where a child can use it. Waits until
	 * end_ns (CLOCK_MONOTONIC) at most; neither allocates nor locks. May be NULL. */
	void (*fork_prepare)(uint64_t end_ns);
	void (*fork_parent)(void);
	/* Threads that its library has made, for who counts those of the process. Any thread. May
	 * be NULL: none. */
	unsigned (*threads)(void);
	/* Is one of these in the resolver, which may keep it, and a pause, for half a minute? Any
	 * thread. May be NULL: no. */
	bool (*looks_up)(void);
};

/* Our own gRPC, which another engine of the same protocol may have to fall back on. */
extern const struct sw_transport sw_transport_grpc;
/* In the place of one whose plug-in is not there. */
extern const struct sw_transport sw_transport_nowhere;

/*
 * Of a batch that is underway so many messages were delivered and so many are lost; the transport
 * has taken them out of it and goes on with the rest, if there is any.
 */
void sw_reporter_sent_partly(struct sw_agent *agent, struct sw_batch *batch, unsigned sent,
			     unsigned lost);

/* A batch that was underway came to its end: SW_SENT, SW_SENT_LATER or SW_SENT_NEVER. */
void sw_reporter_sent(struct sw_agent *agent, struct sw_batch *batch, enum sw_sent outcome);
