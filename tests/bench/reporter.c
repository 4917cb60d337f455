/*
 * The reporter alone: segments straight into the ring, out over the transport that is configured.
 *
 * usage: reporter < COMMANDS
 *
 * Linked from the agent's archives without its hooks, so nothing is traced but what is put.
 * Commands, a line each:
 *
 *   put COUNT RATE    puts COUNT segments, RATE in a second, and waits until they have left;
 *                     answers with CPU nanoseconds of the puts and of all other threads
 *   status            answers with VmRSS in KB and the number of threads
 *   full              answers with the number of records that found no room
 *
 * A segment has an Entry, two Exits and eight tags; encoded it has 585 bytes when the service's
 * name has 14 and the instance's 32 (tests/bench/reporter.py).
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "preload/counters.h"
#include "preload/guard.h"
#include "preload/module.h"
#include "preload/ring.h"
#include "tests/proto/records.h"

#define BURST_NS 10000000ll
#define CALIBRATIONS 1000
#define SETTLE_NS 1300000000ll /* the last batch is at most a second old */

static struct made entry, first_exit, second_exit;
static long long clock_cost;

static long long clock_ns(clockid_t clock)
{
	struct timespec t;

	clock_gettime(clock, &t);
	return t.tv_sec * 1000000000ll + t.tv_nsec;
}

static void sleep_until(long long ns)
{
	struct timespec t = {(time_t)(ns / 1000000000), (long)(ns % 1000000000)};

	while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &t, NULL) != 0)
		;
}

/* ---- segments ---- */

static void make_exit(struct made *made, int32_t id, const char *operation, const char *url)
{
	made->span = (struct sw_record_span){
		.record = {.kind = SW_RECORD_SPAN},
		.span = id,
		.parent = 0,
		.component = 49,
		.status = 200,
		.type = SW_SPAN_EXIT,
		.layer = 3,
		.status_tag = SW_TAG_HTTP_STATUS_CODE,
	};
	made_field(made, SW_FIELD_OPERATION, 0, sw_bytes_text(operation));
	made_field(made, SW_FIELD_PEER, 0, SW_BYTES("stock.example.internal:8080"));
	made_tag(made, SW_TAG_HTTP_METHOD, "GET");
	made_tag(made, SW_TAG_HTTP_URL, url);
}

static void make_segment(void)
{
	make_exit(&first_exit, 1, "/items/lamp", "http://stock.example.internal:8080/items/lamp");
	make_exit(&second_exit, 2, "/vouchers/today", "http://stock.example.internal/vouchers");
	second_exit.span.status_tag = SW_TAG_COUNT; /* eight tags in all */
	entry.span = (struct sw_record_span){
		.record = {.kind = SW_RECORD_SPAN},
		.parent = -1,
		.exits = 2,
		.component = 49,
		.status = 200,
		.type = SW_SPAN_ENTRY,
		.layer = 3,
		.status_tag = SW_TAG_HTTP_STATUS_CODE,
	};
	made_field(&entry, SW_FIELD_OPERATION, 0, SW_BYTES("/buy/lamp"));
	made_field(&entry, SW_FIELD_PEER, 0, SW_BYTES("10.20.30.40:50607"));
	made_tag(&entry, SW_TAG_HTTP_METHOD, "GET");
	made_tag(&entry, SW_TAG_HTTP_URL, "http://shop.example.org/buy/lamp");
}

/* As at the end of a hooked call. */
static void put_one(struct made *made, struct sw_id segment, long long now_ms)
{
	struct sw_guest *g = sw_guest_enter();

	if (!g)
		return;
	made->span.segment = segment;
	made->span.start_ms = now_ms - 3;
	made->span.end_ms = now_ms;
	sw_ring_put(g, &made->span.record, sizeof(made->span),
		    sw_bytes(made->text, made->span.text));
	sw_guest_leave(g);
}

static void put_segment(void)
{
	struct sw_id segment = sw_process_id_next();
	long long now_ms = clock_ns(CLOCK_REALTIME) / 1000000;

	put_one(&first_exit, segment, now_ms);
	put_one(&second_exit, segment, now_ms);
	put_one(&entry, segment, now_ms);
}

/* ---- commands ---- */

/* CPU nanoseconds that two looks at the clock take themselves. */
static long long clock_cost_ns(void)
{
	long long began = clock_ns(CLOCK_THREAD_CPUTIME_ID), now = began;

	for (int i = 0; i < CALIBRATIONS; i++)
		now = clock_ns(CLOCK_THREAD_CPUTIME_ID);
	return (now - began) / CALIBRATIONS;
}

static long long burst(long count)
{
	long long began = clock_ns(CLOCK_THREAD_CPUTIME_ID);

	for (long i = 0; i < count; i++)
		put_segment();
	return clock_ns(CLOCK_THREAD_CPUTIME_ID) - began - clock_cost;
}

/* Steadily: every 10 ms what is due by then. Returns CPU nanoseconds of the puts. */
static long long run(long count, long rate)
{
	long long began = clock_ns(CLOCK_MONOTONIC), used = 0;
	long done = 0;

	for (long long at = BURST_NS; done < count; at += BURST_NS) {
		long due = (long)((double)at / 1e9 * (double)rate);
		long now = (due < count ? due : count) - done;

		sleep_until(began + at);
		used += burst(now);
		done += now;
	}
	return used;
}

static long long others_ns(void)
{
	long long mine = clock_ns(CLOCK_THREAD_CPUTIME_ID);

	return clock_ns(CLOCK_PROCESS_CPUTIME_ID) - mine;
}

static void measure(long count, long rate)
{
	long long others = others_ns(), used = run(count, rate);

	sleep_until(clock_ns(CLOCK_MONOTONIC) + SETTLE_NS);
	printf("%lld %lld\n", used, others_ns() - others);
}

static void print_status(void)
{
	FILE *status = fopen("/proc/self/status", "re");
	long rss = 0, threads = 0;
	char line[256];

	while (status && fgets(line, sizeof(line), status)) {
		sscanf(line, "VmRSS: %ld", &rss);
		sscanf(line, "Threads: %ld", &threads);
	}
	if (status)
		fclose(status);
	printf("%ld %ld\n", rss, threads);
}

static void obey(const char *line)
{
	long count, rate;

	if (sscanf(line, "put %ld %ld", &count, &rate) == 2)
		measure(count, rate);
	else if (strncmp(line, "status", 6) == 0)
		print_status();
	else if (strncmp(line, "full", 4) == 0)
		printf("%" PRIu64 "\n", sw_counter_read(SW_COUNTER_RING_FULL));
	else
		exit(2);
	fflush(stdout);
}

int main(int argc, char **argv)
{
	char line[256];

	make_segment();
	clock_cost = clock_cost_ns();
	obey("status");
	if (!sw_modules_start() || !atomic_load(&sw_armed)) {
		fprintf(stderr, "reporter: the agent does not start\n");
		return 1;
	}
	for (int i = 1; i < argc; i++)
		obey(argv[i]);
	while (argc == 1 && fgets(line, sizeof(line), stdin))
		obey(line);
	return 0;
}
