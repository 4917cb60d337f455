/*
 * The contract of a transport: one way for records to leave. Rows in transports.def.
 *
 * All slots run on our thread, from the loop, and must not block longer than their budget says.
 * The reporter owns batches until a transport says what became of them.
 */
#pragma once

#include "proto/encode.h"

struct sw_agent;

enum sw_batch_kind { SW_BATCH_SEGMENT, SW_BATCH_PROPERTIES, SW_BATCH_PING, SW_BATCH_KINDS };

/* Messages of one kind, encoded in the transport's format. */
struct sw_batch {
	enum sw_batch_kind kind;
	unsigned count;		/* messages */
	struct sw_buffer bytes; /* the messages one after the other, each framed by `frame` */
};

/* What became of a batch. */
enum sw_sent {
	SW_SENT,	  /* delivered: the batch is the reporter's again, and empty to it */
	SW_SENT_LATER,	  /* not now: offer it again after retry_ms */
	SW_SENT_NEVER,	  /* refused for good: counted as lost */
	SW_SENT_UNDERWAY, /* the transport keeps it and will call sw_reporter_sent */
};

struct sw_transport {
	const char *name; /* value of SW_AGENT_PROTOCOL */
	enum sw_format format;

	/* Appends one encoded message to a batch as this transport wants it framed. */
	void (*frame)(struct sw_batch *batch, struct sw_bytes message);
	/* Prepares; called once when the thread first starts. 0 or -errno: the transport cannot
	 * ever work (said once); records are dropped and counted from then on. */
	int (*open)(struct sw_agent *agent);
	/* Takes a batch. *ret_retry_ms is written with SW_SENT_LATER. */
	enum sw_sent (*send)(struct sw_agent *agent, struct sw_batch *batch,
			     uint32_t *ret_retry_ms);
	/* One of our descriptors got another number (the program wanted that one). */
	void (*moved)(int from, int to);
	/* Forgets every descriptor without telling the other side: this is the child of a fork. */
	void (*forked)(struct sw_agent *agent);
	/* The process ends. May be NULL. */
	void (*close)(struct sw_agent *agent);
};

/* The names of kinds in `file` lines. */
extern const char *const sw_batch_names[SW_BATCH_KINDS];
