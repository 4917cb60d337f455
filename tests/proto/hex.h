/* Bytes as the RFCs write them. */
#pragma once

#include "preload/bytes.h"

static inline uint8_t hex_digit(char c)
{
	return (uint8_t)(c <= '9' ? c - '0' : c - 'a' + 10);
}

/* Appends them; anything but digits in between does not matter. */
static inline void hex_add(struct sw_writer *out, const char *hex)
{
	bool half = false;
	uint8_t byte = 0;

	for (; *hex; hex++) {
		if (!((*hex >= '0' && *hex <= '9') || (*hex >= 'a' && *hex <= 'f')))
			continue;
		byte = (uint8_t)(byte << 4 | hex_digit(*hex));
		if (half)
			sw_write(out, sw_bytes(&byte, 1));
		half = !half;
	}
}
