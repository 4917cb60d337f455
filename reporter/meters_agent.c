/* The agent's own accounts as meters: what it counted, what waits, what it costs. */
#include "preload/arena.h"
#include "preload/counters.h"
#include "preload/ring.h"
#include "preload/sys.h"
#include "reporter/meters.h"

static void put_counters(struct sw_meter_sink *sink)
{
	for (int i = 0; i < SW_COUNTER_COUNT; i++) {
		struct sw_bytes name = sw_bytes_text(sw_counter_names[i]);
		uint64_t n = sw_counter_read((enum sw_counter)i);

		if (n)
			sw_meters_put(sink, SW_METER_AGENT_COUNT, &name, (double)n);
	}
}

static void put_waiting(const struct sw_agent *agent, struct sw_meter_sink *sink)
{
	for (int kind = 0; kind < SW_BATCH_KINDS; kind++) {
		struct sw_bytes name = sw_bytes_text(sw_kinds[kind].name);

		/* those of this period are no backlog, and are in the midst of being made */
		if (sw_kinds[kind].counted && kind != SW_BATCH_METER)
			sw_meters_put(sink, SW_METER_AGENT_WAITING, &name,
				      agent->queue.messages[kind]);
	}
}

static void put_memory(const struct sw_agent *agent, struct sw_meter_sink *sink)
{
	const struct {
		struct sw_bytes of;
		uint64_t bytes;
	} parts[] = {
		{SW_BYTES("pools"), atomic_load(&sw_pools_touched)},
		{SW_BYTES("rings"), sw_ring_touched()},
		{SW_BYTES("batches"), agent->queue.bytes},
	};

	for (size_t i = 0; i < SW_COUNT_OF(parts); i++)
		sw_meters_put(sink, SW_METER_AGENT_MEMORY, &parts[i].of, (double)parts[i].bytes);
}

static void collect(struct sw_agent *agent, struct sw_meter_sink *sink)
{
	put_counters(sink);
	put_waiting(agent, sink);
	put_memory(agent, sink);
	sw_meters_put_tally(sink, SW_METER_AGENT_HOOKS, NULL, SW_TALLY_HOOK_NS, 1e6);
	sw_meters_put(sink, SW_METER_AGENT_CPU, NULL,
		      (double)sw_clock_ns(CLOCK_THREAD_CPUTIME_ID) / 1e6);
}

const struct sw_meter_source sw_meters_agent = {.name = "agent", .collect = collect};
