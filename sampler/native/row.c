/*
 * From rules to rows; see row.h. What all but a few functions have is told apart here from what
 * needs more than a row can hold.
 */
#include "sampler/native/row.h"

#include "sampler/native/dwarf.h"

/* The expression of PLT stubs: sp + 8 + ((pc & 15) >= K) * 8, K being one small number of ops[6].
 */
static bool is_plt(struct sw_bytes e, int32_t *ret_from)
{
	static const uint8_t head[] = {0x77, 8, 0x80, 0, 0x3f, 0x1a},
			     tail[] = {0x2a, 0x33, 0x24, 0x22};

	if (e.len != 11 || memcmp(e.at, head, 6) || memcmp(e.at + 7, tail, 4) || e.at[6] < 0x30 ||
	    e.at[6] > 0x3f)
		return false;
	*ret_from = e.at[6] - 0x30;
	return true;
}

/* DW_OP_bregN at, DW_OP_deref: what lies at a register's place; and perhaps DW_OP_plus_uconst. */
static bool is_at(struct sw_bytes e, uint8_t number, int64_t *ret_at, uint8_t *ret_plus)
{
	struct sw_dwarf d = sw_dwarf(e, 0);
	bool same = sw_dwarf_uint(&d, 1) == 0x70u + number;
	uint64_t plus = 0;

	*ret_at = sw_dwarf_sleb(&d);
	same &= sw_dwarf_uint(&d, 1) == 0x06;
	if (sw_dwarf_left(&d)) {
		same &= sw_dwarf_uint(&d, 1) == 0x23;
		plus = sw_dwarf_uleb(&d);
	}
	*ret_plus = (uint8_t)plus;
	return same && plus <= UINT8_MAX && *ret_at >= INT32_MIN && *ret_at <= INT32_MAX &&
	       !d.bad && !sw_dwarf_left(&d);
}

static enum sw_row_cfa cfa_by_expression(const struct sw_cfi_rules *rules,
					 const struct sw_arch *arch, struct sw_row *row)
{
	struct sw_bytes e = rules->cfa_expression;
	int64_t at;

	if (arch->plt && is_plt(e, &row->cfa_at))
		return SW_CFA_PLT;
	if (is_at(e, arch->sp, &at, &row->more)) {
		row->cfa_at = (int32_t)at;
		if (!rules->signal)
			return SW_CFA_SP_AT;
		return at == arch->signal_sp && !row->more ? SW_CFA_SIGNAL : SW_CFA_BROKEN;
	}
	if (rules->signal)
		return SW_CFA_BROKEN;
	if (!is_at(e, arch->fp, &at, &row->more))
		return SW_CFA_ODD;
	row->cfa_at = (int32_t)at;
	return SW_CFA_FP_AT;
}

static enum sw_row_cfa cfa_of(const struct sw_cfi_rules *rules, const struct sw_arch *arch,
			      struct sw_row *row)
{
	if (rules->signal && !arch->signal_by_cfa)
		return SW_CFA_SIGNAL;
	if (rules->of[arch->ra].how == SW_CFI_GONE)
		return SW_CFA_OUTER;
	if (rules->cfa_expression.len)
		return cfa_by_expression(rules, arch, row);
	if (rules->cfa_at < INT32_MIN || rules->cfa_at > INT32_MAX || rules->signal ||
	    rules->cfa_register >= SW_CFI_REGISTERS)
		return SW_CFA_BROKEN;
	row->cfa_at = (int32_t)rules->cfa_at;
	if (rules->cfa_register == arch->sp)
		return SW_CFA_SP;
	if (rules->cfa_register == arch->lr)
		return SW_CFA_LR;
	return rules->cfa_register == arch->fp ? SW_CFA_FP : SW_CFA_ODD;
}

/* DW_OP_bregN is all that compilers write there, N being fp in functions that align their stack. */
static bool is_by_fp(const struct sw_cfi_saved *saved, const struct sw_arch *arch, int64_t *ret_at)
{
	struct sw_dwarf e = sw_dwarf(sw_bytes(saved->expression, saved->len), 0);
	bool by_fp = sw_dwarf_uint(&e, 1) == 0x70u + arch->fp;

	*ret_at = sw_dwarf_sleb(&e);
	return by_fp && !e.bad && !sw_dwarf_left(&e);
}

/* Further away than a row can say: not known. */
static uint8_t saved_in_row(const struct sw_cfi_saved *saved, const struct sw_arch *arch,
			    int16_t *ret_at)
{
	int64_t at = saved->at;
	enum sw_row_saved how = SW_SAVED_CFA;

	if (saved->how == SW_CFI_UNSAID || saved->how == SW_CFI_SAME)
		return SW_SAVED_SAME;
	if (saved->how == SW_CFI_AT_EXPRESSION && is_by_fp(saved, arch, &at))
		how = SW_SAVED_FP;
	else if (saved->how != SW_CFI_AT)
		return SW_SAVED_GONE;
	if (at < INT16_MIN || at > INT16_MAX)
		return SW_SAVED_GONE;
	*ret_at = (int16_t)at;
	return (uint8_t)how;
}

struct sw_row sw_row_of(const struct sw_cfi *cfi, const struct sw_arch *arch, uint64_t pc)
{
	struct sw_row row = {.pc = pc, .cfa = SW_CFA_NONE};
	struct sw_cfi_rules rules;
	enum sw_cfi_found found = sw_cfi_find(cfi, arch, pc, &rules);

	if (found == SW_CFI_BROKEN)
		row.cfa = SW_CFA_BROKEN;
	if (found != SW_CFI_FOUND)
		return row;
	row.cfa = (uint8_t)cfa_of(&rules, arch, &row);
	row.fp = saved_in_row(&rules.of[arch->fp], arch, &row.fp_at);
	row.ra = saved_in_row(&rules.of[arch->ra], arch, &row.ra_at);
	if (row.ra == SW_SAVED_GONE && row.cfa != SW_CFA_OUTER && row.cfa != SW_CFA_SIGNAL &&
	    row.cfa != SW_CFA_BROKEN)
		row.cfa = SW_CFA_ODD;
	return row;
}
