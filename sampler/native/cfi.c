/*
 * From .eh_frame to rules; see cfi.h.
 *
 * A library's functions are found by the sorted table of .eh_frame_hdr. Each has an entry (FDE),
 * which refers to what it shares with others (CIE); both have a program that says, instruction by
 * instruction, where the frame and the saved registers are. It is run up to the instruction that is
 * asked for.
 */
#include "sampler/native/cfi.h"

#include "sampler/native/dwarf.h"

#define TABLE_ENCODING 0x3b /* pairs of 4 bytes, relative to the header: what all linkers write */
#define STATES_MAX 8	    /* remembered at once */

uint64_t sw_cfi_frames(struct sw_bytes header, uint64_t header_at)
{
	struct sw_dwarf d = sw_dwarf(header, header_at);
	uint8_t version = (uint8_t)sw_dwarf_uint(&d, 1), encoding = (uint8_t)sw_dwarf_uint(&d, 1);
	uint64_t at;

	sw_dwarf_take(&d, 2);
	at = sw_dwarf_pointer(&d, encoding, header_at);
	return version != 1 || d.bad ? 0 : at;
}

/* ---- which entry ---- */

static uint64_t table_word(const struct sw_cfi *cfi, const uint8_t *table, uint64_t i)
{
	int32_t word;

	memcpy(&word, table + 4 * i, sizeof(word));
	return cfi->header_at + (uint64_t)(int64_t)word;
}

/* The address of the last entry that begins at `pc` or before; 0: none. */
static uint64_t find_entry(const struct sw_cfi *cfi, uint64_t pc)
{
	struct sw_dwarf d = sw_dwarf(cfi->header, cfi->header_at);
	uint64_t low = 0, high, count;
	uint8_t encoding[4];

	for (unsigned i = 0; i < 4; i++)
		encoding[i] = (uint8_t)sw_dwarf_uint(&d, 1);
	sw_dwarf_pointer(&d, encoding[1], cfi->header_at);
	count = sw_dwarf_pointer(&d, encoding[2], cfi->header_at);
	if (d.bad || encoding[0] != 1 || encoding[3] != TABLE_ENCODING || !count ||
	    encoding[2] == SW_DWARF_OMIT || count > sw_dwarf_left(&d) / 8 ||
	    table_word(cfi, d.at, 0) > pc)
		return 0;
	for (high = count; high - low > 1;) {
		uint64_t middle = low + (high - low) / 2;

		if (table_word(cfi, d.at, 2 * middle) <= pc)
			low = middle;
		else
			high = middle;
	}
	return table_word(cfi, d.at, 2 * low + 1);
}

/* The CIE or FDE at an address, from behind its length on. */
static struct sw_dwarf entry_at(const struct sw_cfi *cfi, uint64_t address)
{
	uint64_t offset = address - cfi->frames_at;
	struct sw_dwarf d = sw_dwarf(sw_bytes(cfi->frames.at, 0), address);
	uint64_t len;

	d.bad = offset >= cfi->frames.len;
	if (d.bad)
		return d;
	d = sw_dwarf(sw_bytes_from(cfi->frames, offset), address);
	len = sw_dwarf_uint(&d, 4);
	d.bad |= len == 0xffffffff; /* 64 bits of length: no compiler writes that here */
	return d.bad ? d : sw_dwarf_part(&d, len);
}

/* ---- what an entry says before its program ---- */

struct entry {
	uint64_t from, to; /* what it is of */
	uint64_t code_factor;
	int64_t data_factor;
	uint8_t encoding; /* of addresses in it */
	bool signal;
	struct sw_dwarf shared, own; /* the programs */
};

/* `letters` of an augmentation that begins with z. */
static void read_augmentation(struct sw_dwarf *d, struct sw_bytes letters, struct entry *e)
{
	uint64_t len = sw_dwarf_uleb(d);
	struct sw_dwarf said = sw_dwarf_part(d, len);

	for (size_t i = 1; i < letters.len; i++) {
		switch (letters.at[i]) {
		case 'R':
			e->encoding = (uint8_t)sw_dwarf_uint(&said, 1);
			break;
		case 'P': {
			uint8_t encoding = (uint8_t)sw_dwarf_uint(&said, 1);

			sw_dwarf_pointer(&said, encoding & ~SW_DWARF_INDIRECT & ~0x70, 0);
			break;
		}
		case 'L':
			sw_dwarf_uint(&said, 1);
			break;
		case 'S':
			e->signal = true;
			break;
		case 'B': /* AArch64: signed by the other key */
			break;
		default:
			d->bad = true;
		}
	}
	d->bad |= said.bad;
}

/* False: not what we know. */
static bool read_cie(struct sw_dwarf d, uint8_t ra, struct entry *e, bool *ret_augmented)
{
	struct sw_bytes letters;
	uint64_t id = sw_dwarf_uint(&d, 4), column;
	uint8_t version = (uint8_t)sw_dwarf_uint(&d, 1);

	letters = sw_dwarf_text(&d);
	e->code_factor = sw_dwarf_uleb(&d);
	e->data_factor = sw_dwarf_sleb(&d);
	column = version == 1 ? sw_dwarf_uint(&d, 1) : sw_dwarf_uleb(&d);
	*ret_augmented = letters.len && letters.at[0] == 'z';
	if (d.bad || id || (version != 1 && version != 3) || column != ra ||
	    (letters.len && !*ret_augmented))
		return false;
	if (*ret_augmented)
		read_augmentation(&d, letters, e);
	e->shared = d;
	return !d.bad;
}

static bool read_entry(const struct sw_cfi *cfi, uint8_t ra, uint64_t pc, struct entry *e)
{
	uint64_t address = find_entry(cfi, pc), id_at, id;
	struct sw_dwarf d = entry_at(cfi, address);
	bool augmented;

	memset(e, 0, sizeof(*e));
	id_at = d.address;
	id = sw_dwarf_uint(&d, 4);
	if (!address || d.bad || !id || !read_cie(entry_at(cfi, id_at - id), ra, e, &augmented))
		return false;
	e->from = sw_dwarf_pointer(&d, e->encoding, 0);
	e->to = e->from + sw_dwarf_pointer(&d, e->encoding & 15, 0);
	if (augmented)
		sw_dwarf_take(&d, sw_dwarf_uleb(&d));
	e->own = d;
	return !d.bad && pc >= e->from && pc < e->to;
}

bool sw_cfi_range(const struct sw_cfi *cfi, uint64_t pc, uint64_t *ret_from, uint64_t *ret_to)
{
	struct entry e;

	if (!read_entry(cfi, SW_ARCH.ra, pc, &e))
		return false;
	*ret_from = e.from;
	*ret_to = e.to;
	return true;
}

/* ---- the programs ---- */

struct run {
	const struct entry *entry;
	const struct sw_arch *arch;
	uint64_t location, pc;
	struct sw_cfi_rules *now, initial;
	struct sw_cfi_rules *remembered; /* STATES_MAX of them */
	unsigned depth;
	bool odd;
};

static void save(struct run *r, uint64_t number, enum sw_cfi_how how, int64_t at)
{
	if (number < SW_CFI_REGISTERS)
		r->now->of[number] = (struct sw_cfi_saved){.how = (uint8_t)how, .at = at};
}

static void restore(struct run *r, uint64_t number)
{
	if (number < SW_CFI_REGISTERS)
		r->now->of[number] = r->initial.of[number];
}

static int64_t scaled(const struct run *r, int64_t n)
{
	return (int64_t)((uint64_t)n * (uint64_t)r->entry->data_factor);
}

static void save_by_expression(struct run *r, uint64_t number, enum sw_cfi_how how,
			       struct sw_dwarf *d)
{
	uint64_t len = sw_dwarf_uleb(d);
	const uint8_t *at = sw_dwarf_take(d, len);

	if (number < SW_CFI_REGISTERS && at)
		r->now->of[number] = (struct sw_cfi_saved){
			.how = (uint8_t)how, .len = (uint32_t)len, .expression = at};
}

static void advance(struct run *r, uint64_t by)
{
	r->location += by * r->entry->code_factor;
}

static void define_cfa(struct run *r, uint64_t number, int64_t at)
{
	r->now->cfa_register = number;
	r->now->cfa_at = at;
	r->now->cfa_expression.len = 0;
}

/* Those of which a register comes first. */
static void run_of_register(struct run *r, struct sw_dwarf *d, uint8_t code)
{
	uint64_t number = sw_dwarf_uleb(d);

	switch (code) {
	case 0x05: /* offset_extended */
		save(r, number, SW_CFI_AT, scaled(r, (int64_t)sw_dwarf_uleb(d)));
		break;
	case 0x06: /* restore_extended */
		restore(r, number);
		break;
	case 0x07: /* undefined */
		save(r, number, SW_CFI_GONE, 0);
		break;
	case 0x08: /* same_value */
		save(r, number, SW_CFI_SAME, 0);
		break;
	case 0x09: /* register */
		save(r, number, SW_CFI_REGISTER, (int64_t)sw_dwarf_uleb(d));
		break;
	case 0x0c: /* def_cfa */
		define_cfa(r, number, (int64_t)sw_dwarf_uleb(d));
		break;
	case 0x0d: /* def_cfa_register */
		r->now->cfa_register = number;
		r->odd |= r->now->cfa_expression.len != 0;
		break;
	case 0x10: /* expression */
		save_by_expression(r, number, SW_CFI_AT_EXPRESSION, d);
		break;
	case 0x11: /* offset_extended_sf */
		save(r, number, SW_CFI_AT, scaled(r, sw_dwarf_sleb(d)));
		break;
	case 0x12: /* def_cfa_sf */
		define_cfa(r, number, scaled(r, sw_dwarf_sleb(d)));
		break;
	case 0x14: /* val_offset */
		save(r, number, SW_CFI_IS, scaled(r, (int64_t)sw_dwarf_uleb(d)));
		break;
	case 0x15: /* val_offset_sf */
		save(r, number, SW_CFI_IS, scaled(r, sw_dwarf_sleb(d)));
		break;
	case 0x16: /* val_expression */
		save_by_expression(r, number, SW_CFI_IS_EXPRESSION, d);
		break;
	default: /* 0x2f: GNU_negative_offset_extended */
		save(r, number, SW_CFI_AT,
		     (int64_t)(0 - (uint64_t)scaled(r, (int64_t)sw_dwarf_uleb(d))));
	}
}

static void run_other(struct run *r, struct sw_dwarf *d, uint8_t code)
{
	uint64_t len;

	switch (code) {
	case 0x00: /* nop */
	case 0x2d: /* AArch64: negate_ra_state; the signature is cleared whether there is one or not
		    */
		break;
	case 0x01: /* set_loc */
		r->location = sw_dwarf_pointer(d, r->entry->encoding, 0);
		break;
	case 0x02: /* advance_loc1, 2, 4 */
	case 0x03:
	case 0x04:
		advance(r, sw_dwarf_uint(d, 1u << (code - 2)));
		break;
	case 0x0a: /* remember_state */
		r->odd |= r->depth == STATES_MAX;
		if (!r->odd)
			r->remembered[r->depth++] = *r->now;
		break;
	case 0x0b: /* restore_state */
		r->odd |= r->depth == 0;
		if (!r->odd)
			*r->now = r->remembered[--r->depth];
		break;
	case 0x0e: /* def_cfa_offset */
	case 0x13: /* def_cfa_offset_sf */
		r->now->cfa_at =
			code == 0x0e ? (int64_t)sw_dwarf_uleb(d) : scaled(r, sw_dwarf_sleb(d));
		r->odd |= r->now->cfa_expression.len != 0;
		break;
	case 0x0f: /* def_cfa_expression */
		len = sw_dwarf_uleb(d);
		r->now->cfa_expression.at = sw_dwarf_take(d, len);
		r->now->cfa_expression.len = d->bad ? 0 : (size_t)len;
		r->odd |= !len;
		break;
	case 0x2e: /* GNU_args_size */
		sw_dwarf_uleb(d);
		break;
	default:
		r->odd = true;
	}
}

static bool is_of_register(uint8_t code)
{
	return (code >= 0x05 && code <= 0x09) || code == 0x0c || code == 0x0d ||
	       (code >= 0x10 && code <= 0x12) || (code >= 0x14 && code <= 0x16) || code == 0x2f;
}

/* Up to the instruction that is asked for, or the end. */
static void run_program(struct run *r, struct sw_dwarf d)
{
	while (sw_dwarf_left(&d) && !r->odd) {
		uint8_t code = (uint8_t)sw_dwarf_uint(&d, 1), low = code & 63;

		if (code >> 6 == 1) /* advance_loc */
			advance(r, low);
		else if (code >> 6 == 2) /* offset */
			save(r, low, SW_CFI_AT, scaled(r, (int64_t)sw_dwarf_uleb(&d)));
		else if (code >> 6 == 3)
			restore(r, low);
		else if (is_of_register(code))
			run_of_register(r, &d, code);
		else
			run_other(r, &d, code);
		if (r->location > r->pc)
			break;
	}
	r->odd |= d.bad;
}

enum sw_cfi_found sw_cfi_find(const struct sw_cfi *cfi, const struct sw_arch *arch, uint64_t pc,
			      struct sw_cfi_rules *ret_rules)
{
	struct sw_cfi_rules remembered[STATES_MAX];
	struct entry entry;
	struct run r;

	if (!read_entry(cfi, arch->ra, pc, &entry))
		return SW_CFI_NONE;
	memset(ret_rules, 0, sizeof(*ret_rules));
	ret_rules->cfa_register = UINT64_MAX;
	ret_rules->signal = entry.signal;
	r = (struct run){.entry = &entry,
			 .arch = arch,
			 .pc = UINT64_MAX,
			 .now = ret_rules,
			 .remembered = remembered};
	run_program(&r, entry.shared);
	r.initial = *ret_rules;
	r.location = entry.from;
	r.pc = pc;
	run_program(&r, entry.own);
	return r.odd ? SW_CFI_BROKEN : SW_CFI_FOUND;
}
