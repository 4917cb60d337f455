/*
 * gzip (RFC 1952) written by ourselves, because libswagent.so needs libc alone. Agent half only.
 *
 * Made for what repeats itself: matches within 32 KiB and deflate's fixed codes, one pass, about
 * 400 KiB of memory whatever the length. The same bytes give the same bytes, however they were cut:
 * the head bears neither a time nor a name.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

struct sw_gzip;

/* What is ready is given to `put`, which may refuse it: then nothing more is. NULL: no memory. */
struct sw_gzip *sw_gzip_new(bool (*put)(void *arg, const void *at, size_t len), void *arg);
void sw_gzip_free(struct sw_gzip *gzip);

/* False: put has refused, now or before. */
bool sw_gzip_add(struct sw_gzip *gzip, const void *at, size_t len);

/* Once, after the last byte; what is missing is put, and the file is whole. */
bool sw_gzip_end(struct sw_gzip *gzip);
