/*
 * Fuzzes what the sampler's records become, as the swagent command gets them through a socket. The
 * input is records one after the other; each is of the size that it says, as far as there is input.
 *
 * Watched: nothing is read beyond a record; a sample has only frames that were told before, in this
 * profile; a stack that counts is taken or lost; memory does not grow beyond the limit.
 */
#include <stdio.h>
#include <stdlib.h>

#include "reporter/gather.h"

int LLVMFuzzerTestOneInput(const uint8_t *at, size_t len);

struct sw_recording {
	uint32_t frames;
	uint64_t samples;
};

static void must(bool holds, const char *promise)
{
	if (!holds) {
		fprintf(stderr, "broken: %s\n", promise);
		abort();
	}
}

static size_t sum(struct sw_bytes text)
{
	size_t n = 0;

	for (size_t i = 0; i < text.len; i++)
		n += text.at[i];
	return n;
}

uint32_t sw_recording_frame(struct sw_recording *recording, const struct sw_recording_frame *frame)
{
	must(frame->kind <= SW_RECORDED_NOTE, "a kind that there is");
	must(sum(frame->function) + sum(frame->file) < SIZE_MAX, "texts can be read");
	return frame->line % 7 ? recording->frames++ : UINT32_MAX;
}

bool sw_recording_add(struct sw_recording *recording, const struct sw_recording_sample *sample)
{
	must(sum(sample->thread) + sum(sample->segment) < SIZE_MAX, "texts can be read");
	for (uint32_t i = 0; i < sample->frames; i++)
		must(sample->frame[i] < recording->frames, "a frame that was told");
	recording->samples++;
	return sample->weight_ns % 3 != 0;
}

static void take(struct sw_gather *gather, const uint8_t *at, uint32_t size)
{
	struct sw_profiled *exact = malloc(size); /* for the sanitizer */

	memcpy(exact, at, size);
	exact->size = size;
	sw_gather_take(gather, exact);
	free(exact);
}

int LLVMFuzzerTestOneInput(const uint8_t *at, size_t len)
{
	struct sw_recording recording = {0};
	struct sw_gather *gather = sw_gather_new(&recording);
	struct sw_profiled head;

	while (gather && len >= sizeof(head)) {
		size_t size;

		memcpy(&head, at, sizeof(head));
		size = SW_MAX(sizeof(head), SW_MIN(head.size & ~7ul, len));
		if (head.kind == 99)
			sw_gather_restart(gather, head.size);
		else
			take(gather, at, (uint32_t)size);
		at += size;
		len -= size;
	}
	sw_gather_free(gather);
	return 0;
}
