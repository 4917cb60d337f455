/* The stack of an event loop that is held (hooks/blocked.h), native frames and Python's. */
#pragma once

#include <stdbool.h>

/* Our thread, which is the reporter's here: reads those of loops that were caught and stand in a
 * call of the kernel, and tells them. Nothing while a profile is taken. Some 100 us for each; where
 * symbols are to be read, tens of ms. Takes the loader's lock between delicate(true) and
 * delicate(false). */
void sw_held_look(void (*delicate)(bool delicate));
