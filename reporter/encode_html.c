/*
 * The flame graph: a page of ours (reporter/flame/) with the recording in it as JSON, which its
 * script reads. The page loads nothing, so it can be mailed and opened anywhere.
 *
 * To be small all is numbers: texts once, then frames, the tree of stacks (a node after its parent,
 * told as how far before it that stands), and what was sampled in each stack of each thread. Flat
 * arrays, because a million small ones would take seconds to read.
 */
#include <stdlib.h>

#include "reporter/flame.h"
#include "reporter/recorded.h"

static void put_member(struct sw_output *out, const char *name, uint64_t n)
{
	sw_output_text(out, ",\"");
	sw_output_text(out, name);
	sw_output_text(out, "\":");
	sw_output_number(out, n);
}

static void begin_list(struct sw_output *out, const char *name)
{
	sw_output_text(out, ",\n\"");
	sw_output_text(out, name);
	sw_output_text(out, "\":[");
}

static void put_item(struct sw_output *out, uint64_t n, bool first)
{
	if (!first)
		sw_output_char(out, ',');
	sw_output_number(out, n);
}

static void put_about(const struct sw_recording *r, struct sw_output *out)
{
	sw_output_text(out, "{\"version\":\"" SW_VERSION "\",\"mode\":\"");
	sw_output_text(out, sw_recorded_mode(r));
	sw_output_text(out, "\",\"program\":");
	sw_output_number(out, r->program);
	put_member(out, "pid", (uint32_t)r->about.pid);
	put_member(out, "start_ms", (uint64_t)r->about.start_ms);
	put_member(out, "period_ns", r->about.period_ns);
	put_member(out, "duration_ns", r->totals.duration_ns);
	put_member(out, "due", r->totals.due);
	put_member(out, "taken", r->totals.taken);
	put_member(out, "missed", r->totals.missed);
	put_member(out, "lost", sw_recorded_lost(r));
}

static void put_texts(const struct sw_recording *r, struct sw_output *out)
{
	begin_list(out, "texts");
	for (uint32_t i = 0; i < r->texts.count; i++) {
		if (i)
			sw_output_char(out, ',');
		sw_output_json(out, sw_recorded_text(r, i));
	}
	sw_output_char(out, ']');
}

/* kind, function, file, line, offset */
static void put_frames(const struct sw_recording *r, struct sw_output *out)
{
	const struct sw_recorded_frame *frame = sw_recorded_frames(r);

	begin_list(out, "frames");
	for (uint32_t i = 0; i < r->frames.count; i++) {
		put_item(out, frame[i].kind, i == 0);
		put_item(out, frame[i].function, false);
		put_item(out, frame[i].file, false);
		put_item(out, frame[i].line, false);
		put_item(out, frame[i].offset, false);
	}
	sw_output_char(out, ']');
}

/* how far back its parent is, its frame; from node 1 on */
static void put_nodes(const struct sw_recording *r, struct sw_output *out)
{
	const struct sw_recorded_node *node = sw_recorded_nodes(r);

	begin_list(out, "nodes");
	for (uint32_t i = 1; i < r->nodes.count; i++) {
		put_item(out, i - node[i].parent, i == 1);
		put_item(out, node[i].frame, false);
	}
	sw_output_char(out, ']');
}

/* tid, name */
static void put_threads(const struct sw_recording *r, struct sw_output *out)
{
	const struct sw_recorded_thread *thread = sw_recorded_threads(r);

	begin_list(out, "threads");
	for (uint32_t i = 0; i < r->threads.count; i++) {
		put_item(out, (uint32_t)thread[i].tid, i == 0);
		put_item(out, thread[i].name, false);
	}
	sw_output_char(out, ']');
}

/* thread, node, samples, nanoseconds */
static bool put_sums(const struct sw_recording *r, struct sw_output *out)
{
	uint32_t count = 0;
	struct sw_recorded_merged *sum = sw_recorded_merge(r, false, &count);

	if (!sum)
		return false;
	begin_list(out, "sums");
	for (uint32_t i = 0; i < count; i++) {
		put_item(out, sum[i].thread, i == 0);
		put_item(out, sum[i].node, false);
		put_item(out, sum[i].count, false);
		put_item(out, sum[i].weight_ns, false);
	}
	sw_output_text(out, "]}\n");
	free(sum);
	return true;
}

bool sw_encode_html(const struct sw_recording *r, struct sw_output *out)
{
	sw_output_bytes(out, sw_bytes(sw_flame_head, sw_flame_head_len));
	put_about(r, out);
	put_texts(r, out);
	put_frames(r, out);
	put_nodes(r, out);
	put_threads(r, out);
	if (!put_sums(r, out))
		return false;
	sw_output_bytes(out, sw_bytes(sw_flame_tail, sw_flame_tail_len));
	return true;
}
