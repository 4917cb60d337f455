/* Lines of our own; see say.h. */
#include "reporter/say.h"

#include <stdarg.h>
#include <stdio.h>

#include "preload/fds.h"
#include "preload/sys.h"

static const char *const level_names[] = {"debug", "info", "warning", "error",
					   "critical"};

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

	if (!wanted(level) || !sw_stderr_is_same())
		return;
	head = snprintf(line, sizeof(line), "swagent[%ld]: %s: ", sw_sys(getpid), level_names[level]);
	va_start(list, format);
	body = vsnprintf(line + head, sizeof(line) - (size_t)head - 1, format, list);
	va_end(list);
	if (body < 0)
		return;
	head += (int)SW_MIN((size_t)body, sizeof(line) - (size_t)head - 2);
	line[head++] = '\n';
	sw_sys(write, 2, line, head);
}
