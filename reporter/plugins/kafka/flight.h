/*
 * Batches underway: one message of Kafka for each of the batch's, and what became of it.
 *
 * librdkafka reports on every message alone, and some of a batch may have arrived when others have
 * not. So each is framed by a word with its length and its fate; when all are known, what arrived
 * and what is lost leaves the batch, and the rest is offered again. The bytes stay where they are
 * meanwhile: librdkafka reads them in the batch.
 */
#pragma once

#include "reporter/plugins/kafka/kafka.h"

/* Batches underway at once. */
#define SW_FLIGHTS_MAX 8

/* Is there a topic for such a kind? */
bool sw_flight_knows(enum sw_batch_kind kind);

/* The transport's `frame`. */
void sw_flight_frame(struct sw_batch *batch, struct sw_bytes message);

/* Hands all messages of a batch to librdkafka. False: no room, nothing happened. */
bool sw_flight_begin(rd_kafka_topic_t *topic, struct sw_batch *batch);

/* What became of a message. */
void sw_flight_report(const rd_kafka_message_t *message);

/* What came of reports; told when a batch is given back. */
struct sw_flight_news {
	bool arrived;		   /* some message */
	rd_kafka_resp_err_t error; /* of one that is offered again, after a while */
	rd_kafka_resp_err_t lost;  /* of one that is lost */
};

/* Gives back the batches of which everything is known; go_on: hands over what waited for that. */
struct sw_flight_news sw_flight_land(struct sw_agent *agent, bool go_on);

/* The client is gone: what was not reported on may have arrived. */
void sw_flight_abandon(struct sw_agent *agent);

/* In the child of a fork: they are the parent's. */
void sw_flight_forget(void);

unsigned sw_flights(void);
