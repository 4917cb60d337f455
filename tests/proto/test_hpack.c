/* HPACK: the examples of RFC 7541, and what a reader must refuse. */
#include <criterion/criterion.h>

#include "proto/hpack.h"
#include "tests/proto/hex.h"

#define DATE "Mon, 21 Oct 2013 20:13:2"
#define COOKIE "foo=ASDJKHQKBZXOQWEOPIUAXQWEOIU; max-age=3600; version=1"

/* Texts of a field: "name", "value". */
struct example {
	const char *hex;
	const char *fields; /* "name: value\n" each */
	uint32_t size;	    /* of the table afterwards */
};

static _Alignas(4) uint8_t memory[SW_HPACK_BYTES(65536)];
static uint8_t block_at[8192], text_at[65536], lines_at[16384];
static struct sw_hpack hpack;

static void begin(void)
{
	sw_hpack_init(&hpack, memory, SW_HPACK_TABLE);
}

TestSuite(hpack, .init = begin);

static struct sw_bytes from_hex(const char *hex)
{
	struct sw_writer out = sw_writer(block_at, sizeof(block_at));

	hex_add(&out, hex);
	return sw_written(&out);
}

static enum sw_hpack_read read_one(struct sw_bytes *block, struct sw_hpack_field *ret_field)
{
	struct sw_writer text = sw_writer(text_at, sizeof(text_at));

	return sw_hpack_read(&hpack, block, &text, ret_field);
}

/* Reads a whole block to lines. */
static enum sw_hpack_read read_all(struct sw_bytes block, struct sw_writer *ret_lines)
{
	struct sw_hpack_field field;
	enum sw_hpack_read result;

	*ret_lines = sw_writer(lines_at, sizeof(lines_at));
	while ((result = read_one(&block, &field)) == SW_HPACK_FIELD) {
		cr_assert_not(field.cut);
		sw_write(ret_lines, field.name);
		sw_write(ret_lines, SW_BYTES(": "));
		sw_write(ret_lines, field.value);
		sw_write(ret_lines, SW_BYTES("\n"));
	}
	return result;
}

static void cr_reads(const char *hex, const char *fields, uint32_t size)
{
	struct sw_writer lines;

	cr_assert_eq(read_all(from_hex(hex), &lines), SW_HPACK_END, "%s", hex);
	cr_assert(sw_bytes_equal(sw_written(&lines), sw_bytes_text(fields)), "%.*s", (int)lines.len,
		  (const char *)lines.at);
	cr_assert_eq(hpack.size, size, "%u", hpack.size);
}

static void cr_breaks(const char *hex)
{
	struct sw_writer lines;

	cr_assert_eq(read_all(from_hex(hex), &lines), SW_HPACK_BROKEN, "%s", hex);
}

/* Writes the lines of `fields`. */
static void write_all(struct sw_writer *out, const char *fields, enum sw_hpack_how how)
{
	struct sw_bytes left = sw_bytes_text(fields);

	while (left.len) {
		struct sw_bytes line = sw_bytes_slice(left, 0, sw_bytes_find(left, '\n'));
		size_t colon = 1 + sw_bytes_find(sw_bytes_from(line, 1), ':');

		sw_hpack_write(&hpack, out, sw_bytes_slice(line, 0, colon),
			       sw_bytes_from(line, colon + 2), how);
		left = sw_bytes_from(left, line.len + 1);
	}
	cr_assert_not(out->cut);
}

static void cr_writes(const char *hex, const char *fields, enum sw_hpack_how how, uint32_t size)
{
	uint8_t at[4096];
	struct sw_writer out = sw_writer(at, sizeof(at));

	write_all(&out, fields, how);
	cr_assert(sw_bytes_equal(sw_written(&out), from_hex(hex)), "%s", fields);
	cr_assert_eq(hpack.size, size, "%u", hpack.size);
}

/* ---- appendix C ---- */

/* C.1.1 and C.1.2: 10 and 1337 in five bits, as sizes of a table. */
Test(hpack, integers)
{
	cr_reads("2a", "", 0);
	cr_assert_eq(hpack.size_max, 10);
	cr_reads("3f9a0a", "", 0);
	cr_assert_eq(hpack.size_max, 1337);
	cr_reads("3f00", "", 0);
	cr_assert_eq(hpack.size_max, 31);
	/* longer than it need be, but no longer than we look at it */
	cr_reads("3f8080808000", "", 0);
	cr_assert_eq(hpack.size_max, 31);
}

Test(hpack, literals)
{
	cr_reads("400a 6375 7374 6f6d 2d6b 6579 0d63 7573 746f 6d2d 6865 6164 6572",
		 "custom-key: custom-header\n", 55);
	cr_reads("040c 2f73 616d 706c 652f 7061 7468", ":path: /sample/path\n", 55);
	cr_reads("1008 7061 7373 776f 7264 0673 6563 7265 74", "password: secret\n", 55);
	cr_reads("82", ":method: GET\n", 55);
}

#define REQUEST_1 ":method: GET\n:scheme: http\n:path: /\n:authority: www.example.com\n"
#define REQUEST_2 REQUEST_1 "cache-control: no-cache\n"
#define REQUEST_3                                                                                  \
	":method: GET\n:scheme: https\n:path: /index.html\n:authority: www.example.com\n"          \
	"custom-key: custom-value\n"

#define RESPONSE(status, second)                                                                   \
	":status: " status "\ncache-control: private\ndate: " DATE second                          \
	" GMT\nlocation: https://www.example.com\n"
#define RESPONSE_1 RESPONSE("302", "1")
#define RESPONSE_2 RESPONSE("307", "1")
#define RESPONSE_3 RESPONSE("200", "2") "content-encoding: gzip\nset-cookie: " COOKIE "\n"

Test(hpack, requests_without_huffman)
{
	cr_reads("8286 8441 0f77 7777 2e65 7861 6d70 6c65 2e63 6f6d", REQUEST_1, 57);
	cr_reads("8286 84be 5808 6e6f 2d63 6163 6865", REQUEST_2, 110);
	cr_reads("8287 85bf 400a 6375 7374 6f6d 2d6b 6579 0c63 7573 746f 6d2d 7661 6c75 65",
		 REQUEST_3, 164);
}

static const struct example request_examples[] = {
	{"8286 8441 8cf1 e3c2 e5f2 3a6b a0ab 90f4 ff", REQUEST_1, 57},
	{"8286 84be 5886 a8eb 1064 9cbf", REQUEST_2, 110},
	{"8287 85bf 4088 25a8 49e9 5ba9 7d7f 8925 a849 e95b b8e8 b4bf", REQUEST_3, 164},
};

Test(hpack, requests_with_huffman)
{
	for (size_t i = 0; i < SW_COUNT_OF(request_examples); i++) {
		const struct example *e = &request_examples[i];

		cr_reads(e->hex, e->fields, e->size);
	}
	begin();
	for (size_t i = 0; i < SW_COUNT_OF(request_examples); i++) {
		const struct example *e = &request_examples[i];

		cr_writes(e->hex, e->fields, SW_HPACK_INDEX, e->size);
	}
}

/* The examples' table of 256 bytes; entries are evicted. */
static void make_small(void)
{
	struct sw_writer none = sw_writer(block_at, 0);
	struct sw_bytes update = from_hex("3fe101");
	struct sw_hpack_field field;

	cr_assert(sw_hpack_limit(&hpack, 256));
	cr_assert_eq(sw_hpack_read(&hpack, &update, &none, &field), SW_HPACK_END);
	hpack.told = 256;
	hpack.update = false;
}

Test(hpack, responses_without_huffman)
{
	make_small();
	cr_reads("4803 3330 3258 0770 7269 7661 7465 611d 4d6f 6e2c 2032 3120 4f63 7420"
		 "3230 3133 2032 303a 3133 3a32 3120 474d 546e 1768 7474 7073 3a2f 2f77"
		 "7777 2e65 7861 6d70 6c65 2e63 6f6d",
		 RESPONSE_1, 222);
	cr_reads("4803 3330 37c1 c0bf", RESPONSE_2, 222);
	cr_reads("88c1 611d 4d6f 6e2c 2032 3120 4f63 7420 3230 3133 2032 303a 3133 3a32"
		 "3220 474d 54c0 5a04 677a 6970 7738 666f 6f3d 4153 444a 4b48 514b 425a"
		 "584f 5157 454f 5049 5541 5851 5745 4f49 553b 206d 6178 2d61 6765 3d33"
		 "3630 303b 2076 6572 7369 6f6e 3d31",
		 RESPONSE_3, 215);
}

#define HUFFMAN_1                                                                                  \
	"4882 6402 5885 aec3 771a 4b61 96d0 7abe 9410 54d4 44a8 2005 9504 0b81 66e0 82a6 2d1b"     \
	"ff6e 919d 29ad 1718 63c7 8f0b 97c8 e9ae 82ae 43d3"
#define HUFFMAN_3                                                                                  \
	"88c1 6196 d07a be94 1054 d444 a820 0595 040b 8166 e084 a62d 1bff c05a 839b d9ab 77ad"     \
	"94e7 821d d7f2 e6c7 b335 dfdf cd5b 3960 d5af 2708 7f36 72c1 ab27 0fb5 291f 9587 3160"     \
	"65c0 03ed 4ee5 b106 3d50 07"

Test(hpack, responses_with_huffman)
{
	make_small();
	cr_reads(HUFFMAN_1, RESPONSE_1, 222);
	cr_reads("4883 640e ffc1 c0bf", RESPONSE_2, 222);
	cr_reads(HUFFMAN_3, RESPONSE_3, 215);
	begin();
	make_small();
	cr_writes(HUFFMAN_1, RESPONSE_1, SW_HPACK_INDEX, 222);
	/* "307" is not shorter when coded */
	cr_writes("4803 3330 37c1 c0bf", RESPONSE_2, SW_HPACK_INDEX, 222);
	cr_writes(HUFFMAN_3, RESPONSE_3, SW_HPACK_INDEX, 215);
}

/* ---- what else is read ---- */

Test(hpack, secrets_are_marked)
{
	struct sw_bytes block = from_hex("1f08 0161 0f08 0161 5701 61");
	struct sw_hpack_field field;

	cr_assert_eq(read_one(&block, &field), SW_HPACK_FIELD);
	cr_assert(field.never_indexed);
	cr_assert(sw_bytes_equal(field.name, SW_BYTES("authorization")));
	cr_assert_eq(read_one(&block, &field), SW_HPACK_FIELD);
	cr_assert_not(field.never_indexed);
	cr_assert_eq(read_one(&block, &field), SW_HPACK_FIELD);
	cr_assert_not(field.never_indexed);
	cr_assert_eq(read_one(&block, &field), SW_HPACK_END);
}

Test(hpack, empty_texts)
{
	cr_reads("00 00 00", ": \n", 0);
	cr_reads("00 80 80", ": \n", 0);
	cr_reads("40 00 00", ": \n", 32);
	cr_reads("be", ": \n", 32);
	cr_reads("7e 00", ": \n", 64); /* the name of 62, anew */
}

Test(hpack, every_static_entry)
{
	uint8_t block[61];
	struct sw_writer lines;

	for (size_t i = 0; i < sizeof(block); i++)
		block[i] = (uint8_t)(0x81 + i);
	cr_assert_eq(read_all(sw_bytes(block, sizeof(block)), &lines), SW_HPACK_END);
	cr_assert(
		sw_bytes_starts(sw_written(&lines),
				SW_BYTES(":authority: \n:method: GET\n:method: POST\n:path: /\n")));
	cr_assert(
		sw_bytes_ends(sw_written(&lines), SW_BYTES("vary: \nvia: \nwww-authenticate: \n")));
}

Test(hpack, indices_that_are_not_there)
{
	cr_breaks("80");
	cr_breaks("be");
	cr_breaks("ff00");
	cr_breaks("ffffffffff0f");
	cr_breaks("7e 00");   /* a literal with the name of 62 */
	cr_breaks("0f2f 00"); /* the same, not to be indexed */
	cr_breaks("1f2f 00");
	cr_reads("400161 0162", "a: b\n", 34);
	cr_reads("be", "a: b\n", 34);
	cr_breaks("bf");
}

Test(hpack, cut_short)
{
	static const char *const cut[] = {"ff",	  "3f",	      "3f80",	  "40",
					  "4001", "400161",   "40016101", "40 01 61 05 61 62 63 64",
					  "0f",	  "0f80",     "1f",	  "5f",
					  "7f",	  "00",	      "00 7f",	  "00 ff",
					  "0001", "00 01 61", "00 81 1f"};

	for (size_t i = 0; i < SW_COUNT_OF(cut); i++) {
		begin();
		cr_breaks(cut[i]);
	}
}

Test(hpack, integers_that_are_too_large)
{
	cr_breaks("3f e1ffffff 10");  /* a little over 32 bits */
	cr_breaks("ff 8180808010");   /* 2^32 + 128 */
	cr_breaks("ff 808080808000"); /* six bytes more */
	cr_breaks("ff ffffffffffffff7f");
	cr_breaks("00 7f ffffffff7f");
	cr_breaks("00 7f 80ffffff 0f"); /* 2^32 - 1, but the block is short */
}

Test(hpack, broken_huffman)
{
	cr_breaks("00 81 ff 00");	   /* padding of eight bits */
	cr_breaks("00 01 61 81 00");	   /* padding of zeros */
	cr_breaks("00 01 61 84 ffffffff"); /* the end of the string */
}

/* ---- size of the table ---- */

Test(hpack, updates_evict)
{
	cr_reads("400161 0162 400163 0164 400165 0166", "a: b\nc: d\ne: f\n", 102);
	cr_reads("3f26 bf", "c: d\n", 68); /* 69 */
	cr_breaks("c0");
	begin();
	cr_reads("400161 0162", "a: b\n", 34);
	cr_reads("20", "", 0);
	cr_reads("400161 0162", "a: b\n", 0);
	cr_breaks("be");
}

Test(hpack, updates_come_first)
{
	cr_breaks("82 3f01");
	begin();
	cr_reads("82", ":method: GET\n", 0);
	cr_reads("3f01 3f02 3f03 82", ":method: GET\n", 0);
	cr_assert_eq(hpack.size_max, 34);
	cr_breaks("400161 0162 20");
}

Test(hpack, updates_keep_to_the_limit)
{
	cr_reads("3fe11f", "", 0); /* 4096 */
	cr_breaks("3fe21f");
	begin();
	cr_assert(sw_hpack_limit(&hpack, 100));
	cr_breaks("3f46"); /* 101 */
	sw_hpack_init(&hpack, memory, sizeof(memory));
	cr_breaks("3fe21f");
	cr_assert(sw_hpack_limit(&hpack, 65536));
	cr_reads("3fe1ff03", "", 0);
	cr_breaks("3fe2ff03");
}

/* RFC 9113 section 4.3.1. */
Test(hpack, a_reduction_must_be_followed)
{
	cr_assert(sw_hpack_limit(&hpack, 100));
	cr_breaks("82");
	begin();
	cr_assert(sw_hpack_limit(&hpack, 100));
	cr_reads("3f45 82", ":method: GET\n", 0);
	cr_reads("82", ":method: GET\n", 0);
	/* down and up again: down must be seen first */
	cr_assert(sw_hpack_limit(&hpack, 50));
	cr_assert(sw_hpack_limit(&hpack, 4096));
	cr_breaks("3f45 82");
	begin();
	cr_assert(sw_hpack_limit(&hpack, 50));
	cr_assert(sw_hpack_limit(&hpack, 4096));
	cr_reads("3e 3fe11f 82", ":method: GET\n", 0);
	/* what is no reduction of the table in force asks for nothing */
	cr_assert(sw_hpack_limit(&hpack, 4096));
	cr_reads("82", ":method: GET\n", 0);
}

Test(hpack, less_room_than_announced)
{
	cr_assert_not(sw_hpack_limit(&hpack, 4097));
	cr_reads("3fe11f 82", ":method: GET\n", 0);
	cr_breaks("3fe21f");
	/* what was given up for want of room is missing, and nothing else in its place */
	sw_hpack_init(&hpack, memory, 70);
	cr_reads("400161 0162 400163 0164 400165 0166", "a: b\nc: d\ne: f\n", 68);
	cr_reads("bebf", "e: f\nc: d\n", 68);
	cr_breaks("c0");
	/* it is the peer's table that must follow a reduction, though ours is no larger anyway */
	sw_hpack_init(&hpack, memory, 70);
	cr_assert(sw_hpack_limit(&hpack, 70));
	cr_breaks("82");
	sw_hpack_init(&hpack, memory, 70);
	cr_assert(sw_hpack_limit(&hpack, 70));
	cr_reads("3f27 82", ":method: GET\n", 0);
	cr_reads("82", ":method: GET\n", 0);
	/* none, when it is allowed more than we have room for */
	sw_hpack_init(&hpack, memory, 70);
	cr_assert_not(sw_hpack_limit(&hpack, 4096));
	cr_reads("82", ":method: GET\n", 0);
	cr_breaks("3f28");
}

/* An entry that is too large is no error, but nothing is left (section 4.4). */
Test(hpack, larger_than_the_table)
{
	sw_hpack_init(&hpack, memory, 64);
	cr_reads("400161 0162", "a: b\n", 34);
	cr_reads("7e 20 3030303030303030303030303030303030303030303030303030303030303030",
		 "a: 00000000000000000000000000000000\n", 0);
	cr_breaks("be");
}

/* The name is that of the entry that must go (section 4.4). */
Test(hpack, name_of_an_entry_that_is_evicted)
{
	sw_hpack_init(&hpack, memory, 70);
	for (int i = 0; i < 100; i++) {
		cr_reads("4004 6e616d65 03313131", "name: 111\n", 39);
		cr_reads("7e 04 32323232", "name: 2222\n", 40);
		cr_reads("7e 07 33333333333333", "name: 3333333\n", 43);
		cr_reads("be", "name: 3333333\n", 43);
	}
}

Test(hpack, no_room_at_all)
{
	struct sw_writer text = sw_writer(NULL, 0);
	struct sw_bytes block = from_hex("400161 0162 00 80 80");
	struct sw_hpack_field field;

	sw_hpack_init(&hpack, NULL, 0);
	cr_assert_eq(sw_hpack_read(&hpack, &block, &text, &field), SW_HPACK_FIELD);
	cr_assert(sw_bytes_equal(field.value, SW_BYTES("b")));
	cr_assert_eq(sw_hpack_read(&hpack, &block, &text, &field), SW_HPACK_FIELD);
	cr_assert_eq(field.name.len + field.value.len, 0);
	cr_assert_eq(sw_hpack_read(&hpack, &block, &text, &field), SW_HPACK_END);
}

/* ---- room for text ---- */

Test(hpack, text_that_does_not_fit_is_cut)
{
	uint8_t at[4];
	struct sw_writer text = sw_writer(at, sizeof(at));
	struct sw_bytes block = from_hex("0f09 86 a8eb10649cbf 0f09 03 616263 82");
	struct sw_hpack_field field;

	cr_assert_eq(sw_hpack_read(&hpack, &block, &text, &field), SW_HPACK_FIELD);
	cr_assert(field.cut);
	cr_assert(sw_bytes_equal(field.name, SW_BYTES("cache-control")));
	cr_assert(sw_bytes_equal(field.value, SW_BYTES("no-c")));
	cr_assert_eq(sw_hpack_read(&hpack, &block, &text, &field), SW_HPACK_FIELD);
	cr_assert_not(field.cut);
	cr_assert_eq(sw_hpack_read(&hpack, &block, &text, &field), SW_HPACK_FIELD);
	cr_assert_not(field.cut);
	/* the table would not be what the peer's is */
	block = from_hex("58 86 a8eb10649cbf");
	cr_assert_eq(sw_hpack_read(&hpack, &block, &text, &field), SW_HPACK_BROKEN);
}

Test(hpack, cut_and_too_large_for_the_table)
{
	uint8_t at[64];
	struct sw_writer text = sw_writer(at, 40);
	struct sw_bytes block = from_hex("400161 0162 58 86 a8eb10649cbf be");
	struct sw_hpack_field field;

	sw_hpack_init(&hpack, memory, 40);
	text.room = 5;
	cr_assert_eq(sw_hpack_read(&hpack, &block, &text, &field), SW_HPACK_FIELD);
	cr_assert_eq(hpack.count, 1);
	cr_assert_eq(sw_hpack_read(&hpack, &block, &text, &field), SW_HPACK_FIELD);
	cr_assert(field.cut);
	cr_assert(sw_bytes_equal(field.value, SW_BYTES("no-ca")));
	cr_assert_eq(hpack.count, 0);
	cr_assert_eq(sw_hpack_read(&hpack, &block, &text, &field), SW_HPACK_BROKEN);
}

/* A name from the table must be kept while the new entry is made room for. */
Test(hpack, no_room_for_a_name)
{
	struct sw_writer text = sw_writer(text_at, 0);
	struct sw_bytes block = from_hex("400161 0162 7e 0163");
	struct sw_hpack_field field;

	cr_assert_eq(sw_hpack_read(&hpack, &block, &text, &field), SW_HPACK_FIELD);
	cr_assert_eq(sw_hpack_read(&hpack, &block, &text, &field), SW_HPACK_BROKEN);
}

/* ---- writing ---- */

Test(hpack, how_a_field_is_written)
{
	cr_writes("83 87 88 90",
		  ":method: POST\n:scheme: https\n:status: 200\n"
		  "accept-encoding: gzip, deflate\n",
		  SW_HPACK_INDEX, 0);
	cr_writes("0f08 0161", "authorization: a\n", SW_HPACK_ONCE, 0);
	cr_writes("1f08 0161", "authorization: a\n", SW_HPACK_NEVER, 0);
	cr_writes("00 0161 0162", "a: b\n", SW_HPACK_ONCE, 0);
	cr_writes("10 0161 0162", "a: b\n", SW_HPACK_NEVER, 0);
	cr_writes("40 0161 0162", "a: b\n", SW_HPACK_INDEX, 34);
	cr_writes("be be", "a: b\na: b\n", SW_HPACK_INDEX, 34);
	cr_writes("be", "a: b\n", SW_HPACK_ONCE, 34);
	/* a secret stays one even where it is known; its name may be */
	cr_writes("1f2f 0162", "a: b\n", SW_HPACK_NEVER, 34);
	cr_writes("12 03474554", ":method: GET\n", SW_HPACK_NEVER, 34);
	/* the name is known, of the newest entry of that name */
	cr_writes("7e 0163", "a: c\n", SW_HPACK_INDEX, 68);
}

Test(hpack, every_static_name_is_found)
{
	for (uint32_t i = 1; i <= 61; i++) {
		uint8_t index = (uint8_t)(0x80 | i), at[64];
		struct sw_bytes block = sw_bytes(&index, 1);
		struct sw_writer out = sw_writer(at, sizeof(at));
		struct sw_hpack_field field;

		cr_assert_eq(read_one(&block, &field), SW_HPACK_FIELD);
		sw_hpack_write(&hpack, &out, field.name, field.value, SW_HPACK_ONCE);
		if (field.value.len)
			cr_assert(out.len == 1 && at[0] == index, "%u", i);
		else
			cr_assert(at[out.len - 1] == 0 && at[0] == SW_MIN(i, 15), "%u", i);
		cr_assert(i < 15 || field.value.len || at[1] == i - 15, "%u", i);
	}
}

/* Almost names: of the same length, ends and so on. */
Test(hpack, names_that_look_like_static_ones)
{
	static const char *const names[] = {":statuS",
					    "xstatus",
					    "hosT",
					    "x",
					    "",
					    "content-lengtX",
					    "access-control-allow-origix",
					    "access-control-allow-origin-and-more"};

	for (size_t i = 0; i < SW_COUNT_OF(names); i++) {
		uint8_t at[64];
		struct sw_writer out = sw_writer(at, sizeof(at));

		sw_hpack_write(&hpack, &out, sw_bytes_text(names[i]), SW_BYTES("200"),
			       SW_HPACK_ONCE);
		cr_assert_eq(at[0], 0, "%s", names[i]);
	}
}

Test(hpack, the_writer_tells_of_its_table)
{
	cr_assert(sw_hpack_limit(&hpack, 4096));
	cr_writes("82", ":method: GET\n", SW_HPACK_INDEX, 0);
	cr_assert_not(sw_hpack_limit(&hpack, 65536)); /* more than there is room for */
	cr_writes("82 400161 0162", ":method: GET\na: b\n", SW_HPACK_INDEX, 34);
	cr_assert(sw_hpack_limit(&hpack, 0));
	cr_assert(sw_hpack_limit(&hpack, 100));
	cr_writes("20 3f45 400161 0162", "a: b\n", SW_HPACK_INDEX, 34);
	cr_assert(sw_hpack_limit(&hpack, 50));
	cr_assert(sw_hpack_limit(&hpack, 40));
	cr_writes("3f09 be", "a: b\n", SW_HPACK_INDEX, 34);
	cr_assert(sw_hpack_limit(&hpack, 50));
	cr_assert(sw_hpack_limit(&hpack, 40));
	cr_writes("be", "a: b\n", SW_HPACK_INDEX, 34);
	cr_assert(sw_hpack_limit(&hpack, 33));
	cr_writes("3f02 000161 0162", "a: b\n", SW_HPACK_INDEX, 0);
	/* one that has less room than the peer assumes says so at once */
	sw_hpack_init(&hpack, memory, 64);
	cr_writes("3f21 82", ":method: GET\n", SW_HPACK_INDEX, 0);
	cr_writes("82", ":method: GET\n", SW_HPACK_INDEX, 0);
}

Test(hpack, too_large_to_be_indexed)
{
	sw_hpack_init(&hpack, memory, 64);
	cr_writes("3f21 400161 0162", "a: b\n", SW_HPACK_INDEX, 34);
	cr_writes("0f2f 20 7c7c7c7c7c7c7c7c7c7c7c7c7c7c7c7c 7c7c7c7c7c7c7c7c7c7c7c7c7c7c7c7c be",
		  "a: ||||||||||||||||||||||||||||||||\na: b\n", SW_HPACK_INDEX, 34);
}

Test(hpack, out_that_is_full)
{
	uint8_t at[32];

	for (size_t room = 0; room < 17; room++) {
		struct sw_writer out = sw_writer(at, room);

		begin();
		at[room] = 0xaa;
		sw_hpack_write(&hpack, &out, SW_BYTES("custom-key"), SW_BYTES("custom-value"),
			       SW_HPACK_INDEX);
		cr_assert(out.cut);
		cr_assert_eq(at[room], 0xaa);
	}
}

/* ---- memory ---- */

/*
 * A writer and a reader in memory of any size and with entries of any size, for long: whatever is
 * moved in there, both know the same.
 */
static void talk(size_t room, uint32_t seed)
{
	static _Alignas(4) uint8_t other[4096 + 64];
	struct sw_hpack writer;
	uint32_t random = seed;

	memset(memory + room, 0xee, 16);
	sw_hpack_init(&hpack, memory, room);
	sw_hpack_init(&writer, other, room);
	for (int i = 0; i < 3000; i++) {
		uint8_t value[600], name[40];
		struct sw_writer out = sw_writer(block_at, sizeof(block_at));
		struct sw_hpack_field field;
		struct sw_bytes block, want_name, want;

		random = random * 1664525 + 1013904223;
		memset(name, 'a' + (random >> 8) % 5, sizeof(name));
		memset(value, 'A' + (random >> 13) % 40, sizeof(value));
		want_name = sw_bytes(name, (random >> 16) % (random & 1 ? 4 : 40));
		want = sw_bytes(value, (random >> 20) % (random & 2 ? 8 : random & 4 ? 100 : 600));
		sw_hpack_write(&writer, &out, want_name, want, SW_HPACK_INDEX);
		block = sw_written(&out);
		cr_assert_eq(read_one(&block, &field), SW_HPACK_FIELD);
		cr_assert(sw_bytes_equal(field.name, want_name));
		cr_assert(sw_bytes_equal(field.value, want));
		cr_assert_eq(read_one(&block, &field), SW_HPACK_END);
		cr_assert(hpack.size == writer.size && hpack.count == writer.count);
	}
	for (size_t i = 0; i < 16; i++)
		cr_assert_eq(memory[room + i], 0xee);
}

Test(hpack, memory_of_any_size)
{
	for (size_t room = 0; room < 300; room += 7)
		talk(room, (uint32_t)room);
	for (size_t room = 1000; room <= 4096; room += 511)
		talk(room, (uint32_t)room);
	talk(4096, 1);
}

/* Name and value of the i-th entry: mostly short, some long. */
static struct sw_bytes entry_text(uint8_t *at, size_t i)
{
	struct sw_writer w = sw_writer(at, 512);

	for (size_t n = i % 61 ? 1 + i % 3 : 40; n; n--)
		sw_write_number(&w, i);
	return sw_written(&w);
}

/* Many entries; each can be found wherever it was moved. */
Test(hpack, every_entry_is_found)
{
	uint8_t want_at[512], block[1024];

	for (size_t i = 0; i < 3000; i++) {
		struct sw_bytes want = entry_text(want_at, i), in;
		struct sw_writer out = sw_writer(block, sizeof(block));
		struct sw_hpack_field field;

		sw_write(&out, sw_bytes("\x40\x00\x7f", want.len < 127 ? 2 : 3));
		sw_write(&out, sw_bytes(&(uint8_t){(uint8_t)(want.len % 127)}, 1));
		sw_write(&out, want);
		in = sw_written(&out);
		cr_assert_eq(read_one(&in, &field), SW_HPACK_FIELD);
		for (uint32_t back = 0; back < hpack.count; back++) {
			uint8_t index[3] = {(uint8_t)(0x80 | (62 + back)), 0};

			if (62 + back >= 127) {
				index[0] = 0xff;
				index[1] = (uint8_t)(62 + back - 127);
			}
			in = sw_bytes(index, index[0] == 0xff ? 2 : 1);
			cr_assert_eq(read_one(&in, &field), SW_HPACK_FIELD);
			cr_assert(sw_bytes_equal(field.value, entry_text(want_at, i - back)),
				  "%zu %u", i, back);
		}
	}
	cr_assert_gt(hpack.count, 60);
}
