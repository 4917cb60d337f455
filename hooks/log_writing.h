/* One write on its way into records. Private to hooks/log.c and hooks/log_chars.c. */
#pragma once

#include "hooks/log.h"
#include "hooks/words.h"

struct stream;

/* Walks a vector. */
struct sw_log_cursor {
	const struct iovec *iov;
	size_t count;
	size_t at;   /* in the first one */
	size_t left; /* of all */
};

/* One write, in as many records as it takes. */
struct sw_log_writing {
	struct sw_record_log head;
	struct sw_words words;
	struct stream *stream; /* NULL: a message of its own, without a sequence */
	struct sw_bytes told;  /* its level, logger and thread, where a library told them */
	size_t skipped;	       /* bytes after those of the cursor */
};

/* Whose it is, and when. */
void sw_log_begin_writing(struct sw_guest *g, struct sw_log_writing *w, enum sw_log_source source);
/* To the stream of `entry`. False: it is gone. */
bool sw_log_aim(struct sw_log_writing *w, uint32_t entry, enum sw_log_source *ret_source);
void sw_log_put_writing(struct sw_guest *g, struct sw_log_writing *w, struct sw_log_cursor *c);

/* Is the stream text, and was the last byte that went to it a line end? */
bool sw_log_at_start(uint32_t entry);

/* ---- log_told.c ---- */

/* Of `total` bytes that were written to a stream: where those begin that something is told of.
 * `total`: nowhere. */
size_t sw_log_told_from(uint32_t entry, const struct iovec *iov, size_t count, size_t total);
/* `len` of them are taken. Returns the words, which are good until the thread's next call. */
struct sw_bytes sw_log_told_take(struct sw_record_log *head, uint32_t entry, size_t len);

/* ---- log_chars.c ---- */

/* What this thread has written byte by byte leaves, before what it writes now. */
void sw_log_chars_leave(struct sw_guest *g);
/* What all have; and in a child none of it, which is the parent's. */
void sw_log_chars_leave_all(struct sw_guest *g);
void sw_log_chars_forget(void);
