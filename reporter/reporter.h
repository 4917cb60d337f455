/*
 * The reporter: what our one thread owns. Made by reporter.c alone; whoever holds a struct
 * sw_agent runs on our thread and may allocate and wait in the loop.
 */
#pragma once

#include <pthread.h>
#include <stdatomic.h>

#include "reporter/assemble.h"
#include "reporter/loop.h"
#include "reporter/transport.h"

/* How often records are taken while they come. */
#define SW_TICK_NS 100000000ull

struct sw_agent {
	struct sw_loop loop;
	const struct sw_transport *transport;
	bool transport_open;
	struct sw_encoder *encoder;
	struct sw_assembler *assembler;
	struct sw_logs *logs; /* NULL: none are wanted */
	struct sw_sender sender;
	struct sw_buffer message; /* one encoded message, on its way into a batch */
	struct sw_queue queue;
	uint64_t filling_since_ns[SW_BATCH_KINDS]; /* age of the oldest in the batch that is filled
						    */
	uint64_t retry_ns;     /* nothing is offered to the transport before; 0: now */
	uint64_t due_ns;       /* the transport wants a turn; 0: no */
	uint64_t heartbeat_ns; /* when the next keep-alive is due */
	uint64_t watch_ns;     /* a module wants to look at the program's threads; 0: none does */
	uint64_t heartbeats;
	/* Whose the answers to sw_reporter_query are: a Commands message (proto/commands.h), which
	 * may be empty; Borrowed until it returns. NULL: nobody's. */
	void (*take_commands)(struct sw_agent *agent, struct sw_bytes commands);
	uint64_t profiles_ns;	/* when profiles.c wants its next turn */
	uint64_t control_ns;	/* likewise control.c */
	uint64_t whole_ns;	/* likewise whole.c */
	bool ending;		/* this turn is one before the process ends, or is another image */
	uint64_t meters_ns;	/* when the next period of meters ends; 0: none has begun */
	uint64_t now_ns;	/* CLOCK_MONOTONIC at the start of this turn */
	bool along;		/* a period ends in this turn: see sw_reporter_is_due */
	bool ticking;		/* the next turn comes with the next tick, whatever happens */
	uint64_t record_ns;	/* when records last came */
	uint32_t asked;		/* flushes asked for when this turn began */
	bool go_native;		/* the engine of gRPC gives up: ours goes on after this turn */
	unsigned (*left)(void); /* threads of a transport that was left and could not end them */
	_Atomic bool alive;	/* everything above is made; other threads may wake the loop */
};

/*
 * Is something that is done every `period_ns` to be done now? To wake up costs more than what is
 * done then: what would come within half of its period goes along with the heartbeat or the meters.
 */
static inline bool sw_reporter_is_due(const struct sw_agent *agent, uint64_t moment_ns,
				      uint64_t period_ns)
{
	return agent->now_ns + (agent->along ? period_ns / 2 : 0) >= moment_ns;
}

/* work.c: one turn. all: do not wait for batches to fill. */
void sw_reporter_turn(struct sw_agent *agent, bool all);
/* Between two turns, after something happened on a socket: only offers what waits. */
void sw_reporter_offer(struct sw_agent *agent);
/* Is nothing left that could leave by waiting a little longer? */
bool sw_reporter_settled(const struct sw_agent *agent);
/* Anything at all that has not been delivered? */
bool sw_reporter_holding(const struct sw_agent *agent);
/* Makes the assembler and the encoder; false: no memory. */
bool sw_reporter_make(struct sw_agent *agent);

/*
 * Around what takes locks that libc's fork does not bring over to a child: the loader's (dlsym),
 * the resolver's (getaddrinfo), gettext's (strerror).
 */
void sw_reporter_delicate(bool delicate);

/* The same around the loading of a plug-in, for which a fork waits longer: a child of it could not
 * load it any more, and would have nowhere to send. */
void sw_reporter_loading(bool loading);

/* See plugin.h. */
void sw_reporter_go_native(struct sw_agent *agent);

/* Version of the CPython in this process, 312 for 3.12; 0: none. */
unsigned sw_management_python(void);

/* Appends properties and keep-alive messages when they are due (management.c). */
void sw_management_tick(struct sw_agent *agent);

/* Puts agent->message into the batch of its kind; what cannot be is counted as lost. */
bool sw_reporter_add(struct sw_agent *agent, enum sw_batch_kind kind);

/* Does the protocol take such records? If not there is no use in making them. */
bool sw_reporter_takes(enum sw_batch_kind kind);

/*
 * records.c: one record of a kind, on its way from here on. Our thread, within a turn; what the
 * struct borrows is copied. False: it is dropped or lost, and counted so. Whoever has made some of
 * them, and does not want them to wait for more, closes the batch (sw_queue_close).
 */
bool sw_reporter_log(struct sw_agent *agent, const struct sw_log *log);
/* Readings of one period come one after the other and are closed together: one stream. */
bool sw_reporter_meter(struct sw_agent *agent, const struct sw_meter *meter);
bool sw_reporter_event(struct sw_agent *agent, const struct sw_event *event);
bool sw_reporter_snapshot(struct sw_agent *agent, const struct sw_snapshot *snapshot);
/* Asks for profile tasks newer than that one (its CreateTime; -1: none yet), unless a question is
 * on its way already. What comes back goes to agent->take_commands. */
void sw_reporter_query(struct sw_agent *agent, int64_t since_ms);
/* By transports: the messages, length-prefixed, that answered a batch of this kind. */
void sw_reporter_replied(struct sw_agent *agent, enum sw_batch_kind kind, struct sw_bytes reply);
/* A profile task is done. */
void sw_reporter_finish(struct sw_agent *agent, struct sw_bytes task);

/* Around an encoder's call, by those above: is there room for one more? Then agent->message is
 * empty, and what was encoded into it is queued; else it is counted as dropped. */
bool sw_reporter_admits(struct sw_agent *agent, enum sw_batch_kind kind);
bool sw_reporter_put(struct sw_agent *agent, enum sw_batch_kind kind, bool encoded);
