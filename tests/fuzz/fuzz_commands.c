/*
 * Fuzzes the commands of a collector. The input is a Commands message, as anybody could send it.
 *
 * Watched: nothing is read beyond the message; what is found lies in it; reading comes to an end,
 * and finds the same again; a number is what its text says.
 */
#include <stdio.h>
#include <stdlib.h>

#include "proto/commands.h"

int LLVMFuzzerTestOneInput(const uint8_t *at, size_t len);

static void must(bool holds, const char *promise)
{
	if (!holds) {
		fprintf(stderr, "broken: %s\n", promise);
		abort();
	}
}

static bool within(struct sw_bytes part, struct sw_bytes whole)
{
	return !part.len || (part.at >= whole.at && part.at + part.len <= whole.at + whole.len);
}

static void check_args(const struct sw_command *command, struct sw_bytes whole)
{
	struct sw_bytes value, again;
	int64_t number;

	if (!sw_command_arg(command, "k", &value)) {
		must(!sw_command_number(command, "k", &number), "no number without a text");
		return;
	}
	must(within(value, whole), "an argument lies in the message");
	must(sw_command_arg(command, "k", &again) && sw_bytes_equal(value, again), "and stays");
	if (sw_command_number(command, "k", &number)) {
		char *text = strndup((const char *)value.at, value.len);

		must(strtoll(text, NULL, 10) == number, "a number is what its text says");
		free(text);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *at, size_t len)
{
	uint8_t *exact = malloc(len ? len : 1); /* for the sanitizer */
	struct sw_bytes whole = sw_bytes(exact, len), rest = whole;
	struct sw_command command;

	if (len)
		memcpy(exact, at, len);
	for (size_t before = rest.len; sw_commands_next(&rest, &command); before = rest.len) {
		must(rest.len < before, "reading comes to an end");
		must(within(command.name, whole) && within(command.args, whole), "all lies in it");
		check_args(&command, whole);
	}
	free(exact);
	return 0;
}
