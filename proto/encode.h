/*
 * Records to messages to bytes. The only includer of generated headers.
 *
 * Called by the reporter on our thread. Allocates only in the output buffer; messages are
 * protobuf-c structs that the encoder owns and uses again. One encoder per reporter.
 */
#pragma once

#include "preload/record.h"
#include "proto/buffer.h"

/* How a message becomes bytes. */
enum sw_format {
	SW_FORMAT_PROTOBUF, /* the message alone, no length prefix */
	SW_FORMAT_JSON,	    /* protobuf's JSON mapping, no line end */
};

/* What every message says of its sender. Borrowed, NUL terminated. */
struct sw_sender {
	const char *service;
	const char *instance;
};

struct sw_property {
	const char *key, *value; /* Borrowed */
};

/* The spans of one segment, children first, span 0 last (specification 2). Borrowed. */
struct sw_segment {
	const struct sw_record_span *const *span;
	size_t count;
};

struct sw_encoder; /* Owned by the reporter */

struct sw_encoder *sw_encoder_new(void); /* NULL: no memory */
struct sw_encoder *sw_encoder_free(struct sw_encoder *encoder);

/*
 * Each appends one message to `out` and returns true, or appends nothing and returns false (a
 * record that is broken, or no memory). Texts that are not valid UTF-8 are mended: one bad byte
 * makes a collector refuse the whole message.
 */
bool sw_encode_segment(struct sw_encoder *encoder, enum sw_format format,
		       const struct sw_sender *sender, const struct sw_segment *segment,
		       struct sw_buffer *out);
bool sw_encode_properties(struct sw_encoder *encoder, enum sw_format format,
			  const struct sw_sender *sender, const struct sw_property *property,
			  size_t count, struct sw_buffer *out);
bool sw_encode_ping(struct sw_encoder *encoder, enum sw_format format,
		    const struct sw_sender *sender, struct sw_buffer *out);

/* ---- records of other kinds: specification 3.4, 4.1, 5 ---- */

/* A tag, a label, a parameter. Borrowed; any bytes. */
struct sw_label {
	struct sw_bytes name, value;
};

/* A line that the program wrote. */
struct sw_log {
	int64_t timestamp_ms;	  /* Unix time */
	struct sw_bytes body;	  /* one line, or several that belong together */
	bool json;		  /* the body is a JSON document */
	struct sw_bytes endpoint; /* of the request it was written for; empty: of none */
	/* The span it was written for, ids as they are sent; `trace` empty: of none. */
	struct sw_bytes trace, segment;
	int32_t span;
	struct sw_bytes layer;	    /* empty: the collector's default */
	const struct sw_label *tag; /* Borrowed; `level` and `logger` are those that are known */
	size_t tags;
};

/* How many values were not less than `least`, and less than that of the next bucket. */
struct sw_bucket {
	double least;
	int64_t count;
	/* Has no least value; only the first may be so. An OAP fails to take percentiles with it
	 * (10.1: "infinite-" is no number to it): begin with the least value that there is. */
	bool endless;
};

/* One reading of one meter. */
struct sw_meter {
	struct sw_bytes name;
	const struct sw_label *label; /* Borrowed */
	size_t labels;
	double value;			/* when there are no buckets */
	const struct sw_bucket *bucket; /* Borrowed; a histogram, least first */
	size_t buckets;
	int64_t timestamp_ms; /* Unix time */
};

/* Something that happened to this instance. */
struct sw_event {
	struct sw_bytes
		uuid; /* different for different events, equal for reports on the same one */
	struct sw_bytes name;
	bool error;
	struct sw_bytes message;
	struct sw_bytes endpoint;	  /* empty: it concerns the whole instance */
	const struct sw_label *parameter; /* Borrowed */
	size_t parameters;
	int64_t start_ms, end_ms; /* Unix time; end 0: it goes on */
};

/* The stack of a request at one moment, for a profile task. */
struct sw_snapshot {
	struct sw_bytes task, segment; /* ids as they came and are sent */
	int64_t time_ms;	       /* Unix time */
	int32_t sequence;	       /* from 0 in each segment, without gaps */
	const struct sw_bytes *frame;  /* Borrowed; outermost first */
	size_t frames;
};

bool sw_encode_log(enum sw_format format, const struct sw_sender *sender, const struct sw_log *log,
		   struct sw_buffer *out);
/* sender NULL: of a stream whose first message has told (specification 3.5). */
bool sw_encode_meter(struct sw_encoder *encoder, enum sw_format format,
		     const struct sw_sender *sender, const struct sw_meter *meter,
		     struct sw_buffer *out);
bool sw_encode_event(struct sw_encoder *encoder, enum sw_format format,
		     const struct sw_sender *sender, const struct sw_event *event,
		     struct sw_buffer *out);
bool sw_encode_snapshot(struct sw_encoder *encoder, enum sw_format format,
			const struct sw_snapshot *snapshot, struct sw_buffer *out);
/* The profile task is done. */
bool sw_encode_finish(struct sw_encoder *encoder, enum sw_format format,
		      const struct sw_sender *sender, struct sw_bytes task, struct sw_buffer *out);
/* Are there profile tasks newer than this one? since_ms: its CreateTime; -1: none yet. */
bool sw_encode_query(struct sw_encoder *encoder, enum sw_format format,
		     const struct sw_sender *sender, int64_t since_ms, struct sw_buffer *out);
