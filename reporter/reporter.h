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
	struct sw_sender sender;
	struct sw_buffer message; /* one encoded message, on its way into a batch */
	struct sw_queue queue;
	uint64_t filling_since_ns; /* age of the oldest segment that is not in a closed batch */
	uint64_t retry_ns;	   /* nothing is offered to the transport before; 0: now */
	uint64_t due_ns;	   /* the transport wants a turn; 0: no */
	uint64_t heartbeat_ns;	   /* when the next keep-alive is due */
	uint64_t heartbeats;
	uint64_t now_ns;    /* CLOCK_MONOTONIC at the start of this turn */
	bool ticking;	    /* the next turn comes with the next tick, whatever happens */
	uint64_t record_ns; /* when records last came */
	uint32_t asked;	    /* flushes asked for when this turn began */
	_Atomic bool alive; /* everything above is made; other threads may wake the loop */
};

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

/* What libc puts on a thread's stack: thread-local variables of the program and its libraries. */
size_t sw_reporter_thread_room(const pthread_attr_t *attr);

/* Version of the CPython in this process, 312 for 3.12; 0: none. */
unsigned sw_management_python(void);

/* Appends properties and keep-alive messages when they are due (management.c). */
void sw_management_tick(struct sw_agent *agent);

/* Puts agent->message into the batch of its kind. */
void sw_reporter_add(struct sw_agent *agent, enum sw_batch_kind kind);
