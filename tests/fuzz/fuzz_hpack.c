/*
 * Fuzzes HPACK. The first byte decides what the others are:
 *
 *   0 mod 3  header blocks, each after two bytes with its length (or one that changes the limit)
 *   1 mod 3  fields to be written and read back, with changes of the limit
 *   2 mod 3  the Huffman code of a text
 *
 * Blocks are read by two readers, of which one has room for a much smaller table: it may give up,
 * but whatever it says must be what the other says.
 */
#include <stdio.h>
#include <stdlib.h>

#include "proto/hpack.h"
#include "proto/huffman.h"

#define ROOM 4096
#define BLOCK_MAX 65536
/* A length from here on changes the limit. */
#define LIMIT_FROM 0xf000

int LLVMFuzzerTestOneInput(const uint8_t *at, size_t len);

struct end {
	struct sw_hpack hpack;
	void *memory;
	struct sw_writer text;
	bool broken;
};

static void must(bool holds, const char *promise)
{
	if (!holds) {
		fprintf(stderr, "broken: %s\n", promise);
		abort();
	}
}

/* In blocks of their exact size, for the sanitizer. */
static struct end open_end(size_t room, size_t text_room)
{
	struct end end = {.memory = malloc(room), .text = sw_writer(malloc(text_room), text_room)};

	sw_hpack_init(&end.hpack, end.memory, room);
	return end;
}

static void close_end(struct end *end)
{
	free(end->memory);
	free(end->text.at);
}

static uint32_t take(struct sw_bytes *in, size_t len)
{
	uint32_t number = 0;

	for (; len && in->len; len--, *in = sw_bytes_from(*in, 1))
		number = number << 8 | in->at[0];
	return number;
}

static struct sw_bytes take_bytes(struct sw_bytes *in, size_t len)
{
	struct sw_bytes taken = sw_bytes_slice(*in, 0, len);

	*in = sw_bytes_from(*in, taken.len);
	return taken;
}

/* ---- blocks ---- */

static void check_table(const struct sw_hpack *hpack)
{
	must(hpack->size <= hpack->size_max && hpack->size_max <= hpack->room, "the table fits");
	must(hpack->count <= hpack->size / SW_HPACK_ENTRY, "entries are counted");
	must(hpack->count || !hpack->size, "an empty table has no size");
}

static enum sw_hpack_read read_one(struct end *end, struct sw_bytes *block,
				   struct sw_hpack_field *ret_field)
{
	enum sw_hpack_read result = sw_hpack_read(&end->hpack, block, &end->text, ret_field);

	check_table(&end->hpack);
	must(end->text.len <= end->text.room, "text stays in its room");
	end->broken |= result == SW_HPACK_BROKEN;
	return result;
}

static void expect_same(const struct sw_hpack_field *less, const struct sw_hpack_field *more)
{
	must(!more->cut, "text fits that could enter the table");
	must(less->never_indexed == more->never_indexed, "both see the same secrets");
	if (less->cut) {
		must(sw_bytes_starts(more->name, less->name) &&
			     sw_bytes_starts(more->value, less->value),
		     "what is there of a text is its beginning");
		return;
	}
	must(sw_bytes_equal(less->name, more->name) && sw_bytes_equal(less->value, more->value),
	     "less memory never gives another field");
}

static void read_block(struct end *less, struct end *more, struct sw_bytes bytes)
{
	uint8_t *exact = malloc(bytes.len ? bytes.len : 1);
	struct sw_bytes block = sw_bytes(exact, bytes.len), other = block;
	struct sw_hpack_field field, other_field;
	enum sw_hpack_read result, other_result;

	if (bytes.len)
		memcpy(exact, bytes.at, bytes.len);
	do {
		size_t before = block.len;

		result = read_one(more, &block, &field);
		must(result != SW_HPACK_FIELD || block.len < before, "a field takes bytes");
		must(result != SW_HPACK_END || block.len == 0, "a block is read to its end");
		if (less->broken)
			continue;
		other_result = read_one(less, &other, &other_field);
		must(less->broken || other_result == result, "less memory means no other field");
		if (other_result == SW_HPACK_FIELD)
			expect_same(&other_field, &field);
	} while (result == SW_HPACK_FIELD);
	free(exact);
}

static void check_blocks(struct sw_bytes in)
{
	struct end more = open_end(ROOM, BLOCK_MAX), less = open_end(160, 160);

	while (in.len && !more.broken) {
		uint32_t len = take(&in, 2);

		if (len < LIMIT_FROM) {
			read_block(&less, &more, take_bytes(&in, len));
			continue;
		}
		(void)sw_hpack_limit(&more.hpack, len - LIMIT_FROM);
		less.broken |= !sw_hpack_limit(&less.hpack, len - LIMIT_FROM);
	}
	close_end(&more);
	close_end(&less);
}

/* ---- fields ---- */

static void check_field(struct end *writer, struct end *reader, struct sw_bytes *in)
{
	static uint8_t at[BLOCK_MAX];
	struct sw_writer out = sw_writer(at, sizeof(at));
	struct sw_bytes name, value, block;
	struct sw_hpack_field field;
	uint32_t how = take(in, 1);

	name = take_bytes(in, take(in, 1) % (how & 4 ? 8 : 256));
	value = take_bytes(in, take(in, 1) * (how & 8 ? 8 : 1));
	how = how % 4 % 3;
	sw_hpack_write(&writer->hpack, &out, name, value, (enum sw_hpack_how)how);
	check_table(&writer->hpack);
	must(!out.cut, "there is room for the block");
	block = sw_written(&out);
	must(read_one(reader, &block, &field) == SW_HPACK_FIELD, "what was written is read");
	must(!field.cut && sw_bytes_equal(field.name, name) && sw_bytes_equal(field.value, value),
	     "what was written comes back");
	must(field.never_indexed == (how == SW_HPACK_NEVER), "secrets stay secrets");
	must(read_one(reader, &block, &field) == SW_HPACK_END, "and nothing else");
	must(writer->hpack.size == reader->hpack.size && writer->hpack.count == reader->hpack.count,
	     "both tables are the same");
}

static void check_fields(struct sw_bytes in)
{
	struct end writer = open_end(ROOM, 1), reader = open_end(ROOM, ROOM);

	while (in.len) {
		if (in.at[0] < 0xf0) {
			check_field(&writer, &reader, &in);
		} else {
			uint32_t limit = take(&in, 2) & 0xfff;

			(void)sw_hpack_limit(&writer.hpack, limit);
			(void)sw_hpack_limit(&reader.hpack, limit);
		}
	}
	close_end(&writer);
	close_end(&reader);
}

/* A text has one code only. */
static void check_huffman(struct sw_bytes in)
{
	static uint8_t text_at[BLOCK_MAX], code_at[BLOCK_MAX];
	struct sw_writer text = sw_writer(text_at, sizeof(text_at));
	struct sw_writer code = sw_writer(code_at, sizeof(code_at));
	size_t len;

	if (!sw_huffman_read(in, &text, &len))
		return;
	must(!text.cut && len == text.len, "the length is that of the text");
	must(sw_huffman_size(sw_written(&text)) == in.len, "the size of a code is known");
	sw_huffman_write(&code, sw_written(&text));
	must(sw_bytes_equal(sw_written(&code), in), "a text has one code");
}

int LLVMFuzzerTestOneInput(const uint8_t *at, size_t len)
{
	static void (*const checks[])(struct sw_bytes) = {check_blocks, check_fields,
							  check_huffman};

	if (len > 1)
		checks[at[0] % SW_COUNT_OF(checks)](sw_bytes(at + 1, len - 1));
	return 0;
}
