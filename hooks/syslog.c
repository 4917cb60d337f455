/*
 * syslog(3), which writes to its socket past all hooks. The message is formatted once more, after
 * the call and into a buffer of ours.
 */
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <syslog.h>

#include "hooks/log.h"
#include "preload/config.h"
#include "preload/counters.h"
#include "preload/exports.h"

static void said(struct sw_guest *g, int priority, const char *format, va_list list, int error)
{
	int64_t slot = sw_pool_take(&sw_log_texts);
	int after = errno, len;
	char *text;

	if (slot < 0) {
		sw_count(LOG_UNSEEN);
		return;
	}
	text = sw_pool_item(&sw_log_texts, (uint32_t)slot);
	errno = error; /* %m */
	len = vsnprintf(text, SW_LOG_TEXT_MAX, format, list);
	errno = after;
	if (len > 0)
		sw_log_said(g, SW_LOG_SYSLOG, (uint8_t)LOG_PRI(priority),
			    sw_bytes(text, SW_MIN((size_t)len, SW_LOG_TEXT_MAX - 1)));
	sw_pool_give(&sw_log_texts, (uint32_t)slot);
}

/* The program's own mask, which setlogmask(0) only tells. Ours is looked at later: levels of the
 * message's text may count. */
static bool passes(int priority)
{
	return setlogmask(0) & LOG_MASK(LOG_PRI(priority));
}

void sw_stdio_vsyslog(int priority, int flag, const char *format, va_list list)
{
	bool wanted = sw_log_active() && sw_config.log_syslog && sw_stdio_formats_again() &&
		      passes(priority);
	struct sw_guest *g;
	int error = errno;
	va_list copy;

	va_copy(copy, list);
	if (flag < 0)
		sw_real.vsyslog(priority, format, list);
	else
		sw_real.__vsyslog_chk(priority, flag, format, list);
	g = wanted ? sw_guest_enter() : NULL;
	if (g) {
		said(g, priority, format, copy, error);
		sw_guest_leave(g);
	}
	va_end(copy);
}

void sw_plain_vsyslog(int priority, const char *format, va_list list)
{
	sw_stdio_vsyslog(priority, -1, format, list);
}

void sw_plain___vsyslog_chk(int priority, int flag, const char *format, va_list list)
{
	sw_stdio_vsyslog(priority, flag & INT_MAX, format, list);
}
