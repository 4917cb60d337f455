/* Names of the tag keys; see tags.h. In preload/ because the guest writes keys, proto/ names. */
#include "preload/tags.h"

const char *const sw_tag_names[SW_TAG_COUNT] = {
#define SW_TAG(id, name, doc) [SW_TAG_##id] = name,
#include "preload/tags.def"
#undef SW_TAG
};
