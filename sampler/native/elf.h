/*
 * The sections of an ELF file, by its path or as it is mapped (the vDSO). What is read is copied,
 * so a file that changes under us gives nonsense and no fault; nonsense is bounded by sizes. The
 * descriptor is open from sw_elf_open to sw_elf_close only.
 */
#pragma once

#include <elf.h>

#include "preload/bytes.h"

struct sw_elf {
	int fd;	       /* -1: of memory */
	uint64_t at;   /* then: where */
	uint64_t size; /* of the file, or of what is mapped */
	Elf64_Ehdr head;
	Elf64_Shdr *sections; /* Owned: a mapping */
	unsigned count;
	struct sw_bytes texts; /* Owned: a mapping; names of sections */
	size_t map_bytes;      /* of both */
};

/* False: not to be had, or no ELF file of this machine's kind. */
bool sw_elf_open(struct sw_elf *elf, const char *path);
bool sw_elf_open_memory(struct sw_elf *elf, uint64_t at, uint64_t size);
void sw_elf_close(struct sw_elf *elf);

/* All of it or nothing. */
bool sw_elf_read(const struct sw_elf *elf, uint64_t offset, void *to, size_t len);

/* The section called so, or of that type; NULL: none, or it has no bytes in the file. */
const Elf64_Shdr *sw_elf_section(const struct sw_elf *elf, struct sw_bytes name);
const Elf64_Shdr *sw_elf_section_of_type(const struct sw_elf *elf, uint32_t type);

/* A copy of a section that is at most `max` long; decompressed where it is compressed. The caller
 * gives it back by sw_elf_free. Empty: not to be had. */
struct sw_bytes sw_elf_copy(const struct sw_elf *elf, const Elf64_Shdr *section, size_t max);
void sw_elf_free(struct sw_bytes copy);

/* Its build id; returns its length, 0: none. */
unsigned sw_elf_id(const struct sw_elf *elf, uint8_t *to, unsigned room);

/* The build id among notes. */
unsigned sw_elf_note_id(struct sw_bytes notes, uint8_t *to, unsigned room);
