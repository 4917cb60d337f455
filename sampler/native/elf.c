/* Reading ELF files; see elf.h. */
#include "sampler/native/elf.h"

#include <sys/stat.h>

#include "preload/sys.h"
#include "sampler/native/inflate.h"

#define SECTIONS_MAX 4096
#define TEXTS_MAX (256u << 10)
#define NOTES_MAX 1024
#define PIECE_BYTES (1u << 30) /* of one read */

static bool read_file(int fd, uint64_t offset, uint8_t *to, size_t len)
{
	while (len) {
		long n = sw_sys(pread64, fd, to, SW_MIN(len, PIECE_BYTES), offset);

		if (n == -EINTR)
			continue;
		if (n <= 0)
			return false;
		to += n;
		offset += (uint64_t)n;
		len -= (size_t)n;
	}
	return true;
}

bool sw_elf_read(const struct sw_elf *elf, uint64_t offset, void *to, size_t len)
{
	if (offset > elf->size || len > elf->size - offset)
		return false;
	if (elf->fd < 0)
		return sw_sys_peek(to, (void *)(elf->at + offset), len);
	return read_file(elf->fd, offset, to, len);
}

static bool is_ours(const Elf64_Ehdr *head)
{
#if defined(__aarch64__)
	const uint16_t machine = EM_AARCH64;
#else
	const uint16_t machine = EM_X86_64;
#endif
	return !memcmp(head->e_ident, ELFMAG, SELFMAG) && head->e_ident[EI_CLASS] == ELFCLASS64 &&
	       head->e_ident[EI_DATA] == ELFDATA2LSB && head->e_machine == machine &&
	       head->e_shentsize == sizeof(Elf64_Shdr) && head->e_shnum <= SECTIONS_MAX &&
	       head->e_shstrndx < head->e_shnum;
}

/* The table of sections, and their names behind it. */
static bool read_sections(struct sw_elf *elf)
{
	size_t len = elf->head.e_shnum * sizeof(Elf64_Shdr), texts;
	Elf64_Shdr names;
	uint8_t *map;

	if (!sw_elf_read(elf, elf->head.e_shoff + elf->head.e_shstrndx * sizeof(names), &names,
			 sizeof(names)))
		return false;
	texts = SW_MIN(names.sh_size, TEXTS_MAX);
	map = sw_sys_map(len + texts);
	if (!map)
		return false;
	elf->map_bytes = len + texts;
	elf->sections = (Elf64_Shdr *)(void *)map;
	elf->texts = sw_bytes(map + len, texts);
	elf->count = elf->head.e_shnum;
	return sw_elf_read(elf, elf->head.e_shoff, map, len) &&
	       sw_elf_read(elf, names.sh_offset, map + len, texts);
}

static bool read_head(struct sw_elf *elf)
{
	if (sw_elf_read(elf, 0, &elf->head, sizeof(elf->head)) && is_ours(&elf->head) &&
	    read_sections(elf))
		return true;
	sw_elf_close(elf);
	return false;
}

bool sw_elf_open(struct sw_elf *elf, const char *path)
{
	struct stat about;
	int fd = (int)sw_sys(openat, AT_FDCWD, path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);

	memset(elf, 0, sizeof(*elf));
	elf->fd = fd;
	if (fd < 0)
		return false;
	if (sw_sys(newfstatat, fd, "", &about, AT_EMPTY_PATH) || !S_ISREG(about.st_mode)) {
		sw_elf_close(elf);
		return false;
	}
	elf->size = (uint64_t)about.st_size;
	return read_head(elf);
}

bool sw_elf_open_memory(struct sw_elf *elf, uint64_t at, uint64_t size)
{
	memset(elf, 0, sizeof(*elf));
	elf->fd = -1;
	elf->at = at;
	elf->size = size;
	return read_head(elf);
}

void sw_elf_close(struct sw_elf *elf)
{
	if (elf->map_bytes)
		sw_sys(munmap, elf->sections, elf->map_bytes);
	if (elf->fd >= 0)
		sw_sys(close, elf->fd);
	memset(elf, 0, sizeof(*elf));
	elf->fd = -1;
}

static struct sw_bytes name_of(const struct sw_elf *elf, const Elf64_Shdr *section)
{
	struct sw_bytes rest = sw_bytes_from(elf->texts, section->sh_name);

	return sw_bytes_slice(rest, 0, sw_bytes_find(rest, 0));
}

const Elf64_Shdr *sw_elf_section(const struct sw_elf *elf, struct sw_bytes name)
{
	for (unsigned i = 1; i < elf->count; i++) {
		if (elf->sections[i].sh_type != SHT_NOBITS &&
		    sw_bytes_equal(name_of(elf, &elf->sections[i]), name))
			return &elf->sections[i];
	}
	return NULL;
}

const Elf64_Shdr *sw_elf_section_of_type(const struct sw_elf *elf, uint32_t type)
{
	for (unsigned i = 1; i < elf->count; i++) {
		if (elf->sections[i].sh_type == type)
			return &elf->sections[i];
	}
	return NULL;
}

/* ---- copies ---- */

static struct sw_bytes copy_plain(const struct sw_elf *elf, uint64_t offset, uint64_t len,
				  size_t max)
{
	uint8_t *map = len && len <= max ? sw_sys_map(len) : NULL;

	if (map && !sw_elf_read(elf, offset, map, len)) {
		sw_sys(munmap, map, len);
		map = NULL;
	}
	return sw_bytes(map, map ? len : 0);
}

static struct sw_bytes copy_compressed(const struct sw_elf *elf, const Elf64_Shdr *section,
				       size_t max)
{
	struct sw_bytes packed = copy_plain(elf, section->sh_offset, section->sh_size, max);
	struct sw_bytes none = {NULL, 0};
	Elf64_Chdr how;
	uint8_t *map = NULL;

	if (packed.len < sizeof(how))
		goto out;
	memcpy(&how, packed.at, sizeof(how));
	if (how.ch_type == ELFCOMPRESS_ZLIB && how.ch_size && how.ch_size <= max)
		map = sw_sys_map(how.ch_size);
	if (map && !sw_inflate(sw_bytes_from(packed, sizeof(how)), map, how.ch_size)) {
		sw_sys(munmap, map, how.ch_size);
		map = NULL;
	}
out:
	sw_elf_free(packed);
	return map ? sw_bytes(map, how.ch_size) : none;
}

struct sw_bytes sw_elf_copy(const struct sw_elf *elf, const Elf64_Shdr *section, size_t max)
{
	if (section && section->sh_flags & SHF_COMPRESSED)
		return copy_compressed(elf, section, max);
	return section ? copy_plain(elf, section->sh_offset, section->sh_size, max)
		       : sw_bytes(NULL, 0);
}

void sw_elf_free(struct sw_bytes copy)
{
	if (copy.len)
		sw_sys(munmap, copy.at, copy.len);
}

/* ---- the build id ---- */

unsigned sw_elf_note_id(struct sw_bytes notes, uint8_t *to, unsigned room)
{
	Elf64_Nhdr note;

	for (size_t at = 0; at + sizeof(note) <= notes.len;) {
		size_t name = at + sizeof(note), body;

		memcpy(&note, notes.at + at, sizeof(note));
		body = name + ((size_t)note.n_namesz + 3) / 4 * 4;
		at = body + ((size_t)note.n_descsz + 3) / 4 * 4;
		if (at > notes.len)
			return 0;
		if (note.n_type == NT_GNU_BUILD_ID && note.n_namesz == 4 &&
		    !memcmp(notes.at + name, "GNU", 4)) {
			room = SW_MIN(room, note.n_descsz);
			memcpy(to, notes.at + body, room);
			return room;
		}
	}
	return 0;
}

unsigned sw_elf_id(const struct sw_elf *elf, uint8_t *to, unsigned room)
{
	const Elf64_Shdr *section = sw_elf_section(elf, SW_BYTES(".note.gnu.build-id"));
	uint8_t notes[NOTES_MAX];
	size_t len = section ? SW_MIN(section->sh_size, sizeof(notes)) : 0;

	if (!len || !sw_elf_read(elf, section->sh_offset, notes, len))
		return 0;
	return sw_elf_note_id(sw_bytes(notes, len), to, room);
}
