/*
 * Sets the time zone late: zones PORT. libc reads TZ when it is first asked for a local time, which
 * must not be by us. Also what else belongs to the process: how signals are handled, what is
 * locked.
 */
#include "ask.h"

#include <signal.h>
#include <time.h>

int main(int argc, char **argv)
{
	time_t then = 1000000000;
	struct sigaction action;
	struct tm date;
	int fd;

	ask_port = argc > 1 ? atoi(argv[1]) : 0;
	fd = ask_open();
	printf("%d\n", ask_on(fd, "zones"));
	sleep(2); /* what is to be sent has been sent */
	setenv("TZ", "XYZ+5:30", 1);
	localtime_r(&then, &date);
	printf("%02d:%02d %s\n", date.tm_hour, date.tm_min, date.tm_zone);
	for (int signal = 1; signal < 65; signal++) {
		if (sigaction(signal, NULL, &action) == 0)
			printf("%d", action.sa_handler != SIG_DFL);
	}
	printf("\n");
	return 0;
}
