/* The tag keys that cross the ring as one byte; rows in tags.def. */
#pragma once

enum sw_tag_key {
#define SW_TAG(id, name, doc) SW_TAG_##id,
#include "preload/tags.def"
#undef SW_TAG
	SW_TAG_COUNT
};
