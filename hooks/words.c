/* What a log line says of its request; see words.h. */
#include "hooks/words.h"

#include "hooks/ended.h"
#include "hooks/span.h"

/* How many of those that have ended are looked through: a task that outlives its request by hours
 * would pay for all of them with each line. */
#define RECENT 256

static void set(struct sw_words *words, struct sw_id segment, struct sw_bytes trace,
		struct sw_bytes endpoint)
{
	struct sw_writer w = sw_writer(words->text, sizeof(words->text));

	words->segment = segment;
	sw_write(&w, trace);
	words->trace_len = (uint16_t)w.len;
	sw_write(&w, endpoint);
	words->endpoint_len = (uint16_t)(w.len - words->trace_len);
}

/* A trace id that did not fit is no trace id. */
static bool of_open(const struct span *span, struct sw_words *words)
{
	if (span->suppressed || span->calls_nobody || span->record.type != SW_SPAN_ENTRY ||
	    span->births != atomic_load(&sw_process_births))
		return false;
	set(words, span->record.segment, sw_bytes(span->trace64, span->trace_len),
	    sw_bytes(span->text + span->operation_at, span->operation_len));
	return true;
}

static bool of_ended(sw_ref entry, struct sw_words *words)
{
	const struct sw_ended *ended = sw_ended_recent(entry, RECENT);

	if (!ended || ended->suppressed)
		return false;
	set(words, ended->segment, sw_bytes(ended->text, SW_MIN(ended->trace_len, SW_TRACE64_MAX)),
	    sw_bytes(ended->text + ended->trace_len, SW_MIN(ended->operation_len, 150)));
	return sw_ended_still(ended, entry);
}

bool sw_words_find(sw_ref entry, struct sw_words *ret_words)
{
	struct span *span = entry ? sw_span_hold(entry) : NULL;
	bool found;

	if (!entry)
		return false;
	if (!span)
		return of_ended(entry, ret_words);
	found = of_open(span, ret_words);
	sw_span_let_go(span, entry);
	return found;
}
