/*
 * Stacks of suspended requests; see suspended.h.
 *
 * Notes are told apart by their addresses and live for ever, so those made of the names of types
 * are kept; a program that awaits more kinds of things than there is room for has one note for the
 * rest.
 */
#include "sampler/suspended.h"

#include "hooks/python/awaits.h"
#include "preload/bytes.h"
#include "sampler/threads.h"

#define NOTES 64
#define KEPT 8
#define READY "(ready)"
#define OTHER "(something else)"

static char notes[NOTES][SW_AWAITS_ON_MAX + 3];
static unsigned count;

/* While no thread runs, what is suspended stays so, and is not read again. */
static struct kept {
	sw_ref entry; /* 0: none */
	uint64_t moves;
	struct sw_stack stack;
} kept[KEPT];

static const char *note_of(const char *on)
{
	char text[SW_AWAITS_ON_MAX + 3];
	size_t len = strlen(on);

	if (!len)
		return READY;
	text[0] = '(';
	memcpy(text + 1, on, len);
	memcpy(text + 1 + len, ")", 2);
	for (unsigned i = 0; i < count; i++) {
		if (strcmp(notes[i], text) == 0)
			return notes[i];
	}
	if (count == NOTES)
		return OTHER;
	memcpy(notes[count], text, len + 3);
	return notes[count++];
}

static bool read_stack(sw_ref entry, bool (*wanted)(sw_ref entry), struct sw_stack *ret_stack)
{
	const struct sw_awaits *awaits = sw_awaits_of(entry, wanted);

	if (!awaits)
		return false;
	ret_stack->at[0] =
		(struct sw_stack_frame){.kind = SW_STACK_NOTE, .note = note_of(awaits->on)};
	for (uint32_t i = 0; i < awaits->frames.count; i++)
		ret_stack->at[i + 1] = (struct sw_stack_frame){.kind = SW_STACK_AWAIT,
							       .python = awaits->frames.at[i]};
	ret_stack->count = awaits->frames.count + 1;
	ret_stack->cut = awaits->frames.cut;
	return true;
}

const struct sw_stack *sw_suspended_of(sw_ref entry, bool (*wanted)(sw_ref entry))
{
	struct kept *one = &kept[entry % KEPT];

	if (one->entry == entry && one->moves == sw_threads_moves())
		return &one->stack;
	one->entry = 0;
	if (!read_stack(entry, wanted, &one->stack))
		return NULL;
	one->entry = entry;
	one->moves = sw_threads_moves();
	return &one->stack;
}

void sw_suspended_clear(void)
{
	sw_awaits_clear();
	for (unsigned i = 0; i < KEPT; i++)
		kept[i].entry = 0;
}
