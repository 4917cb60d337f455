/*
 * Batches on their way: being filled, waiting, or with the transport. Our thread only.
 *
 * A batch is the unit of everything behind the encoder: of sending, of retrying, of an answer. The
 * queue owns all of them but those that a transport keeps (SW_SENT_UNDERWAY).
 */
#pragma once

#include "preload/config.h"
#include "preload/counters.h"
#include "proto/buffer.h"

enum sw_batch_kind {
#define SW_KIND(id, name, method, messages, protocols, doc) SW_BATCH_##id,
#define SW_KIND_COUNTED(id, name, method, messages, protocols, limit, doc) SW_BATCH_##id,
#include "reporter/kinds.def"
#undef SW_KIND
#undef SW_KIND_COUNTED
	SW_BATCH_KINDS
};

/* Sets of protocols. */
enum sw_protocols {
	SW_BY_GRPC = 1 << SW_PROTOCOL_GRPC,
	SW_BY_HTTP = 1 << SW_PROTOCOL_HTTP,
	SW_BY_KAFKA = 1 << SW_PROTOCOL_KAFKA,
	SW_BY_FILE = 1 << SW_PROTOCOL_FILE,
	SW_BY_ALL = SW_BY_GRPC | SW_BY_HTTP | SW_BY_KAFKA | SW_BY_FILE,
};

/* What becomes of a message, for the counters. PRODUCED are all but DROPPED; of these, SENT, LOST
 * and, at the end, LEFT are all. */
enum sw_fate {
	SW_FATE_PRODUCED, /* encoded, or lost in the attempt */
	SW_FATE_DROPPED,  /* never queued: too many wait, or the protocol does not take it */
	SW_FATE_SENT,
	SW_FATE_LOST,
	SW_FATE_LEFT,
	SW_FATES
};

struct sw_kind {
	const char *name;   /* in `file` lines */
	const char *method; /* path of the gRPC call */
	unsigned messages;  /* most of one batch */
	uint8_t protocols;  /* enum sw_protocols */
	bool counted;
	uint8_t counter[SW_FATES]; /* enum sw_counter; counted ones only */
};

extern const struct sw_kind sw_kinds[SW_BATCH_KINDS];

/* Notes what became of `count` messages; of kinds that are not counted nothing is noted. */
void sw_kind_count(enum sw_batch_kind kind, enum sw_fate fate, unsigned count);
/* Most messages of a kind that may wait: its key. */
unsigned sw_kind_limit(enum sw_batch_kind kind);

/* Bytes at which a batch is full, whatever the number of its messages. */
#define SW_BATCH_BYTES (256u << 10)
/* How much larger batches may grow while others wait. */
#define SW_BATCH_GROWTH 10

/* Messages of one kind, encoded in the transport's format. */
struct sw_batch {
	enum sw_batch_kind kind;
	unsigned count;		/* messages */
	unsigned refused;	/* how often the other side found fault with this very batch */
	bool seen;		/* was sent and not answered: sending it again may make doubles */
	struct sw_buffer bytes; /* the messages one after the other, each framed by the transport */
	size_t counted;		/* of these, in the queue's sum */
	struct sw_batch *next;	/* the queue's, or whose it is for the time being */
};

struct sw_queue {
	struct sw_batch *filling[SW_BATCH_KINDS]; /* Owned; NULL: none */
	struct sw_batch *first, *last;		  /* Owned; they wait, oldest first */
	struct sw_batch *spare;			  /* Owned; empty ones, with their memory */
	unsigned spares;
	unsigned messages[SW_BATCH_KINDS]; /* in all batches, underway or not */
	unsigned flying[SW_BATCH_KINDS];   /* of these, underway */
	unsigned underway;		   /* batches that a transport keeps */
	size_t bytes;			   /* of all messages, as they were when they came */
	bool crowded; /* when the transport was last offered something it did not take all */
};

/* The batch that one more message of this kind goes into. NULL: no memory. */
struct sw_batch *sw_queue_fill(struct sw_queue *queue, enum sw_batch_kind kind);

/* A transport has taken a batch, or has given it back. */
void sw_queue_left(struct sw_queue *queue, const struct sw_batch *batch);
void sw_queue_landed(struct sw_queue *queue, const struct sw_batch *batch);

/* So many messages have left a batch that is underway. */
void sw_queue_shed(struct sw_queue *queue, struct sw_batch *batch, unsigned count);

/* One message was appended to it. A full batch stops being filled and waits. While the queue is
 * crowded, batches of many messages grow further: the transport has no room for more of them. */
void sw_queue_added(struct sw_queue *queue, struct sw_batch *batch);

/* What is being filled of this kind waits from now on, if there is anything. */
void sw_queue_close(struct sw_queue *queue, enum sw_batch_kind kind);

/* Takes the first that waits, which the caller then has; NULL: none. */
struct sw_batch *sw_queue_take(struct sw_queue *queue);
/* Gives one back, to be the first again. */
void sw_queue_return(struct sw_queue *queue, struct sw_batch *batch);
/* Forgets one whose messages were delivered or lost. */
void sw_queue_done(struct sw_queue *queue, struct sw_batch *batch);

void sw_queue_free(struct sw_queue *queue);
