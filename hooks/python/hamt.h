/*
 * Looking for our variable among those of a context: a walk of CPython's HAMT, for the two who read
 * one. They differ in how a word is read, by a load or by the kernel's answer (then NULL may also
 * mean that it could not be), so that is a parameter, and the walk is compiled for each.
 */
#pragma once

#include "hooks/python/internal.h"

#define SW_PYTHON_HAMT_DEPTH 7 /* 32 bits by 5 */
/* Contexts that are looked at, from the current one outwards. */
#define SW_PYTHON_OUTER_MAX 8

typedef const void *(*sw_python_read_word)(const void *object, size_t offset);

/* The builtin calls a library where the processor is the oldest. */
static inline uint32_t sw_python_popcount(uint32_t bits)
{
	bits -= bits >> 1 & 0x55555555u;
	bits = (bits & 0x33333333u) + (bits >> 2 & 0x33333333u);
	return ((bits + (bits >> 4)) & 0x0f0f0f0fu) * 0x01010101u >> 24;
}

/* A bitmap node: { head, size, bitmap, [key or NULL, value or node]... } */
static inline __attribute__((always_inline)) const void *
sw_python_hamt_step(const void *node, int shift, sw_python_read_word word, bool *ret_done)
{
	size_t at = sw_python_at.head + 8;
	uint32_t bitmap = (uint32_t)(uintptr_t)word(node, at);
	uint32_t bit = 1u << (sw_python_at.hash >> shift & 31);
	const void *key;

	*ret_done = true;
	if (!(bitmap & bit))
		return NULL;
	at += 8 + 2 * sizeof(void *) * sw_python_popcount(bitmap & (bit - 1));
	key = word(node, at);
	if (key)
		return key == sw_python_at.var ? word(node, at + sizeof(void *)) : NULL;
	*ret_done = false;
	return word(node, at + sizeof(void *));
}

/*
 * The value, or NULL. An array node: { head, [node or NULL] * 32 }. Any other node is one of
 * colliding hashes: ours is not looked for there, and found by nobody.
 */
static inline __attribute__((always_inline)) const void *
sw_python_hamt_find(const void *hamt, sw_python_read_word word)
{
	const void *node = word(hamt, sw_python_at.head);
	bool done = false;

	for (int level = 0; node && level < SW_PYTHON_HAMT_DEPTH && !done; level++) {
		const void *type = word(node, sw_python_at.head - sizeof(void *));
		int shift = level * 5;

		if (type == sw_python_at.bitmap)
			node = sw_python_hamt_step(node, shift, word, &done);
		else if (type == sw_python_at.array)
			node = word(node,
				    sw_python_at.head + 8u * (sw_python_at.hash >> shift & 31));
		else
			return NULL;
	}
	return done ? node : NULL;
}
