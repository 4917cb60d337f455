/*
 * Names in the environment that begin with SW_ and are nobody's: most are misspelt. Our thread
 * only; what was there is known from the start of the program (preload/config.h).
 */
#pragma once

#include "preload/bytes.h"

/* Says of each that it is not known, and what may be meant. */
void sw_unknown_say(void);

/* Is it a name of somebody else's, or of a family of names (others.def)? */
bool sw_unknown_is_others(struct sw_bytes name);

/* The key, or other name of a key, that differs least from it; NULL: none is near. */
const char *sw_unknown_nearest(struct sw_bytes name);
