/* Lines of our own; see say.h. */
#include "reporter/say.h"

#include <stdarg.h>
#include <stdio.h>

#include "preload/fds.h"
#include "preload/sys.h"

static const char *const level_names[] = {"debug", "info", "warning", "error", "critical"};

/*
 * To what is stderr, if it still is what it was at the start. From a table of our own it is reached
 * through the main thread's: files, terminals and pipes can be opened so, sockets cannot.
 */
static void say_line(const char *line, size_t len)
{
	char path[64];
	long fd = STDERR_FILENO;

	if (sw_fd_private() && !sw_stderr_is(fd)) {
		snprintf(path, sizeof(path), "/proc/%ld/fd/2", sw_sys(getpid));
		fd = sw_sys(openat, AT_FDCWD, path, O_WRONLY | O_APPEND | O_NOCTTY | O_NONBLOCK);
	}
	if (fd >= 0 && sw_stderr_is(fd))
		sw_sys(write, fd, line, len);
	if (fd >= 0 && fd != STDERR_FILENO)
		sw_sys(close, fd);
}

static bool wanted(enum sw_level level)
{
	if (sw_config.log_level == SW_LEVEL_OFF || (int)level < sw_config.log_level)
		return false;
	return level >= SW_LEVEL_WARNING || sw_config.log_level == SW_LEVEL_DEBUG;
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
	line[head++] = '\n';
	say_line(line, (size_t)head);
}
