/* Requests by endpoint and calls by peer: counted where they belong, and within a bound. */
#include "reporter/endpoints.h"

#include <criterion/criterion.h>
#include <stdio.h>

#include "preload/record.h"

struct span {
	struct sw_record_span record;
	uint8_t text[400];
};

static void add(struct span *span, enum sw_field_kind kind, const char *text)
{
	struct sw_field field = {.kind = kind, .len = (uint16_t)strlen(text)};

	memcpy(span->text + span->record.text, &field, sizeof(field));
	memcpy(span->text + span->record.text + sizeof(field), text, field.len);
	span->record.text += (uint32_t)(sizeof(field) + field.len);
}

static struct span span(enum sw_span_type type, const char *name, int64_t ms, uint8_t flags)
{
	struct span made = {
		.record = {.type = type, .start_ms = 1000, .end_ms = 1000 + ms, .flags = flags}};

	add(&made, SW_FIELD_TAG, "something");
	add(&made, type == SW_SPAN_ENTRY ? SW_FIELD_OPERATION : SW_FIELD_PEER, name);
	return made;
}

static void take(struct span *one)
{
	const struct sw_record_span *list[] = {&one->record};

	sw_endpoints_take(&(struct sw_segment){list, 1});
}

static void serve(const char *name, int64_t ms, uint8_t flags)
{
	struct span one = span(SW_SPAN_ENTRY, name, ms, flags);

	take(&one);
}

static const struct sw_endpoint *named(const struct sw_endpoint *(*list)(size_t), const char *name)
{
	const struct sw_endpoint *found;

	for (size_t i = 0; (found = list(i)); i++) {
		if (sw_bytes_equal(found->name, sw_bytes_text(name)))
			return found;
	}
	return NULL;
}

Test(endpoints, count_requests_errors_and_time)
{
	const struct sw_endpoint *a;

	serve("/a", 0, 0);
	serve("/a", 7, SW_SPAN_ERROR);
	serve("/b", 10000, 0);
	serve("/a", 3600000, 0);
	a = named(sw_endpoints_served, "/a");
	cr_assert_not_null(a);
	cr_assert_eq(a->count, 3);
	cr_assert_eq(a->errors, 1);
	cr_assert_eq(a->took[0], 1);
	cr_assert_eq(a->took[1], 1, "5 to 10 ms");
	cr_assert_eq(a->took[SW_ENDPOINT_CLASSES - 1], 1);
	cr_assert_eq(named(sw_endpoints_served, "/b")->took[SW_ENDPOINT_CLASSES - 1], 1);
	cr_assert_null(sw_endpoints_served(2));
	cr_assert_null(sw_endpoints_called(0));
}

Test(endpoints, a_clock_that_was_set_back_is_no_time)
{
	serve("/a", -5000, 0);
	cr_assert_eq(named(sw_endpoints_served, "/a")->took[0], 1);
}

Test(endpoints, each_span_of_a_segment_counts)
{
	struct span out = span(SW_SPAN_EXIT, "db:1", 5, 0), again = out;
	struct span in = span(SW_SPAN_ENTRY, "/a", 9, 0);
	const struct sw_record_span *list[] = {&out.record, &again.record, &in.record};

	sw_endpoints_take(&(struct sw_segment){list, 3});
	cr_assert_eq(named(sw_endpoints_called, "db:1")->count, 2);
	cr_assert_eq(named(sw_endpoints_served, "/a")->count, 1);
}

Test(endpoints, names_without_number_share_one_place)
{
	char name[32];
	uint64_t sum = 0;
	const struct sw_endpoint *found;
	size_t n = 0;

	for (int i = 0; i < 5000; i++) {
		snprintf(name, sizeof(name), "/user/%d", i);
		serve(name, 1, 0);
	}
	serve("/user/0", 1, 0);
	serve("/user/4999", 1, 0);
	for (; (found = sw_endpoints_served(n)); n++)
		sum += found->count;
	cr_assert_eq(n, SW_ENDPOINTS_MAX + 1);
	cr_assert_eq(sum, 5002, "nothing is lost");
	cr_assert_eq(named(sw_endpoints_served, "/user/0")->count, 2);
	cr_assert_eq(named(sw_endpoints_served, "other")->count, 5002 - SW_ENDPOINTS_MAX - 1);
}

Test(endpoints, one_without_a_name_is_another)
{
	serve("", 1, 0);
	cr_assert_eq(named(sw_endpoints_served, "other")->count, 1);
}

Test(endpoints, are_forgotten)
{
	serve("/a", 1, 0);
	sw_endpoints_forget();
	cr_assert_null(sw_endpoints_served(0));
	serve("/a", 1, 0);
	cr_assert_eq(named(sw_endpoints_served, "/a")->count, 1);
}
