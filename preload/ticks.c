/*
 * Choosing and measuring the clock of ticks.h.
 *
 * The processor must say that its counter runs at one pace in all states (CPUID 8000_0007h, EDX bit
 * 8); hypervisors hide that bit where they cannot promise it. Elsewhere the vDSO does as well.
 */
#include "preload/ticks.h"

#if defined(__x86_64__)
#include <cpuid.h>
#endif

/* Two readings of both clocks are some 50 ns apart at worst: within a fifth of a percent then. */
#define LEAST_NS 25000u
#define REFINE_NS 1000000000u
/* A table that the guest trusts must not be wrong by an order: no processor is outside of this. */
#define SCALE_LEAST (1ull << 28) /* 16 GHz */
#define SCALE_MOST (1ull << 38)	 /* 15 MHz */

bool sw_ticks_counter;
_Atomic uint64_t sw_ticks_scale;

static uint64_t start_ticks, start_ns;

static bool even_counter(void)
{
#if defined(__x86_64__)
	unsigned a, b, c, d;

	return __get_cpuid(0x80000007, &a, &b, &c, &d) && (d >> 8 & 1);
#else
	return false;
#endif
}

void sw_ticks_start(void)
{
	sw_ticks_counter = even_counter();
	start_ns = sw_clock_ns(CLOCK_MONOTONIC);
	start_ticks = sw_ticks();
	if (!sw_ticks_counter)
		atomic_store(&sw_ticks_scale, 1ull << 32);
}

/* 0: too soon, or not to be believed. */
static uint64_t scale_since(uint64_t since_ticks, uint64_t since_ns, uint64_t least_ns)
{
	uint64_t ns = sw_clock_ns(CLOCK_MONOTONIC) - since_ns, ticks = sw_ticks() - since_ticks;
	double scale;

	if (ns < least_ns || (int64_t)ticks <= 0)
		return 0;
	scale = (double)ns / (double)ticks * 4294967296.0;
	return scale > SCALE_LEAST && scale < SCALE_MOST ? (uint64_t)scale : 0;
}

bool sw_ticks_known(void)
{
	uint64_t scale = atomic_load_explicit(&sw_ticks_scale, memory_order_relaxed);

	if (!scale) {
		scale = scale_since(start_ticks, start_ns, LEAST_NS);
		atomic_store_explicit(&sw_ticks_scale, scale, memory_order_relaxed);
	}
	return scale != 0;
}

static bool near(uint64_t a, uint64_t b)
{
	return (a > b ? a - b : b - a) < b / 100;
}

void sw_ticks_refine(void)
{
	static uint64_t since_ticks, since_ns, doubted;
	uint64_t old = atomic_load(&sw_ticks_scale);
	uint64_t scale = since_ns ? scale_since(since_ticks, since_ns, REFINE_NS) : 0;

	if (!sw_ticks_counter ||
	    (since_ns && !scale && sw_clock_ns(CLOCK_MONOTONIC) - since_ns < REFINE_NS))
		return;
	since_ns = sw_clock_ns(CLOCK_MONOTONIC);
	since_ticks = sw_ticks();
	if (scale && (!old || near(scale, old) || near(scale, doubted)))
		atomic_store(&sw_ticks_scale, scale);
	doubted = scale;
}
