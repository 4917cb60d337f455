/*
 * Functions of libc that the libraries in a plug-in would call and that the program could notice,
 * done otherwise. Part of every plug-in.
 *
 * The environment is the program's, which may be changing it at this moment. And libc's gmtime_r
 * settles the time zone when it is called first: a program that sets TZ later and calls localtime_r
 * would get the zone of before.
 */
#include "reporter/plugins/libc.h"

#include <stdbool.h>
#include <stddef.h>

#define DAY 86400

char *__wrap_getenv(const char *name)
{
	(void)name;
	return NULL;
}

char *__wrap_secure_getenv(const char *name)
{
	(void)name;
	return NULL;
}

static bool is_leap(long year)
{
	return year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
}

static long days_in_year(long year)
{
	return is_leap(year) ? 366 : 365;
}

static long days_in_month(int month, long year)
{
	static const char days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};

	return days[month] + (month == 1 && is_leap(year));
}

/* Counted year by year: it is asked for the present. */
static void set_date(struct tm *date, long days)
{
	long year = 1970;

	while (days < 0)
		days += days_in_year(--year);
	while (days >= days_in_year(year))
		days -= days_in_year(year++);
	date->tm_year = (int)(year - 1900);
	date->tm_yday = (int)days;
	while (days >= days_in_month(date->tm_mon, year))
		days -= days_in_month(date->tm_mon++, year);
	date->tm_mday = (int)days + 1;
}

struct tm *__wrap_gmtime_r(const time_t *time, struct tm *ret_date)
{
	long seconds = *time % DAY, days = *time / DAY;

	if (seconds < 0) {
		seconds += DAY;
		days--;
	}
	*ret_date = (struct tm){.tm_hour = (int)(seconds / 3600),
				.tm_min = (int)(seconds / 60 % 60),
				.tm_sec = (int)(seconds % 60),
				.tm_wday = (int)(((days + 4) % 7 + 7) % 7), /* a Thursday */
				.tm_zone = "GMT"};
	set_date(ret_date, days);
	return ret_date;
}
