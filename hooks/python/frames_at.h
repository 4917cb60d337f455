/* Shared by frames.c, frames_find.c and code.c: where things are, and how memory is looked at. */
#pragma once

#include <string.h>

#include "hooks/python/frames.h"
#include "preload/sys.h"

#define SW_PY(type, name, params) type(*name) params;
struct sw_frames_api {
#include "hooks/python/frames_api.def"
};
#undef SW_PY

/* Filled by api.c. */
extern struct sw_frames_api sw_frames_api;
bool sw_frames_api_found(void);
/* 3.13's _PyRuntime, at whose start it describes itself; NULL before 3.7. */
const void *sw_frames_runtime(void);

/* One row of frames.def. */
struct sw_frames_row {
	int16_t minor;
	int16_t threads;
	int16_t next, interp, thread_id, native_id, cframe, newest;
	int16_t previous, code, instruction, is_entry, owner, locals;
	int16_t first_line, file, name, qualname, lines, instructions, local_names, local_kinds;
	int16_t ascii, compact;
	int16_t chunk;
};

extern struct sw_frames_row sw_frames_at;
/* Of a thread's id in glibc's struct pthread, for the versions without native_thread_id, and where
 * that is its parent's. */
extern size_t sw_frames_tid_at;

/* This process is a child, which CPython may not know. */
extern _Atomic bool sw_frames_forked;

#define SW_FRAMES_OWNER_C 3 /* from 3.12 on: no frame of Python's, but the border to C */

/* Members that the table need not name: the same in all of 3.6 to 3.13. */
#define SW_PY_TYPE 8   /* of any object */
#define SW_PY_SIZE 16  /* of bytes, tuples, str, and code from 3.11 on */
#define SW_PY_BYTES 32 /* the bytes of bytes */
#define SW_PY_ITEMS 24 /* of a tuple */
#define SW_PY_STR_HASH 24
#define SW_PY_STR_STATE 32 /* 1 << 5: compact; 1 << 6: ASCII; kind in bits 2 to 4 */
#define SW_PY_CELL 16

/* `len` bytes of an object; `ask`: read by the kernel into `room`, as they may have gone. */
static inline const char *sw_frames_view(bool ask, const void *object, void *room, size_t len)
{
	if (!ask)
		return object;
	return sw_sys_peek(room, object, len) ? room : NULL;
}

static inline const void *sw_frames_word(const char *body, int offset)
{
	const void *word;

	memcpy(&word, body + offset, sizeof(word));
	return word;
}

static inline bool sw_frames_peek_word(const void *object, int offset, const void **ret_word)
{
	return sw_sys_peek(ret_word, (const char *)object + offset, sizeof(*ret_word));
}

/* ---- frames.c ---- */

enum sw_frames_reader {
	SW_FRAMES_OWN,	    /* the thread itself, not in the midst of entering: plain loads */
	SW_FRAMES_ENTERING, /* the thread itself, perhaps in the midst */
	SW_FRAMES_OTHERS,   /* another thread's: by the kernel's answers alone */
};

/* One walk. Frames found, innermost first; -1: what was read cannot be. `known`, or NULL: what was
 * found a moment ago. */
int sw_frames_walk(enum sw_frames_reader reader, const void *state, const struct sw_frames *known,
		   struct sw_frame *frames, unsigned max, bool *ret_cut);
/* Bytes up to the last member that is looked at, in any version. */
#define SW_FRAMES_BODY 128
#define SW_FRAMES_CODE 144
/* And in this one: a short read near the end of a page must not fail for bytes that nobody wants.
 */
size_t sw_frames_body_bytes(void);
size_t sw_frames_code_bytes(void);

/* All of a frame but `print`, which is left 0 and made of its code object, and its name's hash. */
void sw_frames_take(const char *body, const void *frame, struct sw_frame *ret_frame);
uint64_t sw_frames_print_of(const char *code, uint64_t hash);
bool sw_frames_is_border(const char *body);

/* Reads the code objects of those frames whose `print` is 0, and sets it; SW_FRAMES_BATCH of them
 * by two questions to the kernel. `spare`: room of SW_FRAMES_SPARE frames. False: one is none. */
#define SW_FRAMES_BATCH 32
#define SW_FRAMES_SPARE (SW_FRAMES_BATCH * (SW_FRAMES_CODE + 8) / sizeof(struct sw_frame))
bool sw_frames_read_codes(struct sw_frame *frames, unsigned count, struct sw_frame *spare);

/* The interpreter's loop; size 0: unknown. */
extern uintptr_t sw_frames_loop, sw_frames_loop_size;

/* A walk of the calling thread's in a signal handler that interrupted the interpreter's loop, where
 * a frame may be half entered: nothing is loaded of which it is not certain that it is there. */
int sw_frames_walk_entering(const void *state, struct sw_frame *frames, unsigned max,
			    struct sw_frames *spare, bool *ret_cut);
/* Where a walk begins; see frames.c. */
struct sw_frames_start {
	const void *newest, *border;
	bool bordered;
};
bool sw_frames_find_start(enum sw_frames_reader reader, const void *state,
			  struct sw_frames_start *ret_start);
/* From that frame on, `count` being known already. */
int sw_frames_walk_on(enum sw_frames_reader reader, struct sw_frames_start start,
		      const struct sw_frames *known, struct sw_frame *frames, unsigned count,
		      unsigned max, bool *ret_cut);

/* One frame by itself, wherever it is linked. `body`: what was read of it, sw_frames_body_bytes of
 * it; `known` as above, of a frame. */
bool sw_frames_one(const void *frame, const char *body, const struct sw_frame *known,
		   struct sw_frame *ret_frame);
/* What tells a code object from another at the same address, of its members up to the line table.
 * False: it cannot be one. */
bool sw_frames_print(bool ask, const char *code, uint64_t *ret_print);
/* The kernel's id of the thread whose state this is; 0: unknown. */
int sw_frames_tid(const void *state);
