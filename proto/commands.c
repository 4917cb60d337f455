/* Commands of a collector; see commands.h. */
#include "proto/commands.h"

enum wire { WIRE_VARINT, WIRE_FIXED64, WIRE_BYTES, WIRE_FIXED32 = 5 };

/* Field numbers. */
enum { COMMANDS_COMMAND = 1, COMMAND_NAME = 1, COMMAND_ARGS = 2, PAIR_KEY = 1, PAIR_VALUE = 2 };

/* Seven bits a byte, low ones first. False: cut, or longer than any number. */
static bool take_varint(struct sw_bytes *rest, uint64_t *ret_number)
{
	uint64_t number = 0;

	for (size_t i = 0; i < SW_MIN(rest->len, 10u); i++) {
		number |= (uint64_t)(rest->at[i] & 0x7f) << 7 * i;
		if (rest->at[i] & 0x80)
			continue;
		*rest = sw_bytes_from(*rest, i + 1);
		*ret_number = number;
		return true;
	}
	return false;
}

struct field {
	uint64_t number;
	struct sw_bytes content; /* of a text or a message; else empty */
};

/* False: the end, or not protobuf. */
static bool take_field(struct sw_bytes *rest, struct field *ret_field)
{
	uint64_t tag, len = 0;

	if (!take_varint(rest, &tag))
		return false;
	switch (tag & 7) {
	case WIRE_VARINT:
		*ret_field = (struct field){tag >> 3, {rest->at, 0}};
		return take_varint(rest, &len);
	case WIRE_FIXED64:
		len = 8;
		break;
	case WIRE_FIXED32:
		len = 4;
		break;
	case WIRE_BYTES:
		if (!take_varint(rest, &len))
			return false;
		break;
	default:
		return false;
	}
	if (len > rest->len)
		return false;
	*ret_field = (struct field){tag >> 3,
				    sw_bytes_slice(*rest, 0, (tag & 7) == WIRE_BYTES ? len : 0)};
	*rest = sw_bytes_from(*rest, len);
	return true;
}

/* The next field of this number. */
static bool take_numbered(struct sw_bytes *rest, uint64_t number, struct sw_bytes *ret_content)
{
	struct field field;

	while (take_field(rest, &field)) {
		if (field.number == number) {
			*ret_content = field.content;
			return true;
		}
	}
	return false;
}

bool sw_commands_next(struct sw_bytes *commands, struct sw_command *ret_command)
{
	struct sw_bytes body, rest;

	if (!take_numbered(commands, COMMANDS_COMMAND, &body))
		return false;
	rest = body;
	*ret_command = (struct sw_command){sw_bytes(body.at, 0), body};
	while (take_numbered(&rest, COMMAND_NAME, &ret_command->name))
		;
	return true;
}

bool sw_command_arg(const struct sw_command *command, const char *key, struct sw_bytes *ret_value)
{
	struct sw_bytes rest = command->args, pair;
	bool found = false;

	while (take_numbered(&rest, COMMAND_ARGS, &pair)) {
		struct sw_bytes name = {pair.at, 0}, value = name, again = pair;

		take_numbered(&again, PAIR_KEY, &name);
		take_numbered(&pair, PAIR_VALUE, &value);
		if (!sw_bytes_equal(name, sw_bytes_text(key)))
			continue;
		*ret_value = value;
		found = true;
	}
	return found;
}

bool sw_command_number(const struct sw_command *command, const char *key, int64_t *ret_number)
{
	struct sw_bytes text;
	uint64_t number = 0;
	bool negative;

	if (!sw_command_arg(command, key, &text))
		return false;
	negative = text.len && text.at[0] == '-';
	text = sw_bytes_from(text, negative);
	if (!text.len || text.len > 18) /* what fits in any case */
		return false;
	for (size_t i = 0; i < text.len; i++) {
		if (text.at[i] < '0' || text.at[i] > '9')
			return false;
		number = number * 10 + (uint64_t)(text.at[i] - '0');
	}
	*ret_number = negative ? -(int64_t)number : (int64_t)number;
	return true;
}
