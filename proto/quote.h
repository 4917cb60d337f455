/*
 * Texts and whole numbers as JSON has them. Pure; inside proto/ only. The caller has made room.
 */
#pragma once

#include "preload/bytes.h"

/* Most that a text of so many bytes takes, with its quotes: each may become \u and four digits. */
static inline size_t sw_quote_most(size_t len)
{
	return 6 * len + 2;
}

/* Digits of a number of 64 bits, and a minus. */
#define SW_QUOTE_NUMBER 21

/* Each writes at `at` and returns the end. */

/* In quotes, mended where it is not UTF-8 (proto/text.h). */
uint8_t *sw_quote(uint8_t *at, struct sw_bytes text);
uint8_t *sw_quote_unsigned(uint8_t *at, uint64_t n);
uint8_t *sw_quote_signed(uint8_t *at, int64_t n);
