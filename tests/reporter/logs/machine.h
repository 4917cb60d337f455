/* Feeds the line machine, and keeps what it emits as text. */
#pragma once

#include "reporter/logs/logs.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>

#include "preload/config.h"

static char out[1 << 22];
static size_t out_len, out_count;
static uint64_t sequence, now_ns = 1000000000;

/* Each log as "level|logger|endpoint|body\n----\n". */
static void keep_log(void *arg, const struct sw_log *log)
{
	struct sw_bytes level = {0}, logger = {0};

	(void)arg;
	for (size_t i = 0; i < log->tags; i++) {
		if (sw_bytes_equal(log->tag[i].name, SW_BYTES("level")))
			level = log->tag[i].value;
		if (sw_bytes_equal(log->tag[i].name, SW_BYTES("logger")))
			logger = log->tag[i].value;
	}
	out_len += (size_t)snprintf(out + out_len, sizeof(out) - out_len, "%.*s|%.*s|%.*s|",
				    (int)level.len, (const char *)level.at, (int)logger.len,
				    (const char *)logger.at, (int)log->endpoint.len,
				    (const char *)log->endpoint.at);
	memcpy(out + out_len, log->body.at, log->body.len);
	out_len += log->body.len;
	out_len += (size_t)snprintf(out + out_len, sizeof(out) - out_len, "\n----\n");
	out_count++;
}

struct wrote {
	const char *endpoint; /* NULL: none */
	uint32_t stream, thread;
	uint64_t sequence;
	uint8_t source, flags, severity; /* a stream's is told by a record, and 0 stands for none */
	const char *level, *logger;	 /* told by a record; NULL: not */
};

static uint8_t *put_word(uint8_t *at, const char *word)
{
	return word ? (uint8_t *)mempcpy(at, word, strlen(word)) : at;
}

static void put(struct sw_logs *logs, struct wrote wrote, const void *bytes, size_t len)
{
	size_t endpoint = wrote.endpoint ? strlen(wrote.endpoint) : 0;
	size_t level = wrote.level ? strlen(wrote.level) : 0;
	size_t logger = wrote.logger ? strlen(wrote.logger) : 0;
	size_t size = sizeof(struct sw_record_log) + endpoint + level + logger + len;
	struct sw_record_log *record = calloc(1, (size + 7) & ~7ul);

	uint8_t *at = (uint8_t *)(record + 1);

	record->record.size = (uint32_t)((size + 7) & ~7ul);
	record->record.kind = SW_RECORD_LOG;
	record->time_ns = 1700000000000000000;
	record->sequence = wrote.sequence;
	record->stream = wrote.stream;
	record->thread = wrote.thread;
	record->text = (uint32_t)len;
	record->endpoint = (uint16_t)endpoint;
	record->source = wrote.source;
	record->flags = wrote.flags;
	record->severity = wrote.source < SW_LOG_SYSLOG && !wrote.severity ? SW_LOG_NO_SEVERITY
									   : wrote.severity;
	record->level = (uint8_t)level;
	record->logger = (uint8_t)logger;
	if (endpoint) {
		record->segment.low = wrote.endpoint[1];
	}
	at = put_word(at, wrote.endpoint);
	at = put_word(put_word(at, wrote.level), wrote.logger);
	memcpy(at, bytes, len);
	sw_logs_take(logs, record, now_ns);
	free(record);
}

/* One write of text by thread 1 to stream 256. */
static inline void say(struct sw_logs *logs, const char *text)
{
	put(logs,
	    (struct wrote){.stream = 256, .thread = 1, .sequence = sequence++, .severity = 0xff},
	    text, strlen(text));
}

static struct sw_logs *machine(void)
{
	static char *none[] = {NULL};

	sw_config_read(none, &sw_config);
	sw_config.log_least = SW_LEVEL_DEBUG;
	return sw_logs_new(keep_log, NULL);
}

static inline void turn(struct sw_logs *logs, uint64_t ms)
{
	now_ns += ms * 1000000;
	sw_logs_turn(logs, now_ns, false);
}

static inline void end_is(struct sw_logs *logs, const char *text)
{
	sw_logs_turn(logs, now_ns, true);
	cr_assert(!sw_logs_waiting(logs));
	out[out_len] = 0;
	cr_assert_str_eq(out, text);
	sw_logs_free(logs);
}
