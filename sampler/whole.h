/* Profiles of the whole process (preload/profile.h). The sampler's thread only; no allocation after
 * the first tick. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

/* A profile begins, or is gone on with after the sampler was away. False: no memory. */
bool sw_whole_begin(uint32_t number);

/* One tick: looks at all threads. `late`: ticks before this one that were not made. proc: /proc may
 * be read. Waits for none once *leave is not 0. */
void sw_whole_tick(uint64_t now_ns, uint64_t late, bool proc, const _Atomic uint32_t *leave);

/* The sampler leaves, or the profile is over: what is held goes into the ring. */
void sw_whole_end(bool over);
