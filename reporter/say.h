/*
 * Our own few lines, on the program's stderr: warnings and worse (debug: everything). Our thread
 * only; one write(2) per line, never through stdio, never to stdout.
 */
#pragma once

#include "preload/config.h"

/* What -errno means; in the program's language, for which libc takes a lock. */
const char *sw_say_error(long error);

/* For what is said once: true the first time that it is asked with this word. */
static inline bool sw_say_first(bool *said)
{
	bool first = !*said;

	*said = true;
	return first;
}

__attribute__((format(printf, 2, 3))) void sw_say(enum sw_level level, const char *format, ...);
