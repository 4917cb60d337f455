/* Header fields as they may come: known ones, repeated ones, any bytes; and their text. */
#pragma once

#include "preload/bytes.h"
#include "tests/proto/h2_log.h"

#define FIELDS_MAX 12
#define FIELD_TEXT 512

struct random_field {
	uint8_t text[FIELD_TEXT];
	struct sw_bytes name, value;
};

static inline struct sw_bytes random_name(uint32_t *random, uint8_t *at)
{
	static const char *const names[] = {
		":authority",	 ":method",	 ":path",	 ":scheme",	 ":status",
		"accept",	 "content-type", "date",	 "etag",	 "via",
		"set-cookie",	 "user-agent",	 "te",		 "grpc-timeout", "grpc-status",
		"grpc-encoding", "grpc-message", "x-request-id", "sw8",		 "sw8-correlation"};
	uint32_t choice = h2_random(random) % (SW_COUNT_OF(names) + 3);
	size_t len = 1 + h2_random(random) % (choice & 1 ? 3 : 40);

	if (choice < SW_COUNT_OF(names))
		return sw_bytes_text(names[choice]);
	for (size_t i = 0; i < len; i++)
		at[i] = (uint8_t)('a' + h2_random(random) % (choice & 1 ? 3 : 26));
	return sw_bytes(at, len);
}

static inline struct sw_bytes random_value(uint32_t *random, uint8_t *at)
{
	static const char *const values[] = {"GET",
					     "POST",
					     "/",
					     "/index.html",
					     "http",
					     "https",
					     "200",
					     "204",
					     "404",
					     "307",
					     "",
					     "application/grpc",
					     "trailers",
					     "gzip, deflate",
					     "0",
					     "1000000u",
					     "Mon, 21 Oct 2013 20:13:21 GMT",
					     "/skywalking.v3.TraceSegmentReportService/collect"};
	uint32_t choice = h2_random(random) % (SW_COUNT_OF(values) + 6);
	size_t len = h2_random(random) % (choice & 1 ? 20 : 400);

	if (choice < SW_COUNT_OF(values))
		return sw_bytes_text(values[choice]);
	for (size_t i = 0; i < len; i++)
		at[i] = (uint8_t)(choice & 2 ? h2_random(random)
					     : (uint32_t)' ' + h2_random(random) % 95);
	return sw_bytes(at, len);
}

static inline void random_field(uint32_t *random, struct random_field *ret_field)
{
	ret_field->name = random_name(random, ret_field->text);
	ret_field->value = random_value(random, ret_field->text + 64);
}

/* One of 0, small, 4096, 65536 and anything. */
static inline uint32_t random_table_size(uint32_t *random)
{
	uint32_t any = h2_random(random);

	switch (h2_random(random) % 6) {
	case 0:
		return 0;
	case 1:
		return any % 200;
	case 2:
		return 65536;
	case 3:
		return any % 65537;
	default:
		return 4096;
	}
}

static inline void add_bytes(struct text *t, struct sw_bytes bytes)
{
	text_room(t, bytes.len);
	if (bytes.len)
		memcpy(t->at + t->len, bytes.at, bytes.len);
	t->len += bytes.len;
}

static inline void add_field(struct text *t, struct sw_bytes name, struct sw_bytes value)
{
	add_bytes(t, name);
	add_bytes(t, SW_BYTES("="));
	add_bytes(t, value);
	add_bytes(t, SW_BYTES("\n"));
}
