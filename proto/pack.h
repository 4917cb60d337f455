/* The wire form of any message of ours, told by its descriptor. Agent half only. */
#pragma once

#include <protobuf-c/protobuf-c.h>

#include "proto/buffer.h"

/*
 * Appends the bytes of one message, without a length. False: no memory, or a kind of field that no
 * message of ours has; what was appended by then is the caller's to take back.
 */
bool sw_pack(const ProtobufCMessage *message, struct sw_buffer *out);
