/*
 * C++ and Rust names as people write them. Pure; any bytes may come. About the time of copying the
 * result; 300 KiB of memory of our own, touched as far as it is used. One thread at a time.
 */
#pragma once

#include "preload/bytes.h"

#define SW_DEMANGLE_MAX 4096 /* longer names stay as they are */

/* False: it is no such name, or one that is not understood; then it stays as it is. The text is
 * good until the next call. */
bool sw_demangle(struct sw_bytes symbol, struct sw_bytes *ret_text);
