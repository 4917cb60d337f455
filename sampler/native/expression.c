/*
 * See expression.h. Branches are not taken: an expression that would turn round has no place in an
 * unwind table, and without them it ends where its bytes end.
 */
#include "sampler/native/expression.h"

#include "sampler/native/dwarf.h"

#define DEPTH_MAX 32

struct machine {
	const struct sw_expression_room *room;
	uint64_t stack[DEPTH_MAX];
	unsigned depth;
	bool bad;
};

static void push(struct machine *m, uint64_t value)
{
	if (m->depth == DEPTH_MAX)
		m->bad = true;
	else
		m->stack[m->depth++] = value;
}

static uint64_t pop(struct machine *m)
{
	if (!m->depth) {
		m->bad = true;
		return 0;
	}
	return m->stack[--m->depth];
}

/* The n-th from the top; 0 is the top. */
static uint64_t peek(struct machine *m, uint64_t n)
{
	m->bad |= n >= m->depth;
	return m->bad ? 0 : m->stack[m->depth - 1 - n];
}

static void push_register(struct machine *m, uint64_t number, int64_t plus)
{
	bool known = number < SW_NATIVE_REGISTERS && m->room->known >> number & 1;

	m->bad |= !known;
	push(m, known ? m->room->registers[number] + (uint64_t)plus : 0);
}

static void push_memory(struct machine *m, uint64_t address, uint64_t bytes)
{
	uint64_t word = 0;

	m->bad |= bytes != 8 || !sw_expression_word(m->room->piece, address, &word);
	push(m, word);
}

/* Operations of two numbers, b being the one on top. */
static uint64_t of_two(struct machine *m, uint8_t operation, uint64_t a, uint64_t b)
{
	int64_t x = (int64_t)a, y = (int64_t)b;

	switch (operation) {
	case 0x1a: /* and */
		return a & b;
	case 0x1c: /* minus */
		return a - b;
	case 0x1e: /* mul */
		return a * b;
	case 0x21: /* or */
		return a | b;
	case 0x22: /* plus */
		return a + b;
	case 0x24: /* shl */
		return b < 64 ? a << b : 0;
	case 0x25: /* shr */
		return b < 64 ? a >> b : 0;
	case 0x26: /* shra */
		return (uint64_t)(x >> SW_MIN(b, 63ull));
	case 0x27: /* xor */
		return a ^ b;
	case 0x29: /* eq */
		return x == y;
	case 0x2a: /* ge */
		return x >= y;
	case 0x2b: /* gt */
		return x > y;
	case 0x2c: /* le */
		return x <= y;
	case 0x2d: /* lt */
		return x < y;
	case 0x2e: /* ne */
		return x != y;
	default:
		m->bad = true;
		return 0;
	}
}

/* False: it is none of these. */
static bool constant(struct sw_dwarf *d, uint8_t operation, uint64_t *ret_value)
{
	unsigned bytes = 1u << ((operation - 0x08u) / 2 % 4);

	if (operation >= 0x08 && operation <= 0x0f)
		*ret_value =
			operation % 2 ? (uint64_t)sw_dwarf_sint(d, bytes) : sw_dwarf_uint(d, bytes);
	else if (operation == 0x10)
		*ret_value = sw_dwarf_uleb(d);
	else if (operation == 0x11)
		*ret_value = (uint64_t)sw_dwarf_sleb(d);
	else if (operation >= 0x30 && operation <= 0x4f)
		*ret_value = operation - 0x30u;
	else
		return false;
	return true;
}

/* Operations of what is on the stack. False: it is none of these. */
static bool arrange(struct machine *m, struct sw_dwarf *d, uint8_t operation)
{
	uint64_t a;

	switch (operation) {
	case 0x12: /* dup */
		push(m, peek(m, 0));
		return true;
	case 0x13: /* drop */
		pop(m);
		return true;
	case 0x14: /* over */
		push(m, peek(m, 1));
		return true;
	case 0x15: /* pick */
		push(m, peek(m, sw_dwarf_uint(d, 1)));
		return true;
	case 0x16: /* swap */
		a = peek(m, 1);
		if (!m->bad) {
			m->stack[m->depth - 2] = m->stack[m->depth - 1];
			m->stack[m->depth - 1] = a;
		}
		return true;
	case 0x1f: /* neg */
		push(m, 0 - pop(m));
		return true;
	case 0x20: /* not */
		push(m, ~pop(m));
		return true;
	case 0x23: /* plus_uconst */
		a = pop(m);
		push(m, a + sw_dwarf_uleb(d));
		return true;
	case 0x96: /* nop */
		return true;
	default:
		return false;
	}
}

static void perform(struct machine *m, struct sw_dwarf *d, uint8_t operation)
{
	uint64_t value;

	if (constant(d, operation, &value)) {
		push(m, value);
	} else if (operation >= 0x70 && operation <= 0x8f) { /* breg0 to breg31 */
		push_register(m, operation - 0x70u, sw_dwarf_sleb(d));
	} else if (operation == 0x92) { /* bregx */
		value = sw_dwarf_uleb(d);
		push_register(m, value, sw_dwarf_sleb(d));
	} else if (operation == 0x06) { /* deref */
		push_memory(m, pop(m), 8);
	} else if (operation == 0x94) { /* deref_size */
		value = pop(m);
		push_memory(m, value, sw_dwarf_uint(d, 1));
	} else if (!arrange(m, d, operation)) {
		value = pop(m);
		push(m, of_two(m, operation, pop(m), value));
	}
}

bool sw_expression_value(struct sw_bytes expression, const uint64_t *first,
			 const struct sw_expression_room *room, uint64_t *ret_value)
{
	struct sw_dwarf d = sw_dwarf(expression, 0);
	struct machine m = {.room = room};

	if (first)
		push(&m, *first);
	while (sw_dwarf_left(&d) && !m.bad)
		perform(&m, &d, (uint8_t)sw_dwarf_uint(&d, 1));
	if (m.bad || d.bad || !m.depth)
		return false;
	*ret_value = m.stack[m.depth - 1];
	return true;
}
