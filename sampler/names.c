/*
 * Names of frames, kept by what tells one frame from another; see names.h.
 *
 * A code object is known by its address and print, which no other code object has at the same time
 * or later. The table and its texts have a limit; when it is reached all is forgotten and decoded
 * again, which costs some us for each frame that is still about. Numbers go on meanwhile.
 */
#include "sampler/names.h"

#include "hooks/python/code.h"
#include "preload/sys.h"
#include "sampler/native/demangle.h"
#include "sampler/native/native.h"

#define ROWS_BITS 14
#define ROWS (1u << ROWS_BITS)
#define PROBES 16
#define TEXT_BYTES (4u << 20)
#define TEXT_MAX (SW_NAME_FUNCTION_MAX + SW_NAME_FILE_MAX)
#define GONE "(code that is gone)"

/* What tells frames apart. */
struct key {
	uint64_t object, print; /* code object and its print; a pc; a note's text */
	int32_t at;
	uint32_t kind; /* enum sw_stack_kind + 1; 0: a free row */
};

struct row {
	struct key key;
	struct sw_name name; /* its texts are in `texts`, or constant */
};

static struct row *rows; /* Owned, for ever */
static uint8_t *texts;	 /* likewise */
static uint32_t used;
static uint32_t last_id;

static void forget(void)
{
	if (rows)
		memset(rows, 0, ROWS * sizeof(*rows));
	used = 0;
}

void sw_names_clear(void)
{
	forget();
	last_id = 0;
}

static bool make(void)
{
	if (!rows)
		rows = sw_sys_map(ROWS * sizeof(*rows));
	if (!texts)
		texts = sw_sys_map(TEXT_BYTES);
	return rows && texts;
}

static struct key key_of(const struct sw_stack_frame *frame)
{
	struct key key = {.kind = (uint32_t)frame->kind + 1};

	if (frame->kind == SW_STACK_NATIVE) {
		key.object = frame->pc;
	} else if (frame->kind == SW_STACK_NOTE) {
		key.object = (uintptr_t)frame->note;
	} else {
		key.object = (uintptr_t)frame->python.code;
		key.print = frame->python.print;
		key.at = frame->python.at;
	}
	return key;
}

static bool same(const struct key *a, const struct key *b)
{
	return a->object == b->object && a->print == b->print && a->at == b->at &&
	       a->kind == b->kind;
}

/* Its row, or a free one; NULL: the neighbourhood is full. */
static struct row *find(const struct key *key)
{
	uint64_t mixed = (key->object ^ key->print) + (uint32_t)key->at * 0x9e3779b1u + key->kind;
	unsigned from = (unsigned)(mixed * 0x9e3779b97f4a7c15ull >> (64 - ROWS_BITS));

	for (unsigned i = 0; i < PROBES; i++) {
		struct row *row = &rows[(from + i) % ROWS];

		if (!row->key.kind || same(&row->key, key))
			return row;
	}
	return NULL;
}

static struct sw_bytes keep(struct sw_bytes text, size_t most, bool end)
{
	uint8_t *to = texts + used;

	if (text.len > most)
		text = end ? sw_bytes_from(text, text.len - most) : sw_bytes_slice(text, 0, most);
	if (text.len)
		memcpy(to, text.at, text.len);
	used += (uint32_t)text.len;
	return sw_bytes(to, text.len);
}

static void set(struct sw_name *name, struct sw_bytes function, struct sw_bytes file)
{
	name->function = keep(function, SW_NAME_FUNCTION_MAX, false);
	name->file = keep(file, SW_NAME_FILE_MAX, true);
}

static void set_address(struct sw_name *name, uint64_t pc)
{
	char text[20];
	struct sw_writer w = sw_writer(text, sizeof(text));

	sw_write(&w, SW_BYTES("0x"));
	sw_write_hex(&w, pc);
	set(name, sw_written(&w), SW_BYTES(""));
}

static void set_native(struct sw_name *name, uint64_t pc)
{
	struct sw_native_name native;
	struct sw_bytes symbol;

	if (!sw_native_name(pc, &native)) {
		set_address(name, pc);
		return;
	}
	name->offset = native.offset;
	name->line = native.line;
	if (!sw_demangle(native.symbol, &symbol))
		symbol = native.symbol;
	set(name, symbol.len ? symbol : SW_BYTES("?"), native.line ? native.file : native.library);
}

/* False: the code object is gone. */
static bool decode(struct sw_name *name, const struct sw_stack_frame *frame)
{
	struct sw_code code;

	name->kind = frame->kind;
	if (frame->kind == SW_STACK_NOTE) {
		set(name, sw_bytes_text(frame->note), SW_BYTES(""));
	} else if (frame->kind == SW_STACK_NATIVE) {
		set_native(name, frame->pc);
	} else if (sw_code_read(&frame->python, &code)) {
		set(name, sw_bytes_text(code.name[0] ? code.name : "?"), sw_bytes_text(code.file));
		name->line = code.line > 0 ? (uint32_t)code.line : 0;
	} else {
		return false;
	}
	return true;
}

/* No memory for a table: what is said then has no number. */
static struct sw_name *nameless(void)
{
	static struct sw_name none;

	none = (struct sw_name){.kind = SW_STACK_NOTE, .function = SW_BYTES("?")};
	return &none;
}

struct sw_name *sw_names_of(const struct sw_stack_frame *frame)
{
	static const struct sw_stack_frame gone = {SW_STACK_NOTE, .note = GONE};
	struct key key = key_of(frame);
	struct row *row = make() ? find(&key) : NULL;

	if (!rows || !texts)
		return nameless();
	if (!row || used + TEXT_MAX > TEXT_BYTES) {
		forget();
		row = find(&key);
	}
	if (row->key.kind)
		return &row->name;
	row->name = (struct sw_name){.id = last_id + 1};
	if (!decode(&row->name, frame))
		return sw_names_of(&gone);
	row->key = key;
	last_id++;
	return &row->name;
}

/* Specification 4.1: file, function, line. */
void sw_names_write(struct sw_writer *w, const struct sw_name *name)
{
	if (name->file.len) {
		sw_write(w, name->file);
		sw_write(w, SW_BYTES("."));
	}
	sw_write(w, name->function);
	if (name->kind == SW_STACK_NATIVE && !name->line) {
		uint8_t digits[16];
		struct sw_writer hex = sw_writer(digits, sizeof(digits));
		unsigned zeros = 0;

		sw_write_hex(&hex, name->offset);
		while (zeros < 15 && digits[zeros] == '0')
			zeros++;
		sw_write(w, SW_BYTES("+0x"));
		sw_write(w, sw_bytes(digits + zeros, sizeof(digits) - zeros));
	} else if (name->kind != SW_STACK_NOTE) {
		sw_write(w, SW_BYTES(": "));
		sw_write_number(w, name->line);
	}
}
