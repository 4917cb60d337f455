/*
 * A recording: the stacks of a profile of a whole process, put together to be written out as
 * collapsed stacks, pprof, speedscope or a flame graph (reporter/formats.def).
 *
 * Used by the reporter's thread and by the swagent command; one thread at a time. Memory by malloc,
 * owned by the recording and limited; what does not fit is counted as lost, never a crash. It keeps
 * no clock and asks nobody: the same calls give the same bytes.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "preload/bytes.h"

#define SW_RECORDING_BYTES (64u << 20) /* where sw_recording_about says nothing else */
#define SW_RECORDING_TEXT 1024	       /* bytes of one text; what is longer ends in "..." */

enum sw_recording_mode { SW_RECORDING_CPU, SW_RECORDING_WALL, SW_RECORDING_OFF_CPU };

/* A note is no function: what a thread waits for, or what is not known. */
enum sw_recording_kind {
	SW_RECORDED_PYTHON,
	SW_RECORDED_NATIVE,
	SW_RECORDED_AWAIT,
	SW_RECORDED_NOTE
};

/* Texts are anything: what is no UTF-8, and NUL, becomes '?'. Borrowed. */
struct sw_recording_frame {
	enum sw_recording_kind kind;
	struct sw_bytes function; /* or symbol, or the note */
	struct sw_bytes file;	  /* source file, or library of a native frame; may be empty */
	uint32_t line;		  /* 0: unknown */
	uint64_t offset;	  /* native: into the symbol */
};

struct sw_recording_about {
	enum sw_recording_mode mode;
	int pid;
	struct sw_bytes program; /* its command line, for titles; copied */
	int64_t start_ms;	 /* Unix time */
	uint64_t period_ns;	 /* asked for */
	size_t bytes_max;	 /* of memory; 0: SW_RECORDING_BYTES */
};

struct sw_recording_sample {
	int tid;
	struct sw_bytes thread;	 /* its name */
	struct sw_bytes task;	 /* of asyncio, a greenlet; empty: none */
	struct sw_bytes segment; /* trace segment's id as text; empty: of no request */
	int32_t span;		 /* means nothing without a segment */
	uint64_t at_ns;	    /* since the start; not kept: the order of the calls is that of time */
	uint64_t weight_ns; /* processor time, or elapsed time */
	const uint32_t *frame; /* numbers given by sw_recording_frame, outermost first; Borrowed */
	uint32_t frames;
};

/* Taken are those that this recording keeps, those that it lost, and those of `lost`. */
struct sw_recording_totals {
	uint64_t duration_ns; /* from the start to the end */
	uint64_t due;	      /* that there should have been */
	uint64_t taken, missed;
	uint64_t lost; /* taken, but no room for them on their way here; those that
			* sw_recording_add refused are not among them */
};

struct sw_recording; /* Owned by who made it */

/* NULL: no memory. */
struct sw_recording *sw_recording_new(const struct sw_recording_about *about);
void sw_recording_free(struct sw_recording *recording); /* NULL is fine */

/*
 * The number of this frame, from 0 without gaps; equal frames have one. UINT32_MAX: no room; a
 * sample with such a number is refused, and so counted.
 */
uint32_t sw_recording_frame(struct sw_recording *recording, const struct sw_recording_frame *frame);

/*
 * False: no room, or a frame of no number; counted as lost here. Equal stacks of one thread, task
 * and request are added up. Beside that their order in each thread is kept, for speedscope, as long
 * as half of the memory is free; what came later stands there behind the rest, added up.
 */
bool sw_recording_add(struct sw_recording *recording, const struct sw_recording_sample *sample);

/* How many sw_recording_add has refused, and how many it has kept. */
uint64_t sw_recording_lost(const struct sw_recording *recording);
uint64_t sw_recording_kept(const struct sw_recording *recording);

/* What is known only at the end; once, before it is written. */
void sw_recording_end(struct sw_recording *recording, const struct sw_recording_totals *totals);

enum sw_recording_format {
#define SW_RECORDING_FORMAT(name, id, ending, doc) SW_FORMAT_##id,
#include "reporter/formats.def"
#undef SW_RECORDING_FORMAT
	SW_FORMAT_NONE
};

/* By the ending of a file's name: .folded, .pb.gz, .json, .html; else SW_FORMAT_NONE. */
enum sw_recording_format sw_recording_format(const char *path);

/*
 * Writes it all by `put`, in pieces; may be repeated. False: `put` was false, after which it is not
 * called again, or no memory, or no such format.
 */
bool sw_recording_write(const struct sw_recording *recording, enum sw_recording_format format,
			bool (*put)(void *arg, const void *at, size_t len), void *arg);
