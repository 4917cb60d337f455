/*
 * Collapsed stacks, as flamegraph.pl and its relatives read them: a line for each stack, frames
 * between semicolons, outermost first, then a blank and a number.
 *
 * The number is microseconds: a sample may stand for more than one period (a tick that came late,
 * the processor time of a busy thread), so counting samples would say less than is known. Say
 * --countname=us to flamegraph.pl. In front of the frames stands the name of the thread; threads of
 * one name are added up. What would end a frame or a line becomes ':' or a blank.
 */
#include <stdlib.h>

#include "reporter/recorded.h"

#define NS_PER_US 1000

static void put_name(struct sw_output *out, struct sw_bytes name)
{
	while (name.len) {
		size_t n = 0;

		while (n < name.len && name.at[n] >= 0x20 && name.at[n] != 0x7f &&
		       name.at[n] != ';')
			n++;
		sw_output_bytes(out, sw_bytes_slice(name, 0, n));
		if (n < name.len)
			sw_output_char(out, name.at[n] == ';' ? ':' : ' ');
		name = sw_bytes_from(name, n + 1);
	}
}

/* A library is told by its name, a source file by its path. */
static struct sw_bytes base(struct sw_bytes path)
{
	size_t at = path.len;

	while (at && path.at[at - 1] != '/')
		at--;
	return sw_bytes_from(path, at);
}

static void put_frame(const struct sw_recording *r, struct sw_output *out, uint32_t n)
{
	const struct sw_recorded_frame *frame = sw_recorded_frames(r) + n;
	struct sw_bytes file = sw_recorded_text(r, frame->file);

	put_name(out, frame->function ? sw_recorded_text(r, frame->function) : SW_BYTES("?"));
	if (!file.len)
		return;
	sw_output_text(out, " (");
	put_name(out, frame->kind == SW_RECORDED_NATIVE ? base(file) : file);
	if (frame->line) {
		sw_output_char(out, ':');
		sw_output_number(out, frame->line);
	}
	sw_output_char(out, ')');
}

static void put_thread(const struct sw_recording *r, struct sw_output *out, uint32_t n)
{
	const struct sw_recorded_thread *thread = sw_recorded_threads(r) + n;

	if (thread->name) {
		put_name(out, sw_recorded_text(r, thread->name));
		return;
	}
	sw_output_text(out, "thread ");
	sw_output_signed(out, thread->tid);
}

static void put_stack(const struct sw_recording *r, struct sw_output *out,
		      const struct sw_recorded_merged *sum, uint32_t *frame)
{
	uint32_t depth = sw_recorded_stack(r, sum->node, frame);

	put_thread(r, out, sum->thread);
	for (uint32_t i = 0; i < depth; i++) {
		sw_output_char(out, ';');
		put_frame(r, out, frame[i]);
	}
	sw_output_char(out, ' ');
	sw_output_number(out, (sum->weight_ns + NS_PER_US / 2) / NS_PER_US);
	sw_output_char(out, '\n');
}

bool sw_encode_folded(const struct sw_recording *r, struct sw_output *out)
{
	uint32_t *frame = malloc((r->depth_max + 1ul) * sizeof(*frame));
	uint32_t count = 0;
	struct sw_recorded_merged *sum = sw_recorded_merge(r, true, &count);
	bool room = frame && sum;

	for (uint32_t i = 0; room && i < count && !out->failed; i++)
		put_stack(r, out, &sum[i], frame);
	free(frame);
	free(sum);
	return room;
}
