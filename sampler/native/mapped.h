/* The exported symbols of a library from what is mapped of it, where its file has gone or is
 * another by now: an upgrade under a program that runs. */
#pragma once

#include "sampler/native/libraries.h"

/* Copies, to be given back by sw_elf_free: of symbols (Elf64_Sym) and their texts. False: not to be
 * had. */
bool sw_mapped_symbols(const struct sw_library *library, struct sw_bytes *ret_table,
		       struct sw_bytes *ret_texts);
