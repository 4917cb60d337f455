/*
 * SkyWalking's trace profiling (specification 4.1); see profiles.h.
 *
 * One task is carried out at a time, for the requests of one endpoint; others wait for their start.
 * What the sampler has taken waits in its ring until there is room in the queue, so that a burst
 * is not lost to a small SW_AGENT_PROFILE_SNAPSHOT_TRANSPORT_BUFFER_SIZE.
 */
#include "reporter/profiles.h"

#include "preload/config.h"
#include "preload/counters.h"
#include "preload/profile.h"
#include "preload/sys.h"
#include "proto/commands.h"
#include "reporter/reporter.h"
#include "reporter/say.h"

#define TASKS_MAX 8
#define SERIALS 64
#define FRAMES_MAX 512
#define MS 1000000ull
#define MINUTE_MS 60000
/* What has ended by then is not worth a question. */
#define FIRST_NS SW_SECOND_NS

struct waiting {
	struct sw_profile_task task;
	int64_t start_ms, end_ms; /* Unix time */
};

static struct {
	uint32_t births;   /* of this process: a child asks for itself */
	int64_t since_ms;  /* the latest CreateTime; -1: none yet */
	uint64_t query_ns; /* when it is asked next */
	uint64_t every_ns; /* and this long after the last time; 0: for the first time */
	struct waiting waiting[TASKS_MAX];
	unsigned count;
	struct waiting current;
	uint32_t number; /* of the current one, or the last; 0: none yet */
	bool running;
	uint64_t serials[SERIALS]; /* hashes of those that were seen last */
	unsigned serial_at;
} profiles = {.since_ms = -1};

static int64_t later_of(int64_t a, int64_t b)
{
	return a > b ? a : b;
}

static int64_t wall_ms(void)
{
	return (int64_t)(sw_clock_ns(CLOCK_REALTIME) / MS);
}

/* ---- what a collector wants ---- */

static uint64_t hash(struct sw_bytes text)
{
	uint64_t h = 0xcbf29ce484222325ull; /* FNV-1a */

	for (size_t i = 0; i < text.len; i++)
		h = (h ^ text.at[i]) * 0x100000001b3ull;
	return h | 1;
}

static bool seen_before(struct sw_bytes serial)
{
	uint64_t h = hash(serial);

	for (unsigned i = 0; i < SERIALS; i++) {
		if (profiles.serials[i] == h)
			return true;
	}
	profiles.serials[profiles.serial_at++ % SERIALS] = h;
	return false;
}

/* A text that is there, and fits. */
static bool read_text(const struct sw_command *c, const char *key, char *to, size_t room)
{
	struct sw_bytes text;

	if (!sw_command_arg(c, key, &text) || !text.len || text.len >= room)
		return false;
	memcpy(to, text.at, text.len);
	to[text.len] = '\0';
	return true;
}

static int64_t read_number(const struct sw_command *c, const char *key)
{
	int64_t number;

	return sw_command_number(c, key, &number) ? number : -1;
}

static bool between(int64_t n, int64_t least, int64_t most)
{
	return n >= least && n <= most;
}

/* The limits are OAP's own. */
static bool read_task(const struct sw_command *c, struct waiting *ret)
{
	int64_t minutes = read_number(c, "Duration");
	int64_t threshold_ms = read_number(c, "MinDurationThreshold");
	int64_t period_ms = read_number(c, "DumpPeriod");
	int64_t samples = read_number(c, "MaxSamplingCount");
	int64_t start_ms = read_number(c, "StartTime");

	if (!read_text(c, "EndpointName", ret->task.endpoint, sizeof(ret->task.endpoint)) ||
	    !read_text(c, "TaskId", ret->task.id, sizeof(ret->task.id)) ||
	    !between(minutes, 1, 15) || !between(threshold_ms, 0, INT32_MAX) ||
	    !between(period_ms, 10, INT32_MAX) || !between(samples, 1, 9))
		return false;
	ret->task.threshold_ns = (uint64_t)threshold_ms * MS;
	ret->task.period_ns = (uint64_t)period_ms * MS;
	ret->task.samples_max = (uint32_t)samples;
	ret->start_ms = later_of(start_ms, wall_ms());
	ret->end_ms = ret->start_ms + minutes * MINUTE_MS;
	return true;
}

static bool overlaps(const struct waiting *a, const struct waiting *b)
{
	return a->start_ms < b->end_ms && b->start_ms < a->end_ms;
}

static bool fits(const struct waiting *task)
{
	if (profiles.count == TASKS_MAX || (profiles.running && overlaps(task, &profiles.current)))
		return false;
	for (unsigned i = 0; i < profiles.count; i++) {
		if (overlaps(task, &profiles.waiting[i]))
			return false;
	}
	return true;
}

static void consider(const struct sw_command *command)
{
	struct waiting task;

	if (!read_task(command, &task)) {
		sw_say(SW_LEVEL_WARNING, "a profile task is not understood; it is left alone");
	} else if (!fits(&task)) {
		sw_say(SW_LEVEL_WARNING,
		       "the profile task %s is left alone: another is there at that time",
		       task.task.id);
	} else {
		profiles.waiting[profiles.count++] = task;
		sw_say(SW_LEVEL_DEBUG, "profile task %s for %s", task.task.id, task.task.endpoint);
	}
}

static void take_commands(struct sw_agent *a, struct sw_bytes commands)
{
	struct sw_command command;
	struct sw_bytes serial;

	(void)a;
	while (sw_commands_next(&commands, &command)) {
		if (!sw_bytes_equal(command.name, SW_BYTES("ProfileTaskQuery")))
			continue;
		profiles.since_ms =
			later_of(profiles.since_ms, read_number(&command, "CreateTime"));
		if (sw_command_arg(&command, "SerialNumber", &serial) && !seen_before(serial))
			consider(&command);
	}
}

/* ---- stacks ---- */

/* False: it is broken. */
static bool read_stack(const struct sw_profile_stack *stack, struct sw_bytes *frame)
{
	struct sw_bytes rest = sw_bytes(stack + 1, stack->size - sizeof(*stack));
	uint16_t len;

	if (!SW_CHECK(stack->frames <= FRAMES_MAX))
		return false;
	for (uint32_t i = 0; i < stack->frames; i++) {
		if (rest.len < sizeof(len))
			return false;
		memcpy(&len, rest.at, sizeof(len));
		rest = sw_bytes_from(rest, sizeof(len));
		if (rest.len < len)
			return false;
		frame[i] = sw_bytes_slice(rest, 0, len);
		rest = sw_bytes_from(rest, len);
	}
	return true;
}

static void send_stack(struct sw_agent *a, const struct sw_profile_stack *stack)
{
	static struct sw_bytes frame[FRAMES_MAX];
	uint8_t id[SW_ID_TEXT];
	struct sw_writer w = sw_writer(id, sizeof(id));
	struct sw_snapshot snapshot = {.task = sw_bytes_text(profiles.current.task.id),
				       .time_ms = stack->time_ms,
				       .sequence = stack->sequence,
				       .frame = frame,
				       .frames = stack->frames};

	sw_write_id(&w, stack->segment);
	snapshot.segment = sw_written(&w);
	if (stack->task == profiles.number && read_stack(stack, frame))
		sw_reporter_snapshot(a, &snapshot);
}

static bool has_room(const struct sw_agent *a)
{
	return a->queue.messages[SW_BATCH_SNAPSHOT] - a->queue.flying[SW_BATCH_SNAPSHOT] <
	       sw_kind_limit(SW_BATCH_SNAPSHOT);
}

static void drain(struct sw_agent *a)
{
	const struct sw_profile_stack *stack;

	while (has_room(a) && (stack = sw_profile_oldest())) {
		send_stack(a, stack);
		sw_profile_release(stack);
	}
	sw_queue_close(&a->queue, SW_BATCH_SNAPSHOT);
}

/* ---- a task's times ---- */

static void begin(void)
{
	for (unsigned i = 0; i < profiles.count; i++) {
		if (profiles.waiting[i].start_ms > wall_ms())
			continue;
		profiles.current = profiles.waiting[i];
		profiles.waiting[i] = profiles.waiting[--profiles.count];
		profiles.running = sw_profile_begin(&profiles.current.task);
		profiles.number = atomic_load(&sw_profile_current);
		return;
	}
}

static void end(struct sw_agent *a)
{
	sw_profile_end();
	drain(a);
	sw_reporter_finish(a, sw_bytes_text(profiles.current.task.id));
	sw_queue_close(&a->queue, SW_BATCH_FINISH);
	profiles.running = false;
}

/* A child does not go on with its parent's, and is asked for by its own name. */
static void notice_birth(void)
{
	uint32_t births = atomic_load(&sw_process_births);

	if (births == profiles.births)
		return;
	memset(&profiles, 0, sizeof(profiles));
	profiles.births = births;
	profiles.since_ms = -1;
}

static uint64_t in_ms(const struct sw_agent *a, int64_t ms)
{
	return a->now_ns + (ms > 0 ? (uint64_t)ms * MS : 0);
}

static uint64_t next_moment(const struct sw_agent *a)
{
	uint64_t next_ns = profiles.query_ns;

	for (unsigned i = 0; i < profiles.count; i++)
		next_ns = SW_MIN(next_ns, in_ms(a, profiles.waiting[i].start_ms - wall_ms()));
	return profiles.running ? SW_MIN(next_ns, a->now_ns + SW_TICK_NS) : next_ns;
}

void sw_profiles_tick(struct sw_agent *a)
{
	notice_birth();
	/* One that serves nobody has no requests; its first one wakes us. */
	if (!sw_config.profile_active || !sw_reporter_takes(SW_BATCH_QUERY) ||
	    !atomic_load(&sw_process_serves)) {
		a->profiles_ns = UINT64_MAX;
		return;
	}
	if (!profiles.query_ns)
		profiles.query_ns = a->now_ns + FIRST_NS;
	if (sw_reporter_is_due(a, profiles.query_ns, profiles.every_ns)) {
		a->take_commands = take_commands;
		sw_reporter_query(a, profiles.since_ms);
		sw_queue_close(&a->queue, SW_BATCH_QUERY);
		profiles.every_ns = sw_config.profile_query_s * SW_SECOND_NS;
		profiles.query_ns = a->now_ns + profiles.every_ns;
	}
	if (profiles.running && wall_ms() >= profiles.current.end_ms)
		end(a);
	if (!profiles.running)
		begin();
	drain(a);
	a->profiles_ns = next_moment(a);
}
