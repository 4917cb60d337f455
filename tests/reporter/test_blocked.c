/* What is reported of a turn, in whatever order its records come, and how often: once. */
#include "reporter/blocked.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>

#include "preload/config.h"
#include "preload/counters.h"

#define TEXT "handler (app.py:3)\nmain (app.py:9)\n"

static struct sw_agent agent = {.sender = {"service", "instance"}};
static int logs, events;
static bool watched = true;
static char message[256], body[4096], trace[160], endpoint[160];
static int64_t begin_ms, end_ms;

static void copy(char *to, struct sw_bytes text)
{
	memcpy(to, text.at, text.len);
	to[text.len] = 0;
}

/* preload/process.c would bring the whole agent along. */
struct sw_id sw_process_trace_of(struct sw_id segment)
{
	segment.low |= 1ull << 63;
	return segment;
}

long sw_meters_read(const char *path, char *text, size_t room)
{
	cr_assert_str_eq(path, "/proc/self/task/1/comm");
	return snprintf(text, room, "worker\n");
}

bool sw_reporter_log(struct sw_agent *a, const struct sw_log *log)
{
	cr_assert_eq(a, &agent);
	logs++;
	copy(body, log->body);
	copy(trace, log->trace);
	copy(endpoint, log->endpoint);
	return true;
}

bool sw_reporter_event(struct sw_agent *a, const struct sw_event *event)
{
	(void)a;
	events++;
	copy(message, event->message);
	begin_ms = event->start_ms;
	end_ms = event->end_ms;
	cr_assert(event->uuid.len > 0);
	return true;
}

static void give(enum sw_blocked_what what, uint64_t turn, uint64_t ms, const char *trace64,
		 const char *operation, const char *stack)
{
	size_t text = strlen(trace64) + strlen(operation) + strlen(stack);
	size_t size = (sizeof(struct sw_record_blocked) + text + 7) & ~7ul;
	struct sw_record_blocked *record = calloc(1, size);
	char *at = (char *)(record + 1);

	*record = (struct sw_record_blocked){
		.record = {(uint32_t)size, SW_RECORD_BLOCKED},
		.turn = turn,
		.generation = 1,
		.loop = 3,
		.what = (uint8_t)what,
		.thread = 1,
		.start_ms = 5000,
		.lasted_ns = ms * 1000000,
		.text = (uint32_t)text,
		.trace = (uint16_t)strlen(trace64),
		.endpoint = (uint16_t)strlen(operation),
		.segment = {0, *operation ? 7 : 0},
		.watched_ns = watched ? ms * 1000000 : 0,
	};
	memcpy(at, trace64, strlen(trace64));
	memcpy(at + strlen(trace64), operation, strlen(operation));
	memcpy(at + strlen(trace64) + strlen(operation), stack, strlen(stack));
	sw_blocked_take(&agent, record);
	free(record);
}

static void caught(uint64_t turn)
{
	give(SW_BLOCKED_CAUGHT, turn, 130, "dHJhY2U=", "/hello", TEXT);
}

static void over(uint64_t turn, uint64_t ms)
{
	give(SW_BLOCKED_OVER, turn, ms, "", "", "");
}

static void setup(void)
{
	sw_config.loop_blocked_ms = 100;
	sw_config.log_active = true;
}

TestSuite(blocked, .init = setup);

Test(blocked, is_told_when_it_is_over)
{
	caught(1);
	cr_assert_eq(logs, 0, "its length is not known yet");
	over(1, 312);
	cr_assert_eq(logs, 1);
	cr_assert_eq(events, 1);
	cr_assert_str_eq(trace, "trace");
	cr_assert_str_eq(endpoint, "/hello");
	cr_assert(strstr(message, "worker/3 was blocked for 312 ms in handler (app.py:3)"), "%s",
		  message);
	cr_assert(strstr(body, "\nmain (app.py:9)"), "%s", body);
	cr_assert_eq(begin_ms, 5000);
	cr_assert_eq(end_ms, 5312);
	cr_assert_eq(sw_counter_read(SW_COUNTER_LOOP_BLOCKED), 1);
}

Test(blocked, that_goes_on_is_told_once)
{
	caught(1);
	give(SW_BLOCKED_STILL, 1, 640, "", "", "");
	cr_assert_eq(logs, 1);
	cr_assert(strstr(message, "so far"));
	cr_assert_eq(end_ms, 0);
	over(1, 5000);
	cr_assert_eq(logs, 1);
	caught(2);
	over(2, 200);
	cr_assert_eq(logs, 2, "the next is another");
}

Test(blocked, without_a_catch_says_so)
{
	over(9, 150);
	cr_assert_eq(logs, 1);
	cr_assert(strstr(message, "found at its end"));
	cr_assert_str_eq(trace, "");
}

Test(blocked, that_was_looked_at_and_not_seen_was_a_stopped_process)
{
	over(9, 30000);
	cr_assert_eq(logs, 0);
	cr_assert_eq(sw_counter_read(SW_COUNTER_LOOP_STOPPED), 1);
}

Test(blocked, that_nobody_looked_at_is_told_whatever_its_length)
{
	watched = false;
	over(9, 30000);
	cr_assert_eq(logs, 1);
}

Test(blocked, of_another_turn_has_no_stack_of_this_one)
{
	caught(1);
	over(2, 150);
	cr_assert(strstr(message, "found at its end"));
	cr_assert_not(strstr(body, "handler"));
}

Test(blocked, whose_end_was_lost_is_told_with_the_next)
{
	caught(1);
	caught(2);
	cr_assert_eq(logs, 1);
	cr_assert(strstr(message, "130 ms so far"));
}

Test(blocked, that_is_caught_again_is_told_by_the_later_catch)
{
	give(SW_BLOCKED_CAUGHT, 1, 130, "dHJhY2U=", "/hello", "");
	caught(1);
	over(1, 300);
	cr_assert_eq(logs, 1);
	cr_assert(strstr(message, "in handler"));
}

Test(blocked, is_no_log_where_logs_are_not_wanted)
{
	sw_config.log_active = false;
	caught(1);
	over(1, 300);
	cr_assert_eq(logs, 0);
	cr_assert_eq(events, 1);
}

Test(blocked, is_told_at_the_end_of_the_process_and_not_again)
{
	caught(1);
	sw_blocked_finish(&agent);
	sw_blocked_finish(&agent);
	cr_assert_eq(logs, 1);
	over(1, 300);
	cr_assert_eq(logs, 1);
}

Test(blocked, with_a_trace_id_that_is_none_is_nobodys)
{
	give(SW_BLOCKED_CAUGHT, 1, 130, "not base64!", "/hello", TEXT);
	over(1, 300);
	cr_assert_eq(logs, 1);
	cr_assert_str_eq(trace, "");
}

Test(blocked, of_a_trace_of_our_own_bears_its_id)
{
	give(SW_BLOCKED_CAUGHT, 1, 130, "", "/hello", TEXT);
	over(1, 300);
	cr_assert_eq(strlen(trace), SW_ID_TEXT);
}

Test(blocked, in_the_parent_is_not_the_childs)
{
	caught(1);
	sw_blocked_forked();
	sw_blocked_finish(&agent);
	cr_assert_eq(logs, 0);
}
