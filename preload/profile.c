/* Where tasks and stacks are kept; see profile.h. */
#include "preload/profile.h"

#include <string.h>

#include "preload/sys.h"

_Atomic uint32_t sw_profile_current;
_Atomic uint32_t sw_profile_threads;
_Atomic uint32_t sw_profile_sampled;

/* The one before may still be looked at by a hook that is slow: it takes two new tasks to change
 * what it sees, and then its number has changed too. */
static struct sw_profile_task tasks[2];
static uint32_t last;

/* Positions count for ever; a record never wraps. Pairs: `written` is stored after a record is
 * whole, `read` after it is no longer looked at. */
struct ring {
	uint8_t *bytes; /* Owned, for ever */
	_Atomic uint64_t written, read;
};

/* What records of both rings begin with; kind 0 fills the rest of the ring. */
struct head {
	uint32_t size, kind;
};

static struct ring stacks, profiled;

static bool make_ring(struct ring *ring)
{
	if (!ring->bytes)
		ring->bytes = sw_sys_map(SW_PROFILE_RING_BYTES);
	return ring->bytes != NULL;
}

static struct head *at(struct ring *ring, uint64_t position)
{
	return (struct head *)(ring->bytes + position % SW_PROFILE_RING_BYTES);
}

static struct head *reserve(struct ring *ring, uint32_t size)
{
	uint64_t written = atomic_load(&ring->written), read = atomic_load(&ring->read);
	uint64_t end = SW_PROFILE_RING_BYTES - written % SW_PROFILE_RING_BYTES;
	uint64_t skip = size > end ? end : 0;

	if (!ring->bytes || written + skip + size - read > SW_PROFILE_RING_BYTES)
		return NULL;
	if (skip) {
		*at(ring, written) = (struct head){(uint32_t)skip, 0};
		atomic_store(&ring->written, written + skip);
	}
	at(ring, written + skip)->size = size;
	return at(ring, written + skip);
}

static void commit(struct ring *ring, uint32_t size)
{
	atomic_store(&ring->written, atomic_load(&ring->written) + size);
}

static void release(struct ring *ring, uint32_t size)
{
	atomic_store(&ring->read, atomic_load(&ring->read) + size);
}

static const struct head *oldest(struct ring *ring)
{
	uint64_t read = atomic_load(&ring->read);

	if (read != atomic_load(&ring->written) && !at(ring, read)->kind) {
		release(ring, at(ring, read)->size);
		read = atomic_load(&ring->read);
	}
	return read == atomic_load(&ring->written) ? NULL : at(ring, read);
}

/* ---- tasks ---- */

const struct sw_profile_task *sw_profile_task(uint32_t number)
{
	return &tasks[number & 1];
}

bool sw_profile_begin(const struct sw_profile_task *task)
{
	if (!make_ring(&stacks))
		return false;
	last = last + 1 ? last + 1 : 2;
	tasks[last & 1] = *task;
	atomic_store(&sw_profile_sampled, 0);
	atomic_store(&sw_profile_current, last);
	return true;
}

void sw_profile_end(void)
{
	atomic_store(&sw_profile_current, 0);
}

struct sw_profile_stack *sw_profile_reserve(uint32_t size)
{
	return (struct sw_profile_stack *)reserve(&stacks, size);
}

void sw_profile_commit(struct sw_profile_stack *stack)
{
	commit(&stacks, stack->size);
}

const struct sw_profile_stack *sw_profile_oldest(void)
{
	return (const struct sw_profile_stack *)oldest(&stacks);
}

void sw_profile_release(const struct sw_profile_stack *stack)
{
	release(&stacks, stack->size);
}

/* ---- of the whole process ---- */

_Atomic uint32_t sw_profile_whole_current;
_Atomic uint32_t sw_profile_whole_done;
struct sw_profile_counts sw_profile_counts;
const char *_Atomic sw_profile_why_not;

static struct sw_profile_whole whole;
static uint32_t last_whole;

uint32_t sw_profile_whole_begin(enum sw_profile_mode mode, uint64_t period_ns)
{
	if (!make_ring(&profiled))
		return 0;
	last_whole = last_whole + 1 ? last_whole + 1 : 1;
	whole = (struct sw_profile_whole){mode, period_ns, sw_clock_ns(CLOCK_MONOTONIC)};
	memset(&sw_profile_counts, 0, sizeof(sw_profile_counts));
	atomic_store(&profiled.read, atomic_load(&profiled.written));
	atomic_store(&sw_profile_whole_current, last_whole);
	return last_whole;
}

void sw_profile_whole_end(void)
{
	atomic_store(&sw_profile_whole_current, 0);
}

/* Pairs with the end of the sampler's thread, which writes what it has before it is not there. */
bool sw_profile_whole_over(uint32_t number)
{
	return atomic_load(&sw_profile_whole_done) == number || !atomic_load(&sw_profile_threads);
}

const struct sw_profile_whole *sw_profile_whole(void)
{
	return &whole;
}

struct sw_profiled *sw_profiled_reserve(uint32_t size, enum sw_profiled_kind kind)
{
	struct head *head = reserve(&profiled, size);

	if (head)
		head->kind = kind;
	return (struct sw_profiled *)head;
}

void sw_profiled_commit(struct sw_profiled *record)
{
	commit(&profiled, record->size);
}

const struct sw_profiled *sw_profiled_oldest(void)
{
	return (const struct sw_profiled *)oldest(&profiled);
}

void sw_profiled_release(const struct sw_profiled *record)
{
	release(&profiled, record->size);
}

static void empty(struct ring *ring)
{
	atomic_store(&ring->read, 0);
	atomic_store(&ring->written, 0);
}

void sw_profile_forked(void)
{
	atomic_store(&sw_profile_current, 0);
	atomic_store(&sw_profile_whole_current, 0);
	atomic_store(&sw_profile_threads, 0);
	empty(&stacks);
	empty(&profiled);
}
