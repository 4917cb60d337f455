/*
 * What a collector answers: Commands (specification 3.4, 4.1), read where they stand. Any bytes may
 * come; nothing is allocated, and nothing is read beyond them.
 */
#pragma once

#include "preload/bytes.h"

struct sw_command {
	struct sw_bytes name; /* `ProfileTaskQuery`, ...; Borrowed, like what follows */
	struct sw_bytes args; /* for sw_command_arg */
};

/* Takes the next one out of a Commands message. False: there is none, or not of that form. */
bool sw_commands_next(struct sw_bytes *commands, struct sw_command *ret_command);

/* The text of an argument; the last one where it is given twice. False: it has none. */
bool sw_command_arg(const struct sw_command *command, const char *key, struct sw_bytes *ret_value);
/* The same of a whole number. False also when it is none, or does not fit. */
bool sw_command_number(const struct sw_command *command, const char *key, int64_t *ret_number);
