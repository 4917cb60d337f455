/* Views and the bounded writer: nothing may reach beyond what it was given. */
#include "preload/bytes.h"

#include <criterion/criterion.h>

#define cr_assert_text(b, text) cr_assert(sw_bytes_equal((b), SW_BYTES(text)))

Test(bytes, views_of_texts)
{
	cr_assert_eq(SW_BYTES("").len, 0);
	cr_assert_eq(SW_BYTES("abc").len, 3);
	cr_assert_eq(SW_BYTES("a\0c").len, 3);
	cr_assert_eq(sw_bytes_text("abc").len, 3);
	cr_assert_eq(sw_bytes_text(NULL).len, 0);
}

Test(bytes, slices_are_clipped)
{
	struct sw_bytes b = SW_BYTES("abcdef");

	cr_assert_text(sw_bytes_slice(b, 1, 3), "bc");
	cr_assert_text(sw_bytes_slice(b, 0, 6), "abcdef");
	cr_assert_text(sw_bytes_slice(b, 4, 99), "ef");
	cr_assert_text(sw_bytes_slice(b, 99, 100), "");
	cr_assert_text(sw_bytes_slice(b, 3, 2), "");
	cr_assert_text(sw_bytes_slice(b, 2, SIZE_MAX), "cdef");
	cr_assert_text(sw_bytes_from(b, 6), "");
	cr_assert_text(sw_bytes_from(b, 7), "");
	cr_assert_eq(sw_bytes_from(b, 7).at, b.at + 6, "still inside, one past the end at most");
}

Test(bytes, comparisons)
{
	struct sw_bytes none = sw_bytes(NULL, 0);

	cr_assert(sw_bytes_equal(none, none));
	cr_assert(sw_bytes_equal(none, SW_BYTES("")));
	cr_assert_not(sw_bytes_equal(SW_BYTES("a"), none));
	cr_assert_not(sw_bytes_equal(SW_BYTES("ab"), SW_BYTES("aB")));
	cr_assert(sw_bytes_equal_nocase(SW_BYTES("Content-Length"), SW_BYTES("cONTENT-lENGTH")));
	cr_assert_not(sw_bytes_equal_nocase(SW_BYTES("ab"), SW_BYTES("abc")));
	cr_assert_not(sw_bytes_equal_nocase(SW_BYTES("@"), SW_BYTES("`")),
		      "differ by 0x20, no letters");
	cr_assert_not(sw_bytes_equal_nocase(SW_BYTES("\xc4"), SW_BYTES("\xe4")), "ASCII only");
}

Test(bytes, prefixes_and_suffixes)
{
	struct sw_bytes b = SW_BYTES("/a.html");

	cr_assert(sw_bytes_starts(b, SW_BYTES("/a")));
	cr_assert(sw_bytes_starts(b, SW_BYTES("")));
	cr_assert(sw_bytes_starts(b, b));
	cr_assert_not(sw_bytes_starts(b, SW_BYTES("/a.html?")));
	cr_assert(sw_bytes_ends(b, SW_BYTES(".html")));
	cr_assert(sw_bytes_ends(b, SW_BYTES("")));
	cr_assert(sw_bytes_ends(b, b));
	cr_assert_not(sw_bytes_ends(b, SW_BYTES("x/a.html")));
}

Test(bytes, find_gives_the_length_for_nothing)
{
	cr_assert_eq(sw_bytes_find(SW_BYTES("abcabc"), 'c'), 2);
	cr_assert_eq(sw_bytes_find(SW_BYTES("abc"), 'x'), 3);
	cr_assert_eq(sw_bytes_find(sw_bytes(NULL, 0), 'x'), 0);
	cr_assert_eq(sw_bytes_find(sw_bytes_slice(SW_BYTES("abc"), 0, 2), 'c'), 2,
		     "not beyond the view");
}

Test(bytes, lower_touches_letters_only)
{
	for (int c = 0; c < 256; c++) {
		uint8_t want = c >= 'A' && c <= 'Z' ? (uint8_t)(c + 32) : (uint8_t)c;

		cr_assert_eq(sw_lower((uint8_t)c), want, "character %d", c);
	}
}

Test(writer, keeps_what_fits_and_remembers)
{
	uint8_t room[5] = "....";
	struct sw_writer w = sw_writer(room, 4);

	sw_write(&w, SW_BYTES("ab"));
	cr_assert_not(w.cut);
	sw_write(&w, SW_BYTES("cde"));
	cr_assert(w.cut);
	cr_assert_text(sw_written(&w), "abcd");
	sw_write(&w, SW_BYTES("f"));
	sw_write(&w, SW_BYTES(""));
	cr_assert_eq(w.len, 4);
	cr_assert_eq(room[4], 0, "nothing beyond the room");
}

Test(writer, no_room_and_nothing_to_write)
{
	struct sw_writer w = sw_writer(NULL, 0);

	sw_write(&w, sw_bytes(NULL, 0));
	cr_assert_not(w.cut);
	sw_write(&w, SW_BYTES("a"));
	cr_assert(w.cut);
	cr_assert_eq(w.len, 0);
}

static struct sw_bytes number(uint64_t n, uint8_t room[64])
{
	struct sw_writer w = sw_writer(room, 64);

	sw_write_number(&w, n);
	return sw_written(&w);
}

Test(writer, numbers)
{
	uint8_t room[64];
	struct sw_writer w = sw_writer(room, sizeof(room));

	cr_assert_text(number(0, room), "0");
	cr_assert_text(number(9, room), "9");
	cr_assert_text(number(10, room), "10");
	cr_assert_text(number(UINT64_MAX, room), "18446744073709551615");
	sw_write_hex(&w, 0);
	sw_write_hex(&w, 0x0123456789abcdefull);
	cr_assert_text(sw_written(&w), "00000000000000000123456789abcdef");
}
