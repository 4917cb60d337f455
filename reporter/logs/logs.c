/*
 * From log records to what is sent; see logs.h.
 *
 * What a line says of itself decides; where it says nothing there is no tag, for we know nothing.
 * For the filter such a line counts as info, on stderr as a warning, and a traceback as an error.
 * The record of a logging library that a line was made of knows better than any reading of its
 * text, but for the members of a JSON object, which somebody chose.
 */
#include "reporter/logs/logs.h"

#include <stdlib.h>

#include "preload/carrier.h"
#include "preload/check.h"
#include "preload/counters.h"
#include "preload/sys.h"
#include "reporter/logs/journal.h"
#include "reporter/logs/lines.h"
#include "reporter/logs/order.h"

#define TRACE_MAX 128
#define TAGS_MAX 5
/* How far a time in a line may be from the moment of its writing to be believed. */
#define EARLIER_MS 3600000
#define LATER_MS 60000

struct sw_logs {
	void (*emit)(void *arg, const struct sw_log *log);
	void *arg;
	struct sw_log_order *order; /* Owned */
	struct sw_log_lines *lines; /* Owned */
	struct sw_buffer clean;	    /* a text without credentials */
	uint64_t now_ns;
	uint64_t second; /* for which `sent` counts */
	uint64_t sent;
};

/* ---- what is said of a line ---- */

/* Texts that a log borrows. */
struct texts {
	uint8_t trace[TRACE_MAX], segment[SW_ID_TEXT], level[SW_FACT_MAX], part[20];
	struct sw_label tag[TAGS_MAX];
};

/* The first `len` bytes of *words. */
static struct sw_bytes next_word(struct sw_bytes *words, size_t len)
{
	struct sw_bytes word = sw_bytes_slice(*words, 0, len);

	*words = sw_bytes_from(*words, len);
	return word;
}

static void tell_level(uint8_t severity, struct sw_bytes level, struct sw_log_facts *facts)
{
	struct sw_bytes word = {NULL, 0};

	if (severity != SW_LOG_NO_SEVERITY)
		facts->severity = sw_log_severity(severity, &word);
	else if (!sw_log_level(level, &facts->severity))
		facts->severity = SW_LEVEL_INFO; /* one of the program's own, without a number */
	facts->level = level.len ? level : word;
	facts->levelled = true;
}

/* What the record says that the line is of. */
static void add_told(const struct sw_log_piece *piece, struct sw_log_facts *facts)
{
	const struct sw_record_log *origin = piece->origin;
	struct sw_bytes words =
		sw_bytes_from(piece->words, (size_t)origin->trace + origin->endpoint);
	struct sw_bytes level = next_word(&words, origin->level);
	struct sw_bytes logger = next_word(&words, origin->logger), thread = words;

	if (!level.len && origin->severity == SW_LOG_NO_SEVERITY)
		return;
	if (!facts->json || !facts->levelled)
		tell_level(origin->severity, level, facts);
	if (logger.len && (!facts->json || !facts->logger.len))
		facts->logger = logger;
	if (thread.len && (!facts->json || !facts->thread.len))
		facts->thread = thread;
}

/* Of a text that says no level the record is looked for from now on. */
static void read_line(const struct sw_log_piece *piece, struct sw_log_facts *facts)
{
	sw_log_read(piece->head, facts);
	if (!facts->levelled)
		atomic_store_explicit(&sw_process_levels_asked, true, memory_order_relaxed);
	add_told(piece, facts);
}

static struct sw_bytes read_facts(const struct sw_log_piece *piece, struct sw_log_facts *facts)
{
	switch (piece->origin->source) {
	case SW_LOG_SYSLOG:
		*facts = (struct sw_log_facts){.layout = "syslog", .levelled = true};
		facts->severity = sw_log_severity(piece->origin->severity, &facts->level);
		return piece->text;
	case SW_LOG_DEVLOG:
		return sw_log_read_syslog(piece->text, facts);
	case SW_LOG_JOURNAL:
		return sw_log_read_journal(piece->text, facts);
	default:
		read_line(piece, facts);
		return piece->text;
	}
}

static enum sw_level counts_as(const struct sw_log_piece *piece, const struct sw_log_facts *facts)
{
	if (facts->levelled)
		return facts->severity;
	if (piece->failed)
		return SW_LEVEL_ERROR;
	return piece->origin->source == SW_LOG_STDERR ? SW_LEVEL_WARNING : SW_LEVEL_INFO;
}

static bool within_rate(struct sw_logs *logs)
{
	if (logs->now_ns / SW_SECOND_NS != logs->second) {
		logs->second = logs->now_ns / SW_SECOND_NS;
		logs->sent = 0;
	}
	return !sw_config.log_rate || logs->sent++ < sw_config.log_rate;
}

/* ---- credentials ---- */

/* "user:password@" at the start: how long it is; 0: there is none. A password may have an @ in it.
 */
static size_t credentials_len(struct sw_bytes text)
{
	size_t len = 0;

	for (size_t i = 0; i < SW_MIN(text.len, 512); i++) {
		if (text.at[i] <= ' ' || memchr("/?#\"'<>\\", text.at[i], 8))
			break;
		if (text.at[i] == '@')
			len = i + 1;
	}
	return len;
}

static struct sw_bytes without_credentials(struct sw_buffer *clean, struct sw_bytes text)
{
	size_t from = 0;

	clean->len = 0;
	clean->failed = false;
	for (size_t i = 0; i + 3 < text.len; i++) {
		size_t len = 0;

		if (memcmp(text.at + i, "://", 3) == 0)
			len = credentials_len(sw_bytes_from(text, i + 3));
		if (len) {
			sw_buffer_add(clean, sw_bytes_slice(text, from, i + 3));
			from = i + 3 + len;
		}
	}
	if (!from)
		return text;
	sw_buffer_add(clean, sw_bytes_from(text, from));
	return clean->failed ? sw_bytes(NULL, 0) : sw_bytes(clean->at, clean->len);
}

/* ---- making a log ---- */

static void add_tag(struct sw_log *log, struct texts *texts, struct sw_bytes name,
		    struct sw_bytes value)
{
	if (value.len)
		texts->tag[log->tags++] = (struct sw_label){name, value};
}

static struct sw_bytes in_capitals(struct sw_bytes word, uint8_t *at)
{
	size_t len = SW_MIN(word.len, SW_FACT_MAX);

	for (size_t i = 0; i < len; i++)
		at[i] = word.at[i] >= 'a' && word.at[i] <= 'z' ? word.at[i] & 0xdf : word.at[i];
	return sw_bytes(at, len);
}

static void add_tags(struct sw_log *log, struct texts *texts, const struct sw_log_piece *piece,
		     const struct sw_log_facts *facts)
{
	struct sw_writer part = sw_writer(texts->part, sizeof(texts->part));

	log->tag = texts->tag;
	add_tag(log, texts, SW_BYTES("level"), in_capitals(facts->level, texts->level));
	add_tag(log, texts, SW_BYTES("logger"), facts->logger);
	add_tag(log, texts, SW_BYTES("thread"), facts->thread);
	if (piece->part)
		sw_write_number(&part, piece->part);
	add_tag(log, texts, SW_BYTES("part"), sw_written(&part));
	if (piece->cut)
		add_tag(log, texts, SW_BYTES("truncated"), SW_BYTES("true"));
}

/* The trace as it is sent: whole, or the line is nobody's. */
static void set_context(struct sw_log *log, struct texts *texts, const struct sw_log_piece *piece)
{
	const struct sw_record_log *origin = piece->origin;
	struct sw_writer trace = sw_writer(texts->trace, sizeof(texts->trace));
	struct sw_writer segment = sw_writer(texts->segment, sizeof(texts->segment));

	log->endpoint = sw_bytes_slice(piece->words, origin->trace,
				       (size_t)origin->trace + origin->endpoint);
	if (!origin->segment.high && !origin->segment.low)
		return;
	if (!origin->trace)
		sw_write_id(&trace, sw_process_trace_of(origin->segment));
	else if (!sw_read_base64(sw_bytes_slice(piece->words, 0, origin->trace), &trace) ||
		 trace.cut)
		return;
	sw_write_id(&segment, origin->segment);
	log->trace = sw_written(&trace);
	log->segment = sw_written(&segment);
}

static int64_t time_of(const struct sw_record_log *origin, const struct sw_log_facts *facts)
{
	int64_t written = origin->time_ns / 1000000, said = facts->time_ms;

	return said > written - EARLIER_MS && said < written + LATER_MS ? said : written;
}

static void take_piece(void *arg, const struct sw_log_piece *piece)
{
	struct sw_logs *logs = arg;
	struct sw_log_facts facts;
	struct texts texts;
	struct sw_log log = {.body = read_facts(piece, &facts)};

	if (counts_as(piece, &facts) < (enum sw_level)sw_config.log_least) {
		sw_count(LOG_FILTERED);
		return;
	}
	if (!within_rate(logs)) {
		sw_count(LOG_LIMITED);
		return;
	}
	if (sw_config.log_safe)
		log.body = without_credentials(&logs->clean, log.body);
	log.json = facts.json && !piece->part && !piece->cut;
	log.timestamp_ms = time_of(piece->origin, &facts);
	set_context(&log, &texts, piece);
	add_tags(&log, &texts, piece, &facts);
	if (log.body.len)
		logs->emit(logs->arg, &log);
}

/* ---- lifetime ---- */

static void take_ordered(void *arg, const struct sw_record_log *record)
{
	struct sw_logs *logs = arg;

	sw_log_lines_take(logs->lines, record, logs->now_ns);
}

static void take_gap(void *arg, uint32_t stream)
{
	struct sw_logs *logs = arg;

	sw_log_lines_gap(logs->lines, stream);
}

struct sw_logs *sw_logs_new(void (*emit)(void *arg, const struct sw_log *log), void *arg)
{
	struct sw_logs *logs = calloc(1, sizeof(*logs));

	if (!logs)
		return NULL;
	logs->emit = emit;
	logs->arg = arg;
	logs->order = sw_log_order_new(take_ordered, take_gap, logs);
	logs->lines = sw_log_lines_new(take_piece, logs, sw_config.log_line_max);
	return logs->order && logs->lines ? logs : sw_logs_free(logs);
}

struct sw_logs *sw_logs_free(struct sw_logs *logs)
{
	if (!logs)
		return NULL;
	sw_log_order_free(logs->order);
	sw_log_lines_free(logs->lines);
	sw_buffer_free(&logs->clean);
	free(logs);
	return NULL;
}

static bool is_sound(const struct sw_record_log *record)
{
	uint64_t texts = (uint64_t)record->trace + record->endpoint + record->level +
			 record->logger + record->name + record->text;

	return record->record.size >= sizeof(*record) &&
	       record->record.size - sizeof(*record) >= texts &&
	       record->source < SW_LOG_SOURCE_COUNT;
}

void sw_logs_take(struct sw_logs *logs, const struct sw_record_log *record, uint64_t now_ns)
{
	logs->now_ns = now_ns;
	if (!SW_CHECK(is_sound(record)))
		return;
	if (record->stream)
		sw_log_order_take(logs->order, record);
	else
		take_ordered(logs, record);
}

void sw_logs_turn(struct sw_logs *logs, uint64_t now_ns, bool all)
{
	logs->now_ns = now_ns;
	sw_log_order_turn(logs->order, all);
	sw_log_lines_turn(logs->lines, now_ns, all);
}

bool sw_logs_waiting(const struct sw_logs *logs)
{
	return sw_log_order_waiting(logs->order) || sw_log_lines_waiting(logs->lines);
}
