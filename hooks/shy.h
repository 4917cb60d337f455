/*
 * Peers that cannot bear longer heads.
 *
 * Some servers read a request head into a small buffer and answer 400, 413, 414 or 431 when it
 * does not fit. A peer whose first heads with our lines are all answered so, and whose bare ones
 * are not, gets no more of them. One good answer to a head with our lines settles it for ever.
 */
#pragma once

#include "hooks/talk.h"

/* False: this peer gets no lines of ours. */
bool sw_shy_allows(const struct sw_talk *talk);

/* An answer came; `injected` tells whether its request bore our lines. */
void sw_shy_answered(const struct sw_talk *talk, bool injected, uint32_t status);
