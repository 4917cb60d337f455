/*
 * From one frame to the next; see native.h.
 *
 * The row of each pc is kept in a table where its address says, one for each place: 1.5 MiB, of
 * which only what is used is touched. A stack whose pcs were all met before costs a load and a
 * compare for each.
 */
#include "preload/sys.h"
#include "sampler/native/beyond.h"
#include "sampler/native/expression.h"
#include "sampler/native/libraries.h"
#include "sampler/native/native.h"
#include "sampler/native/row.h"

#define ROWS_BITS 16
#define ROWS (1u << ROWS_BITS)
#define BEYOND_MAX 8 /* of one stack: each begins at the innermost function */

static struct sw_row *rows; /* Owned, for ever */
static unsigned rows_epoch;

/* Code that a program has made itself is of no library; but a word that is taken for a return
 * address where rows do not tell the truth mostly is no code at all. */
static bool may_return_to(uint64_t pc)
{
	uint8_t before[SW_ARCH_CALL_MAX];

	return pc >= SW_PAGE &&
	       sw_sys_peek(before, (void *)(pc - sizeof(before)), sizeof(before)) &&
	       SW_ARCH.is_call(before);
}

static void make_row(uint64_t pc, struct sw_row *row)
{
	struct sw_library *library;
	const struct sw_cfi *cfi = NULL;
	uint16_t place;
	bool sure = true;

	library = sw_libraries_find(pc, &place);
	if (library)
		cfi = sw_libraries_cfi(library, &sure);
	*row = (struct sw_row){.pc = pc, .cfa = SW_CFA_NONE};
	if (cfi)
		*row = sw_row_of(cfi, &SW_ARCH, pc);
	else if (!library && !may_return_to(pc + 1))
		row->cfa = SW_CFA_NO_CODE;
	row->library = place;
	row->generation = sw_libraries_generation[place];
	if (!sure)
		row->pc = 0;
}

static const struct sw_row *row_of(uint64_t pc)
{
	struct sw_row *row = &rows[pc * 0x9e3779b97f4a7c15ull >> (64 - ROWS_BITS)];

	if (SW_UNLIKELY(row->pc != pc || sw_libraries_generation[row->library] != row->generation))
		make_row(pc, row);
	return row;
}

/* ---- steps ---- */

struct at {
	uint64_t pc, sp, fp, lr;
	bool fp_known, lr_known;
	bool exact; /* pc is of an instruction that has not run; else it follows a call */
};

/* Each of these returns SW_NATIVE_WHOLE for "go on". */
static enum sw_native_end read_cfa(uint64_t from, const struct sw_row *row,
				   const struct sw_native_piece *piece, uint64_t *ret_cfa)
{
	uint64_t word;

	if (!sw_expression_word(piece, from + (uint64_t)(int64_t)row->cfa_at, &word))
		return SW_NATIVE_SHORT;
	*ret_cfa = word + row->more;
	return SW_NATIVE_WHOLE;
}

static enum sw_native_end find_cfa(const struct at *at, const struct sw_row *row,
				   const struct sw_native_piece *piece, uint64_t *ret_cfa)
{
	uint64_t by = (uint64_t)(int64_t)row->cfa_at;

	switch (row->cfa) {
	case SW_CFA_SP:
		*ret_cfa = at->sp + by;
		return SW_NATIVE_WHOLE;
	case SW_CFA_LR:
		*ret_cfa = at->lr + by;
		return at->lr_known ? SW_NATIVE_WHOLE : SW_NATIVE_NO_FP;
	case SW_CFA_PLT:
		*ret_cfa = at->sp + 8 + ((at->pc & 15) >= by ? 8 : 0);
		return SW_NATIVE_WHOLE;
	case SW_CFA_FP:
	case SW_CFA_FP_AT:
		if (!at->fp_known)
			return SW_NATIVE_NO_FP;
		if (row->cfa == SW_CFA_FP_AT)
			return read_cfa(at->fp, row, piece, ret_cfa);
		*ret_cfa = at->fp + by;
		return SW_NATIVE_WHOLE;
	case SW_CFA_SP_AT:
		return read_cfa(at->sp, row, piece, ret_cfa);
	case SW_CFA_NONE:
	case SW_CFA_NO_CODE:
		return SW_NATIVE_NOWHERE;
	default:
		return SW_NATIVE_ODD;
	}
}

/* What the caller has in fp. A slot below sp was popped already, as rows of a function's end do not
 * say: the register is the caller's by then. */
static enum sw_native_end restore_fp(struct at *at, const struct sw_row *row, uint64_t cfa,
				     const struct sw_native_piece *piece)
{
	uint64_t slot = (row->fp == SW_SAVED_CFA ? cfa : at->fp) + (uint64_t)(int64_t)row->fp_at;

	if (row->fp == SW_SAVED_SAME)
		return SW_NATIVE_WHOLE;
	if (row->fp == SW_SAVED_GONE || (row->fp == SW_SAVED_FP && !at->fp_known)) {
		at->fp_known = false;
		return SW_NATIVE_WHOLE;
	}
	if (slot < at->sp)
		return SW_NATIVE_WHOLE;
	if (!sw_expression_word(piece, slot, &at->fp))
		return SW_NATIVE_SHORT;
	at->fp_known = true;
	return SW_NATIVE_WHOLE;
}

static enum sw_native_end find_return(const struct at *at, const struct sw_row *row, uint64_t cfa,
				      const struct sw_native_piece *piece, uint64_t *ret_pc)
{
	uint64_t slot = (row->ra == SW_SAVED_CFA ? cfa : at->fp) + (uint64_t)(int64_t)row->ra_at;

	if (row->ra == SW_SAVED_SAME) {
		*ret_pc = at->lr;
		return at->lr_known ? SW_NATIVE_WHOLE : SW_NATIVE_NO_FP;
	}
	if (row->ra == SW_SAVED_FP && !at->fp_known)
		return SW_NATIVE_NO_FP;
	return sw_expression_word(piece, slot, ret_pc) ? SW_NATIVE_WHOLE : SW_NATIVE_SHORT;
}

/* To what a signal interrupted: the kernel put all registers on the stack. */
static enum sw_native_end leave_signal(struct at *at, const struct sw_native_piece *piece)
{
	uint64_t frame = at->sp;

	if (!sw_expression_word(piece, frame + SW_ARCH.signal_pc, &at->pc) ||
	    !sw_expression_word(piece, frame + SW_ARCH.signal_sp, &at->sp) ||
	    !sw_expression_word(piece, frame + SW_ARCH.signal_fp, &at->fp) ||
	    !sw_expression_word(piece, frame + SW_ARCH.signal_lr, &at->lr))
		return SW_NATIVE_SHORT;
	at->fp_known = at->lr_known = at->exact = true;
	return SW_NATIVE_WHOLE;
}

static enum sw_native_end step(struct at *at, const struct sw_row *row,
			       const struct sw_native_piece *piece)
{
	enum sw_native_end end;
	uint64_t cfa, pc;

	if (row->cfa == SW_CFA_SIGNAL)
		return leave_signal(at, piece);
	end = find_cfa(at, row, piece, &cfa);
	if (end == SW_NATIVE_WHOLE)
		end = find_return(at, row, cfa, piece, &pc);
	if (end == SW_NATIVE_WHOLE)
		end = restore_fp(at, row, cfa, piece);
	if (end != SW_NATIVE_WHOLE)
		return end;
	/* Stacks grow downwards. Only what has called nothing may have nothing on it. */
	if (cfa < at->sp || (cfa == at->sp && !at->exact) || cfa % SW_ARCH.align)
		return SW_NATIVE_ODD;
	at->pc = pc & ~SW_ARCH.signature;
	at->sp = cfa;
	at->exact = at->lr_known = false;
	return SW_NATIVE_WHOLE;
}

/* The same for what nearly all rows are: the frame is found by sp or a known fp, and what was saved
 * lies within the copy. False: not so, and nothing has changed. */
static inline bool step_common(struct at *at, const struct sw_row *row,
			       const struct sw_native_piece *piece)
{
	uint64_t cfa = (row->cfa == SW_CFA_SP ? at->sp : at->fp) + (uint64_t)(int64_t)row->cfa_at;
	uint64_t fp_slot = cfa + (uint64_t)(int64_t)row->fp_at;
	uint64_t pc, fp;

	if (row->cfa > SW_CFA_FP || row->cfa < SW_CFA_SP || !at->fp_known ||
	    row->ra != SW_SAVED_CFA || row->fp > SW_SAVED_CFA || cfa <= at->sp ||
	    cfa % SW_ARCH.align ||
	    !sw_expression_word(piece, cfa + (uint64_t)(int64_t)row->ra_at, &pc))
		return false;
	fp = at->fp;
	if (row->fp == SW_SAVED_CFA && fp_slot >= at->sp &&
	    !sw_expression_word(piece, fp_slot, &fp))
		return false;
	at->pc = pc & ~SW_ARCH.signature;
	at->sp = cfa;
	at->fp = fp;
	at->exact = at->lr_known = false;
	return true;
}

/* Nothing else may have lain there when the stack was copied. */
static bool was_there(uint64_t pc, uint64_t taken_ns)
{
	struct sw_library *library;
	uint16_t place;

	if (SW_LIKELY(taken_ns >= sw_libraries_newest_ns))
		return true;
	library = sw_libraries_find(pc, &place);
	return !library || taken_ns >= library->since_ns;
}

/* ---- frames that rows cannot express ---- */

/* By following all registers. Where fp is not known that helps only if others are: of a thread that
 * waits fp is found where they are, or not at all. */
static bool leave_beyond(struct at *at, const struct sw_row *row, enum sw_native_end end,
			 const struct sw_native_registers *from,
			 const struct sw_native_piece *piece, const struct sw_native_stack *stack)
{
	struct sw_beyond_frame frame;

	if ((row->cfa != SW_CFA_ODD && (end != SW_NATIVE_NO_FP || !from->others)) ||
	    !sw_beyond_leave(from, piece, stack, &frame) || !may_return_to(frame.pc))
		return false;
	*at = (struct at){
		.pc = frame.pc, .sp = frame.sp, .fp = frame.fp, .fp_known = frame.fp_known};
	return true;
}

static enum sw_native_end walk(struct at *at, const struct sw_native_registers *from,
			       const struct sw_native_piece *piece, uint64_t taken_ns,
			       struct sw_native_stack *stack)
{
	unsigned beyond = 0;

	while (stack->count < SW_NATIVE_MAX) {
		uint64_t pc = at->exact ? at->pc : at->pc - 1;
		const struct sw_row *row;
		enum sw_native_end end;

		stack->pc[stack->count++] = pc;
		if (!was_there(pc, taken_ns)) {
			stack->count--;
			return SW_NATIVE_NOWHERE;
		}
		row = row_of(pc);
		if (row->cfa == SW_CFA_OUTER)
			return SW_NATIVE_WHOLE;
		if (row->cfa == SW_CFA_NO_CODE && !at->exact) {
			stack->count--;
			return SW_NATIVE_ODD;
		}
		end = SW_LIKELY(step_common(at, row, piece)) ? SW_NATIVE_WHOLE
							     : step(at, row, piece);
		if (SW_UNLIKELY(end != SW_NATIVE_WHOLE) && beyond++ < BEYOND_MAX &&
		    leave_beyond(at, row, end, from, piece, stack))
			continue;
		/* Who started the thread may have left 0 where nobody returns to. */
		if (end != SW_NATIVE_WHOLE || (!at->pc && !at->exact))
			return end;
	}
	return SW_NATIVE_DEEP;
}

void sw_native_unwind(const struct sw_native_registers *from, const struct sw_native_piece *piece,
		      uint64_t taken_ns, struct sw_native_stack *ret_stack)
{
	struct at at = {.pc = from->pc,
			.sp = from->sp,
			.fp = from->fp,
			.lr = from->lr,
			.fp_known = from->all,
			.lr_known = from->all,
			.exact = true};

	ret_stack->count = 0;
	if (!rows) {
		ret_stack->pc[ret_stack->count++] = from->pc;
		ret_stack->end = SW_NATIVE_NOWHERE;
		return;
	}
	ret_stack->end = walk(&at, from, piece, taken_ns, ret_stack);
}

bool sw_native_part(uint64_t pc, uint64_t *ret_from, uint64_t *ret_to)
{
	uint16_t place;
	struct sw_library *library = sw_libraries_find(pc, &place);
	bool sure;
	const struct sw_cfi *cfi = library ? sw_libraries_cfi(library, &sure) : NULL;

	return cfi && sw_cfi_range(cfi, pc, ret_from, ret_to);
}

unsigned sw_native_changes(void)
{
	return sw_libraries_changes;
}

static _Atomic bool taken;

bool sw_native_take(void (*delicate)(bool delicate))
{
	if (atomic_exchange(&taken, true))
		return false;
	sw_libraries_delicate = delicate;
	return true;
}

void sw_native_give(void)
{
	atomic_store(&taken, false);
}

bool sw_native_refresh(void)
{
	if (!rows)
		rows = sw_sys_map(ROWS * sizeof(*rows));
	if (!rows || !sw_libraries_refresh())
		return false;
	if (rows_epoch != sw_libraries_epoch)
		memset(rows, 0, ROWS * sizeof(*rows));
	rows_epoch = sw_libraries_epoch;
	return true;
}
