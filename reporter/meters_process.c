/*
 * The process and its host, under the names of SkyWalking's Python agent (specification 5.1), from
 * /proc, which may be absent, another one's, or a sandbox's idea: what it does not say is not sent.
 *
 * Shares of time are those of the last period. Memory is compared with what the process may have at
 * most: the host's, or less where its control group, or one around it, says so.
 */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "preload/sys.h"
#include "reporter/meters.h"
#include "reporter/thread.h"

#define TEXT_MAX 8192
#define PATH_MAX_BYTES 1024

static struct {
	uint64_t used_ns, at_ns; /* processor time of the process, and when it was that */
	uint64_t busy, all;	 /* ticks of all processors; all 0: not known */
} last;

/* ---- processors ---- */

static uint64_t used_ns(void)
{
	return sw_clock_ns(CLOCK_PROCESS_CPUTIME_ID);
}

static void put_process_cpu(struct sw_meter_sink *sink)
{
	uint64_t used = used_ns(), now = sw_clock_ns(CLOCK_MONOTONIC);

	if (now > last.at_ns && used >= last.used_ns)
		sw_meters_put(sink, SW_METER_PVM_CPU, NULL,
			      100.0 * (double)(used - last.used_ns) / (double)(now - last.at_ns));
	last.used_ns = used;
	last.at_ns = now;
}

/* "cpu" user nice system idle iowait irq softirq steal ...; what guests used is in user's. */
static bool read_host(uint64_t *ret_busy, uint64_t *ret_all)
{
	char text[TEXT_MAX], *at = text, *end;
	uint64_t sum = 0, idle = 0;
	int n;

	if (sw_meters_read("/proc/stat", text, sizeof(text)) < 0 || strncmp(text, "cpu ", 4) != 0)
		return false;
	at += 4;
	for (n = 0; n < 8; n++, at = end) {
		uint64_t ticks = strtoull(at, &end, 10);

		if (end == at)
			break;
		sum += ticks;
		idle += n == 3 || n == 4 ? ticks : 0;
	}
	*ret_busy = sum - idle;
	*ret_all = sum;
	return n >= 4;
}

static void put_host_cpu(struct sw_meter_sink *sink)
{
	uint64_t busy, all;

	if (!read_host(&busy, &all)) {
		last.all = 0;
		return;
	}
	/* Counts of a virtual machine that moved may go back. */
	if (last.all && all > last.all && busy >= last.busy && busy - last.busy <= all - last.all)
		sw_meters_put(sink, SW_METER_PVM_HOST_CPU, NULL,
			      100.0 * (double)(busy - last.busy) / (double)(all - last.all));
	last.busy = busy;
	last.all = all;
}

/* ---- memory ---- */

struct memory {
	double total, used; /* bytes */
};

/* The number after `key` at the beginning of a line; negative: there is none. */
static double number_of(const char *text, const char *key)
{
	size_t len = strlen(key);

	for (; text; text = strchr(text, '\n')) {
		text += *text == '\n';
		if (strncmp(text, key, len) == 0)
			return (double)strtoull(text + len, NULL, 10);
	}
	return -1;
}

static bool read_host_memory(struct memory *ret_memory)
{
	char text[TEXT_MAX];
	double total, available;

	if (sw_meters_read("/proc/meminfo", text, sizeof(text)) < 0)
		return false;
	total = number_of(text, "MemTotal:");
	available = number_of(text, "MemAvailable:");
	if (total <= 0 || available < 0 || available > total)
		return false;
	*ret_memory = (struct memory){total * 1024, (total - available) * 1024};
	return true;
}

/* Where the two versions of control groups say it. */
static const struct group_files {
	const char *line; /* begins that of /proc/self/cgroup; with commas around in the first */
	const char *root;
	const char *limit, *usage,
		*cache; /* the last: a line of memory.stat that can be had back */
} versions[] = {
	{"0::", "/sys/fs/cgroup", "memory.max", "memory.current", "inactive_file "},
	{":memory:", "/sys/fs/cgroup/memory", "memory.limit_in_bytes", "memory.usage_in_bytes",
	 "total_inactive_file "},
};

static double read_number(const char *folder, const char *name)
{
	char path[PATH_MAX_BYTES], text[64], *end;
	double number;

	if (snprintf(path, sizeof(path), "%s/%s", folder, name) >= (int)sizeof(path) ||
	    sw_meters_read(path, text, sizeof(text)) <= 0)
		return -1;
	number = (double)strtoull(text, &end, 10); /* "max": no number */
	return end == text ? -1 : number;
}

static double read_cache(const char *folder, const char *key)
{
	char path[PATH_MAX_BYTES], text[TEXT_MAX];
	double cache;

	if (snprintf(path, sizeof(path), "%s/memory.stat", folder) >= (int)sizeof(path) ||
	    sw_meters_read(path, text, sizeof(text)) <= 0)
		return 0;
	cache = number_of(text, key);
	return cache > 0 ? cache : 0;
}

/* Narrows `memory` to what the group of this folder may have. */
static void narrow(const struct group_files *files, const char *folder, struct memory *memory)
{
	double limit = read_number(folder, files->limit), usage;

	if (limit <= 0 || limit >= memory->total)
		return;
	usage = read_number(folder, files->usage) - read_cache(folder, files->cache);
	if (usage >= 0)
		*memory = (struct memory){limit, usage};
}

/* The group's folder and those around it, up to the root, where a container's own is. */
static void narrow_all(const struct group_files *files, const char *group, struct memory *memory)
{
	size_t root = strlen(files->root), len = strcspn(group, "\n");
	char folder[PATH_MAX_BYTES];

	if (root + len >= sizeof(folder))
		return;
	memcpy(folder, files->root, root);
	memcpy(folder + root, group, len);
	folder[root + len] = '\0';
	for (char *slash; strlen(folder) > root; *slash = '\0') {
		narrow(files, folder, memory);
		slash = strrchr(folder, '/');
	}
	narrow(files, files->root, memory);
}

static void narrow_to_group(struct memory *memory)
{
	char text[TEXT_MAX];

	if (sw_meters_read("/proc/self/cgroup", text, sizeof(text)) <= 0)
		return;
	for (size_t i = 0; i < SW_COUNT_OF(versions); i++) {
		const char *line = strstr(text, versions[i].line);

		if (line)
			narrow_all(&versions[i], line + strlen(versions[i].line), memory);
	}
}

static double resident(void)
{
	char text[256], *at, *end;
	double pages;

	if (sw_meters_read("/proc/self/statm", text, sizeof(text)) <= 0)
		return -1;
	strtoull(text, &at, 10);
	pages = (double)strtoull(at, &end, 10);
	return end == at ? -1 : pages * (double)sysconf(_SC_PAGESIZE);
}

static void put_memory(struct sw_meter_sink *sink)
{
	double mine = resident();
	struct memory memory;

	if (!read_host_memory(&memory))
		return;
	narrow_to_group(&memory);
	sw_meters_put(sink, SW_METER_PVM_HOST_MEM, NULL, 100 * memory.used / memory.total);
	if (mine >= 0)
		sw_meters_put(sink, SW_METER_PVM_MEM, NULL, 100 * mine / memory.total);
}

static void put_threads(struct sw_meter_sink *sink)
{
	long tasks = sw_thread_tasks();

	if (tasks > 0)
		sw_meters_put(sink, SW_METER_PVM_THREADS, NULL, (double)(tasks - sw_thread_ours()));
}

static void begin(struct sw_agent *agent)
{
	memset(&last, 0, sizeof(last));
	last.used_ns = used_ns();
	last.at_ns = agent->now_ns;
}

static void collect(struct sw_agent *agent, struct sw_meter_sink *sink)
{
	(void)agent;
	put_process_cpu(sink);
	put_host_cpu(sink);
	put_memory(sink);
	put_threads(sink);
}

const struct sw_meter_source sw_meters_process = {
	.name = "process",
	.begin = begin,
	.collect = collect,
};
