/*
 * The control socket: through it the swagent command asks a running process for a profile of
 * itself.
 *
 * It is the abstract socket "swagent/PID" (a NUL before it, none behind), of AF_UNIX and
 * SOCK_STREAM, and so in the process's network namespace. Abstract: no file is left behind, none is
 * needed in a container whose file system is read-only, and it ends with its owner. Anybody may
 * bind such a name and anybody connect; so each side asks the kernel who the other one is
 * (SO_PEERCRED): the process serves root and its own user, and the command believes an answer only
 * from that process.
 *
 * It belongs to our thread's own descriptor table. It is looked at in each turn of our thread,
 * which is ten times a second while records come, and every 50 ms while there is a client. When
 * nothing happens our thread sleeps where no descriptor could wake it (loop.h), and who comes rings
 * (bell.h); where there is no bell it looks every 10 s.
 *
 * One client at a time, another one is told so. The client says what it wants, once, and perhaps
 * that it has enough; it may close at any moment. The process answers, and hands the records of
 * preload/profile.h on as they are. Its memory is bounded: while a client is slow, records stay in
 * their ring, and what finds no room there is counted as lost. Numbers are the machine's own.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#define SW_CONTROL_MAGIC 0x67617773u /* "swag" */
#define SW_CONTROL_VERSION 2
#define SW_CONTROL_NAME "swagent/"

/* From the client. */
enum sw_control_want { SW_CONTROL_PROFILE = 1, SW_CONTROL_ENOUGH };

struct sw_control_ask {
	uint32_t magic, version;
	uint32_t want; /* enum sw_control_want */
	uint32_t mode; /* enum sw_profile_mode */
	uint64_t period_ns;
	uint64_t zero; /* room for what comes later */
};

/* To the client: struct sw_profiled and what follows it; kinds below SW_CONTROL_ANSWER are those of
 * the ring, without its fillers. */
enum sw_control_kind {
	SW_CONTROL_ANSWER = 256, /* first of all */
	SW_CONTROL_COUNTS,	 /* now and then, and before the end */
	SW_CONTROL_END,		 /* last of all */
};

/* The largest message there may be. */
#define SW_CONTROL_MESSAGE_MAX 8192

enum sw_control_status {
	SW_CONTROL_YES,
	SW_CONTROL_BUSY,      /* it is being profiled already */
	SW_CONTROL_FORBIDDEN, /* another user's */
	SW_CONTROL_UNKNOWN,   /* another version, or nothing that makes sense */
	SW_CONTROL_NO_MEMORY,
};

struct sw_control_answer {
	uint32_t size, kind;
	uint32_t status; /* enum sw_control_status */
	uint32_t version;
	int64_t start_ms;  /* Unix time */
	uint64_t start_ns; /* CLOCK_MONOTONIC */
};

struct sw_control_counts {
	uint32_t size, kind;
	uint64_t duration_ns, due, taken, missed, lost, missed_ns, shared;
	uint64_t used_ns; /* of a processor, by our threads meanwhile */
};

struct sw_control_end {
	uint32_t size, kind;
	uint32_t goes_on;  /* the process does: it becomes another image, or our thread leaves it */
	uint32_t text_len; /* why there are no frames of Python's; follows */
};

struct sw_agent;

/* Once a turn. Sets agent->control_ns, when it wants the next one. */
void sw_control_tick(struct sw_agent *agent);

/* A client that has not got everything yet. At the end of the process that is worth waiting for. */
bool sw_control_busy(void);

/* One of our descriptors has got another number, or -1. */
void sw_control_moved(int from, int to);

/* Our thread leaves, with its table; a client sees its connection end. */
void sw_control_pause(void);

/* In the child of a fork. */
void sw_control_forked(void);
