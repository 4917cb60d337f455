/*
 * HPACK; see hpack.h. Sections are those of RFC 7541.
 *
 * The dynamic table lives in the caller's memory: strings grow from its beginning, and for each
 * entry a small struct from its end, so that an entry is found by its number. The oldest entries
 * are given up at the far ends of both. When the two meet, what is still alive is moved apart
 * again. There is always room for what the RFC allows, as an entry counts 32 bytes more than its
 * strings there and takes 16 here.
 *
 * Numbers of entries count from the newest. So a table that holds less than the peer's (there was
 * no memory for more) never gives a wrong answer, only none.
 */
#include "proto/hpack.h"

#include "proto/huffman.h"

#define STATIC_COUNT 61
/* Sums of sizes fit 32 bits. */
#define ROOM_MAX (1U << 30)
#define NAME_MAX 27
#define VALUE_MAX 13

/* ---- integers (section 5.1) ---- */

/* Takes one; false when it is broken or too large for us. The block is not empty. */
static bool read_number(struct sw_bytes *block, unsigned bits, uint32_t *ret_number)
{
	uint32_t mask = (1U << bits) - 1;
	uint64_t number = block->at[0] & mask;
	bool more = number == mask;
	size_t at = 1;

	/* Five more bytes hold all of 32 bits. */
	for (unsigned shift = 0; more && shift < 35; shift += 7) {
		if (at == block->len)
			return false;
		number += (uint64_t)(block->at[at] & 0x7f) << shift;
		more = block->at[at++] & 0x80;
	}
	if (more || number > UINT32_MAX)
		return false;
	*block = sw_bytes_from(*block, at);
	*ret_number = (uint32_t)number;
	return true;
}

static void write_number(struct sw_writer *out, uint8_t first, unsigned bits, size_t number)
{
	size_t mask = ((size_t)1 << bits) - 1;
	uint8_t text[1 + 10];
	size_t len = 0;

	text[len++] = (uint8_t)(first | SW_MIN(number, mask));
	if (number >= mask) {
		for (number -= mask; number >= 0x80; number >>= 7)
			text[len++] = (uint8_t)(0x80 | (number & 0x7f));
		text[len++] = (uint8_t)number;
	}
	sw_write(out, sw_bytes(text, len));
}

/* ---- strings (section 5.2) ---- */

struct text {
	struct sw_bytes bytes;
	size_t len; /* with what did not fit */
};

/* What was appended since `start`. */
static struct sw_bytes written_since(const struct sw_writer *out, size_t start)
{
	return out->len > start ? sw_bytes_from(sw_written(out), start) : sw_bytes(out->at, 0);
}

static bool read_text(struct sw_bytes *block, struct sw_writer *out, struct text *ret_text)
{
	size_t start = out->len;
	struct sw_bytes bytes;
	uint32_t len;
	bool coded;

	if (!block->len)
		return false;
	coded = block->at[0] & 0x80;
	if (!read_number(block, 7, &len) || len > block->len)
		return false;
	bytes = sw_bytes_slice(*block, 0, len);
	*block = sw_bytes_from(*block, len);
	*ret_text = (struct text){bytes, len};
	if (!coded)
		return true;
	if (!sw_huffman_read(bytes, out, &ret_text->len))
		return false;
	ret_text->bytes = written_since(out, start);
	return true;
}

static void write_text(struct sw_writer *out, struct sw_bytes text)
{
	size_t size = sw_huffman_size(text);

	if (size < text.len) {
		write_number(out, 0x80, 7, size);
		sw_huffman_write(out, text);
	} else {
		write_number(out, 0, 7, text.len);
		sw_write(out, text);
	}
}

/* ---- static table (appendix A) ---- */

/* Lengths beside the texts: no pointers that the loader would have to mend. */
struct static_entry {
	uint8_t name_len, value_len;
	char name[NAME_MAX], value[VALUE_MAX];
};

#define ENTRY(name, value)                                                                         \
	{                                                                                          \
		sizeof(name) - 1, sizeof(value) - 1, name, value                                   \
	}
static const struct static_entry static_table[STATIC_COUNT] = {
	ENTRY(":authority", ""),
	ENTRY(":method", "GET"),
	ENTRY(":method", "POST"),
	ENTRY(":path", "/"),
	ENTRY(":path", "/index.html"),
	ENTRY(":scheme", "http"),
	ENTRY(":scheme", "https"),
	ENTRY(":status", "200"),
	ENTRY(":status", "204"),
	ENTRY(":status", "206"),
	ENTRY(":status", "304"),
	ENTRY(":status", "400"),
	ENTRY(":status", "404"),
	ENTRY(":status", "500"),
	ENTRY("accept-charset", ""),
	ENTRY("accept-encoding", "gzip, deflate"),
	ENTRY("accept-language", ""),
	ENTRY("accept-ranges", ""),
	ENTRY("accept", ""),
	ENTRY("access-control-allow-origin", ""),
	ENTRY("age", ""),
	ENTRY("allow", ""),
	ENTRY("authorization", ""),
	ENTRY("cache-control", ""),
	ENTRY("content-disposition", ""),
	ENTRY("content-encoding", ""),
	ENTRY("content-language", ""),
	ENTRY("content-length", ""),
	ENTRY("content-location", ""),
	ENTRY("content-range", ""),
	ENTRY("content-type", ""),
	ENTRY("cookie", ""),
	ENTRY("date", ""),
	ENTRY("etag", ""),
	ENTRY("expect", ""),
	ENTRY("expires", ""),
	ENTRY("from", ""),
	ENTRY("host", ""),
	ENTRY("if-match", ""),
	ENTRY("if-modified-since", ""),
	ENTRY("if-none-match", ""),
	ENTRY("if-range", ""),
	ENTRY("if-unmodified-since", ""),
	ENTRY("last-modified", ""),
	ENTRY("link", ""),
	ENTRY("location", ""),
	ENTRY("max-forwards", ""),
	ENTRY("proxy-authenticate", ""),
	ENTRY("proxy-authorization", ""),
	ENTRY("range", ""),
	ENTRY("referer", ""),
	ENTRY("refresh", ""),
	ENTRY("retry-after", ""),
	ENTRY("server", ""),
	ENTRY("set-cookie", ""),
	ENTRY("strict-transport-security", ""),
	ENTRY("transfer-encoding", ""),
	ENTRY("user-agent", ""),
	ENTRY("vary", ""),
	ENTRY("via", ""),
	ENTRY("www-authenticate", ""),
};

/* Numbers of the first entries with each name, in order of the name's length... */
static const uint8_t static_by_length[] = {
	21, 60, 33, 34, 37, 38, 45, 59, 4,  22, 50, 19, 32, 35, 54, 2,	6,  8,
	36, 51, 52, 39, 42, 46, 1,  55, 58, 53, 31, 47, 18, 23, 24, 30, 41, 44,
	15, 28, 16, 17, 26, 27, 29, 61, 40, 57, 48, 25, 43, 49, 56, 20,
};

/* ... and where in there each length begins. */
static const uint8_t length_begins[NAME_MAX + 2] = {
	0,  0,	0,  0,	2,  8,	11, 15, 21, 24, 24, 27, 28, 30, 36,
	38, 40, 44, 46, 47, 50, 50, 50, 50, 50, 50, 51, 51, 52,
};

static struct sw_bytes static_name(uint32_t number)
{
	const struct static_entry *entry = &static_table[number - 1];

	return sw_bytes(entry->name, entry->name_len);
}

static struct sw_bytes static_value(uint32_t number)
{
	const struct static_entry *entry = &static_table[number - 1];

	return sw_bytes(entry->value, entry->value_len);
}

/* Number of the first entry with that name, or 0. */
static uint32_t find_static_name(struct sw_bytes name)
{
	uint8_t last;

	if (name.len == 0 || name.len > NAME_MAX)
		return 0;
	last = name.at[name.len - 1];
	for (unsigned i = length_begins[name.len]; i < length_begins[name.len + 1]; i++) {
		struct sw_bytes known = static_name(static_by_length[i]);

		/* Names of one length mostly differ in their ends. */
		if (known.at[known.len - 1] == last && sw_bytes_equal(known, name))
			return static_by_length[i];
	}
	return 0;
}

/* Number of the entry with that value, of those with the name of entry `first`, or 0. */
static uint32_t find_static_value(uint32_t first, struct sw_bytes value)
{
	struct sw_bytes name = static_name(first);

	if (value.len == 0 || value.len > VALUE_MAX)
		return 0; /* empty ones in this table stand for "any" */
	for (uint32_t i = first; i <= STATIC_COUNT && sw_bytes_equal(static_name(i), name); i++) {
		if (sw_bytes_equal(static_value(i), value))
			return i;
	}
	return 0;
}

/* ---- dynamic table ---- */

struct entry {
	uint32_t at; /* in memory: the name, and behind it the value */
	uint32_t name_len, value_len;
	uint32_t mark; /* of the name: spares most comparisons */
};

/* Where the entries end: at the end of the memory, but aligned. */
static uint32_t end_of(const struct sw_hpack *hpack)
{
	return hpack->room / sizeof(uint32_t) * sizeof(uint32_t);
}

/* Entry of that place, which counts from the end of the memory. */
static struct entry *entry_at(const struct sw_hpack *hpack, uint32_t place)
{
	return (struct entry *)(void *)(hpack->memory + end_of(hpack)) - 1 - place;
}

/* The newest is 0. */
static struct entry *entry_of(const struct sw_hpack *hpack, uint32_t number)
{
	return entry_at(hpack, hpack->oldest + hpack->count - 1 - number);
}

static struct sw_bytes name_of(const struct sw_hpack *hpack, const struct entry *entry)
{
	return sw_bytes(hpack->memory + entry->at, entry->name_len);
}

static struct sw_bytes value_of(const struct sw_hpack *hpack, const struct entry *entry)
{
	return sw_bytes(hpack->memory + entry->at + entry->name_len, entry->value_len);
}

static uint32_t mark_of(struct sw_bytes name)
{
	if (name.len == 0)
		return 0;
	return (uint32_t)name.len << 24 | (uint32_t)name.at[0] << 16 |
	       (uint32_t)name.at[name.len / 2] << 8 | name.at[name.len - 1];
}

/* Gives up the oldest entries until the others take no more than `size`. */
static void evict(struct sw_hpack *hpack, uint32_t size)
{
	while (hpack->size > size) {
		const struct entry *entry = entry_at(hpack, hpack->oldest);
		uint32_t len = entry->name_len + entry->value_len;

		hpack->size -= len + SW_HPACK_ENTRY;
		hpack->text_start += len;
		hpack->oldest++;
		hpack->count--;
	}
	if (hpack->count == 0)
		hpack->oldest = hpack->text_start = hpack->text_end = 0;
}

/* Moves what is alive back to both ends of the memory. */
static void move_apart(struct sw_hpack *hpack)
{
	uint32_t start = hpack->text_start;

	for (uint32_t i = 0; i < hpack->count; i++)
		entry_of(hpack, i)->at -= start;
	memmove(hpack->memory, hpack->memory + start, hpack->text_end - start);
	if (hpack->count)
		memmove(entry_at(hpack, hpack->count - 1),
			entry_at(hpack, hpack->oldest + hpack->count - 1),
			hpack->count * sizeof(struct entry));
	hpack->text_end -= start;
	hpack->text_start = hpack->oldest = 0;
}

static void copy(struct sw_hpack *hpack, struct sw_bytes bytes)
{
	if (bytes.len)
		memcpy(hpack->memory + hpack->text_end, bytes.at, bytes.len);
	hpack->text_end += (uint32_t)bytes.len;
}

/* Whether it can be in the table at all (section 4.4). */
static bool is_small(const struct sw_hpack *hpack, size_t name_len, size_t value_len)
{
	return hpack->size_max >= SW_HPACK_ENTRY && name_len <= hpack->size_max - SW_HPACK_ENTRY &&
	       value_len <= hpack->size_max - SW_HPACK_ENTRY - name_len;
}

/* Whether strings of `len` bytes and an entry fit in between. */
static bool is_room(const struct sw_hpack *hpack, uint32_t len)
{
	size_t entries = ((size_t)hpack->oldest + hpack->count + 1) * sizeof(struct entry);

	return (size_t)hpack->text_end + len + entries <= end_of(hpack);
}

/* Both are small, and not in this table. */
static void insert(struct sw_hpack *hpack, struct sw_bytes name, struct sw_bytes value)
{
	uint32_t len = (uint32_t)(name.len + value.len);

	evict(hpack, hpack->size_max - SW_HPACK_ENTRY - len);
	if (!is_room(hpack, len))
		move_apart(hpack);
	*entry_at(hpack, hpack->oldest + hpack->count) = (struct entry){
		hpack->text_end, (uint32_t)name.len, (uint32_t)value.len, mark_of(name)};
	copy(hpack, name);
	copy(hpack, value);
	hpack->size += len + SW_HPACK_ENTRY;
	hpack->count++;
}

static void resize(struct sw_hpack *hpack, uint32_t size_max)
{
	hpack->size_max = size_max;
	evict(hpack, size_max);
}

/* ---- both directions ---- */

void sw_hpack_init(struct sw_hpack *hpack, void *memory, size_t room)
{
	uint32_t size = (uint32_t)SW_MIN(room, SW_HPACK_TABLE);

	*hpack = (struct sw_hpack){
		.memory = memory,
		.room = (uint32_t)SW_MIN(room, ROOM_MAX),
		.limit = size,
		.size_max = size,
		.least = UINT32_MAX,
		.told = SW_HPACK_TABLE,
		.update = size < SW_HPACK_TABLE,
	};
}

bool sw_hpack_limit(struct sw_hpack *hpack, uint32_t limit)
{
	hpack->limit = SW_MIN(limit, hpack->room);
	hpack->least = SW_MIN(hpack->least, limit);
	hpack->update = true;
	return limit <= hpack->room;
}

/* ---- reading ---- */

/* One that a reduction demands goes at least as far down as the limit had been (section 4.2). */
static bool read_update(struct sw_hpack *hpack, struct sw_bytes *block)
{
	uint32_t most = hpack->least < hpack->told ? hpack->least : hpack->limit;
	uint32_t size;

	if (hpack->inside || !read_number(block, 5, &size) || size > SW_MIN(most, hpack->limit))
		return false;
	resize(hpack, size);
	hpack->told = size;
	hpack->least = UINT32_MAX;
	return true;
}

static bool read_updates(struct sw_hpack *hpack, struct sw_bytes *block)
{
	while (block->len && (block->at[0] & 0xe0) == 0x20) {
		if (!read_update(hpack, block))
			return false;
	}
	return true;
}

static bool get(const struct sw_hpack *hpack, uint32_t index, struct sw_hpack_field *ret_field)
{
	const struct entry *entry;

	if (index == 0 || index > STATIC_COUNT + hpack->count)
		return false;
	if (index <= STATIC_COUNT) {
		ret_field->name = static_name(index);
		ret_field->value = static_value(index);
		return true;
	}
	entry = entry_of(hpack, index - STATIC_COUNT - 1);
	ret_field->name = name_of(hpack, entry);
	ret_field->value = value_of(hpack, entry);
	return true;
}

/* A name that is in the table would move, or go, when the new entry is made room for. */
static bool save_name(struct sw_writer *out, struct sw_bytes *name)
{
	size_t start = out->len;

	if (name->len > out->room - out->len)
		return false;
	sw_write(out, *name);
	*name = written_since(out, start);
	return true;
}

/* A new entry of that name, which was given by `index`, and value. */
static bool read_entry(struct sw_hpack *hpack, struct sw_writer *out, uint32_t index,
		       struct text *name, const struct text *value)
{
	if (!is_small(hpack, name->len, value->len)) {
		/* Nothing is wrong, and the table is empty. Its memory is still what it was. */
		evict(hpack, 0);
		return true;
	}
	/* Who gave us too little room for text cannot follow the table any further. */
	if (out->cut || (index > STATIC_COUNT && !save_name(out, &name->bytes)))
		return false;
	insert(hpack, name->bytes, value->bytes);
	return true;
}

static bool read_literal(struct sw_hpack *hpack, struct sw_bytes *block, struct sw_writer *out,
			 struct sw_hpack_field *ret_field)
{
	uint8_t first = block->at[0];
	bool enters = first & 0x40;
	struct text name, value;
	uint32_t index;

	if (!read_number(block, enters ? 6 : 4, &index))
		return false;
	if (index) {
		if (!get(hpack, index, ret_field))
			return false;
		name = (struct text){ret_field->name, ret_field->name.len};
	} else if (!read_text(block, out, &name)) {
		return false;
	}
	if (!read_text(block, out, &value))
		return false;
	if (enters && !read_entry(hpack, out, index, &name, &value))
		return false;
	*ret_field =
		(struct sw_hpack_field){name.bytes, value.bytes, (first & 0xf0) == 0x10, out->cut};
	return true;
}

static bool read_field(struct sw_hpack *hpack, struct sw_bytes *block, struct sw_writer *out,
		       struct sw_hpack_field *ret_field)
{
	uint32_t index;

	if (!(block->at[0] & 0x80))
		return read_literal(hpack, block, out, ret_field);
	*ret_field = (struct sw_hpack_field){.cut = false};
	return read_number(block, 7, &index) && get(hpack, index, ret_field);
}

enum sw_hpack_read sw_hpack_read(struct sw_hpack *hpack, struct sw_bytes *block,
				 struct sw_writer *text, struct sw_hpack_field *ret_field)
{
	struct sw_hpack_field field;

	text->len = 0;
	text->cut = false;
	if (!read_updates(hpack, block))
		return SW_HPACK_BROKEN;
	if (!block->len) {
		hpack->inside = false;
		return SW_HPACK_END;
	}
	/* The peer was told of a smaller table and has not said that it made its own smaller. */
	if (!hpack->inside && hpack->least < hpack->told)
		return SW_HPACK_BROKEN;
	hpack->inside = true;
	hpack->least = UINT32_MAX;
	if (!read_field(hpack, block, text, &field))
		return SW_HPACK_BROKEN;
	*ret_field = field;
	return SW_HPACK_FIELD;
}

/* ---- writing ---- */

static void write_update(struct sw_hpack *hpack, struct sw_writer *out, uint32_t size)
{
	write_number(out, 0x20, 5, size);
	resize(hpack, size);
	hpack->told = size;
}

/* The smallest limit that there was in between, then the one that there is now (section 4.2). */
static void write_updates(struct sw_hpack *hpack, struct sw_writer *out)
{
	if (hpack->least < hpack->told && hpack->least < hpack->limit)
		write_update(hpack, out, hpack->least);
	if (hpack->told != hpack->limit)
		write_update(hpack, out, hpack->limit);
	hpack->least = UINT32_MAX;
	hpack->update = false;
}

/* Indices in what both tables have; 0: none. */
struct hit {
	uint32_t name, whole;
};

static struct hit find_dynamic(const struct sw_hpack *hpack, struct sw_bytes name,
			       struct sw_bytes value)
{
	uint32_t mark = mark_of(name);
	struct hit hit = {0, 0};

	for (uint32_t i = 0; i < hpack->count; i++) {
		const struct entry *entry = entry_of(hpack, i);

		if (entry->mark != mark || (hit.name && entry->value_len != value.len) ||
		    !sw_bytes_equal(name_of(hpack, entry), name))
			continue;
		if (!hit.name)
			hit.name = STATIC_COUNT + 1 + i;
		if (sw_bytes_equal(value_of(hpack, entry), value)) {
			hit.whole = STATIC_COUNT + 1 + i;
			break;
		}
	}
	return hit;
}

static struct hit find(const struct sw_hpack *hpack, struct sw_bytes name, struct sw_bytes value)
{
	uint32_t known = find_static_name(name);
	struct hit hit = {known, known ? find_static_value(known, value) : 0};

	if (!hit.whole)
		hit = find_dynamic(hpack, name, value);
	if (known)
		hit.name = known; /* never takes more bytes than one of the dynamic table */
	return hit;
}

static void write_name(struct sw_writer *out, struct sw_bytes name, uint32_t index,
		       enum sw_hpack_how how)
{
	if (how == SW_HPACK_INDEX)
		write_number(out, 0x40, 6, index);
	else
		write_number(out, how == SW_HPACK_NEVER ? 0x10 : 0, 4, index);
	if (!index)
		write_text(out, name);
}

void sw_hpack_write(struct sw_hpack *hpack, struct sw_writer *out, struct sw_bytes name,
		    struct sw_bytes value, enum sw_hpack_how how)
{
	struct hit hit;

	if (hpack->update)
		write_updates(hpack, out);
	hit = find(hpack, name, value);
	if (hit.whole && how != SW_HPACK_NEVER) {
		write_number(out, 0x80, 7, hit.whole);
		return;
	}
	/* It would only empty the table. */
	if (how == SW_HPACK_INDEX && !is_small(hpack, name.len, value.len))
		how = SW_HPACK_ONCE;
	write_name(out, name, hit.name, how);
	write_text(out, value);
	if (how == SW_HPACK_INDEX)
		insert(hpack, name, value);
}
