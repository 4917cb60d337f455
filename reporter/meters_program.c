/*
 * What the program does with its sockets, names and descriptors, and how long its threads wait for
 * CPython's GIL, as meters; counted by preload/tallies.h where it happens.
 *
 * What has never happened is not sent: a program without Python has no GIL, one that looks up no
 * names no time for it.
 */
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include "preload/fds.h"
#include "preload/process.h"
#include "preload/sys.h"
#include "preload/tallies.h"
#include "reporter/meters.h"

/* More are not counted one by one: it would take our thread too long. */
#define COUNTED_MAX 100000
#define ENTRIES_BYTES 32768

static void put_open(struct sw_meter_sink *sink, const char *label, enum sw_tally began,
		     enum sw_tally ended)
{
	struct sw_bytes value = sw_bytes_text(label);
	uint64_t open = sw_tally_open(began, ended);

	if (open || sw_tally_read(began))
		sw_meters_put(sink, SW_METER_CONNECTIONS, &value, (double)open);
}

static void put_connections(struct sw_meter_sink *sink)
{
	put_open(sink, "accepted", SW_TALLY_ACCEPTED, SW_TALLY_ACCEPTED_ENDED);
	put_open(sink, "made", SW_TALLY_MADE, SW_TALLY_MADE_ENDED);
	sw_meters_put_tally(sink, SW_METER_CONNECTIONS_BEGUN, "accepted", SW_TALLY_ACCEPTED, 1);
	sw_meters_put_tally(sink, SW_METER_CONNECTIONS_BEGUN, "made", SW_TALLY_MADE, 1);
	sw_meters_put_tally(sink, SW_METER_BYTES, "in", SW_TALLY_BYTES_IN, 1);
	sw_meters_put_tally(sink, SW_METER_BYTES, "out", SW_TALLY_BYTES_OUT, 1);
}

/* Those of one role, of which there has been one. */
static void put_handshakes(struct sw_meter_sink *sink, const char *role, enum sw_tally done,
			   enum sw_tally failed, enum sw_tally ns, _Atomic uint64_t *longest_ns)
{
	struct sw_bytes value = sw_bytes_text(role);

	sw_meters_put(sink, SW_METER_TLS_DONE, &value, (double)sw_tally_read(done));
	sw_meters_put(sink, SW_METER_TLS_FAILED, &value, (double)sw_tally_read(failed));
	sw_meters_put(sink, SW_METER_TLS_TIME, &value, (double)sw_tally_read(ns) / 1e6);
	sw_meters_put(sink, SW_METER_TLS_LONGEST, &value,
		      (double)atomic_exchange(longest_ns, 0) / 1e6);
}

static void put_tls(struct sw_meter_sink *sink)
{
	sw_meters_put_tally(sink, SW_METER_TLS, "accepted", SW_TALLY_TLS_ACCEPTED, 1);
	sw_meters_put_tally(sink, SW_METER_TLS, "made", SW_TALLY_TLS_MADE, 1);
	if (sw_tally_read(SW_TALLY_TLS_ACCEPTED))
		put_handshakes(sink, "accepted", SW_TALLY_TLS_ACCEPTED_DONE,
			       SW_TALLY_TLS_ACCEPTED_FAILED, SW_TALLY_TLS_ACCEPTED_NS,
			       &sw_handshake_longest_ns[0]);
	if (sw_tally_read(SW_TALLY_TLS_MADE))
		put_handshakes(sink, "made", SW_TALLY_TLS_MADE_DONE, SW_TALLY_TLS_MADE_FAILED,
			       SW_TALLY_TLS_MADE_NS, &sw_handshake_longest_ns[1]);
}

static void put_names(struct sw_meter_sink *sink)
{
	sw_meters_put_tally(sink, SW_METER_NAMES, NULL, SW_TALLY_LOOKUPS, 1);
	sw_meters_put_tally(sink, SW_METER_NAMES_FAILED, NULL, SW_TALLY_LOOKUPS_FAILED, 1);
	sw_meters_put_tally(sink, SW_METER_NAMES_TIME, NULL, SW_TALLY_LOOKUP_NS, 1e6);
	if (sw_tally_read(SW_TALLY_LOOKUPS))
		sw_meters_put(sink, SW_METER_NAMES_LONGEST, NULL,
			      (double)atomic_exchange(&sw_lookup_longest_ns, 0) / 1e6);
}

static void put_backlog(struct sw_meter_sink *sink)
{
	uint32_t room = atomic_load(&sw_backlog.room);

	if (!room)
		return; /* never asked, or no TCP */
	sw_meters_put(sink, SW_METER_BACKLOG, NULL, atomic_exchange(&sw_backlog.most, 0));
	sw_meters_put(sink, SW_METER_BACKLOG_ROOM, NULL, room);
	sw_meters_put(sink, SW_METER_BACKLOG_WAIT, NULL,
		      (double)atomic_exchange(&sw_backlog.waited_ms, 0));
}

/* ---- descriptors ---- */

static long count_entries(long fd)
{
	char *entries = malloc(ENTRIES_BYTES);
	long count = 0, got = -ENOMEM;

	while (entries && count < COUNTED_MAX &&
	       (got = sw_sys(getdents64, fd, entries, ENTRIES_BYTES)) > 0) {
		for (long at = 0; at < got; count++)
			at += *(const uint16_t *)(entries + at + 16); /* d_reclen */
	}
	free(entries);
	return got < 0 || count >= COUNTED_MAX ? -1 : count - 2; /* "." and ".." */
}

/*
 * The program's are those of the main thread; once that has ended nobody's are shown. From Linux
 * 6.2 on the folder's size is their number.
 */
static long count_descriptors(void)
{
	struct stat folder;
	long fd, count = -1;

	if (atomic_load(&sw_process_main_left))
		return -1;
	if (sw_sys(newfstatat, AT_FDCWD, "/proc/self/fd", &folder, 0) == 0 && folder.st_size > 0)
		return (long)folder.st_size;
	fd = sw_sys(openat, AT_FDCWD, "/proc/self/fd", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd >= 0)
		fd = sw_fd_adopt((int)fd);
	if (fd >= 0) {
		count = count_entries(fd);
		sw_fd_close_ours((int)fd);
	}
	return count;
}

static void put_descriptors(struct sw_meter_sink *sink)
{
	struct rlimit limit = {0, 0};
	long count = count_descriptors();

	if (count < 0)
		return;
	sw_meters_put(sink, SW_METER_DESCRIPTORS, NULL, (double)count);
	if (sw_sys(prlimit64, 0, RLIMIT_NOFILE, NULL, &limit) == 0)
		sw_meters_put(sink, SW_METER_DESCRIPTORS_MOST, NULL, (double)limit.rlim_cur);
}

static void collect(struct sw_agent *agent, struct sw_meter_sink *sink)
{
	(void)agent;
	put_connections(sink);
	put_tls(sink);
	put_names(sink);
	put_backlog(sink);
	put_descriptors(sink);
	sw_meters_put_tally(sink, SW_METER_GIL_TIME, NULL, SW_TALLY_GIL_NS, 1e6);
}

const struct sw_meter_source sw_meters_program = {.name = "program", .collect = collect};
