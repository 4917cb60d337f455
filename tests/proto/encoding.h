/* An encoder and what it writes, new for each test. Shared by the programs of this folder. */
#pragma once

#include <criterion/criterion.h>

#include "proto/encode.h"

static struct sw_encoder *encoder;
static struct sw_buffer out;

static inline void encoding_begin(void)
{
	encoder = sw_encoder_new();
	cr_assert(encoder);
}

static inline void encoding_end(void)
{
	encoder = sw_encoder_free(encoder);
	cr_assert_null(encoder);
	sw_buffer_free(&out);
}
