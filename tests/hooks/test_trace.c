/* Spans: contexts in and out, filters, what an ending Entry does to its Exits. */
#include <criterion/criterion.h>
#include <pthread.h>
#include <unistd.h>

#include "hooks/ended.h"
#include "hooks/trace.h"
#include "preload/config.h"
#include "preload/counters.h"
#include "preload/module.h"
#include "preload/record.h"
#include "preload/ring.h"
#include "preload/sys.h"

#define SW8 "1-dHJhY2U=-c2VnbWVudA==-3-c3Zj-aW5z-L2Vw-YTox"

static struct sw_guest *g;
static struct sw_record_span seen[8];
static unsigned seen_count;

static void take(void *arg, const struct sw_record *record)
{
	(void)arg;
	if (seen_count < 8)
		seen[seen_count++] = *(const struct sw_record_span *)record;
}

static void setup(void)
{
	sw_config_read(NULL, &sw_config);
	cr_assert(sw_modules_start());
	atomic_store(&sw_armed, true);
	g = sw_guest_enter();
	cr_assert_not_null(g);
	seen_count = 0;
}

TestSuite(trace, .init = setup);

static struct sw_request request(const char *operation, const char *sw8)
{
	return (struct sw_request){
		.layer = SW_LAYER_HTTP,
		.method = SW_BYTES("GET"),
		.operation = sw_bytes_text(operation),
		.carrier = sw_bytes_text(sw8),
	};
}

static sw_ref entry(const char *operation, const char *sw8)
{
	struct sw_request r = request(operation, sw8);
	struct sw_begin begin = {&r, 49, sw_clock_ns(CLOCK_MONOTONIC), SW_BYTES("1.2.3.4:5")};

	return sw_trace_entry(g, &begin);
}

static sw_ref call(sw_ref of, const char *operation, bool *ret_suppressed)
{
	struct sw_request r = request(operation, NULL);
	struct sw_begin begin = {&r, 49, sw_clock_ns(CLOCK_MONOTONIC), SW_BYTES("shop:80")};

	return sw_trace_exit(g, of, &begin, ret_suppressed);
}

static const char *carrier_of(sw_ref exit)
{
	static char text[4096];
	struct sw_writer w = sw_writer(text, sizeof(text) - 1);

	memset(text, 0, sizeof(text));
	sw_trace_carrier(exit, &w);
	return text;
}

static unsigned drain(void)
{
	seen_count = 0;
	return sw_ring_drain(take, NULL);
}

Test(trace, an_entry_is_one_record)
{
	sw_ref e = entry("/a", NULL);

	cr_assert(e && sw_trace_open(e));
	cr_assert_eq(drain(), 0);
	sw_trace_answer(e, &(struct sw_response){.status = 200});
	sw_trace_end(g, e, SW_ENDING_WHOLE);
	cr_assert_not(sw_trace_open(e));
	cr_assert_eq(drain(), 1);
	cr_assert_eq(seen[0].status, 200);
	cr_assert_eq(seen[0].parent, -1);
	cr_assert_eq(seen[0].flags, 0);
}

Test(trace, a_call_carries_the_trace_of_its_request)
{
	bool suppressed;
	sw_ref e = entry("/a", SW8), x = call(e, "/b", &suppressed);

	cr_assert_not(suppressed);
	cr_assert_eq(strncmp(carrier_of(x), "sw8: 1-dHJhY2U=-", 16), 0);
	cr_assert_not_null(strstr(carrier_of(x), "-1-")); /* span 1 */
	cr_assert_not_null(
		strstr(carrier_of(x), "-L2E=-c2hvcDo4MA==\r\n")); /* Entry's operation, peer */
	cr_assert_not_null(strstr(carrier_of(x), "\r\nsw8-correlation: \r\n"));
	sw_trace_end(g, x, SW_ENDING_WHOLE);
	sw_trace_end(g, e, SW_ENDING_WHOLE);
	cr_assert_eq(drain(), 2);
	cr_assert_eq(seen[0].segment.low, seen[1].segment.low);
	cr_assert_eq(seen[1].exits, 1);
}

Test(trace, an_entry_closes_the_calls_that_are_open)
{
	bool suppressed;
	sw_ref e = entry("/a", NULL), x = call(e, "/b", &suppressed);

	sw_trace_end(g, e, SW_ENDING_WHOLE);
	cr_assert_not(sw_trace_open(x));
	sw_trace_end(g, x, SW_ENDING_WHOLE); /* too late: nothing twice */
	cr_assert_eq(drain(), 2);
	cr_assert(seen[0].flags & SW_SPAN_UNFINISHED);
	cr_assert_eq(seen[1].exits, 1);
}

Test(trace, a_call_of_nobody_is_a_segment_of_its_own)
{
	bool suppressed;
	sw_ref x = call(0, "/b", &suppressed);

	cr_assert_eq(strncmp(carrier_of(x), "sw8: 1-", 7), 0);
	sw_trace_end(g, x, SW_ENDING_CUT);
	cr_assert_eq(drain(), 1);
	cr_assert_eq(seen[0].flags, SW_SPAN_ALONE | SW_SPAN_ERROR);
	cr_assert_eq(seen[0].span, 0);
}

Test(trace, suppressed_and_malformed_callers_are_honoured)
{
	const char *carriers[] = {"1-------", "0-dHJhY2U=-c2VnbWVudA==-3-c3Zj-aW5z-L2Vw-YTox",
				  "nonsense", "1-a-b-c-d-e-f-g"};

	for (size_t i = 0; i < SW_COUNT_OF(carriers); i++) {
		bool suppressed;
		sw_ref e = entry("/a", carriers[i]), x = call(e, "/b", &suppressed);

		cr_assert_eq(x, 0);
		cr_assert(suppressed);
		cr_assert_str_eq(carrier_of(0), "sw8: 1-------\r\nsw8-correlation: \r\n");
		sw_trace_end(g, e, SW_ENDING_WHOLE);
		cr_assert_eq(drain(), 0, "%s", carriers[i]);
	}
}

Test(trace, filters_suppress_what_is_below)
{
	bool suppressed;
	sw_ref e;

	sw_config.ignore_suffix = ".png";
	e = entry("/logo.png", NULL);
	call(e, "/b", &suppressed);
	cr_assert(suppressed);
	sw_trace_end(g, e, SW_ENDING_WHOLE);
	cr_assert_eq(drain(), 0);
}

Test(trace, a_callers_decision_beats_sampling)
{
	sw_config.sample_per_3s = 1;
	for (int i = 0; i < 4; i++)
		sw_trace_end(g, entry("/a", NULL), SW_ENDING_WHOLE);
	cr_assert_leq(drain(), 2); /* 1, or 2 across the border of two windows */
	for (int i = 0; i < 4; i++)
		sw_trace_end(g, entry("/a", SW8), SW_ENDING_WHOLE);
	cr_assert_eq(drain(), 4);
}

Test(trace, the_span_limit_marks_the_segment)
{
	bool suppressed;
	sw_ref e, x;

	sw_config.span_limit = 2;
	e = entry("/a", NULL);
	x = call(e, "/b", &suppressed);
	sw_trace_end(g, x, SW_ENDING_WHOLE);
	cr_assert_eq(call(e, "/c", &suppressed), 0);
	cr_assert(suppressed);
	sw_trace_end(g, e, SW_ENDING_WHOLE);
	cr_assert_eq(drain(), 2);
	cr_assert(seen[1].flags & SW_SPAN_LIMITED);
}

Test(trace, a_forwarded_carrier_finds_its_one_request)
{
	sw_ref a = entry("/a", SW8), b;

	cr_assert_eq(sw_trace_entry_of_carrier(SW_BYTES(SW8)), a);
	b = entry("/b", SW8);
	cr_assert_eq(sw_trace_entry_of_carrier(SW_BYTES(SW8)), 0); /* two: no guess */
	sw_trace_end(g, a, SW_ENDING_WHOLE);
	cr_assert_eq(sw_trace_entry_of_carrier(SW_BYTES(SW8)), b);
	sw_trace_end(g, b, SW_ENDING_WHOLE);
	cr_assert_eq(sw_trace_entry_of_carrier(SW_BYTES(SW8)), 0);
}

Test(trace, the_pool_has_an_end_and_says_so)
{
	uint64_t before = sw_counter_read(SW_COUNTER_SPAN_POOL);
	unsigned open = 0;

	while (open < 5000 && entry("/a", NULL))
		open++;
	cr_assert_eq(open, sw_config.requests_max);
	cr_assert_eq(sw_counter_read(SW_COUNTER_SPAN_POOL), before + 1);
}

Test(trace, a_carrier_of_the_greatest_length_survives)
{
	static char sw8[2048];
	size_t len;

	memset(sw8, 0, sizeof(sw8));
	strcpy(sw8, "1-dHJhY2U=-c2VnbWVudA==-3-c3Zj-aW5z-L2Vw-");
	len = strlen(sw8);
	memset(sw8 + len, 'A', 2000 - len);
	sw_trace_end(g, entry("/a", sw8), SW_ENDING_WHOLE);
	cr_assert_eq(drain(), 1);
	cr_assert_geq(seen[0].text, 2000);
}

Test(trace, a_carrier_too_long_is_malformed)
{
	static char sw8[4000];
	size_t len;

	memset(sw8, 0, sizeof(sw8));
	strcpy(sw8, "1-dHJhY2U=-c2VnbWVudA==-3-c3Zj-aW5z-L2Vw-");
	len = strlen(sw8);
	memset(sw8 + len, 'A', sizeof(sw8) - 1 - len);
	sw_trace_end(g, entry("/a", sw8), SW_ENDING_WHOLE);
	cr_assert_eq(drain(), 0);
}

/* ---- after the response ---- */

static sw_ref ended(const char *operation, const char *sw8)
{
	sw_ref e = entry(operation, sw8);

	sw_trace_end(g, e, SW_ENDING_WHOLE);
	drain();
	return e;
}

Test(trace, a_late_call_goes_on_with_the_trace)
{
	bool suppressed;
	sw_ref x = call(ended("/a", SW8), "/b", &suppressed);

	cr_assert(x && !suppressed);
	cr_assert_eq(strncmp(carrier_of(x), "sw8: 1-dHJhY2U=-", 16), 0);
	cr_assert_not_null(strstr(carrier_of(x), "-0-")); /* the first span of its own segment */
	cr_assert_not_null(strstr(carrier_of(x), "-L2E=-c2hvcDo4MA==\r\n"));
	sw_trace_end(g, x, SW_ENDING_WHOLE);
	cr_assert_eq(drain(), 1);
	cr_assert_eq(seen[0].flags, SW_SPAN_ALONE | SW_SPAN_LATE);
	cr_assert_eq(seen[0].parent, -1);
}

Test(trace, a_late_call_of_a_trace_begun_here_has_its_id)
{
	static char first[4096];
	bool suppressed;
	sw_ref e = entry("/a", NULL), early = call(e, "/b", &suppressed), late;
	size_t trace;

	strcpy(first, carrier_of(early));
	trace = strcspn(first + 7, "-");
	sw_trace_end(g, early, SW_ENDING_WHOLE);
	sw_trace_end(g, e, SW_ENDING_WHOLE);
	late = call(e, "/c", &suppressed);
	cr_assert_gt(trace, 20);
	cr_assert_eq(strncmp(first, carrier_of(late), 7 + trace + 1), 0);
}

Test(trace, a_late_call_of_an_untraced_request_is_none)
{
	bool suppressed;

	cr_assert_eq(call(ended("/a", "1-------"), "/b", &suppressed), 0);
	cr_assert(suppressed);
}

static void is_alone(sw_ref of, const char *why)
{
	bool suppressed;
	sw_ref x = call(of, "/b", &suppressed);

	cr_assert(x && !suppressed, "%s", why);
	cr_assert_neq(strncmp(carrier_of(x), "sw8: 1-dHJhY2U=-", 16), 0, "%s", why);
	sw_trace_end(g, x, SW_ENDING_WHOLE);
	cr_assert_eq(drain(), 1);
	cr_assert_eq(seen[0].flags, SW_SPAN_ALONE, "%s", why);
}

Test(trace, too_late_is_alone)
{
	sw_ref e;

	sw_config.context_linger_ms = 1;
	e = ended("/a", SW8);
	usleep(5000);
	is_alone(e, "its time is over");
	sw_config.context_linger_ms = 0;
	is_alone(ended("/a", SW8), "nothing is to linger");
}

Test(trace, what_is_forgotten_is_alone)
{
	sw_ref e = ended("/a", SW8);

	for (int i = 0; i <= SW_ENDED_MAX; i++)
		ended("/b", NULL);
	is_alone(e, "as many have ended since");
}

Test(trace, another_process_does_not_go_on)
{
	sw_ref e = ended("/a", SW8);

	atomic_fetch_add(&sw_process_births, 1);
	is_alone(e, "a fork");
}

Test(trace, what_does_not_fit_is_not_remembered)
{
	static char sw8[700];
	size_t len;

	memset(sw8, 0, sizeof(sw8));
	strcpy(sw8, "1-dHJhY2U=-c2VnbWVudA==-3-c3Zj-aW5z-L2Vw-YTox");
	len = sizeof(sw8) - 1;
	for (size_t i = 0; i < len; i++)
		sw8[i] = sw8[i] ? sw8[i] : 'A';
	struct sw_request r = request("/a", SW8);
	struct sw_begin begin = {&r, 49, sw_clock_ns(CLOCK_MONOTONIC), SW_BYTES("1.2.3.4:5")};
	sw_ref e;

	r.correlation = sw_bytes(sw8, SW_ENDED_TEXT);
	e = sw_trace_entry(g, &begin);
	sw_trace_end(g, e, SW_ENDING_WHOLE);
	drain();
	is_alone(e, "half of it would be a lie");
}

/* ---- two threads ---- */

#define ROUNDS 20000

static sw_ref raced;
static pthread_barrier_t gate;

static void *ends_the_call(void *none)
{
	struct sw_guest *mine = sw_guest_enter();

	for (int i = 0; i < ROUNDS; i++) {
		pthread_barrier_wait(&gate);
		sw_trace_end(mine, raced, SW_ENDING_WHOLE);
		pthread_barrier_wait(&gate);
	}
	mine->kick = false; /* the reporter would take the records before we count them */
	sw_guest_leave(mine);
	return none;
}

/* Whoever comes first: two records, and the Entry says that there is one besides its own. */
Test(trace, an_entry_and_its_call_end_at_once, .timeout = 60)
{
	pthread_t thread;
	bool suppressed;

	pthread_barrier_init(&gate, NULL, 2);
	pthread_create(&thread, NULL, ends_the_call, NULL);
	for (int i = 0; i < ROUNDS; i++) {
		sw_ref e = entry("/a", NULL);

		raced = call(e, "/b", &suppressed);
		pthread_barrier_wait(&gate);
		sw_trace_end(g, e, SW_ENDING_WHOLE);
		pthread_barrier_wait(&gate);
		cr_assert_eq(drain(), 2, "round %d", i);
		cr_assert_eq(seen[seen[0].type == SW_SPAN_ENTRY ? 0 : 1].exits, 1);
	}
	pthread_join(thread, NULL);
}
