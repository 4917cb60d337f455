/*
 * What a recording consists of, for those who write it out (reporter/encode_*.c). Everybody else
 * uses recording.h.
 *
 * All are numbers into lists that only grow, in the order in which things came first. Stacks are
 * the nodes of a tree: a node is a frame above another node, its parent; node 0 is no stack at all,
 * and a parent has a lower number than its children.
 */
#pragma once

#include "reporter/output.h"
#include "reporter/recording.h"

#define SW_NONE UINT32_MAX

struct sw_recorded_text {
	uint32_t hash;
	uint32_t at, len; /* in `bytes` of the recording; UTF-8 without NUL */
};

/* Text 0 is the empty one. */
struct sw_recorded_frame {
	uint32_t hash;
	uint32_t kind;
	uint32_t function, file; /* texts */
	uint32_t line;
	uint64_t offset;
};

struct sw_recorded_node {
	uint32_t hash;
	uint32_t parent, frame;
	uint32_t depth; /* frames on this stack */
};

struct sw_recorded_thread {
	uint32_t hash;
	int tid;
	uint32_t name;	      /* text; a thread that is renamed is another one here */
	uint32_t first, last; /* of its samples in the order of time; SW_NONE: none */
};

/* Equal samples, added up. */
struct sw_recorded_sum {
	uint32_t hash;
	uint32_t thread, task, segment; /* the last two are texts */
	int32_t span;
	uint32_t node;
	uint64_t count, weight_ns;
	uint64_t ordered_ns; /* of its weight is that of samples in the order of time */
};

/* A sample in the order of time; equal ones that follow each other are one. */
struct sw_recorded_moment {
	uint32_t sum;
	uint32_t next; /* of the same thread */
	uint64_t weight_ns;
};

/* A list in one run of memory; of those with an index each entry begins with its hash, and equal
 * ones are found by it. */
struct sw_recorded_list {
	void *at; /* Owned */
	uint32_t count, room;
	uint32_t *slot; /* Owned; open addressing: entry + 1; 0: free; at most half of them are used
			 */
	uint32_t slots; /* a power of two */
};

struct sw_recording {
	struct sw_recording_about about; /* its text is `program` */
	struct sw_recording_totals totals;
	struct sw_recorded_list bytes, texts, frames, nodes, threads, sums, moments;
	uint32_t program;	/* text */
	uint32_t depth_max;	/* of all nodes */
	size_t used, bytes_max; /* bytes of memory */
	uint64_t kept, lost;	/* samples */
	uint64_t weight_ns;	/* of those that were kept */
	bool order_ended;	/* later samples are only added up */
};

static inline const struct sw_recorded_frame *sw_recorded_frames(const struct sw_recording *r)
{
	return r->frames.at;
}

static inline const struct sw_recorded_node *sw_recorded_nodes(const struct sw_recording *r)
{
	return r->nodes.at;
}

static inline const struct sw_recorded_thread *sw_recorded_threads(const struct sw_recording *r)
{
	return r->threads.at;
}

static inline const struct sw_recorded_sum *sw_recorded_sums(const struct sw_recording *r)
{
	return r->sums.at;
}

static inline const struct sw_recorded_moment *sw_recorded_moments(const struct sw_recording *r)
{
	return r->moments.at;
}

static inline struct sw_bytes sw_recorded_text(const struct sw_recording *r, uint32_t text)
{
	const struct sw_recorded_text *t = (const struct sw_recorded_text *)r->texts.at + text;

	if (!t->len)
		return SW_BYTES(""); /* there may be no bytes at all */
	return sw_bytes((const uint8_t *)r->bytes.at + t->at, t->len);
}

/* The frames of a stack, outermost first, into memory for its depth. Returns the depth. */
uint32_t sw_recorded_stack(const struct sw_recording *recording, uint32_t node,
			   uint32_t *ret_frame);

/* cpu, wall, off-cpu */
const char *sw_recorded_mode(const struct sw_recording *recording);

/* What was lost on the way here and here. */
uint64_t sw_recorded_lost(const struct sw_recording *recording);

/* What was asked and what came of it, in a line of words: a profile never looks better than it is.
 */
void sw_recorded_tell(const struct sw_recording *recording, struct sw_output *out);

/* The samples of a stack in a thread, whatever their task and request. */
struct sw_recorded_merged {
	uint32_t thread, node;
	uint64_t count, weight_ns;
};

/*
 * One for each stack of each thread, in the order of thread and node; threads for which `same_name`
 * are one if they have one name. Owned by the caller (free). NULL: no memory.
 */
struct sw_recorded_merged *sw_recorded_merge(const struct sw_recording *recording, bool same_name,
					     uint32_t *ret_count);

/* One for each row of formats.def. False: no memory; what `out` refused is known there. */
#define SW_RECORDING_FORMAT(name, id, ending, doc)                                                 \
	bool sw_encode_##name(const struct sw_recording *recording, struct sw_output *out);
#include "reporter/formats.def"
#undef SW_RECORDING_FORMAT
