/*
 * A view that is read from its beginning, by the small vocabulary of DWARF: integers of known and
 * of variable length, and pointers in the encodings of .eh_frame. What is read past the end is 0
 * and makes the cursor bad for good; nobody needs to look before each byte.
 */
#pragma once

#include "preload/bytes.h"

struct sw_dwarf {
	const uint8_t *at, *end; /* Borrowed */
	uint64_t address;	 /* of `at` in the program; for pointers that are relative to it */
	bool bad;
};

static inline struct sw_dwarf sw_dwarf(struct sw_bytes view, uint64_t address)
{
	static const uint8_t none[1]; /* no arithmetic on NULL */
	const uint8_t *at = view.at ? view.at : none;

	return (struct sw_dwarf){at, at + view.len, address, false};
}

static inline size_t sw_dwarf_left(const struct sw_dwarf *d)
{
	return (size_t)(d->end - d->at);
}

static inline const uint8_t *sw_dwarf_take(struct sw_dwarf *d, uint64_t len)
{
	const uint8_t *at = d->at;

	if (len > sw_dwarf_left(d)) {
		d->bad = true;
		d->at = d->end;
		return NULL;
	}
	d->at += len;
	d->address += len;
	return at;
}

/* 1, 2, 4 or 8 bytes of a machine with the same order. */
static inline uint64_t sw_dwarf_uint(struct sw_dwarf *d, unsigned len)
{
	const uint8_t *at = sw_dwarf_take(d, len);
	uint64_t value = 0;

	if (at)
		memcpy(&value, at, len);
	return value;
}

static inline int64_t sw_dwarf_sint(struct sw_dwarf *d, unsigned len)
{
	unsigned shift = 64 - 8 * len;

	return (int64_t)(sw_dwarf_uint(d, len) << shift) >> shift;
}

/* The bits of a LEB128 number; *ret_sign: those above them, if its last one is its sign. */
static inline uint64_t sw_dwarf_leb(struct sw_dwarf *d, uint64_t *ret_sign)
{
	uint64_t value = 0, byte;
	unsigned shift = 0;

	do {
		byte = sw_dwarf_uint(d, 1);
		if (shift < 64)
			value |= (byte & 127) << shift;
		shift += 7;
	} while (byte & 128);
	*ret_sign = shift < 64 && (byte & 64) ? ~0ull << shift : 0;
	return value;
}

static inline uint64_t sw_dwarf_uleb(struct sw_dwarf *d)
{
	uint64_t sign;

	return sw_dwarf_leb(d, &sign);
}

static inline int64_t sw_dwarf_sleb(struct sw_dwarf *d)
{
	uint64_t sign, value = sw_dwarf_leb(d, &sign);

	return (int64_t)(value | sign);
}

/* A text that ends with a 0; without it. */
static inline struct sw_bytes sw_dwarf_text(struct sw_dwarf *d)
{
	struct sw_bytes rest = sw_bytes(d->at, sw_dwarf_left(d));
	size_t len = sw_bytes_find(rest, 0);

	sw_dwarf_take(d, len + 1);
	return sw_bytes_slice(rest, 0, len);
}

/* The next `len` bytes as a cursor of their own; bad where this one is. */
static inline struct sw_dwarf sw_dwarf_part(struct sw_dwarf *d, uint64_t len)
{
	uint64_t address = d->address;
	const uint8_t *at = sw_dwarf_take(d, len);

	return (struct sw_dwarf){at ? at : d->end, at ? at + len : d->end, address, d->bad};
}

#define SW_DWARF_OMIT 0xff
#define SW_DWARF_INDIRECT 0x80

/* A pointer of .eh_frame; `data` is what data-relative ones are relative to. What lies behind an
 * indirect one is not looked at. */
static inline uint64_t sw_dwarf_pointer(struct sw_dwarf *d, uint8_t encoding, uint64_t data)
{
	uint64_t from = d->address, value;

	if (encoding == SW_DWARF_OMIT)
		return 0;
	switch (encoding & 15) {
	case 0x0:
	case 0x4:
	case 0xc:
		value = sw_dwarf_uint(d, 8);
		break;
	case 0x1:
		value = sw_dwarf_uleb(d);
		break;
	case 0x2:
		value = sw_dwarf_uint(d, 2);
		break;
	case 0x3:
		value = sw_dwarf_uint(d, 4);
		break;
	case 0x9:
		value = (uint64_t)sw_dwarf_sleb(d);
		break;
	case 0xa:
		value = (uint64_t)sw_dwarf_sint(d, 2);
		break;
	case 0xb:
		value = (uint64_t)sw_dwarf_sint(d, 4);
		break;
	default:
		d->bad = true;
		return 0;
	}
	switch (encoding & 0x70) {
	case 0x00:
		return value;
	case 0x10:
		return value + from;
	case 0x30:
		return value + data;
	default:
		d->bad = true;
		return 0;
	}
}
