/*
 * The agent with made records of all kinds: linked in place of management.c's tick (--wrap), so
 * that they are queued where those of the agent itself are, on our thread and within a turn.
 *
 * MADE=N queues the records of tests/proto/made.h N times, with the first heartbeat; none for 0.
 * The ids of events get that of the process behind them: an OAP keeps one event of an id.
 */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "proto/commands.h"
#include "reporter/reporter.h"
#include "reporter/say.h"
#include "tests/proto/made.h"

void __real_sw_management_tick(struct sw_agent *agent);
void __wrap_sw_management_tick(struct sw_agent *agent);

static int64_t now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	return now.tv_sec * 1000ll + now.tv_nsec / 1000000;
}

static void queue_logs(struct sw_agent *agent, int64_t now)
{
	for (size_t i = 0; i < SW_COUNT_OF(made_logs); i++) {
		struct sw_log log = made_logs[i];

		log.timestamp_ms = now;
		sw_reporter_log(agent, &log);
	}
}

static void queue_meters(struct sw_agent *agent, int64_t now)
{
	for (size_t i = 0; i < SW_COUNT_OF(made_meters); i++) {
		struct sw_meter meter = made_meters[i];

		meter.timestamp_ms = now;
		sw_reporter_meter(agent, &meter);
	}
	sw_queue_close(&agent->queue, SW_BATCH_METER);
}

static void queue_events(struct sw_agent *agent, int64_t now)
{
	for (size_t i = 0; i < SW_COUNT_OF(made_events); i++) {
		struct sw_event event = made_events[i];
		char uuid[64];

		snprintf(uuid, sizeof(uuid), "%s-%d", (const char *)event.uuid.at, (int)getpid());
		event.uuid = sw_bytes_text(uuid);
		event.start_ms = now;
		event.end_ms = event.end_ms ? now + 300 : 0;
		sw_reporter_event(agent, &event);
	}
}

static void queue_snapshots(struct sw_agent *agent, int64_t now)
{
	for (size_t i = 0; i < SW_COUNT_OF(made_snapshots); i++) {
		struct sw_snapshot snapshot = made_snapshots[i];

		snapshot.time_ms = now + 10 * (int64_t)i;
		sw_reporter_snapshot(agent, &snapshot);
	}
	sw_reporter_finish(agent, SW_BYTES(MADE_TASK));
}

/* Says what a collector has answered. */
static void say_commands(struct sw_agent *agent, struct sw_bytes commands)
{
	struct sw_bytes task = {NULL, 0};
	struct sw_command command;

	(void)agent;
	sw_say(SW_LEVEL_DEBUG, "made: an answer of %zu bytes", commands.len);
	while (sw_commands_next(&commands, &command)) {
		sw_command_arg(&command, "TaskId", &task);
		sw_say(SW_LEVEL_DEBUG, "made: %.*s %.*s", (int)command.name.len, command.name.at,
		       (int)task.len, task.at);
	}
}

void __wrap_sw_management_tick(struct sw_agent *agent)
{
	const char *times = getenv("MADE");
	static bool made;

	__real_sw_management_tick(agent);
	if (times && !made) {
		agent->take_commands = say_commands;
		sw_reporter_query(agent, 1234);
		sw_reporter_query(agent, 1234); /* one is on its way */
	}
	for (long n = made || !times ? 0 : strtol(times, NULL, 10); n > 0; n--) {
		queue_logs(agent, now_ms());
		queue_meters(agent, now_ms());
		queue_events(agent, now_ms());
		queue_snapshots(agent, now_ms());
	}
	made = true;
}
