/*
 * Event loops as meters: preload/turns.h, read while their threads go on.
 *
 * The lag is what an event that becomes ready at a random moment waits for on the average until the
 * loop is free: half of each turn, weighted by the chance to fall into it; the sum of the squares
 * of the turns' lengths, by twice the time.
 */
#include "preload/turns.h"
#include "reporter/blocked.h"
#include "reporter/meters.h"

/* Of a loop, when it was last read. */
static struct last {
	uint32_t generation;
	uint64_t square, at_ns;
} last[SW_TURNS_MAX];

static void begin(struct sw_agent *agent)
{
	for (int i = 0; i < SW_TURNS_MAX; i++)
		last[i] = (struct last){0, 0, agent->now_ns};
}

static void put_lag(struct sw_agent *agent, struct sw_meter_sink *sink, const struct sw_bytes *name,
		    const struct sw_turns *t, struct last *l)
{
	uint32_t generation = atomic_load(&t->generation);
	uint64_t square = atomic_load(&t->square);
	double unit_ms = 1024.0 / 1e6, period_ms = (double)(agent->now_ns - l->at_ns) / 1e6;

	if (l->generation != generation)
		l->square = 0; /* it began in this period: the time before counts as free */
	if (period_ms > 0)
		sw_meters_put(sink, SW_METER_LOOP_LAG, name,
			      (double)(square - l->square) * unit_ms * unit_ms / (2 * period_ms));
	*l = (struct last){generation, square, agent->now_ns};
}

/* Those below the first bound are not counted by their threads: they are the rest. */
static void put_times(struct sw_meter_sink *sink, const struct sw_bytes *name,
		      const struct sw_turns *t)
{
	static const uint32_t bounds_ms[SW_TURNS_CLASSES] = SW_TURNS_BOUNDS;
	struct sw_bucket bucket[1 + SW_TURNS_CLASSES] = {{.least = 0}};
	int64_t slow = 0;

	for (int i = 0; i < SW_TURNS_CLASSES; i++) {
		bucket[1 + i] = (struct sw_bucket){.least = bounds_ms[i],
						   .count = (int64_t)atomic_load(&t->slow[i])};
		slow += bucket[1 + i].count;
	}
	/* After the others: a turn that ends meanwhile must not make it negative. */
	bucket[0].count = SW_MAX((int64_t)atomic_load(&t->turns) - slow, 0);
	sw_meters_put_buckets(sink, SW_METER_LOOP_TIME, name, bucket, SW_COUNT_OF(bucket));
}

static void put_loop(struct sw_agent *agent, struct sw_meter_sink *sink, uint32_t i)
{
	struct sw_turns *t = &sw_turns[i];
	uint8_t text[48];
	struct sw_writer w = sw_writer(text, sizeof(text));
	struct sw_bytes name;

	sw_blocked_loop_name(atomic_load(&t->tid), i, &w);
	name = sw_written(&w);
	sw_meters_put(sink, SW_METER_LOOP_BUSY, &name, (double)atomic_load(&t->busy_ns) / 1e6);
	sw_meters_put(sink, SW_METER_LOOP_LONGEST, &name, (double)sw_turns_take_longest(t) / 1e6);
	put_lag(agent, sink, &name, t, &last[i]);
	put_times(sink, &name, t);
}

static void collect(struct sw_agent *agent, struct sw_meter_sink *sink)
{
	sw_turns_sweep();
	for (uint32_t i = 0; i < atomic_load(&sw_turns_used); i++) {
		if (atomic_load(&sw_turns[i].tid) && atomic_load(&sw_turns[i].loop))
			put_loop(agent, sink, i);
	}
}

const struct sw_meter_source sw_meters_loops = {
	.name = "loops", .begin = begin, .collect = collect};
