/* sw8 by the specification 3.2, and the base64 that it uses (RFC 4648). */
#include "preload/carrier.h"

#include <criterion/criterion.h>

/* "trace", "segment", "service", "instance", "/in", "peer:80" */
#define GOOD "1-dHJhY2U=-c2VnbWVudA==-3-c2VydmljZQ==-aW5zdGFuY2U=-L2lu-cGVlcjo4MA=="

static enum sw_carried read_text(const char *text)
{
	struct sw_bytes field[SW_CARRIER_FIELDS];

	return sw_carrier_read(sw_bytes_text(text), field);
}

Test(carrier, valid)
{
	struct sw_bytes field[SW_CARRIER_FIELDS];

	cr_assert_eq(sw_carrier_read(SW_BYTES(GOOD), field), SW_CARRIED_SAMPLED);
	cr_assert(sw_bytes_equal(field[SW_CARRIER_FLAG], SW_BYTES("1")));
	cr_assert(sw_bytes_equal(field[SW_CARRIER_TRACE], SW_BYTES("dHJhY2U=")));
	cr_assert(sw_bytes_equal(field[SW_CARRIER_SEGMENT], SW_BYTES("c2VnbWVudA==")));
	cr_assert(sw_bytes_equal(field[SW_CARRIER_SPAN], SW_BYTES("3")));
	cr_assert(sw_bytes_equal(field[SW_CARRIER_SERVICE], SW_BYTES("c2VydmljZQ==")));
	cr_assert(sw_bytes_equal(field[SW_CARRIER_INSTANCE], SW_BYTES("aW5zdGFuY2U=")));
	cr_assert(sw_bytes_equal(field[SW_CARRIER_ENDPOINT], SW_BYTES("L2lu")));
	cr_assert(sw_bytes_equal(field[SW_CARRIER_ADDRESS], SW_BYTES("cGVlcjo4MA==")));
}

Test(carrier, absent)
{
	struct sw_bytes field[SW_CARRIER_FIELDS];

	cr_assert_eq(sw_carrier_read(sw_bytes(NULL, 0), field), SW_CARRIED_NOTHING);
	cr_assert_eq(sw_carrier_read(SW_BYTES(""), field), SW_CARRIED_NOTHING, "as if absent");
}

Test(carrier, the_marker_suppresses)
{
	cr_assert_eq(read_text("1-------"), SW_CARRIED_SUPPRESSED);
}

Test(carrier, not_sampled_suppresses)
{
	cr_assert_eq(read_text("0-YQ==-YQ==-0-YQ==-YQ==-YQ==-YQ=="), SW_CARRIED_SUPPRESSED);
	cr_assert_eq(read_text("2-YQ==-YQ==-0-YQ==-YQ==-YQ==-YQ=="), SW_CARRIED_SUPPRESSED);
	cr_assert_eq(read_text("-YQ==-YQ==-0-YQ==-YQ==-YQ==-YQ=="), SW_CARRIED_SUPPRESSED);
}

Test(carrier, number_of_fields)
{
	cr_assert_eq(read_text("1-YQ==-YQ==-0-YQ==-YQ==-YQ==-YQ=="), SW_CARRIED_SAMPLED);
	cr_assert_eq(read_text("1-YQ==-YQ==-0-YQ==-YQ==-YQ=="), SW_CARRIED_SUPPRESSED);
	cr_assert_eq(read_text("1-YQ==-YQ==-0-YQ==-YQ==-YQ==-YQ==-YQ=="), SW_CARRIED_SUPPRESSED);
	cr_assert_eq(read_text("1-YQ==-YQ==-0-YQ==-YQ==-YQ==-YQ==-"), SW_CARRIED_SUPPRESSED);
	cr_assert_eq(read_text("1"), SW_CARRIED_SUPPRESSED);
	cr_assert_eq(read_text("-"), SW_CARRIED_SUPPRESSED);
}

/* Each field emptied in turn. */
Test(carrier, no_field_is_empty)
{
	static const char *const empty[] = {
		"1--YQ==-0-YQ==-YQ==-YQ==-YQ==",    "1-YQ==--0-YQ==-YQ==-YQ==-YQ==",
		"1-YQ==-YQ==--YQ==-YQ==-YQ==-YQ==", "1-YQ==-YQ==-0--YQ==-YQ==-YQ==",
		"1-YQ==-YQ==-0-YQ==--YQ==-YQ==",    "1-YQ==-YQ==-0-YQ==-YQ==--YQ==",
		"1-YQ==-YQ==-0-YQ==-YQ==-YQ==-",
	};

	for (size_t i = 0; i < SW_COUNT_OF(empty); i++)
		cr_assert_eq(read_text(empty[i]), SW_CARRIED_SUPPRESSED, "%s", empty[i]);
}

/* A collector would have to be told of a parent without a name. */
Test(carrier, no_field_decodes_to_nothing)
{
	cr_assert_eq(read_text("1-Y-YQ==-0-YQ==-YQ==-YQ==-YQ=="), SW_CARRIED_SUPPRESSED);
	cr_assert_eq(read_text("1-YQ==-Y===-0-YQ==-YQ==-YQ==-YQ=="), SW_CARRIED_SUPPRESSED);
	cr_assert_eq(read_text("1-YQ==-YQ==-0-YQ==-YQ==-YQ==-Y=="), SW_CARRIED_SUPPRESSED);
	cr_assert_eq(read_text("1-YQ==-YQ==-0-YQ==-YQ==-YWJjZ-YQ=="), SW_CARRIED_SUPPRESSED);
	cr_assert_eq(read_text("1-YQ-YQ==-0-YWI-YWJj-YWJjZA-YQ="), SW_CARRIED_SAMPLED);
}

Test(carrier, span_id_is_decimal)
{
	cr_assert_eq(read_text("1-YQ==-YQ==-123456789-YQ==-YQ==-YQ==-YQ=="), SW_CARRIED_SAMPLED);
	cr_assert_eq(read_text("1-YQ==-YQ==-3a-YQ==-YQ==-YQ==-YQ=="), SW_CARRIED_SUPPRESSED);
	cr_assert_eq(read_text("1-YQ==-YQ==- 3-YQ==-YQ==-YQ==-YQ=="), SW_CARRIED_SUPPRESSED);
	cr_assert_eq(read_text("1-YQ==-YQ==-99999999999-YQ==-YQ==-YQ==-YQ=="),
		     SW_CARRIED_SUPPRESSED, "does not fit an int32");
}

Test(carrier, fields_are_base64)
{
	cr_assert_eq(read_text("1-a+/9-YQ==-0-YQ==-YQ==-YQ==-YQ=="), SW_CARRIED_SAMPLED);
	cr_assert_eq(read_text("1-YQ =-YQ==-0-YQ==-YQ==-YQ==-YQ=="), SW_CARRIED_SUPPRESSED);
	cr_assert_eq(read_text("1-YQ==-YQ==-0-YQ==-YQ_=-YQ==-YQ=="), SW_CARRIED_SUPPRESSED);
	cr_assert_eq(read_text("1-YQ==-YQ==-0-YQ==-YQ==-YQ==-\r\nX"), SW_CARRIED_SUPPRESSED);
}

Test(carrier, length_is_bounded)
{
	static char text[SW_CARRIER_MAX + 2] = "1-YQ==-YQ==-0-YQ==-YQ==-YQ==-";
	size_t head = strlen(text);

	memset(text + head, 'a', SW_CARRIER_MAX - head);
	cr_assert_eq(read_text(text), SW_CARRIED_SAMPLED);
	text[SW_CARRIER_MAX] = 'a';
	cr_assert_eq(read_text(text), SW_CARRIED_SUPPRESSED);
}

/* Never beyond the view: a carrier stands in the middle of the program's buffer. */
Test(carrier, ends_where_the_view_ends)
{
	struct sw_bytes field[SW_CARRIER_FIELDS];
	struct sw_bytes longer = SW_BYTES(GOOD "-more");

	cr_assert_eq(sw_carrier_read(sw_bytes_slice(longer, 0, sizeof(GOOD) - 1), field),
		     SW_CARRIED_SAMPLED);
	cr_assert_eq(field[SW_CARRIER_ADDRESS].len, 12);
}

static const struct {
	const char *plain, *coded;
} rfc4648[] = {
	{"", ""},
	{"f", "Zg=="},
	{"fo", "Zm8="},
	{"foo", "Zm9v"},
	{"foob", "Zm9vYg=="},
	{"fooba", "Zm9vYmE="},
	{"foobar", "Zm9vYmFy"},
	{"\xfb\xff", "+/8="},
};

Test(base64, both_ways)
{
	for (size_t i = 0; i < SW_COUNT_OF(rfc4648); i++) {
		char room[64];
		struct sw_writer w = sw_writer(room, sizeof(room));

		sw_write_base64(&w, sw_bytes_text(rfc4648[i].plain));
		cr_assert(sw_bytes_equal(sw_written(&w), sw_bytes_text(rfc4648[i].coded)));
		w = sw_writer(room, sizeof(room));
		cr_assert(sw_read_base64(sw_bytes_text(rfc4648[i].coded), &w));
		cr_assert(sw_bytes_equal(sw_written(&w), sw_bytes_text(rfc4648[i].plain)));
	}
}

Test(base64, every_byte_and_length)
{
	uint8_t plain[256], coded[512], again[256];

	for (int i = 0; i < 256; i++)
		plain[i] = (uint8_t)(i * 7 + 3);
	for (size_t len = 0; len <= sizeof(plain); len++) {
		struct sw_writer out = sw_writer(coded, sizeof(coded));
		struct sw_writer in = sw_writer(again, sizeof(again));

		sw_write_base64(&out, sw_bytes(plain, len));
		cr_assert_eq(out.len, (len + 2) / 3 * 4);
		cr_assert(sw_read_base64(sw_written(&out), &in));
		cr_assert(sw_bytes_equal(sw_written(&in), sw_bytes(plain, len)));
	}
}

Test(base64, padding_may_be_missing)
{
	char room[8];
	struct sw_writer w = sw_writer(room, sizeof(room));

	cr_assert(sw_read_base64(SW_BYTES("Zm8"), &w));
	cr_assert(sw_bytes_equal(sw_written(&w), SW_BYTES("fo")));
}

Test(base64, other_characters_are_refused)
{
	static const char *const bad[] = {"Zm 8", "Zm8-", "Zm8_", "Z=m8", "\x80", "Zm8\n"};

	for (size_t i = 0; i < SW_COUNT_OF(bad); i++) {
		char room[8];
		struct sw_writer w = sw_writer(room, sizeof(room));

		cr_assert_not(sw_read_base64(sw_bytes_text(bad[i]), &w), "%s", bad[i]);
	}
}

Test(base64, never_beyond_the_room)
{
	char room[5] = "....";
	struct sw_writer w = sw_writer(room, 3);

	sw_write_base64(&w, SW_BYTES("foobar"));
	cr_assert(w.cut);
	cr_assert_str_eq(room, "Zm9.");
	w = sw_writer(room, 2);
	cr_assert(sw_read_base64(SW_BYTES("Zm9vYmFy"), &w));
	cr_assert(w.cut);
	cr_assert_str_eq(room, "fo9.");
}
