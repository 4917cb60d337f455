/*
 * Requests by endpoint, and calls by peer: how many, how many in error, how long they took. From
 * the spans of the segments as they are assembled, so what is not traced (filters, sampling,
 * requests that came suppressed) is not in it. Our thread only.
 *
 * Names come from outside and may be without number: the first SW_ENDPOINTS_MAX of each have a
 * place of their own for as long as the process lives, all others share one that is called "other".
 */
#pragma once

#include "proto/encode.h"

#define SW_ENDPOINTS_MAX 100

/* Least values of the classes, in milliseconds; OAP wants a first one without. */
#define SW_ENDPOINT_BOUNDS                                                                         \
	{                                                                                          \
		0, 5, 10, 25, 50, 100, 250, 500, 1000, 2500, 5000, 10000                           \
	}
#define SW_ENDPOINT_CLASSES 12

struct sw_endpoint {
	struct sw_bytes name; /* Owned; at most 256 bytes */
	uint64_t count, errors;
	uint64_t took[SW_ENDPOINT_CLASSES];
};

/* Counts the spans of a segment. */
void sw_endpoints_take(const struct sw_segment *segment);

/* The i-th endpoint, or peer; NULL: there are not so many. "other" is the last, and only there when
 * it has been counted. */
const struct sw_endpoint *sw_endpoints_served(size_t i);
const struct sw_endpoint *sw_endpoints_called(size_t i);

/* Forgets everything, and frees nothing: in the child of a fork memory may be in mid-change. */
void sw_endpoints_forget(void);
