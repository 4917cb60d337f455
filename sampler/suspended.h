/* The stack of a request that waits on no thread: its chain of awaits. The sampler's thread only.
 */
#pragma once

#include "preload/guard.h"
#include "sampler/stack.h"

/* NULL: it has none that could be read (hooks/python/awaits.h); `wanted`: likewise. Innermost is a
 * note of what is awaited, as "(_asyncio.Future)", or "(ready)" where nothing is: it goes on when
 * its turn comes. After sw_threads_look of this tick; good until the next call. */
const struct sw_stack *sw_suspended_of(sw_ref entry, bool (*wanted)(sw_ref entry));

/* When a task ends. */
void sw_suspended_clear(void);
