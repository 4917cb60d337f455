/*
 * Span records to segments. Exits may come before or after their Entry, from other rings; an Entry
 * says how many there are. Our thread only.
 */
#pragma once

#include "proto/encode.h"

struct sw_assembler;

/* `emit` gets each finished segment; its spans are good until it returns. */
struct sw_assembler *sw_assembler_new(void (*emit)(void *arg, const struct sw_segment *segment),
				      void *arg);
struct sw_assembler *sw_assembler_free(struct sw_assembler *assembler);

/* Takes one record (borrowed). now_ns: CLOCK_MONOTONIC. */
void sw_assembler_take(struct sw_assembler *assembler, const struct sw_record_span *span,
		       uint64_t now_ns);

/* Emits segments whose Entry has waited too long for an Exit; all that have an Entry with `all`. */
void sw_assembler_expire(struct sw_assembler *assembler, uint64_t now_ns, bool all);

/* Segments that wait for nothing but Exits on their way. */
unsigned sw_assembler_waiting(const struct sw_assembler *assembler);
