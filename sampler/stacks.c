/* See stacks.h. */
#include "sampler/stacks.h"

#include "preload/config.h"
#include "sampler/eval.h"
#include "sampler/merge.h"
#include "sampler/native/native.h"

#define STACK_BYTES (32u << 10)

_Static_assert(SW_SHOT_REGISTERS == SW_NATIVE_REGISTERS, "what a shot has is what rows may need");

static bool wanted;
static const struct sw_eval *eval; /* as of this tick; NULL: native frames cannot be had */

void sw_stacks_begin(bool files)
{
	wanted = files && sw_config.profile_native;
}

uint32_t sw_stacks_wanted(void)
{
	return wanted ? STACK_BYTES : 0;
}

void sw_stacks_refresh(void)
{
	eval = wanted && sw_native_refresh() ? sw_eval_find() : NULL;
}

static void python_alone(const struct sw_frames *frames, struct sw_stack *ret_stack)
{
	ret_stack->count = frames->count;
	ret_stack->cut = frames->cut;
	for (uint32_t i = 0; i < frames->count; i++)
		ret_stack->at[i] =
			(struct sw_stack_frame){SW_STACK_PYTHON, .python = frames->at[i]};
}

void sw_stacks_of(const struct sw_sampled *thread, struct sw_stack *ret_stack)
{
	static struct sw_native_stack native;
	const struct sw_shot *shot = thread->shot;

	if (!eval || !shot || !shot->stack_len) {
		python_alone(&thread->frames, ret_stack);
		return;
	}
	sw_native_unwind(
		&(struct sw_native_registers){shot->pc, shot->sp, shot->fp, shot->lr,
					      .all = shot->told,
					      .others = shot->told ? shot->registers : NULL},
		&(struct sw_native_piece){shot->stack, shot->sp, shot->stack_len}, shot->time_ns,
		&native);
	sw_merge(eval, thread->state ? &thread->frames : NULL, &native, ret_stack);
}

void sw_stacks_clear(void)
{
	sw_native_forget_names();
}

void sw_stacks_forked(void)
{
	eval = NULL;
	sw_native_forked();
}
