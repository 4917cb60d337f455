/* Lines of our own; see say.h. */
#include "reporter/say.h"

#include <stdarg.h>
#include <stdio.h>

#include "preload/fds.h"
#include "preload/sys.h"
#include "reporter/reporter.h"

static const char *const level_names[] = {"debug", "info", "warning", "error", "critical"};

/* The program's own stderr (Linux 5.6), offset and all. */
static long share_stderr(void)
{
	long self = sw_sys(getpid), pid = sw_sys(pidfd_open, self, 0);
	long fd = pid < 0 ? pid : sw_sys(pidfd_getfd, pid, STDERR_FILENO, 0);

	if (pid >= 0)
		sw_sys(close, pid);
	return fd;
}

/* The same terminal or pipe, but never waiting. */
static long open_stderr(void)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/%ld/fd/2", sw_sys(getpid));
	return sw_sys(openat, AT_FDCWD, path, O_WRONLY | O_APPEND | O_NOCTTY | O_NONBLOCK);
}

/*
 * From a table of our own stderr is reached through the main thread's. A file must be written at
 * the program's own offset, or its next line would lie on ours; a socket cannot be opened. A pipe
 * or a terminal may be full, and waiting for its reader is not for us.
 */
static long reach_stderr(void)
{
	if (!sw_fd_private() || sw_stderr_is(STDERR_FILENO))
		return STDERR_FILENO;
	return sw_stderr_waits() ? open_stderr() : share_stderr();
}

/* To what is stderr, if it still is what it was at the start. */
static void say_line(const char *line, size_t len)
{
	long fd = reach_stderr();

	if (fd >= 0 && sw_stderr_is(fd) &&
	    sw_sys(sendto, fd, line, len, MSG_DONTWAIT | MSG_NOSIGNAL, NULL, 0) == -ENOTSOCK)
		sw_sys(write, fd, line, len);
	if (fd >= 0 && fd != STDERR_FILENO)
		sw_sys(close, fd);
}

const char *sw_say_error(long error)
{
	const char *text;

	sw_reporter_delicate(true);
	text = strerror((int)-error);
	sw_reporter_delicate(false);
	return text;
}

static bool wanted(enum sw_level level)
{
	if (sw_config.log_level == SW_LEVEL_OFF || (int)level < sw_config.log_level)
		return false;
	return level >= SW_LEVEL_WARNING || sw_config.log_level == SW_LEVEL_DEBUG;
}

/* Values and paths of others are in it: a line of ours is one line, and no terminal obeys it. */
static void tame(char *text, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		if ((uint8_t)text[i] < ' ' || text[i] == 0x7f)
			text[i] = '?';
	}
}

void sw_say(enum sw_level level, const char *format, ...)
{
	char line[512];
	int head, body;
	va_list list;

	if (!wanted(level))
		return;
	head = snprintf(line, sizeof(line), "swagent[%ld]: %s: ", sw_sys(getpid),
			level_names[level]);
	va_start(list, format);
	body = vsnprintf(line + head, sizeof(line) - (size_t)head - 1, format, list);
	va_end(list);
	if (body < 0)
		return;
	head += (int)SW_MIN((size_t)body, sizeof(line) - (size_t)head - 2);
	tame(line, (size_t)head);
	line[head++] = '\n';
	say_line(line, (size_t)head);
}
