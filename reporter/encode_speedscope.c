/*
 * speedscope's file format (https://www.speedscope.app/file-format-schema.json): one profile of
 * type "sampled" for each thread, samples in the order of time, weights in nanoseconds.
 *
 * Where the recording had no room to keep the order of all samples, the rest stands behind them,
 * added up, and the name of the profile says so.
 */
#include <stdlib.h>

#include "reporter/recorded.h"

struct writing {
	const struct sw_recording *recording; /* Borrowed */
	struct sw_output *out;		      /* Borrowed */
	uint32_t *frame;		      /* Owned: of one stack */
	uint32_t *rest; /* Owned: sums that are not all in order, by thread; `rests` is their number
			 */
	uint32_t rests;
};

static void put_frames(const struct sw_recording *r, struct sw_output *out)
{
	const struct sw_recorded_frame *frame = sw_recorded_frames(r);

	sw_output_text(out, "\"shared\":{\"frames\":[");
	for (uint32_t i = 0; i < r->frames.count && !out->failed; i++) {
		sw_output_text(out, i ? ",\n{\"name\":" : "\n{\"name\":");
		sw_output_json(out, frame[i].function ? sw_recorded_text(r, frame[i].function)
						      : SW_BYTES("?"));
		if (frame[i].file) {
			sw_output_text(out, ",\"file\":");
			sw_output_json(out, sw_recorded_text(r, frame[i].file));
		}
		if (frame[i].line) {
			sw_output_text(out, ",\"line\":");
			sw_output_number(out, frame[i].line);
		}
		sw_output_char(out, '}');
	}
	sw_output_text(out, "\n]},\n");
}

static void put_stack(const struct writing *w, uint32_t sum, bool first)
{
	uint32_t node = sw_recorded_sums(w->recording)[sum].node;
	uint32_t depth = sw_recorded_stack(w->recording, node, w->frame);

	sw_output_text(w->out, first ? "\n[" : ",\n[");
	for (uint32_t i = 0; i < depth; i++) {
		if (i)
			sw_output_char(w->out, ',');
		sw_output_number(w->out, w->frame[i]);
	}
	sw_output_char(w->out, ']');
}

static void put_weight(const struct writing *w, uint64_t weight_ns, bool first)
{
	if (!first)
		sw_output_char(w->out, ',');
	sw_output_number(w->out, weight_ns);
}

/* Stacks, or weights, of the samples of a thread: those in order, then the rest from `rest` on. */
static void put_samples(const struct writing *w, uint32_t thread, uint32_t rest, bool stacks)
{
	const struct sw_recorded_moment *moments = sw_recorded_moments(w->recording);
	const struct sw_recorded_sum *sums = sw_recorded_sums(w->recording);
	uint32_t at = sw_recorded_threads(w->recording)[thread].first;
	bool first = true;

	for (; at != SW_NONE && !w->out->failed; at = moments[at].next, first = false) {
		if (stacks)
			put_stack(w, moments[at].sum, first);
		else
			put_weight(w, moments[at].weight_ns, first);
	}
	for (; rest < w->rests && sums[w->rest[rest]].thread == thread; rest++, first = false) {
		const struct sw_recorded_sum *sum = &sums[w->rest[rest]];

		if (stacks)
			put_stack(w, w->rest[rest], first);
		else
			put_weight(w, sum->weight_ns - sum->ordered_ns, first);
	}
}

static uint64_t weight_of(const struct writing *w, uint32_t thread, uint32_t rest)
{
	const struct sw_recorded_moment *moments = sw_recorded_moments(w->recording);
	const struct sw_recorded_sum *sums = sw_recorded_sums(w->recording);
	uint32_t at = sw_recorded_threads(w->recording)[thread].first;
	uint64_t weight_ns = 0;

	for (; at != SW_NONE; at = moments[at].next)
		weight_ns += moments[at].weight_ns;
	for (; rest < w->rests && sums[w->rest[rest]].thread == thread; rest++)
		weight_ns += sums[w->rest[rest]].weight_ns - sums[w->rest[rest]].ordered_ns;
	return weight_ns;
}

/* The name in quotes, with its number: names are no identities. */
static void put_name(const struct writing *w, uint32_t thread, bool cut)
{
	const struct sw_recorded_thread *t = sw_recorded_threads(w->recording) + thread;
	uint8_t text[SW_RECORDING_TEXT + 64];
	struct sw_writer name = sw_writer(text, sizeof(text));

	sw_write(&name, sw_recorded_text(w->recording, t->name));
	sw_write(&name, name.len ? SW_BYTES(" (") : SW_BYTES("thread ("));
	sw_write_number(&name, (uint32_t)t->tid);
	sw_write(&name, SW_BYTES(")"));
	if (cut)
		sw_write(&name, SW_BYTES(", later samples not in order"));
	sw_output_json(w->out, sw_written(&name));
}

static void put_thread(const struct writing *w, uint32_t thread, uint32_t rest)
{
	bool cut =
		rest < w->rests && sw_recorded_sums(w->recording)[w->rest[rest]].thread == thread;

	sw_output_text(w->out, thread ? ",\n{\"type\":\"sampled\",\"name\":"
				      : "\n{\"type\":\"sampled\",\"name\":");
	put_name(w, thread, cut);
	sw_output_text(w->out, ",\"unit\":\"nanoseconds\",\"startValue\":0,\"endValue\":");
	sw_output_number(w->out, weight_of(w, thread, rest));
	sw_output_text(w->out, ",\"samples\":[");
	put_samples(w, thread, rest, true);
	sw_output_text(w->out, "],\n\"weights\":[");
	put_samples(w, thread, rest, false);
	sw_output_text(w->out, "]}");
}

/* Sums that are not all in order, those of one thread together, else in their own order. */
static bool find_rests(struct writing *w)
{
	const struct sw_recorded_sum *sums = sw_recorded_sums(w->recording);
	uint32_t count = w->recording->sums.count, threads = w->recording->threads.count;
	uint32_t *at = calloc(threads + 1ul, sizeof(*at));

	w->rest = malloc((count + 1ul) * sizeof(*w->rest));
	for (uint32_t i = 0; at && i < count; i++)
		at[sums[i].thread + 1] += sums[i].weight_ns > sums[i].ordered_ns;
	for (uint32_t i = 0; at && i < threads; i++)
		at[i + 1] += at[i];
	w->rests = at ? at[threads] : 0;
	for (uint32_t i = 0; at && w->rest && i < count; i++) {
		if (sums[i].weight_ns > sums[i].ordered_ns)
			w->rest[at[sums[i].thread]++] = i;
	}
	free(at);
	return at && w->rest;
}

/* The thread that is shown first: the one with most of the time. */
static uint32_t heaviest(const struct sw_recording *r)
{
	uint64_t *weight_ns = calloc(r->threads.count + 1ul, sizeof(*weight_ns));
	uint32_t most = 0;

	if (!weight_ns)
		return 0;
	for (uint32_t i = 0; i < r->sums.count; i++)
		weight_ns[sw_recorded_sums(r)[i].thread] += sw_recorded_sums(r)[i].weight_ns;
	for (uint32_t i = 1; i < r->threads.count; i++)
		most = weight_ns[i] > weight_ns[most] ? i : most;
	free(weight_ns);
	return most;
}

static void put_title(const struct sw_recording *r, struct sw_output *out)
{
	sw_output_text(out, "{\"$schema\":\"https://www.speedscope.app/file-format-schema.json\",\n"
			    "\"exporter\":\"swagent " SW_VERSION "\",\n\"name\":");
	sw_output_json(out, sw_recorded_text(r, r->program));
	sw_output_text(out, ",\n\"activeProfileIndex\":");
	sw_output_number(out, heaviest(r));
	sw_output_text(out, ",\n");
}

bool sw_encode_speedscope(const struct sw_recording *r, struct sw_output *out)
{
	struct writing w = {.recording = r,
			    .out = out,
			    .frame = malloc((r->depth_max + 1ul) * sizeof(*w.frame))};
	bool room = find_rests(&w) && w.frame;
	uint32_t rest = 0;

	if (room) {
		put_title(r, out);
		put_frames(r, out);
		sw_output_text(out, "\"profiles\":[");
	}
	for (uint32_t i = 0; room && i < r->threads.count && !out->failed; i++) {
		put_thread(&w, i, rest);
		while (rest < w.rests && sw_recorded_sums(r)[w.rest[rest]].thread == i)
			rest++;
	}
	if (room)
		sw_output_text(out, "\n]}\n");
	free(w.frame);
	free(w.rest);
	return room;
}
