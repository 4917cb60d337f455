/* The swagent command: what its parts tell each other. One thread; libc alone. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "preload/bytes.h"

/* One line on stderr, "swagent: ..." */
__attribute__((format(printf, 1, 2))) void sw_cli_say(const char *format, ...);

#define SW_CLI_WRONG 2 /* exit status: the command line makes no sense */
#define SW_CLI_FAILED 1

/* swagent profile; arguments from "profile" on. Returns the exit status. */
int sw_cli_profile(int argc, char **argv);

/* ---- program.c ---- */

/* Starts a program under the agent, with what a profile of it needs. Its process id, or -1 after
 * it was said why not. */
pid_t sw_cli_start(char **argv);

/* The line of a process as its owner typed it, or as much as fits. */
struct sw_bytes sw_cli_line(pid_t pid, char *room, size_t size);

/* ---- ring.c ---- */

/* Wakes its agent if that sleeps, as far as it can be woken. */
void sw_cli_ring(pid_t pid);

/* ---- attach.c ---- */

struct sw_gather;

/* What became of the stacks, of all connections together. */
struct sw_cli_counts {
	uint64_t duration_ns, due, taken, missed, lost, missed_ns, shared, used_ns;
};

enum sw_cli_attached {
	SW_CLI_ATTACHED,
	SW_CLI_NOT_YET, /* nobody listens */
	SW_CLI_NEVER,	/* it was refused; said why */
};

struct sw_cli_target {
	pid_t pid;
	uint32_t mode; /* enum sw_profile_mode */
	uint64_t period_ns;
	struct sw_gather *gather; /* Borrowed */
	int fd;			  /* -1: not attached */
	bool answered;
	bool refused;	  /* it does not want to, or makes no sense; said why */
	bool over;	  /* all was said */
	bool goes_on;	  /* and the process lives on */
	uint64_t from_ns; /* CLOCK_MONOTONIC: the start of the first profile; 0: none */
	char why[128];	  /* there are no frames of Python's; empty: not known */
	struct sw_cli_counts counts;
	struct sw_cli_counts before; /* of earlier connections */
	size_t len;
	_Alignas(8) uint8_t in[64 << 10];
};

enum sw_cli_attached sw_cli_attach(struct sw_cli_target *target);

/* Reads what there is. False: the connection is over (target->over: in good order). */
bool sw_cli_read(struct sw_cli_target *target);

/* Says that it is enough; the rest is still to be read. */
void sw_cli_enough(struct sw_cli_target *target);

void sw_cli_detach(struct sw_cli_target *target);

/* Why nobody listens. */
void sw_cli_say_why_not(pid_t pid);

/* It exists, and is not a zombie. */
bool sw_cli_lives(pid_t pid);
