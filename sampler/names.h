/* What frames are called, each decoded once. The sampler's thread only; no allocation after the
 * first. */
#pragma once

#include "preload/bytes.h"
#include "sampler/stack.h"

/* Longest texts that are kept; what is longer is cut (files at their beginning). */
#define SW_NAME_FUNCTION_MAX 512
#define SW_NAME_FILE_MAX 256

struct sw_name {
	uint32_t id;   /* from 1 on; never another frame's, until the next sw_names_clear */
	uint32_t told; /* the caller's; 0 when the name is new */
	enum sw_stack_kind kind;
	uint32_t line;		  /* 0: unknown */
	uint64_t offset;	  /* NATIVE: into the symbol */
	struct sw_bytes function; /* never empty; of a NOTE all there is */
	struct sw_bytes file;	  /* source file, or library of a native frame; may be empty */
};

/* Good until the next call of any function here. Never NULL. One whose code object is gone is a
 * note that says so. */
struct sw_name *sw_names_of(const struct sw_stack_frame *frame);

/* As SkyWalking shows it: "FILE.FUNCTION: LINE", "LIBRARY.SYMBOL+0x1f", or a note. */
void sw_names_write(struct sw_writer *w, const struct sw_name *name);

/* When a profile begins or ends: what is known may not be true of the next one's program. */
void sw_names_clear(void);
