/* The wire: the bytes that protobuf-c would make, and no message that we cannot say whole. */
#include <criterion/criterion.h>

#include "proto/event.pb-c.h"
#include "proto/meter.pb-c.h"
#include "proto/pack.h"
#include "proto/profile.pb-c.h"
#include "tests/proto/sample.h"

static struct sw_buffer out;

static void end(void)
{
	sw_buffer_free(&out);
}

TestSuite(pack, .fini = end);

static void same_as_theirs(const ProtobufCMessage *message)
{
	size_t len = protobuf_c_message_get_packed_size(message);
	uint8_t *theirs = malloc(len + 1);

	out.len = 0;
	cr_assert(sw_pack(message, &out));
	protobuf_c_message_pack(message, theirs);
	cr_assert_eq(out.len, len);
	cr_assert(len == 0 || memcmp(out.at, theirs, len) == 0);
	free(theirs);
}

Test(pack, doubles_and_choices)
{
	static const double values[] = {0, -0.0, 1, -1.5, 1e308, 5e-324};
	Skywalking__V3__MeterSingleValue single = SKYWALKING__V3__METER_SINGLE_VALUE__INIT;
	Skywalking__V3__MeterHistogram histogram = SKYWALKING__V3__METER_HISTOGRAM__INIT;
	Skywalking__V3__MeterData data = SKYWALKING__V3__METER_DATA__INIT;

	same_as_theirs(&data.base); /* nothing chosen */
	data.metric_case = SKYWALKING__V3__METER_DATA__METRIC_SINGLE_VALUE;
	data.single_value = &single;
	for (size_t i = 0; i < SW_COUNT_OF(values); i++) {
		single.value = values[i];
		same_as_theirs(&data.base);
	}
	data.metric_case = SKYWALKING__V3__METER_DATA__METRIC_HISTOGRAM;
	data.histogram = &histogram; /* empty, and there all the same */
	same_as_theirs(&data.base);
	cr_assert_eq(out.len, 2);
}

Test(pack, lists_of_texts_keep_the_empty_ones)
{
	char *texts[] = {"", "outer", "", "inner"};
	Skywalking__V3__ThreadStack stack = SKYWALKING__V3__THREAD_STACK__INIT;

	stack.n_code_signatures = SW_COUNT_OF(texts);
	stack.code_signatures = texts;
	same_as_theirs(&stack.base);
	cr_assert_eq(out.len, 4 * 2 + 5 + 5);
}

Test(pack, maps_and_messages_that_are_not_there)
{
	Skywalking__V3__Event__ParametersEntry one = SKYWALKING__V3__EVENT__PARAMETERS_ENTRY__INIT;
	Skywalking__V3__Event__ParametersEntry *list[] = {&one, &one};
	Skywalking__V3__Source source = SKYWALKING__V3__SOURCE__INIT;
	Skywalking__V3__Event event = SKYWALKING__V3__EVENT__INIT;

	same_as_theirs(&event.base);
	one.key = "key";
	one.value = "value";
	event.n_parameters = 2;
	event.parameters = list;
	event.source = &source;
	event.type = SKYWALKING__V3__TYPE__Error;
	event.start_time = -1;
	same_as_theirs(&event.base);
}

/* Lengths of one, two and three bytes: what follows moves. */
Test(pack, nested_lengths)
{
	static char text[40000];
	Skywalking__V3__Source source = SKYWALKING__V3__SOURCE__INIT;
	Skywalking__V3__Event event = SKYWALKING__V3__EVENT__INIT;

	event.source = &source;
	event.name = "after it";
	source.service = text;
	for (size_t len = 1; len < sizeof(text); len = len * 3 / 2 + 1) {
		memset(text, 'x', len);
		text[len] = '\0';
		same_as_theirs(&event.base);
	}
}

/* A field that we would leave out without a word must not be: the sample has all kinds. */
Test(pack, unknown_kinds_of_field_are_refused)
{
	struct sample sample = sample_of_nothing();

	sample.small_fixed = 7;
	cr_assert_not(sw_pack(&sample.base, &out));
}
