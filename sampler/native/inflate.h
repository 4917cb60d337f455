/* Decompression of zlib's format (RFC 1950, 1951), in which distributions keep debug information. A
 * pure function; no checksum is looked at, as what comes out is bounded like any other nonsense. */
#pragma once

#include "preload/bytes.h"

/* False: no such stream, or it has not exactly `len` bytes. */
bool sw_inflate(struct sw_bytes packed, uint8_t *to, size_t len);
