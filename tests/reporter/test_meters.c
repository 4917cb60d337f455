/* Periods and readings: when sources are asked, and what of their readings becomes a record. The
 * sources are this test's own. */
#include <criterion/criterion.h>
#include <errno.h>
#include <math.h>

#include "preload/check.h"
#include "preload/config.h"
#include "preload/counters.h"
#include "reporter/meters.h"

#define SECOND 1000000000ull

static struct sw_agent agent;
static unsigned begun, collected;
static double value;

static void frame(struct sw_batch *batch, struct sw_bytes message)
{
	sw_buffer_add(&batch->bytes, message);
}

static const struct sw_transport transport = {.format = SW_FORMAT_JSON, .frame = frame};

static uint64_t readings(void)
{
	return sw_counter_read(SW_COUNTER_METER_PRODUCED);
}

static void begin(struct sw_agent *of)
{
	cr_assert_eq(of, &agent);
	begun++;
}

static void collect(struct sw_agent *of, struct sw_meter_sink *sink)
{
	cr_assert(of == &agent && sink->agent == &agent);
	collected++;
}

static void collect_own(struct sw_agent *of, struct sw_meter_sink *sink)
{
	struct sw_bytes label = SW_BYTES("records");

	collect(of, sink);
	sw_meters_put(sink, SW_METER_AGENT_COUNT, &label, value);
}

/* All of the table, of which one has a reading. */
#define SW_METER_SOURCE(source, active, doc)                                                       \
	const struct sw_meter_source sw_meters_##source = {                                        \
		.name = #source,                                                                   \
		.begin = begin,                                                                    \
		.collect = #source[0] == 'a' && #source[1] == 'g' ? collect_own : collect,         \
	};
#include "reporter/meter_sources.def"
#undef SW_METER_SOURCE

/* Those that a key switches on. */
static unsigned sources(const bool *key)
{
	unsigned count = 0;

#define SW_METER_SOURCE(source, active, doc) count += !key || &sw_config.active == key;
#include "reporter/meter_sources.def"
#undef SW_METER_SOURCE
	return count;
}

static void setup(void)
{
	sw_config.meter_active = sw_config.pvm_active = true;
	sw_config.protocol = SW_PROTOCOL_FILE;
	sw_config.meters_max = 100;
	sw_config.meter_period_s = 20;
	agent.now_ns = 5 * SECOND;
	agent.transport = &transport;
	agent.encoder = sw_encoder_new();
	agent.sender = (struct sw_sender){"service", "instance"};
	value = 7;
	atomic_store(&sw_armed, true);
}

TestSuite(meters, .init = setup);

static void tick(uint64_t now_s)
{
	agent.now_ns = now_s * SECOND;
	sw_meters_tick(&agent);
}

Test(meters, once_a_period)
{
	tick(5);
	cr_assert(begun == sources(NULL) && collected == 0);
	cr_assert_eq(agent.meters_ns, 25 * SECOND);
	tick(24);
	cr_assert_eq(collected, 0);
	tick(25);
	tick(26);
	cr_assert(collected == sources(NULL) && begun == sources(NULL));
	tick(200); /* it was suspended: no period is made up for */
	tick(201);
	cr_assert_eq(collected, 2 * sources(NULL));
	cr_assert_eq(agent.meters_ns, 220 * SECOND);
}

/* The agent is empty in the child of a fork, and begins anew. */
Test(meters, a_child_begins)
{
	tick(5);
	memset(&agent, 0, sizeof(agent));
	tick(6);
	cr_assert(begun == 2 * sources(NULL) && collected == 0);
}

Test(meters, switched_off)
{
	sw_config.meter_active = false;
	tick(5);
	tick(100000);
	cr_assert(begun == 0 && collected == 0 && agent.meters_ns == UINT64_MAX);
}

Test(meters, not_taken)
{
	sw_config.protocol = SW_PROTOCOL_HTTP;
	tick(5);
	tick(100000);
	cr_assert(begun == 0 && collected == 0 && agent.meters_ns == UINT64_MAX);
}

Test(meters, a_source_of_its_own_key)
{
	sw_config.pvm_active = false;
	tick(5);
	tick(25);
	cr_assert(sources(&sw_config.pvm_active) > 0);
	cr_assert_eq(collected, sources(NULL) - sources(&sw_config.pvm_active));
}

Test(meters, readings_have_the_names_of_their_row)
{
	struct sw_batch *batch;

	tick(5);
	tick(25);
	batch = sw_queue_take(&agent.queue);
	cr_assert(batch && batch->kind == SW_BATCH_METER && batch->count == 1, "closed: a stream");
	sw_buffer_add(&batch->bytes, sw_bytes("", 1));
	cr_assert(strstr((const char *)batch->bytes.at,
			 "{\"singleValue\":{\"name\":\"swagent_count\",\"labels\":"
			 "[{\"name\":\"counter\",\"value\":\"records\"}],\"value\":7}"));
	cr_assert(strstr((const char *)batch->bytes.at, "\"timestamp\":\""));
}

Test(meters, what_is_no_number_is_not_known)
{
	const double none[] = {NAN, INFINITY, -INFINITY};

	tick(5);
	for (size_t i = 0; i < SW_COUNT_OF(none); i++) {
		value = none[i];
		tick(25 + 20 * i);
	}
	cr_assert(collected == 3 * sources(NULL) && readings() == 0);
}

/* A mistake of ours disarms; it does not send what was never filled. */
Test(meters, values_without_their_labels)
{
	struct sw_meter_sink sink = {&agent, 1};

	sw_meters_put(&sink, SW_METER_AGENT_COUNT, NULL, 1);
	cr_assert(readings() == 0 && !atomic_load(&sw_armed));
}

Test(meters, files)
{
	char text[64];

	cr_assert_eq(sw_meters_read("/proc/self/no such file", text, sizeof(text)), -ENOENT);
	cr_assert_eq(sw_meters_read("/proc/self/status", text, sizeof(text)), sizeof(text) - 1);
	cr_assert_eq(strlen(text), sizeof(text) - 1);
	cr_assert_lt(sw_meters_read("/proc/self", text, sizeof(text)), 0, "a directory");
}
