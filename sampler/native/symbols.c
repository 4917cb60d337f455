/*
 * What functions are called; see native.h.
 *
 * Of a library that is asked about all functions are listed once, in 16 bytes each, with a copy of
 * their names: from the separate file with debug information where this machine has it, else from
 * the library's own file. A file counts only if its build id is that of what is mapped, or, without
 * one, if it is laid out exactly so; where it has gone or is another by now there are the exported
 * functions, from what is mapped.
 */
#include <elf.h>

#include "preload/sys.h"
#include "sampler/native/elf.h"
#include "sampler/native/libraries.h"
#include "sampler/native/lines.h"
#include "sampler/native/mapped.h"
#include "sampler/native/native.h"
#include "sampler/native/sort.h"

#define SYMBOLS_BYTES_MAX (48u << 20) /* of a table; two million of them */
#define TEXTS_BYTES_MAX (192u << 20)
#define LINES_BYTES_MAX (64u << 20)
#define LINE_TEXTS_BYTES_MAX (8u << 20)
#define NESTED_MAX 16 /* symbols that are looked at for one address */
#define PATH_BYTES (SW_LIBRARY_PATH_MAX + 64)

struct symbol {
	uint64_t from;
	uint32_t len;
	uint32_t name : 31, global : 1; /* not its file's alone */
};

struct names {
	struct symbol *symbols; /* Owned: the mapping of `table`, which they are made in */
	size_t count;
	struct sw_bytes table, texts; /* Owned */
	struct sw_lines lines;
	char path[PATH_BYTES]; /* of the file; of the program itself where it is not named */
};

/* ---- paths ---- */

struct path {
	char at[PATH_BYTES];
	size_t len;
};

static void add(struct path *path, struct sw_bytes text)
{
	size_t n = SW_MIN(text.len, sizeof(path->at) - 1 - path->len);

	memcpy(path->at + path->len, text.at, n);
	path->len += n;
	path->at[path->len] = 0;
}

static void read_path(const struct sw_library *library, char to[PATH_BYTES])
{
	long len;

	memcpy(to, library->path, sizeof(library->path));
	if (to[0] || library->nameless)
		return;
	len = sw_sys(readlinkat, AT_FDCWD, "/proc/self/exe", to, PATH_BYTES - 1);
	to[SW_MAX(len, 0)] = 0;
}

static struct sw_bytes folder_of(const char *path)
{
	const char *slash = strrchr(path, '/');

	return sw_bytes(path, slash ? (size_t)(slash - path) : 0);
}

/* ---- which file ---- */

static bool has_id(const struct sw_elf *elf, const struct sw_library *library)
{
	uint8_t id[SW_LIBRARY_ID_MAX];
	unsigned len = sw_elf_id(elf, id, sizeof(id));

	return len && len == library->id_len && !memcmp(id, library->id, len);
}

static bool is_laid_out_so(const struct sw_elf *elf, const struct sw_library *library)
{
	uint64_t low = UINT64_MAX, high = 0, header = 0;
	Elf64_Phdr phdr;

	for (unsigned i = 0; i < elf->head.e_phnum; i++) {
		if (!sw_elf_read(elf, elf->head.e_phoff + i * sizeof(phdr), &phdr, sizeof(phdr)))
			return false;
		if (phdr.p_type == PT_GNU_EH_FRAME)
			header = phdr.p_vaddr;
		if (phdr.p_type != PT_LOAD)
			continue;
		low = SW_MIN(low, phdr.p_vaddr);
		high = SW_MAX(high, phdr.p_vaddr + phdr.p_memsz);
	}
	return library->base + low == library->low && library->base + high == library->high &&
	       (library->header.from ? library->base + header == library->header.from : !header);
}

static bool open_own(const struct sw_library *library, struct sw_elf *elf)
{
	/* The vDSO has no file. Its sections are in the last page, behind what the kernel says is
	 * loaded. */
	if (library->path[0] && !strchr(library->path, '/'))
		return sw_elf_open_memory(elf, library->low,
					  (library->high - library->low + SW_PAGE - 1) / SW_PAGE *
						  SW_PAGE);
	if (!sw_elf_open(elf, library->path[0] ? library->path : "/proc/self/exe"))
		return false;
	if (library->id_len ? has_id(elf, library) : is_laid_out_so(elf, library))
		return true;
	sw_elf_close(elf);
	return false;
}

static bool open_if_of(const struct sw_library *library, const struct path *path,
		       struct sw_elf *elf)
{
	if (!sw_elf_open(elf, path->at))
		return false;
	if (has_id(elf, library))
		return true;
	sw_elf_close(elf);
	return false;
}

static void add_hex(struct path *path, const uint8_t *bytes, unsigned len)
{
	static const char digits[] = "0123456789abcdef";

	for (unsigned i = 0; i < len; i++) {
		char pair[2] = {digits[bytes[i] >> 4], digits[bytes[i] & 15]};

		add(path, sw_bytes(pair, 2));
	}
}

/* By the name that the library gives (.gnu_debuglink), where debuggers look for it. */
static bool open_linked(const struct sw_library *library, const char *own, struct sw_bytes name,
			struct sw_elf *elf)
{
	static const char *const roots[] = {"", "", "/usr/lib/debug"};
	static const char *const folders[] = {"/", "/.debug/", "/"};
	struct sw_bytes folder = folder_of(own);

	for (unsigned i = 0; i < SW_COUNT_OF(roots); i++) {
		struct path path = {.len = 0};

		add(&path, sw_bytes_text(roots[i]));
		add(&path, folder);
		add(&path, sw_bytes_text(folders[i]));
		add(&path, name);
		if (strcmp(path.at, own) != 0 && open_if_of(library, &path, elf))
			return true;
	}
	return false;
}

static bool open_debug(const struct sw_library *library, const struct sw_elf *own_elf,
		       const char *own, struct sw_elf *elf)
{
	const Elf64_Shdr *link = sw_elf_section(own_elf, SW_BYTES(".gnu_debuglink"));
	struct path path = {.len = 0};
	char name[256];

	if (library->id_len < 2)
		return false;
	add(&path, SW_BYTES("/usr/lib/debug/.build-id/"));
	add_hex(&path, library->id, 1);
	add(&path, SW_BYTES("/"));
	add_hex(&path, library->id + 1, library->id_len - 1u);
	add(&path, SW_BYTES(".debug"));
	if (open_if_of(library, &path, elf))
		return true;
	if (!link || link->sh_size > sizeof(name) ||
	    !sw_elf_read(own_elf, link->sh_offset, name, link->sh_size))
		return false;
	return open_linked(library, own, sw_bytes(name, strnlen(name, link->sh_size)), elf);
}

/* ---- reading them ---- */

static bool is_function(const Elf64_Sym *symbol)
{
	unsigned type = ELF64_ST_TYPE(symbol->st_info);

	return symbol->st_shndx != SHN_UNDEF && symbol->st_value && symbol->st_name &&
	       symbol->st_name < 1u << 30 && symbol->st_size <= UINT32_MAX &&
	       (type == STT_FUNC || type == STT_GNU_IFUNC ||
		(type == STT_NOTYPE && symbol->st_size));
}

/* In place: ours are smaller. */
static void keep_functions(struct names *names)
{
	size_t count = names->table.len / sizeof(Elf64_Sym);

	for (size_t i = 0; i < count; i++) {
		unsigned bind;
		Elf64_Sym symbol;

		memcpy(&symbol, names->table.at + i * sizeof(symbol), sizeof(symbol));
		bind = ELF64_ST_BIND(symbol.st_info);
		if (!is_function(&symbol))
			continue;
		names->symbols[names->count++] =
			(struct symbol){symbol.st_value, (uint32_t)symbol.st_size, symbol.st_name,
					bind == STB_GLOBAL || bind == STB_WEAK};
	}
	sw_sort(names->symbols, sizeof(*names->symbols), names->count);
}

/* From `table` and `texts`. False: none; both are given back. */
static bool take_symbols(struct names *names)
{
	names->symbols = (struct symbol *)(uintptr_t)names->table.at;
	names->count = 0;
	keep_functions(names);
	if (names->count)
		return true;
	sw_elf_free(names->table);
	sw_elf_free(names->texts);
	names->table.len = names->texts.len = 0;
	return false;
}

static bool read_symbols(struct names *names, const struct sw_elf *elf, uint32_t type)
{
	const Elf64_Shdr *section = sw_elf_section_of_type(elf, type), *texts;

	if (!section || section->sh_entsize != sizeof(Elf64_Sym) || section->sh_link >= elf->count)
		return false;
	texts = &elf->sections[section->sh_link];
	if (texts->sh_type != SHT_STRTAB)
		return false;
	names->table = sw_elf_copy(elf, section, SYMBOLS_BYTES_MAX);
	names->texts = sw_elf_copy(elf, texts, TEXTS_BYTES_MAX);
	return take_symbols(names);
}

static bool read_lines(struct names *names, const struct sw_elf *elf)
{
	const Elf64_Shdr *section = sw_elf_section(elf, SW_BYTES(".debug_line"));
	const Elf64_Shdr *texts = sw_elf_section(elf, SW_BYTES(".debug_line_str"));

	if (!section)
		return false;
	sw_lines_make(&names->lines, sw_elf_copy(elf, section, LINES_BYTES_MAX),
		      sw_elf_copy(elf, texts, LINE_TEXTS_BYTES_MAX));
	return true;
}

static void read_names(struct names *names, const struct sw_library *library)
{
	struct sw_elf own, debug;
	bool debugged;

	if (library->nameless || !open_own(library, &own)) {
		if (sw_mapped_symbols(library, &names->table, &names->texts))
			take_symbols(names);
		return;
	}
	debugged = open_debug(library, &own, names->path, &debug);
	(void)((debugged && read_symbols(names, &debug, SHT_SYMTAB)) ||
	       read_symbols(names, &own, SHT_SYMTAB) || read_symbols(names, &own, SHT_DYNSYM));
	(void)((debugged && read_lines(names, &debug)) || read_lines(names, &own));
	if (debugged)
		sw_elf_close(&debug);
	sw_elf_close(&own);
}

static const struct names *names_of(struct sw_library *library)
{
	if (library->names)
		return library->names;
	library->names = sw_sys_map(sizeof(struct names));
	if (library->names) {
		read_path(library, ((struct names *)library->names)->path);
		read_names(library->names, library);
	}
	return library->names;
}

void sw_symbols_free(struct sw_library *library)
{
	struct names *names = library->names;

	if (!names)
		return;
	sw_lines_free(&names->lines);
	sw_elf_free(names->table);
	sw_elf_free(names->texts);
	sw_sys(munmap, names, sizeof(*names));
	library->names = NULL;
}

void sw_native_forget_names(void)
{
	sw_libraries_each(sw_symbols_free);
}

/* ---- asking them ---- */

/* Without its version, as "name@@VERSION" has it. */
static struct sw_bytes text_of(const struct names *names, const struct symbol *symbol)
{
	struct sw_bytes rest = sw_bytes_from(names->texts, symbol->name);

	rest = sw_bytes_slice(rest, 0, sw_bytes_find(rest, 0));
	return sw_bytes_slice(rest, 0, sw_bytes_find(rest, '@'));
}

/* Hand-written functions may not say how long they are: up to the next. */
static bool covers(const struct names *names, size_t i, uint64_t address)
{
	const struct symbol *symbol = &names->symbols[i];

	if (symbol->len)
		return address - symbol->from < symbol->len;
	return i + 1 == names->count || names->symbols[i + 1].from > address;
}

static unsigned underscores(struct sw_bytes text)
{
	unsigned count = 0;

	while (count < text.len && text.at[count] == '_')
		count++;
	return count;
}

/* Of several names of one function the one that most would know it by. */
static bool is_better(const struct names *names, const struct symbol *a, const struct symbol *b)
{
	struct sw_bytes x = text_of(names, a), y = text_of(names, b);

	if (!a->global != !b->global)
		return a->global;
	if (underscores(x) != underscores(y))
		return underscores(x) < underscores(y);
	return x.len < y.len;
}

/* The innermost function that has this address. */
static const struct symbol *find_symbol(const struct names *names, uint64_t address)
{
	const struct symbol *best = NULL;
	size_t i = names->count ? sw_sort_find(names->symbols, sizeof(*names->symbols),
					       names->count, address)
				: 0;

	if (i >= names->count)
		return NULL;
	for (unsigned looked = 0; looked < NESTED_MAX; looked++, i--) {
		const struct symbol *symbol = &names->symbols[i];

		if (best && symbol->from != best->from)
			break;
		if (covers(names, i, address) && (!best || is_better(names, symbol, best)))
			best = symbol;
		if (i == 0)
			break;
	}
	return best;
}

bool sw_native_name(uint64_t pc, struct sw_native_name *ret_name)
{
	uint16_t place;
	struct sw_library *library = sw_libraries_find(pc, &place);
	const struct names *names = library ? names_of(library) : NULL;
	const struct symbol *symbol;
	uint64_t address;

	if (!names)
		return false;
	memset(ret_name, 0, sizeof(*ret_name));
	address = pc - library->base;
	symbol = find_symbol(names, address);
	ret_name->library = sw_bytes_text(names->path);
	ret_name->library = sw_bytes_from(
		ret_name->library, folder_of(names->path).len + (strchr(names->path, '/') != NULL));
	ret_name->offset = symbol ? address - symbol->from : pc - library->low;
	if (symbol)
		ret_name->symbol = text_of(names, symbol);
	if (!sw_lines_find(&names->lines, address, symbol ? symbol->from : address, &ret_name->file,
			   &ret_name->line))
		ret_name->file.len = ret_name->line = 0;
	return true;
}

bool sw_native_function(uint64_t address, uint64_t *ret_end)
{
	uint16_t place;
	struct sw_library *library = sw_libraries_find(address, &place);
	const struct names *names = library ? names_of(library) : NULL;
	const struct symbol *symbol = names ? find_symbol(names, address - library->base) : NULL;

	if (!symbol || !symbol->len || symbol->from + library->base != address)
		return false;
	*ret_end = address + symbol->len;
	return true;
}

static struct {
	struct sw_bytes beginning;
	const struct sw_library *found;
} wanted;

static void compare_name(struct sw_library *library)
{
	size_t folder = folder_of(library->path).len;
	struct sw_bytes name = sw_bytes_text(library->path + folder + (folder > 0));

	if (!wanted.found && sw_bytes_starts(name, wanted.beginning))
		wanted.found = library;
}

bool sw_native_library(struct sw_bytes beginning, uint64_t *ret_from, uint64_t *ret_to)
{
	wanted.beginning = beginning;
	wanted.found = NULL;
	sw_libraries_each(compare_name);
	if (!wanted.found)
		return false;
	*ret_from = wanted.found->low;
	*ret_to = wanted.found->high;
	return true;
}

void sw_native_forked(void)
{
	sw_libraries_forked();
	sw_native_give();
}
