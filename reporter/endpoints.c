/*
 * The two tables of endpoints.h: entries in the order in which they came, found by an open hash of
 * their names that is never more than half full.
 */
#include "reporter/endpoints.h"

#include <stdlib.h>

#include "preload/record.h"

#define SLOTS 256
#define NAME_MAX_BYTES 256

struct table {
	struct sw_endpoint entry[SW_ENDPOINTS_MAX + 1]; /* the last is "other" */
	uint16_t used;
	uint16_t slot[SLOTS]; /* index of an entry + 1; 0: free */
};

static struct table served, called;

static const uint32_t bounds_ms[SW_ENDPOINT_CLASSES] = SW_ENDPOINT_BOUNDS;

static uint32_t hash(struct sw_bytes name)
{
	uint64_t h = name.len, word;

	while (name.len >= sizeof(word)) {
		memcpy(&word, name.at, sizeof(word));
		h = (h ^ word) * 0x9e3779b97f4a7c15ull;
		h ^= h >> 32;
		name = sw_bytes_from(name, sizeof(word));
	}
	for (size_t i = 0; i < name.len; i++)
		h = (h ^ name.at[i]) * 0x9e3779b97f4a7c15ull;
	return (uint32_t)(h >> 56);
}

static struct sw_endpoint *other(struct table *table)
{
	struct sw_endpoint *entry = &table->entry[SW_ENDPOINTS_MAX];

	entry->name = SW_BYTES("other");
	return entry;
}

static struct sw_endpoint *add(struct table *table, uint16_t *slot, struct sw_bytes name)
{
	struct sw_endpoint *entry = &table->entry[table->used];
	uint8_t *copy = table->used < SW_ENDPOINTS_MAX ? malloc(name.len + 1) : NULL;

	if (!copy)
		return other(table);
	memcpy(copy, name.at, name.len);
	entry->name = sw_bytes(copy, name.len);
	*slot = ++table->used;
	return entry;
}

static struct sw_endpoint *find(struct table *table, struct sw_bytes name)
{
	if (name.len == 0 || name.len > NAME_MAX_BYTES)
		return other(table);
	for (uint32_t at = hash(name);; at = (at + 1) % SLOTS) {
		uint16_t *slot = &table->slot[at];

		if (!*slot)
			return add(table, slot, name);
		if (sw_bytes_equal(table->entry[*slot - 1].name, name))
			return &table->entry[*slot - 1];
	}
}

static void count(struct sw_endpoint *entry, const struct sw_record_span *span)
{
	int64_t ms = span->end_ms - span->start_ms;
	int at = SW_ENDPOINT_CLASSES - 1;

	while (at && ms < bounds_ms[at])
		at--;
	entry->count++;
	entry->errors += span->flags & SW_SPAN_ERROR ? 1 : 0;
	entry->took[at]++;
}

static struct sw_bytes field_of(const struct sw_record_span *span, enum sw_field_kind kind)
{
	struct sw_bytes text = sw_bytes(span + 1, span->text), value;
	struct sw_field field;

	while (sw_field_next(&text, &field, &value)) {
		if (field.kind == kind)
			return value;
	}
	return SW_BYTES("");
}

void sw_endpoints_take(const struct sw_segment *segment)
{
	for (size_t i = 0; i < segment->count; i++) {
		const struct sw_record_span *span = segment->span[i];

		if (span->type == SW_SPAN_ENTRY)
			count(find(&served, field_of(span, SW_FIELD_OPERATION)), span);
		else
			count(find(&called, field_of(span, SW_FIELD_PEER)), span);
	}
}

static const struct sw_endpoint *at(const struct table *table, size_t i)
{
	if (i < table->used)
		return &table->entry[i];
	return i == table->used && table->entry[SW_ENDPOINTS_MAX].count
		       ? &table->entry[SW_ENDPOINTS_MAX]
		       : NULL;
}

const struct sw_endpoint *sw_endpoints_served(size_t i)
{
	return at(&served, i);
}

const struct sw_endpoint *sw_endpoints_called(size_t i)
{
	return at(&called, i);
}

void sw_endpoints_forget(void)
{
	memset(&served, 0, sizeof(served));
	memset(&called, 0, sizeof(called));
}
