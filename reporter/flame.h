/* The page of the flame graph, made of reporter/flame/ by embed.py when we are built: what comes
 * before the recording, and what comes after it. No NUL at the end. */
#pragma once

#include <stddef.h>
#include <stdint.h>

extern const uint8_t sw_flame_head[], sw_flame_tail[];
extern const size_t sw_flame_head_len, sw_flame_tail_len;
