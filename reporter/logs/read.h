/*
 * What a line of log says of itself: level, logger, thread, time. Pure: the same bytes give the
 * same facts. Lines are a stranger's: any bytes, any length.
 */
#pragma once

#include "preload/config.h"

/* Longest names that are believed; a longer one is not a name. */
#define SW_FACT_MAX 128

/* Views into the line; empty: it does not say. */
struct sw_log_facts {
	const char *layout; /* name of its row in layouts.def, "json", or NULL */
	bool levelled;	    /* `severity` is known */
	enum sw_level severity;
	struct sw_bytes level; /* the word that says so, as it stands there or as a literal */
	struct sw_bytes logger;
	struct sw_bytes thread;
	int64_t time_ms; /* Unix time where it stands there without doubt of its zone, else 0 */
	bool json;	 /* the whole line is one JSON object */
};

/* Clears *ret_facts first. */
void sw_log_read(struct sw_bytes line, struct sw_log_facts *ret_facts);

/* A JSON object and what keys that are usual for it say. False: it is none; facts are as before. */
bool sw_log_read_json(struct sw_bytes line, struct sw_log_facts *facts);

/* Is this the word of a level? In any case of letters. */
bool sw_log_level(struct sw_bytes word, enum sw_level *ret_severity);
/* Of syslog: 0 to 7. */
enum sw_level sw_log_severity(unsigned priority, struct sw_bytes *ret_word);

/* Unix milliseconds of "2024-05-06T07:08:09.123Z" and the like with a zone. False: it is not that.
 */
bool sw_log_time(struct sw_bytes text, int64_t *ret_ms);
