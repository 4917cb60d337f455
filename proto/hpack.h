/*
 * HPACK, the compression of header fields in HTTP/2 (RFC 7541), both directions.
 *
 * Pure: no allocation, no globals that change, no clock; may run on any thread, also in a signal
 * handler. One struct sw_hpack is one direction of one connection: either it reads what a peer
 * wrote, or it writes. Every block of a connection must pass through it in order, wanted or not, or
 * the tables of the two sides no longer agree.
 */
#pragma once

#include "preload/bytes.h"

/* What an entry costs beyond its name and value (RFC 7541 section 4.1). */
#define SW_HPACK_ENTRY 32
/* Table size in force before anything was negotiated (RFC 9113 section 6.5.2). */
#define SW_HPACK_TABLE 4096

/* Bytes of memory that a table of at most `size` (in the RFC's counting) needs. */
#define SW_HPACK_BYTES(size) (size)

struct sw_hpack {
	uint8_t *memory;     /* Borrowed from the caller for as long as this lives; aligned to 4 */
	uint32_t room;	     /* largest table that fits into it */
	uint32_t limit;	     /* largest table that was negotiated and that there is room for */
	uint32_t size_max;   /* table size now in force */
	uint32_t size;	     /* of all entries, in the RFC's counting */
	uint32_t count;	     /* entries */
	uint32_t oldest;     /* place of the oldest entry: hpack.c */
	uint32_t text_start; /* their strings, in memory */
	uint32_t text_end;
	uint32_t least; /* smallest limit since the last block, UINT32_MAX when it did not change */
	uint32_t told;	/* table size that the peer goes by: of ours (writer), its (reader) */
	bool update;	/* writer: the next block must begin with a size update */
	bool inside;	/* reader: within a block, where no size update may come */
};

/* One header field. */
struct sw_hpack_field {
	/* Borrowed, from the block, `text` or the table: good until the next call with any of them.
	 */
	struct sw_bytes name, value;
	bool never_indexed; /* a secret: whoever forwards it must not index it (section 7.1.3) */
	bool cut; /* name or value did not fit into `text`; what is there is its beginning */
};

enum sw_hpack_how {
	SW_HPACK_INDEX, /* enters the table: for what will be sent again */
	SW_HPACK_ONCE,	/* does not */
	SW_HPACK_NEVER, /* does not, and nobody on the way may: secrets */
};

enum sw_hpack_read {
	SW_HPACK_END,
	SW_HPACK_FIELD,
	SW_HPACK_BROKEN, /* COMPRESSION_ERROR; the connection cannot be read any further */
};

/*
 * An empty table in `memory` of `room` bytes (SW_HPACK_BYTES), aligned to 4. The limit is
 * SW_HPACK_TABLE, or less when there is less room.
 */
void sw_hpack_init(struct sw_hpack *hpack, void *memory, size_t room);

/*
 * SETTINGS_HEADER_TABLE_SIZE changed: for a reader the one that its own side announced (after the
 * acknowledgement), for a writer the peer's. Only between blocks. A writer tells so at the start of
 * its next block. False: there is less room than that, and the limit is now the room. A writer
 * makes do with it. So does a reader, until the peer makes use of more: that is SW_HPACK_BROKEN,
 * and never a wrong field.
 */
bool sw_hpack_limit(struct sw_hpack *hpack, uint32_t limit);

/*
 * Takes the next field, and table size updates before it, off the front of `block`, a whole header
 * block (all fragments). It is to be called until the block ends: SW_HPACK_END. `text` is room for
 * decoded strings: its len is set to 0 by every call. A string longer than fits is cut and the
 * field marked; with text->room >= the table's room no field that enters the table is ever cut (one
 * that is cut was too large for the table, and empties it). With less, one that would enter the
 * table but does not fit is SW_HPACK_BROKEN. *ret_field is written only with SW_HPACK_FIELD.
 */
enum sw_hpack_read sw_hpack_read(struct sw_hpack *hpack, struct sw_bytes *block,
				 struct sw_writer *text, struct sw_hpack_field *ret_field);

/*
 * Appends one field. Names must be in lower case. Strings are Huffman coded where that is shorter.
 * When `out` is cut the block is useless and so is the table: the caller ends the connection.
 */
void sw_hpack_write(struct sw_hpack *hpack, struct sw_writer *out, struct sw_bytes name,
		    struct sw_bytes value, enum sw_hpack_how how);
