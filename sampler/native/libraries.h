/*
 * Which libraries are mapped, and copies of their unwind tables. One thread at a time, as native.h
 * says; what is given out is good until the next sw_libraries_refresh.
 */
#pragma once

#include "sampler/native/cfi.h"

#define SW_LIBRARIES_MAX 1024
#define SW_LIBRARY_ID_MAX 20
#define SW_LIBRARY_PATH_MAX 512
#define SW_LIBRARY_LOADS_MAX 8

struct sw_range {
	uint64_t from, to;
};

struct sw_library {
	uint64_t base;	    /* what the addresses in its file are relative to */
	uint64_t low, high; /* all that is mapped of it lies between */
	struct sw_range loads[SW_LIBRARY_LOADS_MAX]; /* empty ones last */
	struct sw_range header;			     /* .eh_frame_hdr; empty: none */
	struct sw_range notes, dynamic;		     /* PT_NOTE with the id, PT_DYNAMIC */
	uint8_t id[SW_LIBRARY_ID_MAX];		     /* its build id */
	uint8_t id_len;
	/* Before that moment something else may have been mapped here; 0: no. */
	uint64_t since_ns;
	uint16_t generation; /* of its place in the table; 0: free */
	bool read;	     /* `cfi` is what there is */
	struct sw_cfi cfi;   /* Owned: one mapping of map_bytes from cfi.header.at */
	size_t map_bytes;
	void *names;			/* symbols.c's */
	char path[SW_LIBRARY_PATH_MAX]; /* "": the program; cut ones are empty too, with `nameless`
					 */
	bool nameless;
};

/* By place; the first stands for "no library", and changes when any comes or goes. A row that was
 * made for another generation of its place is of something that has gone. */
extern uint16_t sw_libraries_generation[SW_LIBRARIES_MAX];
/* Changes when generations begin anew: all rows are void then. */
extern unsigned sw_libraries_epoch;
/* How often they were listed. */
extern unsigned sw_libraries_changes;
/* The latest since_ns of all. */
extern uint64_t sw_libraries_newest_ns;

/* Called around what takes the loader's lock; NULL: nobody needs to know. */
extern void (*sw_libraries_delicate)(bool delicate);

bool sw_libraries_refresh(void);

/* What `pc` lies in, or NULL; its place. Place 0 with NULL. */
struct sw_library *sw_libraries_find(uint64_t pc, uint16_t *ret_place);

/* Its unwind tables, read now if they were not. NULL: none. *ret_sure is false when libraries went
 * meanwhile: then the answer is for this once. */
const struct sw_cfi *sw_libraries_cfi(struct sw_library *library, bool *ret_sure);

/* Called for each that goes, by whoever keeps something in `names`. */
void sw_symbols_free(struct sw_library *library);

/* For sw_native_forget_names. */
void sw_libraries_each(void (*each)(struct sw_library *library));

void sw_libraries_forked(void);
