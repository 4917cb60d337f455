/*
 * Line tables; see lines.h. DWARF 5, section 6.2.
 *
 * A unit has a program that gives, when it is run, rows of address, file and line, in sequences of
 * rising addresses. All programs are run once to learn which sequence covers what; to find a line
 * that of one unit is run again.
 */
#include "sampler/native/lines.h"

#include "preload/sys.h"
#include "sampler/native/dwarf.h"
#include "sampler/native/elf.h"
#include "sampler/native/sort.h"

#define SEQUENCES_MAX (1u << 20)
#define SEQUENCE_BYTES 14 /* of a program, at least: where it begins, and its end */
#define FORMATS_MAX 16

struct sw_line_sequence {
	uint64_t from, to;
	uint64_t unit; /* offset of its unit */
};

struct format {
	uint64_t content, form;
};

struct unit {
	struct sw_dwarf rest; /* behind the header's fixed part: directories, files */
	struct sw_dwarf program;
	uint64_t end; /* offset of the next unit */
	uint8_t offset_bytes, address_bytes;
	uint8_t instruction_bytes, line_range, opcode_base;
	int8_t line_base;
	uint16_t version;
	uint8_t operands[256];
};

/* ---- the header ---- */

static bool read_fixed_part(struct sw_dwarf *d, struct unit *u)
{
	uint64_t header;

	u->version = (uint16_t)sw_dwarf_uint(d, 2);
	if (u->version < 2 || u->version > 5)
		return false;
	u->address_bytes = 8;
	if (u->version == 5) {
		u->address_bytes = (uint8_t)sw_dwarf_uint(d, 1);
		sw_dwarf_uint(d, 1); /* segments: none here */
	}
	header = sw_dwarf_uint(d, u->offset_bytes);
	u->rest = sw_dwarf_part(d, header);
	u->program = *d;
	u->instruction_bytes = (uint8_t)sw_dwarf_uint(&u->rest, 1);
	if (u->version >= 4)
		sw_dwarf_uint(&u->rest, 1); /* operations in an instruction: 1 here */
	sw_dwarf_uint(&u->rest, 1);	    /* is a statement */
	u->line_base = (int8_t)sw_dwarf_uint(&u->rest, 1);
	u->line_range = (uint8_t)sw_dwarf_uint(&u->rest, 1);
	u->opcode_base = (uint8_t)sw_dwarf_uint(&u->rest, 1);
	for (unsigned i = 1; i < u->opcode_base; i++)
		u->operands[i] = (uint8_t)sw_dwarf_uint(&u->rest, 1);
	return !d->bad && !u->rest.bad && u->line_range && u->opcode_base && u->address_bytes <= 8;
}

/* False: not what we know; `end` says where the next one is, 0: nowhere. */
static bool read_unit(struct sw_bytes programs, uint64_t offset, struct unit *u)
{
	struct sw_dwarf d = sw_dwarf(sw_bytes_from(programs, offset), offset);
	uint64_t len = sw_dwarf_uint(&d, 4);

	memset(u, 0, sizeof(*u));
	u->offset_bytes = 4;
	if (len == 0xffffffff) {
		u->offset_bytes = 8;
		len = sw_dwarf_uint(&d, 8);
	}
	d = sw_dwarf_part(&d, len);
	if (d.bad)
		return false;
	u->end = d.address + len;
	return read_fixed_part(&d, u);
}

/* ---- the program ---- */

struct line_row {
	uint64_t address, file, line;
	bool end;
};

struct visit {
	/* False: enough. */
	bool (*row)(struct visit *visit, const struct line_row *row);
};

static bool run_extended(const struct unit *u, struct sw_dwarf *d, struct line_row *row,
			 struct visit *visit)
{
	static const struct line_row first = {.file = 1, .line = 1};
	struct sw_dwarf body = sw_dwarf_part(d, sw_dwarf_uleb(d));
	uint8_t code = (uint8_t)sw_dwarf_uint(&body, 1);

	if (code == 2) /* set_address */
		row->address = sw_dwarf_uint(&body, u->address_bytes);
	d->bad |= body.bad;
	if (code != 1) /* end_sequence */
		return true;
	row->end = true;
	if (!visit->row(visit, row))
		return false;
	*row = first;
	return true;
}

static void run_standard(const struct unit *u, struct sw_dwarf *d, uint8_t code,
			 struct line_row *row)
{
	switch (code) {
	case 2: /* advance_pc */
		row->address += sw_dwarf_uleb(d) * u->instruction_bytes;
		break;
	case 3: /* advance_line */
		row->line += (uint64_t)sw_dwarf_sleb(d);
		break;
	case 4: /* set_file */
		row->file = sw_dwarf_uleb(d);
		break;
	case 8: /* const_add_pc */
		row->address +=
			(uint64_t)((255 - u->opcode_base) / u->line_range) * u->instruction_bytes;
		break;
	case 9: /* fixed_advance_pc */
		row->address += sw_dwarf_uint(d, 2);
		break;
	default:
		for (unsigned i = 0; i < u->operands[code]; i++)
			sw_dwarf_uleb(d);
	}
}

static void run_special(const struct unit *u, uint8_t code, struct line_row *row)
{
	unsigned by = (unsigned)code - u->opcode_base;

	row->address += (uint64_t)(by / u->line_range) * u->instruction_bytes;
	row->line += (uint64_t)(int64_t)(u->line_base + (int)(by % u->line_range));
}

static void run_program(const struct unit *u, struct visit *visit)
{
	struct line_row row = {.file = 1, .line = 1};
	struct sw_dwarf d = u->program;

	while (sw_dwarf_left(&d) && !d.bad) {
		uint8_t code = (uint8_t)sw_dwarf_uint(&d, 1);

		if (code == 0) {
			if (!run_extended(u, &d, &row, visit))
				return;
			continue;
		}
		if (code < u->opcode_base && code != 1) {
			run_standard(u, &d, code, &row);
			continue;
		}
		if (code >= u->opcode_base)
			run_special(u, code, &row);
		if (!visit->row(visit, &row))
			return;
	}
}

/* ---- the index ---- */

struct indexing {
	struct visit visit;
	struct sw_lines *lines;
	uint64_t unit, from;
	bool begun;
};

static bool index_row(struct visit *visit, const struct line_row *row)
{
	struct indexing *x = (struct indexing *)visit;

	if (!x->begun)
		x->from = row->address;
	x->begun = !row->end;
	/* What the linker has thrown away begins at 0. */
	if (row->end && x->from && row->address > x->from)
		x->lines->sequences[x->lines->count++] =
			(struct sw_line_sequence){x->from, row->address, x->unit};
	return x->lines->count < x->lines->count_max;
}

static void index_all(struct sw_lines *lines)
{
	struct indexing x = {.visit = {index_row}, .lines = lines};
	struct unit unit;

	while (x.unit < lines->programs.len && lines->count < lines->count_max) {
		bool known = read_unit(lines->programs, x.unit, &unit);

		x.begun = false;
		if (known)
			run_program(&unit, &x.visit);
		if (!unit.end)
			break;
		x.unit = unit.end;
	}
	sw_sort(lines->sequences, sizeof(*lines->sequences), lines->count);
}

static size_t pages(size_t count)
{
	return (count * sizeof(struct sw_line_sequence) + SW_PAGE - 1) / SW_PAGE * SW_PAGE;
}

void sw_lines_make(struct sw_lines *lines, struct sw_bytes programs, struct sw_bytes texts)
{
	size_t used;

	memset(lines, 0, sizeof(*lines));
	lines->programs = programs;
	lines->texts = texts;
	lines->count_max = SW_MIN(programs.len / SEQUENCE_BYTES + 1, SEQUENCES_MAX);
	lines->map_bytes = pages(lines->count_max);
	lines->sequences = programs.len ? sw_sys_map(lines->map_bytes) : NULL;
	if (!lines->sequences)
		return;
	index_all(lines);
	used = pages(lines->count + 1);
	if (used < lines->map_bytes) {
		sw_sys(munmap, (uint8_t *)lines->sequences + used, lines->map_bytes - used);
		lines->map_bytes = used;
	}
}

void sw_lines_free(struct sw_lines *lines)
{
	if (lines->sequences)
		sw_sys(munmap, lines->sequences, lines->map_bytes);
	sw_elf_free(lines->programs);
	sw_elf_free(lines->texts);
	memset(lines, 0, sizeof(*lines));
}

/* ---- names of files ---- */

/* A value of that form, of which only texts are kept. */
static struct sw_bytes take_form(const struct sw_lines *lines, const struct unit *u,
				 struct sw_dwarf *d, uint64_t form)
{
	struct sw_bytes none = {NULL, 0};
	uint64_t at;

	switch (form) {
	case 0x08: /* string */
		return sw_dwarf_text(d);
	case 0x1f: /* line_strp */
		at = sw_dwarf_uint(d, u->offset_bytes);
		if (at < lines->texts.len) {
			struct sw_dwarf text = sw_dwarf(sw_bytes_from(lines->texts, at), 0);

			return sw_dwarf_text(&text);
		}
		break;
	case 0x0e: /* strp: of .debug_str, which is big and which nobody uses here */
	case 0x17: /* sec_offset */
		sw_dwarf_uint(d, u->offset_bytes);
		break;
	case 0x0b: /* data1, 2, 4, 8, 16 */
	case 0x05:
	case 0x06:
	case 0x07:
		sw_dwarf_uint(d, form == 0x0b ? 1 : form == 0x05 ? 2 : form == 0x06 ? 4 : 8);
		break;
	case 0x1e:
		sw_dwarf_take(d, 16);
		break;
	case 0x0f: /* udata */
		sw_dwarf_uleb(d);
		break;
	case 0x09: /* block */
		sw_dwarf_take(d, sw_dwarf_uleb(d));
		break;
	default:
		d->bad = true;
	}
	return none;
}

/* The path of entry `wanted` of a table of version 5, or of the last one. */
static struct sw_bytes entry_of(const struct sw_lines *lines, const struct unit *u,
				struct sw_dwarf *d, uint64_t wanted)
{
	struct format formats[FORMATS_MAX];
	uint64_t count = sw_dwarf_uint(d, 1), entries;
	struct sw_bytes path = {NULL, 0};

	d->bad |= count > FORMATS_MAX || !count;
	for (uint64_t i = 0; i < count && !d->bad; i++) {
		formats[i].content = sw_dwarf_uleb(d);
		formats[i].form = sw_dwarf_uleb(d);
	}
	entries = sw_dwarf_uleb(d);
	for (uint64_t i = 0; i < entries && i <= wanted && !d->bad && sw_dwarf_left(d); i++) {
		path.len = 0;
		for (uint64_t k = 0; k < count && !d->bad; k++) {
			struct sw_bytes text = take_form(lines, u, d, formats[k].form);

			if (formats[k].content == 1) /* path */
				path = text;
		}
		if (i < wanted)
			path.len = 0;
	}
	return path;
}

static struct sw_bytes file_of_old(const struct unit *u, uint64_t wanted)
{
	struct sw_dwarf d = u->rest;
	struct sw_bytes name;

	while (sw_dwarf_text(&d).len) /* directories */
		;
	for (uint64_t i = 1; !d.bad; i++) {
		name = sw_dwarf_text(&d);
		if (!name.len || i == wanted)
			return name;
		for (unsigned k = 0; k < 3; k++) /* directory, time, length */
			sw_dwarf_uleb(&d);
	}
	return sw_bytes(NULL, 0);
}

static struct sw_bytes file_of(const struct sw_lines *lines, const struct unit *u, uint64_t wanted)
{
	struct sw_dwarf d = u->rest;

	if (u->version < 5)
		return file_of_old(u, wanted);
	entry_of(lines, u, &d, UINT64_MAX); /* directories */
	return entry_of(lines, u, &d, wanted);
}

/* ---- one line ---- */

struct finding {
	struct visit visit;
	uint64_t address, start, from, to; /* the last two: of the sequence */
	bool begun, found, seen, started;
	uint64_t file, line;
};

/* `row` holds from its address to that of the next. Up to the function's beginning each says more
 * than those before; the first there says which file is its own. */
static void consider(struct finding *f, const struct line_row *row)
{
	bool before = row->address <= f->start && !f->started;

	if (before || !f->seen)
		f->file = row->file;
	if (before || (row->file == f->file && row->line))
		f->line = row->line;
	f->started |= row->address >= f->start;
	f->seen = true;
}

static bool find_row(struct visit *visit, const struct line_row *row)
{
	struct finding *f = (struct finding *)visit;

	if (!f->begun)
		f->found = row->address == f->from;
	f->begun = !row->end;
	if (!f->found)
		return true;
	if (row->end || row->address > f->address)
		return false;
	consider(f, row);
	return true;
}

bool sw_lines_find(const struct sw_lines *lines, uint64_t address, uint64_t start,
		   struct sw_bytes *ret_file, uint32_t *ret_line)
{
	struct finding f = {.visit = {find_row}, .address = address, .start = start};
	size_t i = lines->count ? sw_sort_find(lines->sequences, sizeof(*lines->sequences),
					       lines->count, address)
				: 0;
	struct unit unit;

	if (i >= lines->count || address >= lines->sequences[i].to ||
	    !read_unit(lines->programs, lines->sequences[i].unit, &unit))
		return false;
	f.from = lines->sequences[i].from;
	run_program(&unit, &f.visit);
	if (!f.line || f.line > UINT32_MAX)
		return false;
	*ret_file = file_of(lines, &unit, f.file);
	*ret_line = (uint32_t)f.line;
	return ret_file->len != 0;
}
