/* Commands of a collector: what protobuf-c packs is read, and what nobody packs harms nobody. */
#include <criterion/criterion.h>
#include <stdlib.h>

#include "proto/commands.h"
#include "proto/common.pb-c.h"

typedef Skywalking__V3__KeyStringValuePair pair;

static uint8_t bytes[4096];

static struct sw_bytes packed(void)
{
	static pair args[4];
	static pair *list[] = {&args[0], &args[1], &args[2], &args[3]};
	static Skywalking__V3__Command one = SKYWALKING__V3__COMMAND__INIT,
				       two = SKYWALKING__V3__COMMAND__INIT;
	Skywalking__V3__Command *commands[] = {&one, &two};
	Skywalking__V3__Commands all = SKYWALKING__V3__COMMANDS__INIT;
	static const char *const texts[][2] = {
		{"TaskId", "abc"}, {"Duration", "5"}, {"Since", "-1"}, {"Duration", "7"}};

	for (int i = 0; i < 4; i++) {
		skywalking__v3__key_string_value_pair__init(&args[i]);
		args[i].key = (char *)texts[i][0];
		args[i].value = (char *)texts[i][1];
	}
	one.command = "ProfileTaskQuery";
	one.n_args = 4;
	one.args = list;
	two.command = "Other";
	all.n_commands = 2;
	all.commands = commands;
	return sw_bytes(bytes, skywalking__v3__commands__pack(&all, bytes));
}

Test(commands, are_read)
{
	struct sw_bytes all = packed(), value;
	struct sw_command command;
	int64_t number;

	cr_assert(sw_commands_next(&all, &command));
	cr_assert(sw_bytes_equal(command.name, SW_BYTES("ProfileTaskQuery")));
	cr_assert(sw_command_arg(&command, "TaskId", &value));
	cr_assert(sw_bytes_equal(value, SW_BYTES("abc")));
	cr_assert(sw_command_number(&command, "Duration", &number) && number == 7);
	cr_assert(sw_command_number(&command, "Since", &number) && number == -1);
	cr_assert_not(sw_command_number(&command, "TaskId", &number));
	cr_assert_not(sw_command_arg(&command, "Task", &value));
	cr_assert(sw_commands_next(&all, &command));
	cr_assert(sw_bytes_equal(command.name, SW_BYTES("Other")));
	cr_assert_not(sw_command_arg(&command, "TaskId", &value));
	cr_assert_not(sw_commands_next(&all, &command));
}

static void read_all(struct sw_bytes all)
{
	struct sw_command command;
	struct sw_bytes value;
	int64_t number;

	while (sw_commands_next(&all, &command)) {
		sw_command_arg(&command, "TaskId", &value);
		sw_command_number(&command, "Duration", &number);
	}
}

/* Cut everywhere, and each byte replaced by others, in memory that ends where the message does. */
Test(commands, broken_ones)
{
	struct sw_bytes whole = packed();

	for (size_t len = 0; len <= whole.len; len++) {
		for (size_t at = 0; at < len; at++) {
			for (int n = 0; n < 5; n++) {
				uint8_t *copy = malloc(len);

				memcpy(copy, whole.at, len);
				copy[at] = (uint8_t[]){0, 0xff, 0x80, 0x0a, 0x7f}[n];
				read_all(sw_bytes(copy, len));
				free(copy);
			}
		}
	}
}

Test(commands, numbers_that_are_none)
{
	static const char *const texts[] = {"", "-", "5x", "+5", "9999999999999999999", " 5"};

	for (size_t i = 0; i < SW_COUNT_OF(texts); i++) {
		size_t len = strlen(texts[i]);
		uint8_t body[64] = {2 << 3 | 2, (uint8_t)(len + 5), 1 << 3 | 2,	 1,
				    'k',	2 << 3 | 2,	    (uint8_t)len};
		struct sw_command command = {{NULL, 0}, {body, len + 7}};
		struct sw_bytes value;
		int64_t number = 42;

		memcpy(body + 7, texts[i], len);
		cr_assert(sw_command_arg(&command, "k", &value) && value.len == len);
		cr_assert_not(sw_command_number(&command, "k", &number));
		cr_assert_eq(number, 42);
	}
}
