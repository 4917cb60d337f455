/*
 * The reporter: what our one thread owns. Made by reporter.c alone; whoever holds a struct
 * sw_agent runs on our thread and may allocate and wait in the loop.
 */
#pragma once

#include <stdatomic.h>

#include "reporter/assemble.h"
#include "reporter/loop.h"
#include "reporter/transport.h"

struct sw_agent {
	struct sw_loop loop;
	const struct sw_transport *transport;
	bool transport_open;
	struct sw_encoder *encoder;
	struct sw_assembler *assembler;
	struct sw_sender sender;
	struct sw_buffer message; /* one encoded message, on its way into a batch */
	struct sw_batch batch[SW_BATCH_KINDS];
	uint64_t batch_since_ns; /* age of the oldest segment that waits */
	uint64_t retry_ns;	 /* not before this moment; 0: now */
	uint64_t heartbeat_ns;	 /* when the next keep-alive is due */
	uint64_t heartbeats;
	uint64_t now_ns;    /* CLOCK_MONOTONIC at the start of this turn */
	_Atomic bool alive; /* everything above is made; other threads may wake the loop */
};

/* Appends properties and keep-alive messages when they are due (management.c). */
void sw_management_tick(struct sw_agent *agent);

/* Puts agent->message into the batch of its kind. */
void sw_reporter_add(struct sw_agent *agent, enum sw_batch_kind kind);
