/* The sw8 header: validity on the way in, writing on the way out (specification 3.2). Pure. */
#pragma once

#include "preload/bytes.h"

enum sw_carried {
	SW_CARRIED_NOTHING,    /* no header */
	SW_CARRIED_SAMPLED,    /* valid: join it */
	SW_CARRIED_SUPPRESSED, /* malformed, the marker `1-------`, or not sampled: trace nothing */
};

#define SW_CARRIER_MAX 2048
/* A carrier longer than this is treated as malformed: an Entry keeps it whole. */
#define SW_CORRELATION_MAX 1024

enum sw_carrier_field {
	SW_CARRIER_FLAG,
	SW_CARRIER_TRACE,
	SW_CARRIER_SEGMENT,
	SW_CARRIER_SPAN,
	SW_CARRIER_SERVICE,
	SW_CARRIER_INSTANCE,
	SW_CARRIER_ENDPOINT,
	SW_CARRIER_ADDRESS,
	SW_CARRIER_FIELDS
};

/* Splits into fields, still encoded; good while `carrier` is. */
enum sw_carried sw_carrier_read(struct sw_bytes carrier,
				struct sw_bytes ret_field[SW_CARRIER_FIELDS]);

void sw_write_base64(struct sw_writer *w, struct sw_bytes bytes);

/* Decodes standard base64 with or without padding. False on a character outside the alphabet. */
bool sw_read_base64(struct sw_bytes text, struct sw_writer *ret_bytes);
