/*
 * Bytes of a stream to records of one or more lines. Our thread only.
 *
 * Bytes are joined by who wrote them: a thread, for a request, to a stream. Two threads that write
 * halves of lines in turn have written two lines each.
 */
#pragma once

#include "preload/record.h"

struct sw_log_lines;

/* One line, or several that belong together. Borrowed. */
struct sw_log_piece {
	const struct sw_record_log *origin; /* of its first byte; text fields as there */
	struct sw_bytes words;		    /* what stands before the text in the record */
	struct sw_bytes text;		    /* without the last line end */
	struct sw_bytes head;		    /* how its first line begins; of a part: how all did */
	unsigned part; /* 0: whole; 1, 2, ...: of a line that is too long for one */
	bool cut;      /* bytes are missing at its end */
	bool failed;   /* it is a traceback, or ends with one */
};

struct sw_log_lines *sw_log_lines_new(void (*emit)(void *arg, const struct sw_log_piece *piece),
				      void *arg, size_t line_max);
struct sw_log_lines *sw_log_lines_free(struct sw_log_lines *lines);

void sw_log_lines_take(struct sw_log_lines *lines, const struct sw_record_log *record,
		       uint64_t now_ns);
/* Records of this stream were lost: no line goes on over that. */
void sw_log_lines_gap(struct sw_log_lines *lines, uint32_t stream);
void sw_log_lines_turn(struct sw_log_lines *lines, uint64_t now_ns, bool all);
bool sw_log_lines_waiting(const struct sw_log_lines *lines);
