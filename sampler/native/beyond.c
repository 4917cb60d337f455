/*
 * See beyond.h. Rows follow three registers; here all are followed, from the innermost function on
 * once more. What a register has is known or not: one that functions need not keep is unknown to
 * every caller, whatever its caller's rules say of it, and of a thread that waits only sp is known,
 * and what was saved on the way.
 */
#include "sampler/native/beyond.h"

#include "sampler/native/expression.h"
#include "sampler/native/libraries.h"

struct at {
	uint64_t pc;
	uint64_t has[SW_NATIVE_REGISTERS];
	uint32_t known;
	bool exact; /* pc is of an instruction that has not run; else it follows a call */
};

struct reading {
	const struct at *at;
	const struct sw_native_piece *piece;
	const struct sw_cfi_rules *rules;
	struct sw_expression_room room;
	uint64_t cfa;
};

static bool known(const struct at *at, uint64_t number, uint64_t *ret_value)
{
	if (number >= SW_NATIVE_REGISTERS || !(at->known >> number & 1))
		return false;
	*ret_value = at->has[number];
	return true;
}

static bool rules_of(uint64_t pc, struct sw_cfi_rules *ret_rules)
{
	uint16_t place;
	struct sw_library *library = sw_libraries_find(pc, &place);
	bool sure;
	const struct sw_cfi *cfi = library ? sw_libraries_cfi(library, &sure) : NULL;

	return cfi && sw_cfi_find(cfi, &SW_ARCH, pc, ret_rules) == SW_CFI_FOUND;
}

static bool find_cfa(struct reading *r)
{
	const struct sw_cfi_rules *rules = r->rules;
	uint64_t value;

	if (rules->cfa_expression.len)
		return sw_expression_value(rules->cfa_expression, NULL, &r->room, &r->cfa);
	if (!known(r->at, rules->cfa_register, &value))
		return false;
	r->cfa = value + (uint64_t)rules->cfa_at;
	return true;
}

/* What lies there. A slot below sp was popped already, as rules of a function's end do not say: the
 * register is the caller's by then. */
static bool read_slot(const struct reading *r, uint64_t number, uint64_t slot, uint64_t *ret_value)
{
	if (slot < r->at->has[SW_ARCH.sp] && number != SW_ARCH.ra)
		return known(r->at, number, ret_value);
	return sw_expression_word(r->piece, slot, ret_value);
}

static bool unsaid(const struct reading *r, uint64_t number, uint64_t *ret_value)
{
	if (number == SW_ARCH.sp) {
		*ret_value = r->cfa;
		return true;
	}
	/* The return address, where that is in a register. */
	if (!(SW_ARCH.kept >> number & 1) && !r->rules->signal && number != SW_ARCH.ra)
		return false;
	return known(r->at, number, ret_value);
}

/* What the caller has in a register. */
static bool restore(const struct reading *r, uint64_t number, uint64_t *ret_value)
{
	const struct sw_cfi_saved *saved = &r->rules->of[number];
	struct sw_bytes expression = sw_bytes(saved->expression, saved->len);
	uint64_t slot;

	switch ((enum sw_cfi_how)saved->how) {
	case SW_CFI_UNSAID:
		return unsaid(r, number, ret_value);
	case SW_CFI_SAME:
		return known(r->at, number, ret_value);
	case SW_CFI_AT:
		return read_slot(r, number, r->cfa + (uint64_t)saved->at, ret_value);
	case SW_CFI_IS:
		*ret_value = r->cfa + (uint64_t)saved->at;
		return true;
	case SW_CFI_REGISTER:
		return known(r->at, (uint64_t)saved->at, ret_value);
	case SW_CFI_AT_EXPRESSION:
		return sw_expression_value(expression, &r->cfa, &r->room, &slot) &&
		       read_slot(r, number, slot, ret_value);
	case SW_CFI_IS_EXPRESSION:
		return sw_expression_value(expression, &r->cfa, &r->room, ret_value);
	default:
		return false;
	}
}

static bool step(struct at *at, const struct sw_native_piece *piece)
{
	struct sw_cfi_rules rules;
	struct reading r = {at, piece, &rules, {at->has, at->known, piece}, 0};
	struct at next = {.known = 0};
	uint64_t sp = at->has[SW_ARCH.sp];

	if (!rules_of(at->exact ? at->pc : at->pc - 1, &rules) ||
	    (rules.signal && !SW_ARCH.signal_by_cfa) || !find_cfa(&r) ||
	    !restore(&r, SW_ARCH.ra, &next.pc))
		return false;
	for (unsigned i = 0; i < SW_NATIVE_REGISTERS; i++) {
		if (restore(&r, i, &next.has[i]))
			next.known |= 1u << i;
	}
	/* Stacks grow downwards. Only what has called nothing may have nothing on it. */
	if (!(next.known >> SW_ARCH.sp & 1) || r.cfa < sp || (r.cfa == sp && !at->exact) ||
	    r.cfa % SW_ARCH.align)
		return false;
	next.exact = rules.signal;
	next.pc &= ~SW_ARCH.signature;
	*at = next;
	return true;
}

static struct at innermost(const struct sw_native_registers *from)
{
	struct at at = {.pc = from->pc, .known = 1u << SW_ARCH.sp, .exact = true};

	if (from->others) {
		memcpy(at.has, from->others, sizeof(at.has));
		at.known = SW_ARCH.all;
	}
	at.has[SW_ARCH.sp] = from->sp;
	return at;
}

bool sw_beyond_leave(const struct sw_native_registers *from, const struct sw_native_piece *piece,
		     const struct sw_native_stack *stack, struct sw_beyond_frame *ret_frame)
{
	struct at at = innermost(from);

	for (uint32_t i = 0; i < stack->count; i++) {
		if ((at.exact ? at.pc : at.pc - 1) != stack->pc[i] || !step(&at, piece))
			return false;
	}
	if (at.exact)
		return false;
	*ret_frame = (struct sw_beyond_frame){.pc = at.pc, .sp = at.has[SW_ARCH.sp]};
	ret_frame->fp_known = known(&at, SW_ARCH.fp, &ret_frame->fp);
	return true;
}
