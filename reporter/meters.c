/*
 * Meters: asked for once a period, sent as one stream; see meters.h.
 *
 * A collector evaluates what it has when a stream ends, so readings that belong together are closed
 * together. Between two periods nothing here runs, and our thread is not woken for it.
 */
#include "reporter/meters.h"

#include <fcntl.h>
#include <math.h>

#include "preload/check.h"
#include "preload/config.h"
#include "preload/fds.h"
#include "preload/sys.h"
#include "reporter/say.h"

#define NEVER UINT64_MAX

static const struct row {
	const char *name;
	enum sw_meter_type type;
	const char *labels; /* names, with commas between */
} rows[SW_METERS] = {
#define SW_METER(id, name, type, unit, labels, doc) {name, SW_METER_##type, labels},
#include "reporter/meters.def"
#undef SW_METER
};

#define SW_METER_SOURCE(name, active, doc) extern const struct sw_meter_source sw_meters_##name;
#include "reporter/meter_sources.def"
#undef SW_METER_SOURCE

static const struct {
	const struct sw_meter_source *source;
	const bool *active;
} sources[] = {
#define SW_METER_SOURCE(name, active, doc) {&sw_meters_##name, &sw_config.active},
#include "reporter/meter_sources.def"
#undef SW_METER_SOURCE
};

/* ---- readings ---- */

/* The row's names beside the values. Returns how many. */
static size_t fill_labels(const struct row *row, const struct sw_bytes *value,
			  struct sw_label ret_label[SW_METER_LABELS_MAX])
{
	struct sw_bytes names = sw_bytes_text(row->labels);
	size_t count = 0;

	while (names.len && count < SW_METER_LABELS_MAX) {
		size_t len = sw_bytes_find(names, ',');

		ret_label[count].name = sw_bytes_slice(names, 0, len);
		ret_label[count].value = value[count];
		count++;
		names = sw_bytes_from(names, len + 1);
	}
	return count;
}

static void put(struct sw_meter_sink *sink, enum sw_meter_id id, const struct sw_bytes *value,
		struct sw_meter *meter)
{
	struct sw_label label[SW_METER_LABELS_MAX];

	if (!SW_CHECK(!rows[id].labels[0] || value))
		return;
	meter->name = sw_bytes_text(rows[id].name);
	meter->timestamp_ms = sink->now_ms;
	meter->label = label;
	meter->labels = fill_labels(&rows[id], value, label);
	sw_reporter_meter(sink->agent, meter);
}

void sw_meters_put(struct sw_meter_sink *sink, enum sw_meter_id id, const struct sw_bytes *label,
		   double value)
{
	struct sw_meter meter = {.value = value};

	if (isfinite(value))
		put(sink, id, label, &meter);
}

void sw_meters_put_tally(struct sw_meter_sink *sink, enum sw_meter_id id, const char *label,
			 enum sw_tally tally, double unit)
{
	struct sw_bytes value = sw_bytes_text(label);
	uint64_t n = sw_tally_read(tally);

	if (n)
		sw_meters_put(sink, id, label ? &value : NULL, (double)n / unit);
}

void sw_meters_put_buckets(struct sw_meter_sink *sink, enum sw_meter_id id,
			   const struct sw_bytes *label, const struct sw_bucket *bucket,
			   size_t count)
{
	struct sw_meter meter = {.bucket = bucket, .buckets = count};

	if (SW_CHECK(count > 0 && rows[id].type == SW_METER_HISTOGRAM))
		put(sink, id, label, &meter);
}

/* ---- periods ---- */

static bool wanted(void)
{
	static bool said;

	if (!sw_config.meter_active || sw_reporter_takes(SW_BATCH_METER))
		return sw_config.meter_active;
	/* A default is no reason to write into every program's output. */
	if (sw_say_first(&said))
		sw_say(sw_config_given(&sw_config.meter_active) ? SW_LEVEL_WARNING : SW_LEVEL_DEBUG,
		       "this protocol takes no meters; none are made "
		       "(SW_AGENT_PROTOCOL, SW_AGENT_METER_REPORTER_ACTIVE)");
	return false;
}

static uint64_t after_period(const struct sw_agent *agent)
{
	return agent->now_ns + sw_config.meter_period_s * SW_SECOND_NS;
}

static void begin(struct sw_agent *agent)
{
	agent->meters_ns = NEVER;
	if (!wanted())
		return;
	for (size_t i = 0; i < SW_COUNT_OF(sources); i++) {
		if (*sources[i].active && sources[i].source->begin)
			sources[i].source->begin(agent);
	}
	agent->meters_ns = after_period(agent);
}

void sw_meters_tick(struct sw_agent *agent)
{
	struct sw_meter_sink sink = {agent, 0};

	if (!agent->meters_ns)
		begin(agent);
	if (agent->now_ns < agent->meters_ns)
		return;
	sink.now_ms = (int64_t)(sw_clock_ns(CLOCK_REALTIME) / 1000000);
	for (size_t i = 0; i < SW_COUNT_OF(sources); i++) {
		if (*sources[i].active)
			sources[i].source->collect(agent, &sink);
	}
	sw_queue_close(&agent->queue, SW_BATCH_METER);
	agent->meters_ns = after_period(agent);
}

/* ---- files ---- */

/* In a table of descriptors that is the program's it is there for a moment, out of its way. */
long sw_meters_read(const char *path, char *text, size_t room)
{
	long fd = sw_sys(openat, AT_FDCWD, path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK, 0);
	long got = 0;
	size_t len = 0;

	if (fd >= 0)
		fd = sw_fd_adopt((int)fd);
	if (fd < 0)
		return fd;
	while (len + 1 < room && (got = sw_sys(read, fd, text + len, room - 1 - len)) > 0)
		len += (size_t)got;
	sw_fd_close_ours((int)fd);
	text[len] = '\0';
	return got < 0 ? got : (long)len;
}
