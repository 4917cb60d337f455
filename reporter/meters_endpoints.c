/* Requests by endpoint and calls by peer as meters; see endpoints.h. */
#include "reporter/endpoints.h"
#include "reporter/meters.h"

struct ids {
	enum sw_meter_id count, errors, time;
};

static void put(struct sw_meter_sink *sink, const struct ids *ids,
		const struct sw_endpoint *endpoint)
{
	static const uint32_t bounds_ms[SW_ENDPOINT_CLASSES] = SW_ENDPOINT_BOUNDS;
	struct sw_bucket bucket[SW_ENDPOINT_CLASSES];

	for (int i = 0; i < SW_ENDPOINT_CLASSES; i++)
		bucket[i] = (struct sw_bucket){.least = bounds_ms[i],
					       .count = (int64_t)endpoint->took[i]};
	sw_meters_put(sink, ids->count, &endpoint->name, (double)endpoint->count);
	sw_meters_put(sink, ids->errors, &endpoint->name, (double)endpoint->errors);
	sw_meters_put_buckets(sink, ids->time, &endpoint->name, bucket, SW_ENDPOINT_CLASSES);
}

static void collect(struct sw_agent *agent, struct sw_meter_sink *sink)
{
	static const struct ids served = {SW_METER_ENDPOINT_COUNT, SW_METER_ENDPOINT_ERRORS,
					  SW_METER_ENDPOINT_TIME};
	static const struct ids called = {SW_METER_PEER_COUNT, SW_METER_PEER_ERRORS,
					  SW_METER_PEER_TIME};
	const struct sw_endpoint *endpoint;

	(void)agent;
	for (size_t i = 0; (endpoint = sw_endpoints_served(i)); i++)
		put(sink, &served, endpoint);
	for (size_t i = 0; (endpoint = sw_endpoints_called(i)); i++)
		put(sink, &called, endpoint);
}

static void begin(struct sw_agent *agent)
{
	(void)agent;
	sw_endpoints_forget();
}

const struct sw_meter_source sw_meters_endpoints = {
	.name = "endpoints", .begin = begin, .collect = collect};
