/*
 * See mapped.h. How many symbols there are nobody says but their hash table: an old one by its
 * length, GNU's by the last chain, which begins at the greatest number that a bucket has and ends
 * where a bit says so.
 */
#include "sampler/native/mapped.h"

#include <elf.h>

#include "preload/sys.h"
#include "sampler/native/elf.h"

#define DYNAMIC_MAX 128
#define WORDS 256 /* that are read at once */
#define SYMBOLS_MAX (1u << 20)
#define TEXTS_BYTES_MAX (64u << 20)

struct dynamic {
	uint64_t symbols, texts, texts_len, hash, gnu_hash;
};

static bool read_dynamic(const struct sw_library *library, struct dynamic *d)
{
	Elf64_Dyn all[DYNAMIC_MAX];
	size_t count =
		SW_MIN((library->dynamic.to - library->dynamic.from) / sizeof(*all), DYNAMIC_MAX);

	memset(d, 0, sizeof(*d));
	if (!count || !sw_sys_peek(all, (void *)library->dynamic.from, count * sizeof(*all)))
		return false;
	for (size_t i = 0; i < count && all[i].d_tag != DT_NULL; i++) {
		uint64_t value = all[i].d_un.d_val;
		/* The loader has made addresses of most of them. */
		uint64_t address = value < library->low ? value + library->base : value;

		if (all[i].d_tag == DT_SYMTAB)
			d->symbols = address;
		else if (all[i].d_tag == DT_STRTAB)
			d->texts = address;
		else if (all[i].d_tag == DT_HASH)
			d->hash = address;
		else if (all[i].d_tag == DT_GNU_HASH)
			d->gnu_hash = address;
		else if (all[i].d_tag == DT_STRSZ)
			d->texts_len = value;
	}
	return d->symbols && d->texts && d->texts_len;
}

/* The number behind the last one of the chain that `symbol` is in. */
static uint32_t end_of_chain(uint64_t chains, uint32_t first, uint32_t symbol)
{
	uint32_t word;

	for (; symbol < SYMBOLS_MAX; symbol++) {
		if (!sw_sys_peek(&word, (void *)(chains + 4ull * (symbol - first)), sizeof(word)))
			return 0;
		if (word & 1)
			return symbol + 1;
	}
	return 0;
}

static uint32_t count_by_gnu_hash(uint64_t at)
{
	struct {
		uint32_t buckets, first, filters, shift;
	} head;
	uint32_t words[WORDS], most = 0;
	uint64_t buckets;

	if (!sw_sys_peek(&head, (void *)at, sizeof(head)) || head.buckets > SYMBOLS_MAX ||
	    head.filters > SYMBOLS_MAX)
		return 0;
	buckets = at + sizeof(head) + 8ull * head.filters;
	for (uint32_t i = 0; i < head.buckets; i += WORDS) {
		uint32_t count = SW_MIN(head.buckets - i, WORDS);

		if (!sw_sys_peek(words, (void *)(buckets + 4ull * i), count * sizeof(words[0])))
			return 0;
		for (uint32_t k = 0; k < count; k++)
			most = SW_MAX(most, words[k]);
	}
	if (most < head.first)
		return head.first;
	return end_of_chain(buckets + 4ull * head.buckets, head.first, most);
}

static uint32_t count_symbols(const struct dynamic *d)
{
	uint32_t head[2];

	if (d->gnu_hash)
		return count_by_gnu_hash(d->gnu_hash);
	return d->hash && sw_sys_peek(head, (void *)d->hash, sizeof(head)) ? head[1] : 0;
}

static struct sw_bytes copy(uint64_t from, uint64_t len, size_t max)
{
	void *map = len && len <= max ? sw_sys_map(len) : NULL;

	if (map && !sw_sys_peek(map, (void *)from, len)) {
		sw_sys(munmap, map, len);
		map = NULL;
	}
	return sw_bytes(map, map ? len : 0);
}

bool sw_mapped_symbols(const struct sw_library *library, struct sw_bytes *ret_table,
		       struct sw_bytes *ret_texts)
{
	struct sw_bytes table, texts;
	struct dynamic d;

	if (!read_dynamic(library, &d))
		return false;
	table = copy(d.symbols, count_symbols(&d) * sizeof(Elf64_Sym),
		     SYMBOLS_MAX * sizeof(Elf64_Sym));
	texts = copy(d.texts, d.texts_len, TEXTS_BYTES_MAX);
	if (!table.len || !texts.len) {
		sw_elf_free(table);
		sw_elf_free(texts);
		return false;
	}
	*ret_table = table;
	*ret_texts = texts;
	return true;
}
