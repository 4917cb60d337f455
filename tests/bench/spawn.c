/*
 * Starts a program over and over, by turns without and with a preloaded library.
 *
 * usage: spawn PAIRS LIBRARY PROGRAM [ARGUMENT]...
 *
 * Prints a line per pair: nanoseconds from posix_spawn to the end, CPU nanoseconds and peak
 * resident KB of the one without, then of the one with. Which of the two goes first changes from
 * pair to pair. This program is small on purpose: ru_maxrss of a child starts at its parent's size.
 */
#include <spawn.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>

#define ENVIRONMENT_MAX 1024

extern char **environ;

struct run {
	long long wall_ns, cpu_ns, peak_kb;
};

static long long now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000000000ll + t.tv_nsec;
}

static long long timeval_ns(struct timeval t)
{
	return t.tv_sec * 1000000000ll + t.tv_usec * 1000ll;
}

static struct run run_once(char **command, char **environment)
{
	struct rusage used;
	long long began = now_ns();
	int status = 0;
	pid_t pid;

	if (posix_spawn(&pid, command[0], NULL, NULL, command, environment) != 0 ||
	    wait4(pid, &status, 0, &used) != pid || status != 0) {
		fprintf(stderr, "spawn: %s: cannot be started, or ended badly (%d)\n", command[0],
			status);
		exit(1);
	}
	return (struct run){now_ns() - began, timeval_ns(used.ru_utime) + timeval_ns(used.ru_stime),
			    used.ru_maxrss};
}

/* A copy of our environment without LD_PRELOAD, and with `preload` when that is not NULL. */
static void environment_fill(char **ret_environment, char *preload)
{
	size_t count = 0;

	for (char **e = environ; *e && count < ENVIRONMENT_MAX - 2; e++)
		if (strncmp(*e, "LD_PRELOAD=", strlen("LD_PRELOAD=")) != 0)
			ret_environment[count++] = *e;
	if (preload)
		ret_environment[count++] = preload;
	ret_environment[count] = NULL;
}

int main(int argc, char **argv)
{
	static char *environments[2][ENVIRONMENT_MAX];
	static char preload[4096];
	struct run runs[2];
	long pairs;

	if (argc < 4) {
		fprintf(stderr, "usage: spawn PAIRS LIBRARY PROGRAM [ARGUMENT]...\n");
		return 2;
	}
	pairs = strtol(argv[1], NULL, 10);
	snprintf(preload, sizeof(preload), "LD_PRELOAD=%s", argv[2]);
	environment_fill(environments[0], NULL);
	environment_fill(environments[1], preload);
	for (long i = 0; i < pairs; i++) {
		for (long j = 0; j < 2; j++)
			runs[(i + j) & 1] = run_once(argv + 3, environments[(i + j) & 1]);
		printf("%lld %lld %lld %lld %lld %lld\n", runs[0].wall_ns, runs[0].cpu_ns,
		       runs[0].peak_kb, runs[1].wall_ns, runs[1].cpu_ns, runs[1].peak_kb);
	}
	return 0;
}
