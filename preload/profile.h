/*
 * The profiles that are being taken, and what comes of them: a task of SkyWalking's, for requests
 * of one endpoint, and a profile of the whole process. At most one of each, both at once if need
 * be.
 *
 * Three meet here and nowhere else: the reporter, which is told of both and hands out what was
 * taken; the hooks (hooks/profile.h), which see requests begin; and the sampler (sampler/), a
 * thread that is there only while a profile is. What is taken is written into rings of whole
 * records, one for each of the two, by the sampler alone, and read by the reporter alone.
 */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "preload/config.h"
#include "preload/process.h"

#define SW_PROFILE_ENDPOINT_MAX 150 /* OAP cuts endpoints there (specification 3.1) */
#define SW_PROFILE_ID_MAX 200
#define SW_PROFILE_RING_BYTES (1u << 20)

struct sw_profile_task {
	char endpoint[SW_PROFILE_ENDPOINT_MAX + 1]; /* whose requests; the whole name */
	char id[SW_PROFILE_ID_MAX + 1];
	uint64_t period_ns;
	uint64_t threshold_ns; /* requests that are younger are let be */
	uint32_t samples_max;  /* requests, by this process */
};

/* The number of the current task, 0: none. Any thread; the one load that requests pay for. */
extern _Atomic uint32_t sw_profile_current;

/* Requests of the current task of which stacks were taken. */
extern _Atomic uint32_t sw_profile_sampled;

/* The task of that number. Valid while it is the current one; who compares with it asks again
 * afterwards. */
const struct sw_profile_task *sw_profile_task(uint32_t number);

/* The reporter's. False: no memory for the ring. */
bool sw_profile_begin(const struct sw_profile_task *task);
void sw_profile_end(void);

/* One stack on its way. */
struct sw_profile_stack {
	uint32_t size; /* with everything that follows, a multiple of 8 */
	uint32_t task; /* its number; 0: filler */
	struct sw_id segment;
	int64_t time_ms; /* Unix time */
	int32_t sequence;
	uint32_t frames; /* texts that follow, outermost first: a uint16_t of length, and bytes */
};

/* The sampler's: room for a stack of that many bytes, or NULL. Then it is there for the reporter.
 */
struct sw_profile_stack *sw_profile_reserve(uint32_t size);
void sw_profile_commit(struct sw_profile_stack *stack);

/* The reporter's: the oldest stack, or NULL; and that it has been read. */
const struct sw_profile_stack *sw_profile_oldest(void);
void sw_profile_release(const struct sw_profile_stack *stack);

/* ---- of the whole process ---- */

#define SW_PROFILE_PERIOD_LEAST_NS 1000000ull	/* 1000 Hz */
#define SW_PROFILE_PERIOD_MOST_NS 1000000000ull /* 1 Hz */

struct sw_profile_whole {
	enum sw_profile_mode mode;
	uint64_t period_ns;
	uint64_t start_ns; /* CLOCK_MONOTONIC */
};

/* The number of the current one, 0: none. Any thread. */
extern _Atomic uint32_t sw_profile_whole_current;
/* Of the last one that the sampler has done with: all that it took is in the ring. */
extern _Atomic uint32_t sw_profile_whole_done;

/* The reporter's. The number, or 0: no memory for the ring. What an earlier one has left in the
 * ring is forgotten. Not before the one before is over. */
uint32_t sw_profile_whole_begin(enum sw_profile_mode mode, uint64_t period_ns);
void sw_profile_whole_end(void);
/* The sampler has done with it, or there is none. */
bool sw_profile_whole_over(uint32_t number);

/* Valid while it is the current one. */
const struct sw_profile_whole *sw_profile_whole(void);

/* What became of the stacks that should have been taken since it began: due = taken + missed +
 * lost. The sampler writes, the reporter reads. */
extern struct sw_profile_counts {
	_Atomic uint64_t due;	    /* one for each thread that is looked at, and tick */
	_Atomic uint64_t taken;	    /* in the ring, or added to one that is */
	_Atomic uint64_t shared;    /* of these, that got no stack of their own: the thread's
				     * answer to the look before came after this one */
	_Atomic uint64_t missed;    /* not read: the thread ran on, or the tick was too late */
	_Atomic uint64_t lost;	    /* read, but the ring was full */
	_Atomic uint64_t missed_ns; /* of weight, in what was missed or lost */
	_Atomic uint64_t used_ns;   /* of a processor, by the sampler; some 50 ms old */
} sw_profile_counts;

/* Why its stacks are without frames of Python's; NULL: they are not, or the program has none.
 * Constant text, for the rest of the process. */
extern const char *_Atomic sw_profile_why_not;

/*
 * What goes through the ring of the whole process, and as it is through the control socket and into
 * reporter/whole.c. Sizes are multiples of 8. Numbers are the machine's own.
 */
enum sw_profiled_kind {
	SW_PROFILED_FILLER, /* the rest of the ring; never leaves it */
	SW_PROFILED_FRAME,
	SW_PROFILED_THREAD,
	SW_PROFILED_SAMPLE,
};

struct sw_profiled {
	uint32_t size; /* with everything that follows */
	uint32_t kind; /* enum sw_profiled_kind */
};

/* What a number of samples to come means; each number once in a profile, from 1 on. */
struct sw_profiled_frame {
	struct sw_profiled head;
	uint32_t id;
	uint32_t kind; /* enum sw_stack_kind (sampler/stack.h) */
	uint32_t line;
	uint16_t function_len, file_len; /* texts that follow, in this order */
	uint64_t offset;		 /* native: into the symbol */
};

/* A thread comes into sight, or has another name. */
struct sw_profiled_thread {
	struct sw_profiled head;
	int32_t tid;
	uint32_t name_len; /* text that follows */
};

struct sw_profiled_sample {
	struct sw_profiled head;
	int32_t tid;
	int32_t span;	      /* of segment */
	struct sw_id segment; /* 0: of no request that is known */
	uint64_t at_ns;	      /* since the start: the end of what is weighed */
	uint64_t weight_ns;
	uint32_t count;	 /* stacks that are added up here: the thread stood still */
	uint32_t frames; /* numbers that follow, uint32_t each, outermost first */
};

/* The sampler's: room for a record of that many bytes with its head written, or NULL. Then it is
 * there for the reporter. */
struct sw_profiled *sw_profiled_reserve(uint32_t size, enum sw_profiled_kind kind);
void sw_profiled_commit(struct sw_profiled *record);

/* The reporter's: the oldest record, or NULL; and that it has been read. */
const struct sw_profiled *sw_profiled_oldest(void);
void sw_profiled_release(const struct sw_profiled *record);

/* Threads of the sampler's: 0 or 1. For who counts those of the process. */
extern _Atomic uint32_t sw_profile_threads;

/* In a child: all of it is its parent's. */
void sw_profile_forked(void);
