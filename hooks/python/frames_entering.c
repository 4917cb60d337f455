/*
 * The frames of a thread of CPython 3.11 or 3.12 that a signal interrupted in the interpreter's
 * loop, perhaps where it enters a frame.
 *
 * It enters by linking a struct on its C stack whose newest frame is written some instructions
 * later; until then anything stands there, and the frames that it leads to may have gone, with
 * their code objects. So up to the first frame that C called, where frames.c can tell whether the
 * chain is true, no pointer is followed by a load, unless it leads into the thread's data stack,
 * which is there as long as the thread says so.
 */
#include "hooks/python/frames_at.h"

/* Of _PyStackChunk: the one before, and its size. */
#define CHUNK_SIZE 8

struct chunk {
	uintptr_t from, size;
};

static struct chunk newest_chunk(const void *state)
{
	struct chunk chunk = {0, 0};

	if (sw_frames_at.chunk >= 0)
		chunk.from = (uintptr_t)sw_frames_word(state, sw_frames_at.chunk);
	if (chunk.from)
		chunk.size = (uintptr_t)sw_frames_word((const char *)chunk.from, CHUNK_SIZE);
	return chunk;
}

/* A frame's body where it can be loaded; else read into `room`, which a generator's is. */
static const char *view(struct chunk chunk, const void *frame, char *room)
{
	uintptr_t at = (uintptr_t)frame - chunk.from;

	if ((uintptr_t)frame & 7)
		return NULL;
	if (at < chunk.size && chunk.size - at >= SW_FRAMES_BODY)
		return frame;
	return sw_sys_peek(room, frame, sw_frames_body_bytes()) ? room : NULL;
}

/* Those up to the first that C called, but for what their code objects say; start->newest is then
 * the frame after them. -1: no true chain. */
static int find_first(const void *state, struct sw_frames_start *start, struct sw_frame *frames,
		      unsigned max)
{
	struct chunk chunk = newest_chunk(state);
	char room[SW_FRAMES_BODY];
	unsigned count = 0;
	const char *body;
	bool crossed;

	while (start->bordered && start->newest && count < max) {
		body = view(chunk, start->newest, room);
		if (!body)
			return -1;
		crossed = sw_frames_is_border(body);
		if (!crossed)
			sw_frames_take(body, start->newest, &frames[count++]);
		else if (count)
			frames[count - 1].entry = true;
		start->newest = sw_frames_word(body, sw_frames_at.previous);
		if (crossed || frames[count - 1].entry) {
			if (start->newest != start->border)
				return -1;
			start->bordered = false;
		}
	}
	return start->bordered && !start->newest && count ? -1 : (int)count;
}

int sw_frames_walk_entering(const void *state, struct sw_frame *frames, unsigned max,
			    struct sw_frames *spare, bool *ret_cut)
{
	struct sw_frames_start start;
	int count;

	if (!sw_frames_find_start(SW_FRAMES_ENTERING, state, &start))
		return -1;
	count = find_first(state, &start, frames, max);
	if (count < 0 || !sw_frames_read_codes(frames, (unsigned)count, spare->at))
		return -1;
	return sw_frames_walk_on(SW_FRAMES_OWN, start, NULL, frames, (unsigned)count, max, ret_cut);
}
