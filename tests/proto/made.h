/* Records of the kinds beside segments, made by hand: for tests/proto/emit.c and for
 * tests/reporter/made.c, whose readers state once more what they say. */
#pragma once

#include "proto/encode.h"

#define MADE_MS 1700000000000
#define MADE_TRACE "made-trace"
#define MADE_SEGMENT "made-segment"
#define MADE_TASK "made-task"

#define MADE_LABEL(name, value)                                                                    \
	{                                                                                          \
		{(const uint8_t *)(name), sizeof(name) - 1},                                       \
		{                                                                                  \
			(const uint8_t *)(value), sizeof(value) - 1                                \
		}                                                                                  \
	}
#define MADE_TEXT(text)                                                                            \
	{                                                                                          \
		(const uint8_t *)(text), sizeof(text) - 1                                          \
	}

static const struct sw_label made_log_tags[] = {MADE_LABEL("level", "WARNING"),
						MADE_LABEL("logger", "caf\xc3\xa9 \xff")};

static const struct sw_log made_logs[] = {
	{
		.timestamp_ms = MADE_MS,
		.body = MADE_TEXT("a line \xe2\x82\xac\nand its second"),
		.endpoint = MADE_TEXT("/users"),
		.trace = MADE_TEXT(MADE_TRACE),
		.segment = MADE_TEXT(MADE_SEGMENT),
		.span = 2,
		.tag = made_log_tags,
		.tags = 2,
	},
	{
		.timestamp_ms = MADE_MS + 1,
		.body = MADE_TEXT("{\"message\": \"of no request\"}"),
		.json = true,
		.layer = MADE_TEXT("GENERAL"),
	},
	{.timestamp_ms = MADE_MS + 2, .body = MADE_TEXT("a\0b\xed\xa0\x80")},
};

static const struct sw_label made_meter_labels[] = {MADE_LABEL("loop", "1"),
						    MADE_LABEL("kind", "\xff\"")};
static const struct sw_bucket made_buckets[] = {{0, 3, false}, {0.5, 0, false}, {10, 2, false}};
static const struct sw_bucket made_odd_buckets[] = {
	{0, 3, true}, {0, 0, false}, {0.5, 1, false}, {10, INT64_MAX, false}};

static const struct sw_meter made_meters[] = {
	{.name = MADE_TEXT("made_single"), .value = 12.5, .timestamp_ms = MADE_MS},
	{
		.name = MADE_TEXT("made_labelled"),
		.label = made_meter_labels,
		.labels = 2,
		.value = -0.0,
		.timestamp_ms = MADE_MS,
	},
	{
		.name = MADE_TEXT("made_histogram"),
		.label = made_meter_labels,
		.labels = 1,
		.bucket = made_buckets,
		.buckets = SW_COUNT_OF(made_buckets),
		.timestamp_ms = MADE_MS,
	},
	{.name = MADE_TEXT("made_nothing"), .timestamp_ms = MADE_MS},
};

/* What no collector should get: OAP 10.1 cannot take percentiles of it. */
static const struct sw_meter made_odd_meter = {
	.name = MADE_TEXT("made_histogram"),
	.label = made_meter_labels,
	.labels = 1,
	.bucket = made_odd_buckets,
	.buckets = SW_COUNT_OF(made_odd_buckets),
	.timestamp_ms = MADE_MS,
};

static const struct sw_label made_parameters[] = {MADE_LABEL("thread", "main"),
						  MADE_LABEL("ms", "300\x80")};

static const struct sw_event made_events[] = {
	{
		.uuid = MADE_TEXT("made-event-1"),
		.name = MADE_TEXT("LoopBlocked"),
		.error = true,
		.message = MADE_TEXT("a loop was blocked"),
		.endpoint = MADE_TEXT("/slow"),
		.parameter = made_parameters,
		.parameters = 2,
		.start_ms = MADE_MS,
		.end_ms = MADE_MS + 300,
	},
	{.uuid = MADE_TEXT("made-event-2"), .name = MADE_TEXT("Start"), .start_ms = MADE_MS},
};

static const struct sw_bytes made_frames[] = {MADE_TEXT("/app/main.py.<module>: 1"), MADE_TEXT(""),
					      MADE_TEXT("/app/main.py.caf\xc3\xa9\xff: 42")};

static const struct sw_snapshot made_snapshots[] = {
	{MADE_TEXT(MADE_TASK), MADE_TEXT(MADE_SEGMENT), MADE_MS, 0, made_frames, 3},
	{MADE_TEXT(MADE_TASK), MADE_TEXT(MADE_SEGMENT), MADE_MS + 10, 1, made_frames, 0},
};
