/* From the sampler's records to a recording; see gather.h. */
#include "reporter/gather.h"

#include <stdlib.h>

#define FRAMES_MAX (1u << 20) /* numbers in one profile */
#define THREADS 4096	      /* names that are kept, by the last bits of a thread's id */
#define NAME_MAX_BYTES 15
#define STACK_MAX 1024

struct thread {
	int tid;
	uint8_t len;
	char name[NAME_MAX_BYTES];
};

struct sw_gather {
	struct sw_recording *recording; /* Borrowed */
	uint32_t *frame; /* Owned: the recording's number + 1, by ours; 0: not told */
	uint32_t room;
	uint64_t shift_ns;
	uint64_t taken, lost;
	struct thread thread[THREADS];
};

struct sw_gather *sw_gather_new(struct sw_recording *recording)
{
	struct sw_gather *g = calloc(1, sizeof(*g));

	if (g)
		g->recording = recording;
	return g;
}

void sw_gather_free(struct sw_gather *g)
{
	if (g)
		free(g->frame);
	free(g);
}

void sw_gather_restart(struct sw_gather *g, uint64_t shift_ns)
{
	if (g->frame)
		memset(g->frame, 0, g->room * sizeof(g->frame[0]));
	g->shift_ns = shift_ns;
}

uint64_t sw_gather_taken(const struct sw_gather *g)
{
	return g->taken;
}

uint64_t sw_gather_lost(const struct sw_gather *g)
{
	return g->lost;
}

static bool has_room(struct sw_gather *g, uint32_t id)
{
	uint32_t want = g->room ? g->room : 1024, *grown;

	if (id < g->room)
		return true;
	if (id >= FRAMES_MAX)
		return false;
	while (want <= id)
		want *= 2;
	grown = realloc(g->frame, want * sizeof(*grown));
	if (!grown)
		return false;
	memset(grown + g->room, 0, (want - g->room) * sizeof(*grown));
	g->frame = grown;
	g->room = want;
	return true;
}

static bool take_frame(struct sw_gather *g, const struct sw_profiled_frame *told)
{
	const uint8_t *text = (const uint8_t *)(told + 1);
	struct sw_recording_frame frame;
	uint32_t number;

	if (told->head.size < sizeof(*told) ||
	    told->head.size - sizeof(*told) < (size_t)told->function_len + told->file_len ||
	    told->kind > SW_RECORDED_NOTE || !told->id)
		return false;
	frame = (struct sw_recording_frame){
		.kind = (enum sw_recording_kind)told->kind,
		.function = sw_bytes(text, told->function_len),
		.file = sw_bytes(text + told->function_len, told->file_len),
		.line = told->line,
		.offset = told->offset,
	};
	if (!has_room(g, told->id))
		return true; /* samples with it are lost */
	number = sw_recording_frame(g->recording, &frame);
	g->frame[told->id] = number == UINT32_MAX ? 0 : number + 1;
	return true;
}

static bool take_thread(struct sw_gather *g, const struct sw_profiled_thread *told)
{
	struct thread *t;

	if (told->head.size < sizeof(*told) || told->head.size - sizeof(*told) < told->name_len)
		return false;
	t = &g->thread[(unsigned)told->tid % THREADS];
	t->tid = told->tid;
	t->len = (uint8_t)SW_MIN(told->name_len, NAME_MAX_BYTES);
	memcpy(t->name, told + 1, t->len);
	return true;
}

/* False: it names a frame that there was no room for. */
static bool number_frames(const struct sw_gather *g, const struct sw_profiled_sample *told,
			  uint32_t *ret_frame)
{
	const uint32_t *id = (const uint32_t *)(told + 1);

	for (uint32_t i = 0; i < told->frames; i++) {
		if (id[i] >= g->room || !g->frame[id[i]])
			return false;
		ret_frame[i] = g->frame[id[i]] - 1;
	}
	return true;
}

static bool take_sample(struct sw_gather *g, const struct sw_profiled_sample *told)
{
	static uint32_t frame[STACK_MAX];
	const struct thread *t;
	uint8_t id[SW_ID_TEXT];
	struct sw_writer w = sw_writer(id, sizeof(id));
	struct sw_recording_sample sample = {.frame = frame};

	if (told->head.size < sizeof(*told) || told->frames > STACK_MAX ||
	    told->head.size - sizeof(*told) < told->frames * sizeof(frame[0]))
		return false;
	t = &g->thread[(unsigned)told->tid % THREADS];
	sample.tid = told->tid;
	sample.frames = told->frames;
	sample.span = told->span;
	sample.at_ns = g->shift_ns + told->at_ns;
	sample.weight_ns = told->weight_ns;
	if (t->tid == told->tid)
		sample.thread = sw_bytes(t->name, t->len);
	if (told->segment.high | told->segment.low) {
		sw_write_id(&w, told->segment);
		sample.segment = sw_written(&w);
	}
	if (number_frames(g, told, frame) && sw_recording_add(g->recording, &sample))
		g->taken += told->count;
	else
		g->lost += told->count;
	return true;
}

bool sw_gather_take(struct sw_gather *g, const struct sw_profiled *record)
{
	switch (record->kind) {
	case SW_PROFILED_FRAME:
		return take_frame(g, (const struct sw_profiled_frame *)record);
	case SW_PROFILED_THREAD:
		return take_thread(g, (const struct sw_profiled_thread *)record);
	case SW_PROFILED_SAMPLE:
		return take_sample(g, (const struct sw_profiled_sample *)record);
	default:
		return false;
	}
}
