/* The swagent command: profiles of programs that run under the agent. */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "reporter/cli/cli.h"

static const char help[] = "usage: swagent profile [options] PID\n"
			   "       swagent profile [options] -- PROGRAM [ARGUMENT...]\n"
			   "       swagent --version\n"
			   "\n"
			   "profile   where the time of a program goes, as a flame graph; see "
			   "swagent profile --help\n";

void sw_cli_say(const char *format, ...)
{
	va_list list;

	fputs("swagent: ", stderr);
	va_start(list, format);
	vfprintf(stderr, format, list);
	va_end(list);
	fputc('\n', stderr);
}

static bool is(const char *argument, const char *shorter, const char *longer)
{
	return strcmp(argument, shorter) == 0 || strcmp(argument, longer) == 0;
}

int main(int argc, char **argv)
{
	if (argc > 1 && strcmp(argv[1], "profile") == 0)
		return sw_cli_profile(argc - 1, argv + 1);
	if (argc > 1 && is(argv[1], "-h", "--help")) {
		fputs(help, stdout);
		return 0;
	}
	if (argc > 1 && is(argv[1], "-V", "--version")) {
		puts("swagent " SW_VERSION);
		return 0;
	}
	fputs(help, stderr);
	return SW_CLI_WRONG;
}
