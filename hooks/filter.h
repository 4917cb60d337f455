/* Which operations are traced: suffixes, Ant paths, methods, sampling (specification 1.3). */
#pragma once

#include "preload/bytes.h"

/* False: the operation matches the ignore keys. Reads sw_config. */
bool sw_filter_operation(struct sw_bytes operation);
bool sw_filter_method(struct sw_bytes method);

/* May a new trace begin at this moment? Takes a token of the current 3 seconds when asked. */
bool sw_filter_sample(uint64_t now_ns);

/* False: the peer is on the list of those that never get our headers. */
bool sw_filter_peer(struct sw_bytes peer);

/* Ant pattern: `?` one character, `*` within one path element, `**` any depth; whole text. Bounded
 * work: at most 8 runs of stars, and no match after a fixed number of steps. Pure. */
bool sw_filter_ant(struct sw_bytes pattern, struct sw_bytes text);
