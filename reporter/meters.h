/*
 * What is measured, each period. Rows in meters.def; who measures it, in meter_sources.def.
 *
 * All on our thread, within a turn: every SW_AGENT_METER_REPORTER_PERIOD seconds all sources are
 * asked one after the other, and what they put leaves as one stream, with one time. A source may
 * read files and allocate; it must not wait. What it does not know it does not put. Numbers of the
 * program's threads reach it by atomics of preload/.
 */
#pragma once

#include "preload/tallies.h"
#include "reporter/reporter.h"

enum sw_meter_id {
#define SW_METER(id, name, type, unit, labels, doc) SW_METER_##id,
#include "reporter/meters.def"
#undef SW_METER
	SW_METERS
};

enum sw_meter_type { SW_METER_GAUGE, SW_METER_COUNTER, SW_METER_HISTOGRAM };

#define SW_METER_LABELS_MAX 4

/* Where readings of one period go. */
struct sw_meter_sink {
	struct sw_agent *agent;
	int64_t now_ms; /* Unix time: of all of them */
};

struct sw_meter_source {
	const char *name;
	/* The process begins to report; also in the child of a fork, where what was noted before is
	 * the parent's. May be NULL. */
	void (*begin)(struct sw_agent *agent);
	void (*collect)(struct sw_agent *agent, struct sw_meter_sink *sink);
};

/*
 * One reading. `label` has the values of the row's labels, in the row's order, any bytes, borrowed
 * until the call returns; NULL where the row has none. Readings of one row have different labels.
 * What is not a finite number is not known, and is not sent.
 */
void sw_meters_put(struct sw_meter_sink *sink, enum sw_meter_id id, const struct sw_bytes *label,
		   double value);
/* What a tally has counted, in such units; with the value of the row's label, or NULL. What has
 * never happened is not sent. */
void sw_meters_put_tally(struct sw_meter_sink *sink, enum sw_meter_id id, const char *label,
			 enum sw_tally tally, double unit);
/* Of a HISTOGRAM; counts since the process began, least values first and growing. */
void sw_meters_put_buckets(struct sw_meter_sink *sink, enum sw_meter_id id,
			   const struct sw_bytes *label, const struct sw_bucket *bucket,
			   size_t count);

/* Collects when a period is over. Sets agent->meters_ns, the moment of the next one. */
void sw_meters_tick(struct sw_agent *agent);

/* A whole file of /proc or /sys into `text`, as far as there is room, with a NUL. Bytes, or -errno.
 */
long sw_meters_read(const char *path, char *text, size_t room);
