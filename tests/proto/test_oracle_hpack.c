/* HPACK against nghttp2: what one writes the other reads, for long, with tables of changing size.
 */
#include <criterion/criterion.h>
#include <nghttp2/nghttp2.h>

#include "proto/hpack.h"
#include "tests/proto/random_fields.h"

#define ROOM 65536
#define BLOCKS 300
#define SEEDS 40

static _Alignas(4) uint8_t memory[ROOM];
static uint8_t block_at[65536], text_at[ROOM];
static struct random_field field[FIELDS_MAX];

static size_t make_fields(uint32_t *random)
{
	size_t count = 1 + h2_random(random) % FIELDS_MAX;

	for (size_t i = 0; i < count; i++)
		random_field(random, &field[i]);
	return count;
}

/* ---- ours is read by theirs ---- */

static struct sw_bytes write_block(struct sw_hpack *hpack, uint32_t *random, size_t count,
				   enum sw_hpack_how *how)
{
	struct sw_writer out = sw_writer(block_at, sizeof(block_at));

	for (size_t i = 0; i < count; i++) {
		how[i] = h2_random(random) % 4 ? SW_HPACK_INDEX : h2_random(random) % 3;
		sw_hpack_write(hpack, &out, field[i].name, field[i].value, how[i]);
	}
	cr_assert_not(out.cut);
	return sw_written(&out);
}

static void cr_inflates(nghttp2_hd_inflater *inflater, struct sw_bytes block, size_t count,
			const enum sw_hpack_how *how)
{
	int flags = 0;
	size_t i = 0;

	while (!(flags & NGHTTP2_HD_INFLATE_FINAL)) {
		nghttp2_nv nv;
		ssize_t taken =
			nghttp2_hd_inflate_hd2(inflater, &nv, &flags, block.at, block.len, 1);

		cr_assert_geq(taken, 0);
		block = sw_bytes_from(block, (size_t)taken);
		if (!(flags & NGHTTP2_HD_INFLATE_EMIT))
			continue;
		cr_assert_lt(i, count);
		cr_assert(sw_bytes_equal(sw_bytes(nv.name, nv.namelen), field[i].name));
		cr_assert(sw_bytes_equal(sw_bytes(nv.value, nv.valuelen), field[i].value));
		cr_assert_eq((nv.flags & NGHTTP2_NV_FLAG_NO_INDEX) != 0, how[i] == SW_HPACK_NEVER);
		i++;
	}
	cr_assert_eq(i, count);
	nghttp2_hd_inflate_end_headers(inflater);
}

static void inflate_ours(size_t room, uint32_t random)
{
	nghttp2_hd_inflater *inflater;
	struct sw_hpack hpack;

	cr_assert_eq(nghttp2_hd_inflate_new(&inflater), 0);
	sw_hpack_init(&hpack, memory, room);
	for (int i = 0; i < BLOCKS; i++) {
		enum sw_hpack_how how[FIELDS_MAX];
		size_t count = make_fields(&random);

		while (h2_random(&random) % 8 == 0) {
			uint32_t size = random_table_size(&random);

			cr_assert_eq(sw_hpack_limit(&hpack, size), size <= room);
			cr_assert_eq(nghttp2_hd_inflate_change_table_size(inflater, size), 0);
		}
		cr_inflates(inflater, write_block(&hpack, &random, count, how), count, how);
		cr_assert_eq(hpack.size, nghttp2_hd_inflate_get_dynamic_table_size(inflater));
	}
	nghttp2_hd_inflate_del(inflater);
}

Test(oracle_hpack, they_read_what_we_write)
{
	for (uint32_t seed = 1; seed <= SEEDS; seed++)
		inflate_ours(seed % 4 ? ROOM : seed * 97, seed * 7919);
}

/* ---- theirs is read by ours ---- */

static struct sw_bytes deflate(nghttp2_hd_deflater *deflater, uint32_t *random, size_t count)
{
	nghttp2_nv nv[FIELDS_MAX];
	ssize_t len;

	for (size_t i = 0; i < count; i++) {
		nv[i] = (nghttp2_nv){(uint8_t *)field[i].name.at, (uint8_t *)field[i].value.at,
				     field[i].name.len, field[i].value.len, NGHTTP2_NV_FLAG_NONE};
		if (h2_random(random) % 8 == 0)
			nv[i].flags = NGHTTP2_NV_FLAG_NO_INDEX;
	}
	len = nghttp2_hd_deflate_hd(deflater, block_at, sizeof(block_at), nv, count);
	cr_assert_geq(len, 0);
	return sw_bytes(block_at, (size_t)len);
}

static void cr_reads(struct sw_hpack *hpack, struct sw_bytes block, size_t count)
{
	struct sw_writer text = sw_writer(text_at, sizeof(text_at));
	struct sw_hpack_field read;

	for (size_t i = 0; i < count; i++) {
		cr_assert_eq(sw_hpack_read(hpack, &block, &text, &read), SW_HPACK_FIELD);
		cr_assert(sw_bytes_equal(read.name, field[i].name));
		cr_assert(sw_bytes_equal(read.value, field[i].value));
		cr_assert_not(read.cut);
	}
	cr_assert_eq(sw_hpack_read(hpack, &block, &text, &read), SW_HPACK_END);
}

static void read_theirs(uint32_t random)
{
	nghttp2_hd_deflater *deflater;
	struct sw_hpack hpack;

	cr_assert_eq(nghttp2_hd_deflate_new(&deflater, random % 3 ? ROOM : 4096), 0);
	sw_hpack_init(&hpack, memory, ROOM);
	for (int i = 0; i < BLOCKS; i++) {
		size_t count = make_fields(&random);

		while (h2_random(&random) % 8 == 0) {
			uint32_t size = random_table_size(&random);

			cr_assert(sw_hpack_limit(&hpack, size));
			cr_assert_eq(nghttp2_hd_deflate_change_table_size(deflater, size), 0);
		}
		cr_reads(&hpack, deflate(deflater, &random, count), count);
		cr_assert_eq(hpack.size, nghttp2_hd_deflate_get_dynamic_table_size(deflater));
	}
	nghttp2_hd_deflate_del(deflater);
}

Test(oracle_hpack, we_read_what_they_write)
{
	for (uint32_t seed = 1; seed <= SEEDS; seed++)
		read_theirs(seed * 104729);
}

/* ---- broken blocks: whoever of the two finds a fault, the other does ---- */

static bool they_refuse(struct sw_bytes block)
{
	nghttp2_hd_inflater *inflater;
	int flags = 0;
	ssize_t taken = 0;

	cr_assert_eq(nghttp2_hd_inflate_new(&inflater), 0);
	while (taken >= 0 && !(flags & NGHTTP2_HD_INFLATE_FINAL)) {
		nghttp2_nv nv;

		taken = nghttp2_hd_inflate_hd2(inflater, &nv, &flags, block.at, block.len, 1);
		if (taken > 0)
			block = sw_bytes_from(block, (size_t)taken);
	}
	nghttp2_hd_inflate_del(inflater);
	return taken < 0;
}

static bool we_refuse(struct sw_bytes block)
{
	struct sw_writer text = sw_writer(text_at, sizeof(text_at));
	struct sw_hpack_field read;
	enum sw_hpack_read result;
	struct sw_hpack hpack;

	sw_hpack_init(&hpack, memory, SW_HPACK_TABLE);
	do
		result = sw_hpack_read(&hpack, &block, &text, &read);
	while (result == SW_HPACK_FIELD);
	return result == SW_HPACK_BROKEN;
}

Test(oracle_hpack, both_refuse_the_same)
{
	uint32_t random = 2718281;
	struct sw_hpack hpack;
	int refused = 0;

	for (int i = 0; i < 60000; i++) {
		enum sw_hpack_how how[FIELDS_MAX];
		struct sw_bytes block;

		sw_hpack_init(&hpack, memory, SW_HPACK_TABLE);
		block = write_block(&hpack, &random, make_fields(&random) % 4 + 1, how);
		for (uint32_t n = h2_random(&random) % 3; n; n--)
			block_at[h2_random(&random) % block.len] ^= 1U << h2_random(&random) % 8;
		if (h2_random(&random) % 4 == 0)
			block.len = h2_random(&random) % (block.len + 1);
		cr_assert_eq(we_refuse(block), they_refuse(block), "%d", i);
		refused += they_refuse(block);
	}
	cr_assert(refused > 10000 && refused < 50000, "%d", refused);
}
