/* Reads a flat JSON object: {"key": "value", …}. For configuration; our thread only. Pure. */
#pragma once

#include "proto/buffer.h"

/*
 * Appends key, NUL, value, NUL to `out` for each member. Values may be strings, numbers, true and
 * false (kept as written); null members are left out. False on anything else: nested values, bad
 * escapes, text after the end; then what was appended means nothing.
 */
bool sw_json_object(struct sw_bytes text, struct sw_buffer *out);
