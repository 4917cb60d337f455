/*
 * How long a transport leaves a collector alone after a failure: a time that grows and is jittered,
 * so that one that comes back is not met by all its programs at once. gRPC's "Connection Backoff":
 * 1 s, growing by 1.6, +-20 %. Its most is 2 minutes; ours is less, for a transport has few
 * connections and a queue with an end.
 */
#pragma once

#include <sys/random.h>

#include "preload/bytes.h"
#include "preload/sys.h"

#define SW_BACKOFF_FIRST_NS 1000000000ull
#define SW_BACKOFF_MOST_NS (30 * SW_BACKOFF_FIRST_NS)

struct sw_backoff {
	uint64_t next_ns; /* 0: the last attempt was good */
};

/* Any number; 0 where the kernel has no chance to give yet. Also for where a list is begun, so that
 * many programs with one list share its load. */
static inline uint32_t sw_backoff_dice(void)
{
	uint32_t dice = 0;

	sw_sys(getrandom, &dice, sizeof(dice), GRND_NONBLOCK);
	return dice;
}

static inline uint64_t sw_backoff_jittered(uint64_t ns)
{
	uint32_t dice = sw_backoff_dice();

	return ns - ns / 5 + ns * 2 / 5 * (dice % 1024) / 1024;
}

/* An attempt failed: how long to wait before another. */
static inline uint64_t sw_backoff_fail(struct sw_backoff *backoff)
{
	uint64_t wait = backoff->next_ns ? backoff->next_ns : SW_BACKOFF_FIRST_NS;

	backoff->next_ns = SW_MIN(wait * 8 / 5, SW_BACKOFF_MOST_NS);
	return sw_backoff_jittered(wait);
}

/* Something arrived. */
static inline void sw_backoff_succeed(struct sw_backoff *backoff)
{
	backoff->next_ns = 0;
}
