/*
 * pprof: a message Profile of google/pprof's profile.proto, in gzip. The field numbers below are
 * that file's; numbers that the proto leaves to the writer (of strings, functions, locations,
 * mappings) are the recording's own, so nothing has to be interned a second time:
 *
 *   string    the text's number; behind the texts follow `words` and one comment
 *   location  the frame's number + 1
 *   function  the number + 1 of one of the frames that have this function and file
 *   mapping   the text's number of the library; the program itself, which pprof wants first, is
 *             the number behind all strings
 *
 * No addresses are told: names were found where the program ran, and a mapping says that nothing is
 * left to be looked up, or pprof would look it up in the files of the machine that it runs on.
 */
#include <stdlib.h>

#include "proto/buffer.h"
#include "proto/gzip.h"
#include "reporter/recorded.h"

#define NS_PER_MS 1000000

enum {
	PROFILE_SAMPLE_TYPE = 1,
	PROFILE_SAMPLE,
	PROFILE_MAPPING,
	PROFILE_LOCATION,
	PROFILE_FUNCTION,
	PROFILE_STRING,
	PROFILE_TIME_NS = 9,
	PROFILE_DURATION_NS,
	PROFILE_PERIOD_TYPE,
	PROFILE_PERIOD,
	PROFILE_COMMENT,
	PROFILE_DEFAULT_TYPE
};
enum { VALUE_TYPE = 1, VALUE_UNIT };
enum { SAMPLE_LOCATION = 1, SAMPLE_VALUE, SAMPLE_LABEL };
enum { LABEL_KEY = 1, LABEL_TEXT, LABEL_NUMBER, LABEL_UNIT };
enum {
	MAPPING_ID = 1,
	MAPPING_FILE = 5,
	MAPPING_HAS_FUNCTIONS = 7,
	MAPPING_HAS_FILES,
	MAPPING_HAS_LINES,
	MAPPING_HAS_INLINED
};
enum { LOCATION_ID = 1, LOCATION_MAPPING, LOCATION_LINE = 4 };
enum { LINE_FUNCTION = 1, LINE_LINE };
enum { FUNCTION_ID = 1, FUNCTION_NAME, FUNCTION_SYSTEM_NAME, FUNCTION_FILE };

/* Strings that are no texts of the recording; the modes are in its order. */
enum word {
	CPU,
	WALL,
	OFF_CPU,
	SAMPLES,
	COUNT,
	NANOSECONDS,
	THREAD,
	TID,
	TASK,
	SEGMENT,
	SPAN,
	UNNAMED,
	WORDS
};
static const char *const words[WORDS] = {"cpu",	  "wall",	   "offcpu", "samples",
					 "count", "nanoseconds",   "thread", "tid",
					 "task",  "trace_segment", "span",   "?"};

struct writing {
	const struct sw_recording *recording; /* Borrowed */
	struct sw_gzip *gzip;		      /* Owned */
	struct sw_buffer message, part;	      /* Owned: a field of Profile, and one of that */
	uint32_t *frame;		      /* Owned: of one stack */
};

/* ---- protobuf's wire format ---- */

static void put_varint(struct sw_buffer *b, uint64_t n)
{
	uint8_t byte[10];
	size_t len = 0;

	for (; n > 127; n >>= 7)
		byte[len++] = (uint8_t)(n | 128);
	byte[len++] = (uint8_t)n;
	sw_buffer_add(b, sw_bytes(byte, len));
}

/* 0 is what is not there. */
static void put_number(struct sw_buffer *b, unsigned field, uint64_t n)
{
	if (n == 0)
		return;
	put_varint(b, field << 3);
	put_varint(b, n);
}

static void put_run(struct sw_buffer *b, unsigned field, struct sw_bytes bytes)
{
	put_varint(b, field << 3 | 2);
	put_varint(b, bytes.len);
	sw_buffer_add(b, bytes);
}

/* ---- the fields of Profile ---- */

static void put_out(struct writing *w)
{
	if (!w->message.failed)
		sw_gzip_add(w->gzip, w->message.at, w->message.len);
	w->message.len = 0;
}

static void put_field(struct writing *w, unsigned field, struct sw_bytes bytes)
{
	put_run(&w->message, field, bytes);
	put_out(w);
}

/* What was written into `part`. */
static void put_part(struct writing *w, unsigned field)
{
	put_field(w, field, sw_bytes(w->part.at, w->part.len));
	w->part.len = 0;
}

static uint64_t word(const struct writing *w, enum word word)
{
	return w->recording->texts.count + word;
}

static void put_type(struct writing *w, unsigned field, enum word type, enum word unit)
{
	put_number(&w->part, VALUE_TYPE, word(w, type));
	put_number(&w->part, VALUE_UNIT, word(w, unit));
	put_part(w, field);
}

static enum word mode_word(const struct writing *w)
{
	return (enum word)w->recording->about.mode;
}

static void put_types(struct writing *w)
{
	put_type(w, PROFILE_SAMPLE_TYPE, SAMPLES, COUNT);
	put_type(w, PROFILE_SAMPLE_TYPE, mode_word(w), NANOSECONDS);
	put_type(w, PROFILE_PERIOD_TYPE, mode_word(w), NANOSECONDS);
	put_number(&w->message, PROFILE_PERIOD, w->recording->about.period_ns);
	put_number(&w->message, PROFILE_DEFAULT_TYPE, word(w, mode_word(w)));
	put_out(w);
}

static bool keep(void *arg, const void *at, size_t len)
{
	sw_buffer_add(arg, sw_bytes(at, len));
	return true;
}

/* The comment that says what came of it. */
static void put_comment(struct writing *w)
{
	struct sw_output out;

	sw_output_init(&out, keep, &w->part);
	sw_output_text(&out, "swagent " SW_VERSION ", pid ");
	sw_output_signed(&out, w->recording->about.pid);
	sw_output_text(&out, ", ");
	sw_output_text(&out, sw_recorded_mode(w->recording));
	sw_output_text(&out, ": ");
	sw_recorded_tell(w->recording, &out);
	sw_output_flush(&out);
	put_part(w, PROFILE_STRING);
}

static void put_strings(struct writing *w)
{
	for (uint32_t i = 0; i < w->recording->texts.count; i++)
		put_field(w, PROFILE_STRING, sw_recorded_text(w->recording, i));
	for (size_t i = 0; i < WORDS; i++)
		put_field(w, PROFILE_STRING, sw_bytes_text(words[i]));
	put_comment(w);
}

static void put_times(struct writing *w)
{
	const struct sw_recording *r = w->recording;

	put_number(&w->message, PROFILE_TIME_NS, (uint64_t)r->about.start_ms * NS_PER_MS);
	put_number(&w->message, PROFILE_DURATION_NS, r->totals.duration_ns);
	put_number(&w->message, PROFILE_COMMENT, r->program);
	put_number(&w->message, PROFILE_COMMENT, word(w, WORDS));
	put_out(w);
}

static void put_mapping(struct writing *w, uint64_t id, uint32_t text)
{
	put_number(&w->part, MAPPING_ID, id);
	put_number(&w->part, MAPPING_FILE, text);
	for (unsigned field = MAPPING_HAS_FUNCTIONS; field <= MAPPING_HAS_INLINED; field++)
		put_number(&w->part, field, 1);
	put_part(w, PROFILE_MAPPING);
}

/* The program, then each library once. False: no memory. */
static bool put_mappings(struct writing *w)
{
	const struct sw_recording *r = w->recording;
	const struct sw_recorded_frame *frame = sw_recorded_frames(r);
	bool *told = calloc(r->texts.count, sizeof(*told));

	if (!told)
		return false;
	told[0] = true; /* of no library */
	put_mapping(w, word(w, WORDS + 1), r->program);
	for (uint32_t i = 0; i < r->frames.count; i++) {
		if (frame[i].kind == SW_RECORDED_NATIVE && !told[frame[i].file]) {
			told[frame[i].file] = true;
			put_mapping(w, frame[i].file, frame[i].file);
		}
	}
	free(told);
	return true;
}

static void put_function(struct writing *w, uint32_t n)
{
	const struct sw_recorded_frame *frame = sw_recorded_frames(w->recording) + n;
	uint64_t name = frame->function ? frame->function : word(w, UNNAMED);

	put_number(&w->part, FUNCTION_ID, n + 1ul);
	put_number(&w->part, FUNCTION_NAME, name);
	/* a name without one is final; else pprof takes <module> for a template's arguments */
	if (frame->kind == SW_RECORDED_NATIVE)
		put_number(&w->part, FUNCTION_SYSTEM_NAME, name);
	else
		put_number(&w->part, FUNCTION_FILE, frame->file);
	put_part(w, PROFILE_FUNCTION);
}

static void put_location(struct writing *w, uint32_t n, uint32_t function)
{
	const struct sw_recorded_frame *frame = sw_recorded_frames(w->recording) + n;
	struct sw_buffer line = {0};

	put_number(&line, LINE_FUNCTION, function + 1ul);
	put_number(&line, LINE_LINE, frame->line);
	put_number(&w->part, LOCATION_ID, n + 1ul);
	if (frame->kind == SW_RECORDED_NATIVE)
		put_number(&w->part, LOCATION_MAPPING, frame->file);
	put_run(&w->part, LOCATION_LINE, sw_bytes(line.at, line.len));
	w->part.failed |= line.failed;
	put_part(w, PROFILE_LOCATION);
	sw_buffer_free(&line);
}

/* A frame, to be sorted by its function. */
struct named {
	uint32_t function, file, frame;
};

static int by_function(const void *left, const void *right)
{
	return memcmp(left, right,
		      sizeof(struct named)); /* any order will do that keeps equals together */
}

/* For each frame one that has its function, which is its own. Owned by the caller. NULL: no memory.
 */
static uint32_t *of_functions(const struct sw_recording *r)
{
	const struct sw_recorded_frame *frame = sw_recorded_frames(r);
	struct named *sorted = malloc((r->frames.count + 1ul) * sizeof(*sorted));
	uint32_t *of = malloc((r->frames.count + 1ul) * sizeof(*of));

	for (uint32_t i = 0; sorted && i < r->frames.count; i++)
		sorted[i] = (struct named){frame[i].function, frame[i].file, i};
	if (sorted && r->frames.count)
		qsort(sorted, r->frames.count, sizeof(*sorted), by_function);
	for (uint32_t i = 0; sorted && of && i < r->frames.count; i++) {
		bool same = i && sorted[i].function == sorted[i - 1].function &&
			    sorted[i].file == sorted[i - 1].file;

		of[sorted[i].frame] = same ? of[sorted[i - 1].frame] : sorted[i].frame;
	}
	if (!sorted) {
		free(of);
		of = NULL;
	}
	free(sorted);
	return of;
}

static bool put_frames(struct writing *w)
{
	uint32_t *function = of_functions(w->recording);

	if (!function)
		return false;
	for (uint32_t i = 0; i < w->recording->frames.count; i++) {
		if (function[i] == i)
			put_function(w, i);
		put_location(w, i, function[i]);
	}
	free(function);
	return true;
}

/* ---- samples ---- */

/* pprof takes a number that is 0 for nothing unless it has a unit. */
static void put_label(struct writing *w, enum word key, unsigned field, uint64_t value)
{
	struct sw_buffer label = {0};

	put_number(&label, LABEL_KEY, word(w, key));
	put_number(&label, field, value);
	if (field == LABEL_NUMBER && value == 0)
		put_number(&label, LABEL_UNIT, word(w, key));
	put_run(&w->part, SAMPLE_LABEL, sw_bytes(label.at, label.len));
	w->part.failed |= label.failed;
	sw_buffer_free(&label);
}

static void put_labels(struct writing *w, const struct sw_recorded_sum *sum)
{
	const struct sw_recorded_thread *thread = sw_recorded_threads(w->recording) + sum->thread;

	if (thread->name)
		put_label(w, THREAD, LABEL_TEXT, thread->name);
	put_label(w, TID, LABEL_NUMBER, (uint64_t)thread->tid);
	if (sum->task)
		put_label(w, TASK, LABEL_TEXT, sum->task);
	if (!sum->segment)
		return;
	put_label(w, SEGMENT, LABEL_TEXT, sum->segment);
	put_label(w, SPAN, LABEL_NUMBER, (uint64_t)(int64_t)sum->span);
}

static void put_sample(struct writing *w, const struct sw_recorded_sum *sum)
{
	uint32_t depth = sw_recorded_stack(w->recording, sum->node, w->frame);

	for (uint32_t i = depth; i; i--)
		put_number(&w->part, SAMPLE_LOCATION, w->frame[i - 1] + 1ul);
	/* both, also where one is 0 */
	put_varint(&w->part, SAMPLE_VALUE << 3);
	put_varint(&w->part, sum->count);
	put_varint(&w->part, SAMPLE_VALUE << 3);
	put_varint(&w->part, sum->weight_ns);
	put_labels(w, sum);
	put_part(w, PROFILE_SAMPLE);
}

static bool put_profile(struct writing *w, struct sw_output *out)
{
	put_types(w);
	put_strings(w);
	put_times(w);
	if (!put_mappings(w) || !put_frames(w))
		return false;
	for (uint32_t i = 0; i < w->recording->sums.count && !out->failed; i++)
		put_sample(w, sw_recorded_sums(w->recording) + i);
	return !w->message.failed && !w->part.failed;
}

static bool pass_on(void *arg, const void *at, size_t len)
{
	struct sw_output *out = arg;

	sw_output_bytes(out, sw_bytes(at, len));
	return !out->failed;
}

bool sw_encode_pprof(const struct sw_recording *r, struct sw_output *out)
{
	struct writing w = {.recording = r,
			    .gzip = sw_gzip_new(pass_on, out),
			    .frame = malloc((r->depth_max + 1ul) * sizeof(*w.frame))};
	bool whole = w.gzip && w.frame && put_profile(&w, out);

	if (whole)
		sw_gzip_end(w.gzip);
	sw_gzip_free(w.gzip);
	sw_buffer_free(&w.message);
	sw_buffer_free(&w.part);
	free(w.frame);
	return whole;
}
