/* The value of sw8 that goes on from here (specification 3.2). preload/carrier.h reads those that
 * come. */
#pragma once

#include "preload/bytes.h"
#include "preload/process.h"

struct sw_carried_on {
	struct sw_bytes trace; /* base64; empty: our own of `segment` */
	struct sw_id segment;
	int32_t span;
	struct sw_bytes endpoint, peer;
};

/* Spells out the names of service and instance. At the start and in a forked child, before any
 * thread could write a carrier. */
void sw_carry_names(void);

/* The header's value, without its name. Any thread. */
void sw_carry_write(struct sw_writer *w, const struct sw_carried_on *carried);

/* The trace of a segment of ours, in base64: `foreign`, or when that is empty our own. It is
 * spelled out only when a call carries it; most requests make none. */
void sw_carry_trace(struct sw_writer *w, struct sw_bytes foreign, struct sw_id segment);
