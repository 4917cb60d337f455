/*
 * What we learned of peers; see shy.h. A small table by address, last one in wins a slot; a word
 * per peer, so that threads need no lock: a lost update costs one more head.
 */
#include "hooks/shy.h"

#include <stdatomic.h>

#include "preload/counters.h"

#define PEERS 256
/* This many refusals and no good answer make a peer shy. */
#define REFUSALS 2
#define TRUSTED 255

/* High half: hash of the peer; low byte: refusals, or TRUSTED. */
static _Atomic uint64_t peers[PEERS];

static uint32_t hash_of(const struct sw_talk *talk)
{
	uint64_t word[2], h;

	memcpy(word, talk->address, sizeof(word));
	h = (word[0] ^ talk->port) * 0x9e3779b97f4a7c15ull;
	h = (h ^ h >> 32 ^ word[1]) * 0x9e3779b97f4a7c15ull;
	return h >> 32 ? (uint32_t)(h >> 32) : 1;
}

static uint8_t state_of(uint32_t hash)
{
	uint64_t word = atomic_load_explicit(&peers[hash % PEERS], memory_order_relaxed);

	return word >> 32 == hash ? (uint8_t)word : 0;
}

static void set_state(uint32_t hash, uint8_t state)
{
	atomic_store_explicit(&peers[hash % PEERS], (uint64_t)hash << 32 | state,
			      memory_order_relaxed);
}

static bool is_refusal(uint32_t status)
{
	return status == 400 || status == 413 || status == 414 || status == 431;
}

bool sw_shy_allows(const struct sw_talk *talk)
{
	uint8_t state = state_of(hash_of(talk));

	return state < REFUSALS || state == TRUSTED;
}

void sw_shy_answered(const struct sw_talk *talk, bool injected, uint32_t status)
{
	uint32_t hash = hash_of(talk);
	uint8_t state = state_of(hash);

	if (state == TRUSTED || status == 0)
		return;
	if (injected != is_refusal(status)) {
		/* a good answer with our lines, or a refusal without: they are not to blame */
		set_state(hash, TRUSTED);
	} else if (injected && state < REFUSALS) {
		set_state(hash, ++state);
		if (state == REFUSALS)
			sw_count(PEER_SHY);
	}
}
