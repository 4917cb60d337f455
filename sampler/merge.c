/*
 * See merge.h.
 *
 * One native frame of the interpreter more than there are groups is its prologue or its end, where
 * the frame is not linked yet or no longer: the innermost one, which is left out. Any other
 * difference means that the two do not belong together.
 */
#include "sampler/merge.h"

#include "preload/counters.h"

struct merging {
	const struct sw_frames *python;
	struct sw_stack *stack;
	uint32_t next; /* of Python's frames */
};

static struct sw_stack_frame *add(struct sw_stack *stack, enum sw_stack_kind kind)
{
	struct sw_stack_frame *frame;

	if (stack->count == SW_STACK_MAX) {
		stack->cut = true;
		return NULL;
	}
	frame = &stack->at[stack->count++];
	frame->kind = kind;
	return frame;
}

static void add_native(struct sw_stack *stack, uint64_t pc)
{
	struct sw_stack_frame *frame = add(stack, SW_STACK_NATIVE);

	if (frame)
		frame->pc = pc;
}

static void add_python(struct merging *m)
{
	struct sw_stack_frame *frame = add(m->stack, SW_STACK_PYTHON);

	if (frame)
		frame->python = m->python->at[m->next];
	m->next++;
}

/* What one native frame of the interpreter runs. */
static void add_group(struct merging *m)
{
	bool last = false;

	while (m->next < m->python->count && !last) {
		last = m->python->at[m->next].entry;
		add_python(m);
	}
}

static uint32_t count_groups(const struct sw_frames *python)
{
	uint32_t groups = 0;

	for (uint32_t i = 0; i < python->count; i++)
		groups += python->at[i].entry;
	return groups;
}

/* How many native frames are of this chain of Python's, and how many of those run it. */
static uint32_t count_runs(const struct sw_eval *eval, const struct sw_native_stack *native,
			   uint32_t *ret_count)
{
	uint32_t runs = 0, i;

	for (i = 0; i < native->count; i++) {
		if (runs && sw_span_has(&eval->switches, native->pc[i]))
			break;
		runs += sw_eval_has(eval, native->pc[i]);
	}
	*ret_count = i;
	return runs;
}

static void add_all(struct merging *m, const struct sw_eval *eval,
		    const struct sw_native_stack *native, uint32_t count, bool surplus)
{
	for (uint32_t i = 0; i < count; i++) {
		if (!sw_eval_has(eval, native->pc[i]))
			add_native(m->stack, native->pc[i]);
		else if (surplus)
			surplus = false;
		else
			add_group(m);
	}
}

static void add_leaves(struct merging *m, const struct sw_eval *eval,
		       const struct sw_native_stack *native, bool met)
{
	struct sw_stack_frame *gap;

	for (uint32_t i = 0; i < native->count && !sw_eval_has(eval, native->pc[i]); i++)
		add_native(m->stack, native->pc[i]);
	gap = met ? NULL : add(m->stack, SW_STACK_NOTE);
	if (gap)
		gap->note = SW_MERGE_GAP;
	while (m->next < m->python->count)
		add_python(m);
}

static enum sw_merged merge_both(struct merging *m, const struct sw_eval *eval,
				 const struct sw_native_stack *native)
{
	const struct sw_frames *python = m->python;
	uint32_t count, runs = count_runs(eval, native, &count), groups = count_groups(python);
	/* A greenlet's ends where it was started, however far the rest was read. */
	bool whole = (!sw_native_is_cut(native) || count < native->count) && !python->cut &&
		     python->at[python->count - 1].entry;

	if (whole && (runs == groups || runs == groups + 1)) {
		add_all(m, eval, native, count, runs > groups);
		return SW_MERGED_WHOLE;
	}
	if (!whole) {
		add_leaves(m, eval, native, runs > 0);
		m->stack->cut |= python->cut;
		sw_count(PROFILE_LEAVES);
		return SW_MERGED_LEAVES;
	}
	while (m->next < python->count)
		add_python(m);
	sw_count(PROFILE_UNMERGED);
	return SW_MERGED_PYTHON;
}

enum sw_merged sw_merge(const struct sw_eval *eval, const struct sw_frames *python,
			const struct sw_native_stack *native, struct sw_stack *ret_stack)
{
	struct merging m = {python, ret_stack, 0};

	ret_stack->count = 0;
	ret_stack->cut = false;
	if (python && python->count)
		return merge_both(&m, eval, native);
	for (uint32_t i = 0; i < native->count; i++)
		add_native(ret_stack, native->pc[i]);
	if (sw_native_is_cut(native)) {
		ret_stack->cut = true;
		sw_count(PROFILE_LEAVES);
	}
	return SW_MERGED_WHOLE;
}
