/* A growing run of bytes. Agent half only: it allocates. */
#pragma once

#include <stdlib.h>

#include "preload/bytes.h"

struct sw_buffer {
	uint8_t *at; /* Owned */
	size_t len, room;
	bool failed; /* memory was refused; what came after is missing */
};

static inline void sw_buffer_free(struct sw_buffer *b)
{
	free(b->at);
	*b = (struct sw_buffer){NULL, 0, 0, false};
}

/* Room for `more` bytes after len; NULL when memory is refused. */
static inline uint8_t *sw_buffer_room(struct sw_buffer *b, size_t more)
{
	size_t want = b->room ? b->room : 1024;
	uint8_t *grown;

	if (b->failed)
		return NULL;
	while (want - b->len < more)
		want *= 2;
	if (want != b->room) {
		grown = realloc(b->at, want);
		if (!grown) {
			b->failed = true;
			return NULL;
		}
		b->at = grown;
		b->room = want;
	}
	return b->at + b->len;
}

static inline void sw_buffer_add(struct sw_buffer *b, struct sw_bytes bytes)
{
	uint8_t *at = sw_buffer_room(b, bytes.len);

	if (at && bytes.len)
		memcpy(at, bytes.at, bytes.len);
	b->len += at ? bytes.len : 0;
}

/* Afterwards everything before `len` bytes is gone, the rest stays. */
static inline void sw_buffer_drop(struct sw_buffer *b, size_t len)
{
	if (len && len < b->len)
		memmove(b->at, b->at + len, b->len - len);
	b->len -= SW_MIN(len, b->len);
}
