/* protobuf's JSON mapping of any message, told by its descriptor. Agent half only. */
#pragma once

#include <protobuf-c/protobuf-c.h>

#include "proto/buffer.h"

/*
 * Appends one object, without blanks or line ends, or appends nothing and returns false (no
 * memory). Fields at their default are left out, as in the mapping. Texts that are not
 * UTF-8 are mended.
 */
bool sw_json_message(const ProtobufCMessage *message, struct sw_buffer *out);
