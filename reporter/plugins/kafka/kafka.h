/*
 * Inside the plug-in `kafka`: what its files know of each other. Our thread only, but for what
 * says otherwise.
 *
 * librdkafka has threads of its own: one for the client, one for each broker. They never call us:
 * what they have to say waits in a queue, whose descriptor is on our loop.
 */
#pragma once

#include <librdkafka/rdkafka.h>

#include "reporter/plugin.h"

/* What the library lends us. Set once, before anything else. */
extern const struct sw_host *sw_kafka_host;

/* ---- conf.c ---- */

/* What the configuration makes of a client. NULL: it cannot ever work, which has been said. Owned
 * by the caller. Wrong values are said the first time. */
rd_kafka_conf_t *sw_kafka_conf(void);
/* A file of certificates or keys that cannot be read, as a sentence for who could not make a
 * client: OpenSSL does not name it. False: there is none. */
bool sw_kafka_conf_blames(const rd_kafka_conf_t *conf, char *ret_why, size_t room);
/* Namespace and topic of a kind. False: longer than Kafka allows. */
bool sw_kafka_topic(enum sw_batch_kind kind, char *ret_name, size_t room);

/* ---- gate.c ---- */

/* Around a fork, on the thread that forks: waits until no thread holds a lock, or end_ns. */
void sw_kafka_gate_shut(uint64_t end_ns);
void sw_kafka_gate_open(void);
/* In the child. False: a lock may be held by nobody, now and for ever. */
bool sw_kafka_gate_forked(void);

/* ---- threads.c ---- */

/* Threads of librdkafka that run now; any thread. */
unsigned sw_kafka_threads(void);
/* Is one of them in the system's resolver? Any thread. */
bool sw_kafka_looks_up(void);
/* In the child of a fork: none. */
void sw_kafka_threads_forget(void);
