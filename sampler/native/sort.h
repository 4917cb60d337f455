/* Sorting without memory of its own (libc's qsort takes some): items that begin with their key. */
#pragma once

#include "preload/bytes.h"

#define SW_SORT_ITEM_MAX 64

static inline uint64_t sw_sort_key(const uint8_t *items, size_t size, size_t i)
{
	uint64_t key;

	memcpy(&key, items + i * size, sizeof(key));
	return key;
}

static inline void sw_sort_swap(uint8_t *items, size_t size, size_t a, size_t b)
{
	uint8_t room[SW_SORT_ITEM_MAX];

	memcpy(room, items + a * size, size);
	memcpy(items + a * size, items + b * size, size);
	memcpy(items + b * size, room, size);
}

static inline void sw_sort_sink(uint8_t *items, size_t size, size_t from, size_t count)
{
	for (size_t child; (child = 2 * from + 1) < count; from = child) {
		if (child + 1 < count &&
		    sw_sort_key(items, size, child) < sw_sort_key(items, size, child + 1))
			child++;
		if (sw_sort_key(items, size, from) >= sw_sort_key(items, size, child))
			return;
		sw_sort_swap(items, size, from, child);
	}
}

/* By heap; ascending. */
static inline void sw_sort(void *items, size_t size, size_t count)
{
	for (size_t i = count / 2; i-- > 0;)
		sw_sort_sink(items, size, i, count);
	for (size_t i = count; i-- > 1;) {
		sw_sort_swap(items, size, 0, i);
		sw_sort_sink(items, size, 0, i);
	}
}

/* The last item whose key is at most `key`; `count`: none. */
static inline size_t sw_sort_find(const void *items, size_t size, size_t count, uint64_t key)
{
	size_t low = 0, high = count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (sw_sort_key(items, size, middle) <= key)
			low = middle + 1;
		else
			high = middle;
	}
	return low ? low - 1 : count;
}
