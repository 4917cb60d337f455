/* The Huffman code: the RFC's examples, every byte, and what must be refused. */
#include <criterion/criterion.h>

#include "proto/huffman.h"
#include "tests/proto/hex.h"

static uint8_t coded_at[4096], text_at[4096];

static struct sw_bytes coded(struct sw_bytes text)
{
	struct sw_writer out = sw_writer(coded_at, sizeof(coded_at));

	sw_huffman_write(&out, text);
	cr_assert_not(out.cut);
	cr_assert_eq(out.len, sw_huffman_size(text));
	return sw_written(&out);
}

static void cr_read(struct sw_bytes code, struct sw_bytes want)
{
	struct sw_writer text = sw_writer(text_at, sizeof(text_at));
	size_t len = 0;

	cr_assert(sw_huffman_read(code, &text, &len));
	cr_assert_eq(len, want.len);
	cr_assert_not(text.cut);
	cr_assert(sw_bytes_equal(sw_written(&text), want));
}

static void cr_example(const char *hex, const char *text)
{
	uint8_t at[256];
	struct sw_writer w = sw_writer(at, sizeof(at));

	hex_add(&w, hex);
	cr_assert(sw_bytes_equal(coded(sw_bytes_text(text)), sw_written(&w)), "%s", text);
	cr_read(sw_written(&w), sw_bytes_text(text));
}

static bool refuses(const char *hex)
{
	uint8_t at[256], text[256];
	struct sw_writer w = sw_writer(at, sizeof(at)), out = sw_writer(text, sizeof(text));
	size_t len = 12345;

	hex_add(&w, hex);
	return !sw_huffman_read(sw_written(&w), &out, &len) && len == 12345;
}

Test(huffman, examples_of_the_rfc)
{
	cr_example("f1e3 c2e5 f23a 6ba0 ab90 f4ff", "www.example.com");
	cr_example("a8eb 1064 9cbf", "no-cache");
	cr_example("25a8 49e9 5ba9 7d7f", "custom-key");
	cr_example("25a8 49e9 5bb8 e8b4 bf", "custom-value");
	cr_example("6402", "302");
	cr_example("aec3 771a 4b", "private");
	cr_example("d07a be94 1054 d444 a820 0595 040b 8166 e082 a62d 1bff",
		   "Mon, 21 Oct 2013 20:13:21 GMT");
	cr_example("9d29 ad17 1863 c78f 0b97 c8e9 ae82 ae43 d3", "https://www.example.com");
	cr_example("94e7 821d d7f2 e6c7 b335 dfdf cd5b 3960 d5af 2708 7f36 72c1 ab27 0fb5 291f"
		   "9587 3160 65c0 03ed 4ee5 b106 3d50 07",
		   "foo=ASDJKHQKBZXOQWEOPIUAXQWEOIU; max-age=3600; version=1");
	cr_example("", "");
}

/* One code of each length; the longest are those of control characters. */
Test(huffman, codes_of_each_length)
{
	cr_example("07", "0");
	cr_example("53", " ");
	cr_example("b9", ":");
	cr_example("f8", "&");
	cr_example("fe3f", "!");
	cr_example("ff5f", "'");
	cr_example("ffaf", "#");
	cr_example("ffcf", "$");
	cr_example("fff3", "^");
	cr_example("fff9", "<");
	cr_example("fffe1f", "\\");
	cr_example("fffe6f", "\x80");
	cr_example("fffee7", "\x99");
	cr_example("ffff4b", "\x81");
	cr_example("ffffb1", "\x01");
	cr_example("ffffea", "\x09");
	cr_example("fffff67f", "\xc7");
	cr_example("fffff83f", "\xc0");
	cr_example("fffffbdf", "\xcb");
	cr_example("ffffffef", "\xf9");
	cr_example("fffffff3", "\x0a");
	cr_example("fffffffb", "\x16");
}

Test(huffman, every_pair_of_bytes_comes_back)
{
	for (int a = 0; a < 256; a++) {
		for (int b = 0; b < 256; b++) {
			uint8_t text[2] = {(uint8_t)a, (uint8_t)b};

			cr_read(coded(sw_bytes(text, 2)), sw_bytes(text, 2));
		}
	}
}

Test(huffman, all_bytes_together)
{
	uint8_t text[1024];

	for (size_t i = 0; i < sizeof(text); i++)
		text[i] = (uint8_t)(i * 7 + i / 256);
	for (size_t len = 0; len <= sizeof(text); len++)
		cr_read(coded(sw_bytes(text, len)), sw_bytes(text, len));
}

/* "0" is 00000, "a" 00011, ":" 1011100. */
Test(huffman, padding_is_less_than_a_byte_of_ones)
{
	cr_assert(refuses("ff"));     /* nothing but eight bits of it */
	cr_assert(refuses("07 ff"));  /* fifteen */
	cr_assert(refuses("00"));     /* "0" and 000 */
	cr_assert(refuses("06"));     /* "0" and 110 */
	cr_assert(refuses("03"));     /* "0" and 011 */
	cr_assert(refuses("b8"));     /* ":" and 0 */
	cr_assert(refuses("fffe6e")); /* 0x80 and 1110 */
	cr_assert(refuses("ffff"));
	cr_assert(refuses("ffffff"));
}

Test(huffman, the_end_of_string_is_no_symbol)
{
	cr_assert(refuses("ffffffff"));
	cr_assert(refuses("ffffffff ffffffff"));
	cr_assert(refuses("fffffffc"));
	cr_assert(refuses("07 ffffffff"));
	cr_assert(refuses("1fffffff ff")); /* "a", all 30 bits, padding */
	/* The last code that is a symbol has the same beginning. */
	cr_example("fffffffb", "\x16");
}

Test(huffman, cut_in_the_middle_of_a_symbol)
{
	cr_assert(refuses("fffffff0")); /* 0x0a is fffffff3 */
	cr_assert(refuses("ffffff"));
	cr_assert(refuses("fe")); /* "!" is fe3f */
	cr_assert(refuses("fffe"));
}

/* The whole length is told, and errors behind what fits are still found. */
Test(huffman, text_that_does_not_fit)
{
	uint8_t at[16];
	struct sw_writer w = sw_writer(at, sizeof(at)), text = sw_writer(text_at, 6);
	size_t len = 0;

	hex_add(&w, "a8eb 1064 9cbf");
	sw_write(&text, SW_BYTES("ab"));
	cr_assert(sw_huffman_read(sw_written(&w), &text, &len));
	cr_assert_eq(len, 8);
	cr_assert(text.cut);
	cr_assert(sw_bytes_equal(sw_written(&text), SW_BYTES("abno-c")));
	at[5] = 0xbe;
	text = sw_writer(text_at, 0);
	cr_assert_not(sw_huffman_read(sw_written(&w), &text, &len));
}

Test(huffman, code_that_does_not_fit)
{
	struct sw_bytes text = SW_BYTES("www.example.com");

	for (size_t room = 0; room < 12; room++) {
		struct sw_writer out = sw_writer(coded_at, room);

		coded_at[room] = 0xaa;
		sw_huffman_write(&out, text);
		cr_assert(out.cut);
		cr_assert_eq(coded_at[room], 0xaa);
	}
}
