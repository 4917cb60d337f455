/*
 * The list of libraries; see libraries.h.
 *
 * The loader counts what it has added and removed. Where neither count has moved, one look at its
 * first library is all; else all are listed again, and a library is the same as before if it lies
 * where it lay and has the build id that it had (one without is new once anything was removed).
 * Only the listing is done under the loader's lock; tables are copied outside, by the kernel, and
 * the copy is believed if nothing was removed meanwhile.
 */
#include "sampler/native/libraries.h"

#include <link.h>

#include "preload/sys.h"
#include "sampler/native/elf.h"

#define PHDRS_MAX 64
#define HEADER_BYTES_MAX (32u << 20)
#define FRAMES_BYTES_MAX (96u << 20)
#define ALL_BYTES_MAX (256u << 20) /* of copies of tables */
#define PIECE_BYTES (256u << 10)
#define NOTES_BYTES_MAX 1024

static struct sw_library *libraries; /* Owned, for ever; by place, the first is unused */
static struct sw_library *seen;	     /* likewise; of the listing that is under way */
static unsigned seen_count;
static uint16_t sorted[SW_LIBRARIES_MAX]; /* places in use, by address */
static unsigned sorted_count;
static unsigned places = 1; /* all in use are below */
static uint16_t next_generation;
static size_t all_bytes;

static unsigned long long adds, subs; /* the loader's, at the last listing */
static bool listed;

uint16_t sw_libraries_generation[SW_LIBRARIES_MAX];
unsigned sw_libraries_epoch;
uint64_t sw_libraries_newest_ns;
unsigned sw_libraries_changes;
void (*sw_libraries_delicate)(bool delicate);

/* ---- under the loader's lock ---- */

struct counts {
	unsigned long long adds, subs;
};

/* Every use of the loader's lock. */
static void list(int (*note)(struct dl_phdr_info *, size_t, void *), struct counts *counts)
{
	if (sw_libraries_delicate)
		sw_libraries_delicate(true);
	dl_iterate_phdr(note, counts);
	if (sw_libraries_delicate)
		sw_libraries_delicate(false);
}

static int read_counts(struct dl_phdr_info *info, size_t size, void *arg)
{
	struct counts *counts = arg;

	(void)size;
	counts->adds = info->dlpi_adds;
	counts->subs = info->dlpi_subs;
	return 1;
}

static void note_load(struct sw_library *m, struct sw_range range, unsigned *count)
{
	m->low = SW_MIN(m->low, range.from);
	m->high = SW_MAX(m->high, range.to);
	if (*count < SW_LIBRARY_LOADS_MAX)
		m->loads[(*count)++] = range;
}

static void note_phdr(struct sw_library *m, const ElfW(Phdr) * phdr, unsigned *loads)
{
	struct sw_range range = {m->base + phdr->p_vaddr, m->base + phdr->p_vaddr + phdr->p_memsz};

	if (range.to < range.from)
		return;
	if (phdr->p_type == PT_LOAD)
		note_load(m, range, loads);
	else if (phdr->p_type == PT_GNU_EH_FRAME)
		m->header = range;
	else if (phdr->p_type == PT_DYNAMIC)
		m->dynamic = range;
	/* The id has 4 bytes of alignment; there may be notes with 8. */
	else if (phdr->p_type == PT_NOTE && (phdr->p_align <= 4 || m->notes.to == 0))
		m->notes = range;
}

static int note_library(struct dl_phdr_info *info, size_t size, void *arg)
{
	struct sw_library *m = &seen[seen_count];
	ElfW(Phdr) phdrs[PHDRS_MAX];
	unsigned loads = 0, count = SW_MIN(info->dlpi_phnum, PHDRS_MAX);
	size_t path_len = strlen(info->dlpi_name);

	read_counts(info, size, arg);
	if (seen_count == SW_LIBRARIES_MAX - 1)
		return 1;
	memset(m, 0, sizeof(*m));
	m->base = info->dlpi_addr;
	m->low = UINT64_MAX;
	if (!sw_sys_peek(phdrs, info->dlpi_phdr, count * sizeof(*phdrs)))
		return 0;
	for (unsigned i = 0; i < count; i++)
		note_phdr(m, &phdrs[i], &loads);
	m->nameless = path_len >= sizeof(m->path);
	if (!m->nameless)
		memcpy(m->path, info->dlpi_name, path_len);
	seen_count += loads > 0;
	return 0;
}

/* ---- the list ---- */

static void read_id(struct sw_library *m)
{
	uint8_t room[NOTES_BYTES_MAX];
	size_t len = SW_MIN(m->notes.to - m->notes.from, sizeof(room));

	if (sw_sys_peek(room, (void *)m->notes.from, len))
		m->id_len = (uint8_t)sw_elf_note_id(sw_bytes(room, len), m->id, sizeof(m->id));
}

static bool is_same(const struct sw_library *a, const struct sw_library *b, bool removed)
{
	return a->generation && a->base == b->base && a->low == b->low && a->high == b->high &&
	       a->header.from == b->header.from && a->id_len == b->id_len &&
	       (a->id_len || !removed) && !memcmp(a->id, b->id, a->id_len);
}

static void drop_tables(struct sw_library *m)
{
	if (m->map_bytes)
		sw_sys(munmap, m->cfi.header.at, m->map_bytes);
	all_bytes -= m->map_bytes;
	m->map_bytes = 0;
	memset(&m->cfi, 0, sizeof(m->cfi));
	m->read = false;
}

static void drop(unsigned place)
{
	struct sw_library *m = &libraries[place];

	drop_tables(m);
	sw_symbols_free(m);
	m->generation = sw_libraries_generation[place] = 0;
}

static uint16_t new_generation(void)
{
	if (++next_generation == 0) {
		next_generation = 1;
		sw_libraries_epoch++;
	}
	return next_generation;
}

static void add(const struct sw_library *m, unsigned place)
{
	libraries[place] = *m;
	places = SW_MAX(places, place + 1);
	libraries[place].generation = sw_libraries_generation[place] = new_generation();
	sw_libraries_newest_ns = SW_MAX(sw_libraries_newest_ns, m->since_ns);
}

/* In the loader's order the same library mostly stands where it stood. */
static unsigned find_same(const struct sw_library *m, unsigned from, bool removed)
{
	for (unsigned i = 0; i + 1 < places; i++) {
		unsigned place = 1 + (from + i) % (places - 1);

		if (is_same(&libraries[place], m, removed))
			return place;
	}
	return 0;
}

static unsigned free_place(unsigned from)
{
	while (from < SW_LIBRARIES_MAX && libraries[from].generation)
		from++;
	return from;
}

static void sort(void)
{
	sorted_count = 0;
	for (uint16_t place = 1; place < places; place++) {
		unsigned i = sorted_count;

		if (!libraries[place].generation)
			continue;
		for (; i && libraries[sorted[i - 1]].low > libraries[place].low; i--)
			sorted[i] = sorted[i - 1];
		sorted[i] = place;
		sorted_count++;
	}
}

static void take_over(bool removed)
{
	static bool still[SW_LIBRARIES_MAX];
	static uint16_t same[SW_LIBRARIES_MAX];
	uint64_t now_ns = removed ? sw_clock_ns(CLOCK_MONOTONIC) : 0;
	unsigned at = 1;

	memset(still, 0, sizeof(still));
	for (unsigned i = 0; i < seen_count; i++) {
		read_id(&seen[i]);
		same[i] = (uint16_t)find_same(&seen[i], i, removed);
		still[same[i]] = true;
	}
	for (unsigned place = 1; place < places; place++) {
		if (libraries[place].generation && !still[place])
			drop(place);
	}
	for (unsigned i = 0; i < seen_count; i++) {
		seen[i].since_ns = now_ns;
		at = free_place(at);
		if (!same[i] && at < SW_LIBRARIES_MAX)
			add(&seen[i], at);
	}
	sw_libraries_generation[0] = new_generation();
	sw_libraries_changes++;
	sort();
}

bool sw_libraries_refresh(void)
{
	struct counts counts = {0, 0};
	bool removed;

	if (!libraries)
		libraries = sw_sys_map(SW_LIBRARIES_MAX * sizeof(*libraries));
	if (!seen)
		seen = sw_sys_map(SW_LIBRARIES_MAX * sizeof(*seen));
	if (!libraries || !seen)
		return false;
	list(read_counts, &counts);
	if (listed && counts.adds == adds && counts.subs == subs)
		return true;
	seen_count = 0;
	list(note_library, &counts);
	removed = listed && counts.subs != subs;
	adds = counts.adds;
	subs = counts.subs;
	take_over(removed);
	listed = true;
	return true;
}

struct sw_library *sw_libraries_find(uint64_t pc, uint16_t *ret_place)
{
	unsigned low = 0, high = sorted_count;

	*ret_place = 0;
	while (low < high) {
		unsigned middle = (low + high) / 2;
		struct sw_library *m = &libraries[sorted[middle]];

		if (pc >= m->low && pc < m->high) {
			*ret_place = sorted[middle];
			return m;
		}
		if (pc < m->low)
			high = middle;
		else
			low = middle + 1;
	}
	return NULL;
}

/* ---- tables ---- */

/* As much as there is, at most `len`. */
static size_t copy(uint8_t *to, uint64_t from, size_t len)
{
	size_t done = 0;

	while (done < len) {
		size_t n = SW_MIN(len - done, PIECE_BYTES);

		if (!sw_sys_peek(to + done, (void *)(from + done), n))
			break;
		done += n;
	}
	return done;
}

/* What is mapped from `at` to the end of its segment. */
static size_t rest_of_segment(const struct sw_library *m, uint64_t at)
{
	for (unsigned i = 0; i < SW_LIBRARY_LOADS_MAX; i++) {
		if (at >= m->loads[i].from && at < m->loads[i].to)
			return m->loads[i].to - at;
	}
	return 0;
}

static bool read_tables(struct sw_library *m)
{
	size_t header = m->header.to - m->header.from, frames;
	uint8_t first[32], *map;
	uint64_t at;

	if (header < sizeof(first) / 2 || header > rest_of_segment(m, m->header.from) ||
	    header > HEADER_BYTES_MAX ||
	    !sw_sys_peek(first, (void *)m->header.from, SW_MIN(sizeof(first), header)))
		return false;
	at = sw_cfi_frames(sw_bytes(first, SW_MIN(sizeof(first), header)), m->header.from);
	frames = rest_of_segment(m, at);
	frames = SW_MIN(frames, FRAMES_BYTES_MAX);
	if (!frames || all_bytes + header + frames > ALL_BYTES_MAX)
		return false;
	map = sw_sys_map(header + frames);
	if (!map)
		return false;
	m->map_bytes = header + frames;
	all_bytes += m->map_bytes;
	m->cfi.header = sw_bytes(map, copy(map, m->header.from, header));
	m->cfi.header_at = m->header.from;
	m->cfi.frames = sw_bytes(map + header, copy(map + header, at, frames));
	m->cfi.frames_at = at;
	return true;
}

const struct sw_cfi *sw_libraries_cfi(struct sw_library *m, bool *ret_sure)
{
	struct counts counts = {0, 0};

	*ret_sure = true;
	if (!m->read) {
		m->read = true;
		read_tables(m);
		list(read_counts, &counts);
		*ret_sure = counts.subs == subs;
		if (!*ret_sure)
			drop_tables(m);
	}
	return m->map_bytes ? &m->cfi : NULL;
}

void sw_libraries_each(void (*each)(struct sw_library *library))
{
	for (unsigned i = 0; i < sorted_count; i++)
		each(&libraries[sorted[i]]);
}

/* What was mapped stays mapped, and unused. */
void sw_libraries_forked(void)
{
	libraries = seen = NULL;
	seen_count = sorted_count = 0;
	places = 1;
	all_bytes = 0;
	listed = false;
	sw_libraries_newest_ns = 0;
	memset(sw_libraries_generation, 0, sizeof(sw_libraries_generation));
	sw_libraries_epoch++;
}
