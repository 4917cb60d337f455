/* Why something cannot be: a sentence for one line of ours, with the file's name in it. */
#pragma once

#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>

struct sw_why {
	char *text; /* Borrowed */
	size_t room;
};

/* Always false, for `return sw_why(...)`. */
__attribute__((format(printf, 2, 3))) static inline bool sw_why(struct sw_why *why,
								const char *format, ...)
{
	va_list list;

	va_start(list, format);
	vsnprintf(why->text, why->room, format, list);
	va_end(list);
	return false;
}
