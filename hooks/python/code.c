/* Names, files, lines and locals of code objects; see code.h. Everything is read by the kernel's
 * answer, in small pieces, but the locals of the calling thread's own frames. */
#include "hooks/python/code.h"

#include "hooks/python/frames_at.h"

#define TEXT_MAX (1 << 20) /* characters; longer is not a name */
#define LOCALS_MAX 256
#define KIND_CELL 0x40 /* of a local, from 3.11 on: an inner function shares it */

/* ---- str ---- */

struct text {
	const char *data;
	size_t len;    /* characters */
	unsigned kind; /* bytes of each */
	bool ascii;
};

static bool open_text(const void *str, struct text *ret_text)
{
	char head[40];
	uint32_t flags;
	size_t len;

	if (!str || !sw_sys_peek(head, str, sizeof(head)) ||
	    sw_frames_word(head, SW_PY_TYPE) != (void *)sw_frames_api.PyUnicode_Type)
		return false;
	memcpy(&flags, head + SW_PY_STR_STATE, sizeof(flags));
	memcpy(&len, head + SW_PY_SIZE, sizeof(len));
	*ret_text = (struct text){.len = len, .kind = flags >> 2 & 7, .ascii = flags >> 6 & 1};
	ret_text->data =
		(const char *)str + (ret_text->ascii ? sw_frames_at.ascii : sw_frames_at.compact);
	return (flags >> 5 & 1) && len < TEXT_MAX &&
	       (ret_text->kind == 1 || ret_text->kind == 2 || ret_text->kind == 4);
}

/* Bytes written, at most 4. A surrogate alone becomes a question mark. */
static unsigned utf8(uint32_t c, char *to)
{
	if (c < 0x80) {
		to[0] = (char)c;
		return 1;
	}
	if (c < 0x800) {
		to[0] = (char)(0xc0 | c >> 6);
		to[1] = (char)(0x80 | (c & 63));
		return 2;
	}
	if (c < 0x10000) {
		if (c >= 0xd800 && c < 0xe000)
			return utf8('?', to);
		to[0] = (char)(0xe0 | c >> 12);
		to[1] = (char)(0x80 | (c >> 6 & 63));
		to[2] = (char)(0x80 | (c & 63));
		return 3;
	}
	to[0] = (char)(0xf0 | (c >> 18 & 7));
	to[1] = (char)(0x80 | (c >> 12 & 63));
	to[2] = (char)(0x80 | (c >> 6 & 63));
	to[3] = (char)(0x80 | (c & 63));
	return 4;
}

static uint32_t character(const char *piece, unsigned kind, size_t i)
{
	uint32_t c = 0;

	memcpy(&c, piece + i * kind, kind); /* little-endian, as both machines are */
	return c;
}

/* From its beginning, as much as fits. */
static bool write_wide(const struct text *text, char *to, size_t room)
{
	char piece[128];
	size_t used = 0, each = sizeof(piece) / text->kind;

	for (size_t from = 0; from < text->len && used + 4 < room; from += each) {
		size_t count = text->len - from < each ? text->len - from : each;

		if (!sw_sys_peek(piece, text->data + from * text->kind, count * text->kind))
			return false;
		for (size_t i = 0; i < count && used + 4 < room; i++)
			used += utf8(character(piece, text->kind, i), to + used);
	}
	to[used] = 0;
	return true;
}

static bool read_text(const void *str, bool keep_end, char *to, size_t room)
{
	struct text text;
	size_t len;

	if (!open_text(str, &text))
		return false;
	if (!text.ascii)
		return write_wide(&text, to, room);
	len = text.len < room ? text.len : room - 1;
	to[len] = 0;
	return !len || sw_sys_peek(to, text.data + (keep_end ? text.len - len : 0), len);
}

/* ---- lines ---- */

/* The table of lines, read in pieces. */
struct table {
	const char *data;
	size_t len, at;
	size_t from, have; /* what `piece` holds */
	bool broken;
	uint8_t piece[120];
};

static bool open_table(const void *bytes, struct table *ret_table)
{
	char head[32];
	size_t len;

	if (!bytes || !sw_sys_peek(head, bytes, sizeof(head)) ||
	    sw_frames_word(head, SW_PY_TYPE) != (void *)sw_frames_api.PyBytes_Type)
		return false;
	memcpy(&len, head + SW_PY_SIZE, sizeof(len));
	ret_table->data = (const char *)bytes + SW_PY_BYTES;
	ret_table->len = len;
	ret_table->at = ret_table->from = ret_table->have = 0;
	ret_table->broken = len > TEXT_MAX;
	return !ret_table->broken;
}

static bool at_end(const struct table *t)
{
	return t->broken || t->at >= t->len;
}

static uint8_t next_byte(struct table *t)
{
	if (at_end(t)) {
		t->broken = true;
		return 0;
	}
	if (t->at >= t->from + t->have) {
		t->from = t->at;
		t->have = t->len - t->at < sizeof(t->piece) ? t->len - t->at : sizeof(t->piece);
		if (!sw_sys_peek(t->piece, t->data + t->at, t->have)) {
			t->broken = true;
			return 0;
		}
	}
	return t->piece[t->at++ - t->from];
}

/* 3.6 to 3.9: how much further, in instructions and in lines. */
static int line_before_310(struct table *t, int line, int wanted)
{
	for (int at = 0; !at_end(t);) {
		at += next_byte(t);
		if (at > wanted)
			break;
		line += (int8_t)next_byte(t);
	}
	return line;
}

/* 3.10: each pair is a range of instructions and the step to its line; -128: it has none. */
static int line_of_310(struct table *t, int line, int wanted)
{
	for (int end = 0; !at_end(t);) {
		int step;

		end += next_byte(t);
		step = (int8_t)next_byte(t);
		if (step != -128)
			line += step;
		if (wanted < end)
			return step == -128 ? 0 : line;
	}
	return 0;
}

/* Six bits a byte, the lowest first. */
static unsigned number(struct table *t)
{
	unsigned value = 0, shift = 0;
	uint8_t byte;

	do {
		byte = next_byte(t);
		value |= (byte & 63u) << shift;
		shift += 6;
	} while (byte & 64 && shift < 30);
	return value;
}

static int signed_number(struct table *t)
{
	unsigned value = number(t);

	return value & 1 ? -(int)(value >> 1) : (int)(value >> 1);
}

static void pass(struct table *t, int numbers)
{
	while (numbers--)
		number(t);
}

/* From 3.11 on: an entry says in its first byte how it writes what follows, and how many
 * instructions of two bytes it is for. */
static int line_since_311(struct table *t, int line, int wanted)
{
	for (int end = 0; !at_end(t);) {
		uint8_t first = next_byte(t);
		int form = first >> 3 & 15;

		end += 2 * ((first & 7) + 1);
		if (form < 10) { /* columns in one byte, same line */
			next_byte(t);
		} else if (form < 13) { /* columns in two, a few lines further */
			line += form - 10;
			next_byte(t);
			next_byte(t);
		} else if (form == 13) { /* a line alone */
			line += signed_number(t);
		} else if (form == 14) { /* everything */
			line += signed_number(t);
			pass(t, 3);
		}
		if (wanted < end)
			return form == 15 ? 0 : line;
	}
	return 0;
}

static bool read_line(const void *bytes, int first, int wanted, int *ret_line)
{
	struct table t;
	int line = first;

	if (!open_table(bytes, &t))
		return false;
	if (wanted < 0)
		line = first;
	else if (sw_frames_at.minor < 10)
		line = line_before_310(&t, first, wanted);
	else if (sw_frames_at.minor == 10)
		line = line_of_310(&t, first, wanted);
	else
		line = line_since_311(&t, first, wanted);
	*ret_line = line > 0 ? line : 0;
	return !t.broken;
}

/* ---- code ---- */

/* The members of a code object that are read, in every version. */
#define CODE_BYTES 144

/* What is freed keeps its type, but not its count of references: a link stands there, or 0. */
static bool is_alive(const char *code)
{
	uint64_t references;

	memcpy(&references, code, sizeof(references));
	return references && references <= UINT32_MAX;
}

static bool peek_code(const struct sw_frame *frame, char *ret_code)
{
	size_t len = (size_t)sw_frames_at.lines + 8;
	uint64_t print;

	return sw_sys_peek(ret_code, frame->code, len) && is_alive(ret_code) &&
	       sw_frames_word(ret_code, SW_PY_TYPE) == (void *)sw_frames_api.PyCode_Type &&
	       sw_frames_print(true, ret_code, &print) && print == frame->print;
}

bool sw_code_read(const struct sw_frame *frame, struct sw_code *ret_code)
{
	int name = sw_frames_at.qualname >= 0 ? sw_frames_at.qualname : sw_frames_at.name;
	char seen[CODE_BYTES];
	int first;

	if (!peek_code(frame, seen))
		return false;
	memcpy(&first, seen + sw_frames_at.first_line, sizeof(first));
	return read_text(sw_frames_word(seen, name), false, ret_code->name, SW_CODE_NAME_MAX) &&
	       read_text(sw_frames_word(seen, sw_frames_at.file), true, ret_code->file,
			 SW_CODE_FILE_MAX) &&
	       read_line(sw_frames_word(seen, sw_frames_at.lines), first, frame->at,
			 &ret_code->line) &&
	       peek_code(frame, seen);
}

/* ---- locals, by plain loads ---- */

static bool is_text(const char *str, const char *wanted, size_t len)
{
	size_t has;

	memcpy(&has, str + SW_PY_SIZE, sizeof(has));
	return sw_frames_word(str, SW_PY_TYPE) == (void *)sw_frames_api.PyUnicode_Type &&
	       has == len && (str[SW_PY_STR_STATE] >> 6 & 1) &&
	       memcmp(str + sw_frames_at.ascii, wanted, len) == 0;
}

int sw_code_local(const struct sw_frame *frame, const char *name)
{
	const char *names = sw_frames_word(frame->code, sw_frames_at.local_names);
	size_t len = strlen(name), count;

	if (!names || sw_frames_word(names, SW_PY_TYPE) != (void *)sw_frames_api.PyTuple_Type)
		return -1;
	memcpy(&count, names + SW_PY_SIZE, sizeof(count));
	for (size_t i = 0; i < count && i < LOCALS_MAX; i++) {
		if (is_text(sw_frames_word(names, SW_PY_ITEMS + 8 * (int)i), name, len))
			return (int)i;
	}
	return -1;
}

static bool is_shared(const struct sw_frame *frame, int local)
{
	const char *kinds;

	if (sw_frames_at.local_kinds < 0)
		return false;
	kinds = sw_frames_word(frame->code, sw_frames_at.local_kinds);
	return kinds[SW_PY_BYTES + local] & KIND_CELL;
}

const void *sw_code_value(const struct sw_frame *frame, int local)
{
	const char *value = sw_frames_word(frame->frame, sw_frames_at.locals + 8 * local);

	/* Before the function has made it a cell it is the value itself. */
	if (value && is_shared(frame, local) &&
	    sw_frames_word(value, SW_PY_TYPE) == (void *)sw_frames_api.PyCell_Type)
		return sw_frames_word(value, SW_PY_CELL);
	return value;
}
