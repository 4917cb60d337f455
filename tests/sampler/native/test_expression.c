/* DWARF expressions, those of unwind tables and nonsense. */
#include "sampler/native/expression.h"

#include <criterion/criterion.h>
#include <stdlib.h>

static uint64_t words[4] = {11, 22, 33, 44};
static const struct sw_native_piece piece = {words, 0x7000, sizeof(words)};
static const uint64_t registers[SW_NATIVE_REGISTERS] = {[3] = 1000, [7] = 0x7000, [31] = 5};
static const struct sw_expression_room room = {registers, 1u << 3 | 1u << 7 | 1u << 31, &piece};

#define VALUE(text) value(SW_BYTES(text))
#define REFUSED(text) cr_assert_not(sw_expression_value(SW_BYTES(text), NULL, &room, &refused))

static uint64_t refused;

static uint64_t value(struct sw_bytes expression)
{
	uint64_t first = 500, result = 0;

	cr_assert(sw_expression_value(expression, &first, &room, &result));
	return result;
}

Test(expression, those_of_libraries)
{
	cr_assert_eq(VALUE("\x77\x08\x06\x23\x08"), 30, "OpenSSL: *(rsp + 8) + 8");
	cr_assert_eq(VALUE("\x77\x08\x73\x00\x38\x1e\x22"), 0x7008 + 8000, "rsp + 8 + rbx * 8");
	cr_assert_eq(VALUE("\x38\x1c\x0d\xe0\xff\xff\xff\x1a\x0d\xb0\xff\xff\xff\x22"),
		     ((500 - 8) & -32) - 80, "libmvec");
	cr_assert_eq(VALUE("\x13\x77\x10"), 0x7010, "drop; rsp + 16");
}

Test(expression, each_operation)
{
	cr_assert_eq(VALUE("\x08\xfe"), 254);
	cr_assert_eq(VALUE("\x09\xfe"), (uint64_t)-2);
	cr_assert_eq(VALUE("\x0a\xfe\xff"), 0xfffe);
	cr_assert_eq(VALUE("\x0b\xfe\xff"), (uint64_t)-2);
	cr_assert_eq(VALUE("\x0c\xfe\xff\xff\xff"), 0xfffffffe);
	cr_assert_eq(VALUE("\x0e\1\0\0\0\0\0\0\1"), 0x100000000000001);
	cr_assert_eq(VALUE("\x10\x80\x01"), 128);
	cr_assert_eq(VALUE("\x11\x7f"), (uint64_t)-1);
	cr_assert_eq(VALUE("\x12\x22"), 1000, "dup, plus");
	cr_assert_eq(VALUE("\x31\x14\x22"), 501, "over");
	cr_assert_eq(VALUE("\x31\x15\1"), 500, "pick");
	cr_assert_eq(VALUE("\x31\x16\x1c"), (uint64_t)(1 - 500), "swap, minus");
	cr_assert_eq(VALUE("\x1f"), (uint64_t)-500);
	cr_assert_eq(VALUE("\x20"), ~500ull);
	cr_assert_eq(VALUE("\x31\x21"), 501);
	cr_assert_eq(VALUE("\x33\x24"), 4000);
	cr_assert_eq(VALUE("\x1f\x33\x26"), (uint64_t)(-500 >> 3));
	cr_assert_eq(VALUE("\x33\x25"), 62);
	cr_assert_eq(VALUE("\x08\x40\x24"), 0, "shifted away");
	cr_assert_eq(VALUE("\x12\x27"), 0);
	cr_assert_eq(VALUE("\x11\x7f\x2b"), 1, "500 > -1");
	cr_assert_eq(VALUE("\x11\x7f\x2d"), 0);
	cr_assert_eq(VALUE("\x92\x1f\x02"), 7);
	cr_assert_eq(VALUE("\x96"), 500);
}

Test(expression, what_is_not_known_is_refused)
{
	REFUSED("");
	REFUSED("\x76\x00");		   /* rbp */
	REFUSED("\x92\x20\x00");	   /* no such register */
	REFUSED("\x77\x19\x06");	   /* the end of the copy */
	REFUSED("\x77\x7f\x06");	   /* before it */
	REFUSED("\x77\x00\x94\x04");	   /* a part of a word */
	REFUSED("\x22");		   /* nothing on the stack */
	REFUSED("\x31\x2f\xfc\xff");	   /* skip */
	REFUSED("\x03\1\2\3\4\5\6\7\x08"); /* addr */
	REFUSED("\x08");		   /* cut */
	REFUSED("\x9c");		   /* call_frame_cfa */
}

Test(expression, its_stack_has_an_end)
{
	uint8_t many[1000];

	memset(many, 0x31, sizeof(many));
	cr_assert_not(sw_expression_value(sw_bytes(many, sizeof(many)), NULL, &room, &refused));
	cr_assert(sw_expression_value(sw_bytes(many, 32), NULL, &room, &refused));
}

Test(expression, nonsense)
{
	unsigned seed = 1;
	uint8_t bytes[24];

	for (unsigned i = 0; i < 200000; i++) {
		size_t len = rand_r(&seed) % sizeof(bytes);

		for (size_t k = 0; k < len; k++)
			bytes[k] = (uint8_t)(rand_r(&seed) % (i % 2 ? 256 : 0x50));
		sw_expression_value(sw_bytes(bytes, len), i % 3 ? &registers[3] : NULL, &room,
				    &refused);
	}
}
