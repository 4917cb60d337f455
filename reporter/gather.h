/*
 * Puts what the sampler took of a whole process (preload/profile.h) together into a recording: in
 * our thread, for a profile by key, and in the swagent command, for what came through the control
 * socket. One thread at a time. Whatever the bytes are, nothing but an answer comes of it.
 */
#pragma once

#include "preload/profile.h"
#include "reporter/recording.h"

struct sw_gather;

/* NULL: no memory. The recording is borrowed. */
struct sw_gather *sw_gather_new(struct sw_recording *recording);
void sw_gather_free(struct sw_gather *gather);

/* One record, of record->size bytes. False: it is broken. */
bool sw_gather_take(struct sw_gather *gather, const struct sw_profiled *record);

/* Another profile goes on in the same recording, after shift_ns: numbers of frames begin anew. */
void sw_gather_restart(struct sw_gather *gather, uint64_t shift_ns);

/* Stacks that are in the recording, and those that found no room. */
uint64_t sw_gather_taken(const struct sw_gather *gather);
uint64_t sw_gather_lost(const struct sw_gather *gather);
