/* Slots of profiled requests; see profile.h. */
#include "hooks/profile.h"

#include "hooks/trace.h"
#include "preload/config.h"

struct sw_profile_slot sw_profile_slots[SW_PROFILE_SLOTS];

bool sw_profile_over(struct sw_profile_slot *slot)
{
	uint64_t state = atomic_load(&slot->state);

	if (!state || state == SW_PROFILE_FILLING)
		return true;
	if (sw_trace_open(state))
		return false;
	atomic_compare_exchange_strong(&slot->state, &state, 0);
	return true;
}

/* Wanted by this task, which still is the current one. */
static bool wanted(uint32_t number, struct sw_bytes operation)
{
	const struct sw_profile_task *task = sw_profile_task(number);

	return number && sw_bytes_equal(operation, sw_bytes_text(task->endpoint)) &&
	       atomic_load(&sw_profile_sampled) < task->samples_max &&
	       atomic_load(&sw_profile_current) == number;
}

static unsigned count_used(void)
{
	unsigned used = 0;

	for (unsigned i = 0; i < SW_PROFILE_SLOTS; i++)
		used += !sw_profile_over(&sw_profile_slots[i]);
	return used;
}

static struct sw_profile_slot *take_slot(void)
{
	for (unsigned i = 0; i < SW_PROFILE_SLOTS; i++) {
		uint64_t free = 0;

		if (atomic_compare_exchange_strong(&sw_profile_slots[i].state, &free,
						   SW_PROFILE_FILLING))
			return &sw_profile_slots[i];
	}
	return NULL;
}

void sw_profile_entry(struct sw_guest *g, sw_ref entry, struct sw_id segment, uint64_t start_ns,
		      struct sw_bytes operation)
{
	uint32_t number = atomic_load(&sw_profile_current);
	struct sw_profile_slot *slot;

	operation = sw_bytes_slice(operation, 0, SW_PROFILE_ENDPOINT_MAX);
	if (!wanted(number, operation) || count_used() >= sw_config.profile_parallel)
		return;
	slot = take_slot();
	if (!slot)
		return;
	slot->task = number;
	slot->segment = segment;
	slot->start_ns = start_ns;
	slot->sequence = 0;
	atomic_store(&slot->state, entry);
	g->left = true; /* the sampler is needed */
}
