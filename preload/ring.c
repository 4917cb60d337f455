/*
 * Rings of records; see ring.h.
 *
 * Each ring is a power of two of bytes with a head (written by whoever holds the lock) and a tail
 * (written by the reporter). A record never wraps: a filler record leads back to the start. The
 * lock word is the holder's thread id: unique among living threads, and asked of the kernel when
 * the holder seems to be gone.
 */
#include "preload/ring.h"

#include <signal.h>

#include "preload/config.h"
#include "preload/counters.h"
#include "preload/module.h"
#include "preload/sys.h"

#define RINGS_MAX 16
#define RING_LEAST 8192
#define STUCK_TICKS 3

struct ring {
	_Atomic int lock;      /* thread id of the writer, 0: nobody writes */
	_Atomic uint64_t head; /* released after the record is whole; pairs with drain_ring */
	_Atomic uint64_t tail; /* released after the record is read; pairs with reserve */
	uint8_t *data;
	/* The reporter's own: how long the same writer has been seen inside. */
	int seen_lock;
	uint64_t seen_head;
	unsigned seen_ticks;
} __attribute__((aligned(128)));

_Atomic uint32_t sw_ring_reader;
_Atomic bool sw_ring_wanted;

#define SMALL 1024u

static struct ring rings[RINGS_MAX];
static uint64_t ring_size;
/* No room was found for what may fill half only; until the next drain. */
static _Atomic bool half_full;

static bool ring_start(void)
{
	uint64_t size = RING_LEAST;
	uint8_t *data;

	while (size * 2 * RINGS_MAX <= sw_config.ring_bytes)
		size *= 2;
	data = sw_sys_map(size * RINGS_MAX);
	if (!data)
		return false;
	for (unsigned i = 0; i < RINGS_MAX; i++)
		rings[i].data = data + i * size;
	ring_size = size;
	return true;
}

static bool try_lock(struct sw_guest *g, struct ring *ring)
{
	int free = 0;

	/* The guard says that we are not inside, so a lock in our name was left by a long jump,
	 * or by a dead thread whose id we were given. Nothing of it was published. */
	return atomic_compare_exchange_strong(&ring->lock, &free, sw_guest_tid(g)) ||
	       free == sw_guest_tid(g);
}

/* Room for `size` contiguous bytes among the first `most`, or NULL. Writes a filler when the end is
 * too near. */
static uint8_t *reserve(struct ring *ring, uint64_t *head, uint32_t size, uint64_t most)
{
	uint64_t used = *head - atomic_load_explicit(&ring->tail, memory_order_acquire);
	uint64_t to_end = ring_size - (*head & (ring_size - 1));
	uint64_t need = size <= to_end ? size : to_end + size;

	if (used > most || need > most - used)
		return NULL;
	if (size > to_end) {
		struct sw_record filler = {(uint32_t)to_end, SW_RECORD_FILLER};

		memcpy(ring->data + (*head & (ring_size - 1)), &filler, sizeof(filler));
		*head += to_end;
	}
	return ring->data + (*head & (ring_size - 1));
}

/* Must the reporter be told? The exchange that freed the lock orders this load after the record. */
static void consider_kick(struct sw_guest *g, uint64_t used)
{
	switch (atomic_load(&sw_ring_reader)) {
	case SW_READER_ABSENT:
	case SW_READER_LEFT:
	case SW_READER_IDLE:
		g->kick = true;
		break;
	case SW_READER_TICK:
		g->kick |= used > ring_size / 2;
		break;
	default:
		break;
	}
}

/* What is to be put. */
struct whole {
	const struct sw_record *head;
	size_t head_len;
	const struct sw_bytes *part;
	size_t parts;
};

static void write_record(struct ring *ring, uint8_t *room, uint64_t at, const struct whole *whole)
{
	memcpy(room, whole->head, whole->head_len);
	room += whole->head_len;
	for (size_t i = 0; i < whole->parts; i++) {
		if (whole->part[i].len)
			memcpy(room, whole->part[i].at, whole->part[i].len);
		room += whole->part[i].len;
	}
	atomic_store_explicit(&ring->head, at + whole->head->size, memory_order_release);
}

/* Into this ring, if nobody writes to it and there is room. */
static bool put_into(struct sw_guest *g, struct ring *ring, const struct whole *whole,
		     uint64_t most)
{
	const struct sw_record *head = whole->head;
	uint64_t at, used;
	uint8_t *room;

	if (!try_lock(g, ring))
		return false;
	at = atomic_load_explicit(&ring->head, memory_order_relaxed);
	room = reserve(ring, &at, head->size, most);
	if (room)
		write_record(ring, room, at, whole);
	used = at + head->size - atomic_load_explicit(&ring->tail, memory_order_relaxed);
	atomic_exchange(&ring->lock, 0);
	consider_kick(g, used);
	return room != NULL;
}

static bool put(struct sw_guest *g, const struct whole *whole, uint64_t most)
{
	for (uint32_t i = 0; i < RINGS_MAX; i++) {
		uint32_t at = (g->ring + i) % RINGS_MAX;

		if (put_into(g, &rings[at], whole, most)) {
			g->ring = at;
			sw_count(RECORDS);
			return true;
		}
	}
	return false;
}

static void want(void)
{
	if (!atomic_load_explicit(&sw_ring_wanted, memory_order_relaxed))
		atomic_store_explicit(&sw_ring_wanted, true, memory_order_relaxed);
}

bool sw_ring_put(struct sw_guest *g, struct sw_record *head, size_t head_len, struct sw_bytes text)
{
	const struct whole whole = {head, head_len, &text, 1};

	head->size = (uint32_t)((head_len + text.len + 7) & ~7ul);
	want();
	if (ring_size && SW_CHECK(head->size <= SW_RECORD_MAX) && put(g, &whole, ring_size))
		return true;
	sw_count(RING_FULL);
	return false;
}

bool sw_ring_put_some(struct sw_guest *g, struct sw_record *head, size_t head_len,
		      const struct sw_bytes *part, size_t parts, bool starts)
{
	const struct whole whole = {head, head_len, part, parts};
	size_t len = head_len;
	bool kick = g->kick, done;

	for (size_t i = 0; i < parts; i++)
		len += part[i].len;
	head->size = (uint32_t)((len + 7) & ~7ul);
	if (!ring_size || !SW_CHECK(head->size <= SW_RECORD_MAX) ||
	    atomic_load_explicit(&half_full, memory_order_relaxed))
		return false;
	done = put(g, &whole, ring_size / 2);
	if (!done && head->size <= SMALL) /* a large one says nothing of the others */
		atomic_store_explicit(&half_full, true, memory_order_relaxed);
	if (starts)
		want();
	else if (atomic_load(&sw_ring_reader) == SW_READER_ABSENT)
		g->kick = kick;
	return done;
}

static unsigned drain_ring(struct ring *ring, void (*take)(void *arg, const struct sw_record *r),
			   void *arg)
{
	uint64_t tail = atomic_load_explicit(&ring->tail, memory_order_relaxed);
	uint64_t head = atomic_load_explicit(&ring->head, memory_order_acquire);
	unsigned count = 0;

	while (tail != head) {
		const struct sw_record *record = (void *)(ring->data + (tail & (ring_size - 1)));

		if (!SW_CHECK(record->size >= sizeof(*record) && record->size <= head - tail)) {
			tail = head;
			break;
		}
		if (record->kind != SW_RECORD_FILLER) {
			take(arg, record);
			count++;
		}
		tail += record->size;
	}
	atomic_store_explicit(&ring->tail, tail, memory_order_release);
	return count;
}

unsigned sw_ring_drain(void (*take)(void *arg, const struct sw_record *record), void *arg)
{
	unsigned count = 0;

	for (unsigned i = 0; ring_size && i < RINGS_MAX; i++)
		count += drain_ring(&rings[i], take, arg);
	atomic_store_explicit(&half_full, false, memory_order_relaxed);
	return count;
}

bool sw_ring_waiting(void)
{
	for (unsigned i = 0; i < RINGS_MAX; i++) {
		if (atomic_load(&rings[i].head) != atomic_load(&rings[i].tail))
			return true;
	}
	return false;
}

uint64_t sw_ring_touched(void)
{
	uint64_t touched = 0;

	for (unsigned i = 0; ring_size && i < RINGS_MAX; i++) {
		uint64_t head = atomic_load_explicit(&rings[i].head, memory_order_relaxed);

		touched += SW_MIN(head, ring_size);
	}
	return touched;
}

static void sweep_ring(struct ring *ring)
{
	int lock = atomic_load(&ring->lock);
	uint64_t head = atomic_load(&ring->head);
	long pid;

	if (!lock || lock != ring->seen_lock || head != ring->seen_head) {
		ring->seen_lock = lock;
		ring->seen_head = head;
		ring->seen_ticks = 0;
		return;
	}
	if (++ring->seen_ticks < STUCK_TICKS)
		return;
	/* Only a thread that no longer exists: a living one may merely be waiting for a CPU. */
	pid = sw_sys(getpid);
	if (sw_sys(tgkill, pid, lock, 0) == -ESRCH)
		atomic_compare_exchange_strong(&ring->lock, &lock, 0);
	ring->seen_ticks = 0;
}

void sw_ring_sweep(void)
{
	for (unsigned i = 0; i < RINGS_MAX; i++)
		sweep_ring(&rings[i]);
}

/* What the parent's threads put is the parent's to report. */
static void ring_fork_child(void)
{
	for (unsigned i = 0; i < RINGS_MAX; i++) {
		atomic_store(&rings[i].lock, 0);
		atomic_store(&rings[i].tail, atomic_load(&rings[i].head));
	}
	atomic_store(&half_full, false);
	atomic_store(&sw_ring_wanted, false);
	atomic_store(&sw_ring_reader, SW_READER_ABSENT);
}

const struct sw_module sw_module_ring = {
	.name = "ring",
	.start = ring_start,
	.fork_child = ring_fork_child,
};
