/* Programs that the command starts, and what can be known of others. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "reporter/cli/cli.h"

#define LIBRARY "libswagent.so"

static bool is_there(const char *folder, const char *more, char *ret_path)
{
	char path[PATH_MAX];

	return snprintf(path, sizeof(path), "%s%s/" LIBRARY, folder, more) < PATH_MAX &&
	       realpath(path, ret_path) && access(ret_path, R_OK) == 0;
}

/* Beside the command, or where both were installed to. */
static bool find_library(char *ret_path)
{
	char folder[PATH_MAX];
	ssize_t len = readlink("/proc/self/exe", folder, sizeof(folder) - 1);
	char *slash;

	if (len > 0) {
		folder[len] = '\0';
		slash = strrchr(folder, '/');
		if (slash)
			*slash = '\0';
		if (is_there(folder, "", ret_path) ||
		    is_there(folder, "/../" SW_LIBDIR, ret_path) ||
		    is_there(folder, "/../lib", ret_path) ||
		    is_there(folder, "/../lib64", ret_path))
			return true;
	}
	return is_there(SW_PREFIX, "/" SW_LIBDIR, ret_path);
}

/* False: no memory. One that is there already stays alone. */
static bool preload(const char *library)
{
	const char *now = getenv("LD_PRELOAD");
	char *both;
	bool ok;

	if (!now || !now[0])
		return setenv("LD_PRELOAD", library, 1) == 0;
	if (strstr(now, LIBRARY))
		return true;
	ok = asprintf(&both, "%s:%s", library, now) > 0;
	ok = ok && setenv("LD_PRELOAD", both, 1) == 0;
	return ok;
}

/* Who has said nothing of a collector wants a profile and no more: then nothing is sent. */
static bool set_environment(const char *library)
{
	bool ok = preload(library) && setenv("SW_AGENT_CONTROL", "start", 1) == 0;

	if (!getenv("SW_AGENT_PROTOCOL") && !getenv("SW_AGENT_COLLECTOR_BACKEND_SERVICES"))
		ok = ok && setenv("SW_AGENT_PROTOCOL", "file", 1) == 0 &&
		     setenv("SW_AGENT_FILE_PATH", "/dev/null", 1) == 0;
	return ok;
}

static void become(char **argv, const char *library, int report, const struct sigaction *child)
{
	int error;

	sigaction(SIGCHLD, child, NULL);
	if (set_environment(library))
		execvp(argv[0], argv);
	error = errno;
	while (write(report, &error, sizeof(error)) < 0 && errno == EINTR)
		;
	_exit(127);
}

/* How the exec went: the pipe is closed by one that worked. */
static int read_report(int fd)
{
	int error = 0;
	ssize_t got;

	while ((got = read(fd, &error, sizeof(error))) < 0 && errno == EINTR)
		;
	close(fd);
	return got == sizeof(error) ? error : 0;
}

pid_t sw_cli_start(char **argv)
{
	struct sigaction action = {.sa_handler = SIG_DFL}, before;
	char library[PATH_MAX];
	int report[2], error;
	pid_t pid;

	if (!find_library(library)) {
		sw_cli_say(LIBRARY " is not beside this command, nor in the folder for libraries");
		return -1;
	}
	/* Of a child whose end is ignored nobody can be told the status. The program finds it as we
	 * did. */
	sigaction(SIGCHLD, &action, &before);
	if (pipe2(report, O_CLOEXEC) || (pid = fork()) < 0) {
		sw_cli_say("no process for it: %s", strerror(errno));
		return -1;
	}
	if (pid == 0)
		become(argv, library, report[1], &before);
	close(report[1]);
	error = read_report(report[0]);
	if (!error)
		return pid;
	waitpid(pid, NULL, 0);
	sw_cli_say("%s: %s", argv[0], strerror(error));
	return -1;
}

struct sw_bytes sw_cli_line(pid_t pid, char *room, size_t size)
{
	char path[64];
	ssize_t len;
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/cmdline", (int)pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	len = fd < 0 ? 0 : read(fd, room, size);
	if (fd >= 0)
		close(fd);
	for (ssize_t i = 0; i < len; i++)
		room[i] = (unsigned char)room[i] < ' ' ? ' ' : room[i];
	while (len > 0 && room[len - 1] == ' ')
		len--;
	return sw_bytes(room, len > 0 ? (size_t)len : 0);
}

bool sw_cli_lives(pid_t pid)
{
	char path[64], text[512] = {0};
	const char *end;
	FILE *file;

	snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
	file = fopen(path, "re");
	if (!file)
		return kill(pid, 0) == 0 || errno == EPERM;
	if (!fgets(text, sizeof(text), file))
		text[0] = '\0';
	fclose(file);
	end = strrchr(text, ')');
	return end && end[1] == ' ' && end[2] != 'Z' && end[2] != 'X';
}

/* 1: its library is mapped; 0: it is not; -1: nobody lets us look. */
static int has_agent(pid_t pid)
{
	char path[64], line[PATH_MAX + 128];
	int found = 0;
	FILE *file;

	snprintf(path, sizeof(path), "/proc/%d/maps", (int)pid);
	file = fopen(path, "re");
	if (!file)
		return -1;
	while (!found && fgets(line, sizeof(line), file))
		found = strstr(line, "/" LIBRARY) != NULL;
	fclose(file);
	return found;
}

void sw_cli_say_why_not(pid_t pid)
{
	int agent;

	if (!sw_cli_lives(pid)) {
		sw_cli_say("there is no process %d", (int)pid);
		return;
	}
	agent = has_agent(pid);
	if (agent < 0)
		sw_cli_say("process %d is another user's", (int)pid);
	else if (agent)
		sw_cli_say(
			"process %d runs under the agent, but nobody listens in it: it has made no "
			"network call yet (SW_AGENT_CONTROL=start would not wait for one), "
			"SW_AGENT_CONTROL=off forbids it, or it is in another network namespace",
			(int)pid);
	else
		sw_cli_say("process %d does not run under the agent: start it with "
			   "LD_PRELOAD=/path/to/" LIBRARY ", or by swagent profile -- PROGRAM",
			   (int)pid);
}
