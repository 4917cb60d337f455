/*
 * Our reader of mangled names against __cxa_demangle: all functions that libstdc++ exports. What
 * ours understands it must read as the oracle does, but for blanks between brackets; and there is
 * little that it does not understand.
 */
#include <criterion/criterion.h>
#include <dlfcn.h>
#include <elf.h>
#include <link.h>
#include <stdio.h>
#include <stdlib.h>

#include "sampler/native/demangle.h"

extern char *__cxa_demangle(const char *name, char *room, size_t *len, int *status);

static struct {
	unsigned all, refused;
} tally;

/* "> >" is also written ">>". */
static size_t without_blanks(char *to, const char *from, size_t len)
{
	size_t n = 0;

	for (size_t i = 0; i < len; i++) {
		if (from[i] != ' ' || i + 1 == len || from[i + 1] != '>')
			to[n++] = from[i];
	}
	return n;
}

static void compare(const char *name)
{
	static char a[1 << 16], b[1 << 16];
	struct sw_bytes ours;
	int status;
	char *theirs = __cxa_demangle(name, NULL, NULL, &status);
	size_t a_len, b_len;

	if (!theirs)
		return;
	tally.all++;
	if (!sw_demangle(sw_bytes_text(name), &ours)) {
		tally.refused++;
	} else {
		a_len = without_blanks(a, theirs, SW_MIN(strlen(theirs), sizeof(a)));
		b_len = without_blanks(b, (const char *)ours.at, SW_MIN(ours.len, sizeof(b)));
		cr_assert(a_len == b_len && !memcmp(a, b, a_len), "%s\n%s\n%.*s", name, theirs,
			  (int)ours.len, (const char *)ours.at);
	}
	free(theirs);
}

/* By the loader's own tables: symbols lie before their texts. */
static void compare_all(const struct link_map *library)
{
	const ElfW(Sym) *symbols = NULL;
	const char *texts = NULL;

	for (const ElfW(Dyn) *d = library->l_ld; d->d_tag != DT_NULL; d++) {
		if (d->d_tag == DT_SYMTAB)
			symbols = (const ElfW(Sym) *)d->d_un.d_ptr;
		else if (d->d_tag == DT_STRTAB)
			texts = (const char *)d->d_un.d_ptr;
	}
	cr_assert(symbols && texts && (const char *)symbols < texts);
	for (; (const char *)(symbols + 1) <= texts; symbols++) {
		const char *name = texts + symbols->st_name;

		if (ELF64_ST_TYPE(symbols->st_info) == STT_FUNC && name[0] == '_' && name[1] == 'Z')
			compare(name);
	}
}

Test(oracle_demangle, libstdcpp, .timeout = 100)
{
	struct link_map *library = dlopen("libstdc++.so.6", RTLD_NOW);

	cr_assert_not_null(library, "%s", dlerror());
	compare_all(library);
	fprintf(stderr, "%u names, %u refused\n", tally.all, tally.refused);
	cr_assert_geq(tally.all, 1000);
	cr_assert_leq(tally.refused * 50, tally.all);
}
