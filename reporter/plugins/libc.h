/* What the linker gives the libraries instead of functions of libc (meson.build). */
#pragma once

#include <time.h>

char *__wrap_getenv(const char *name);
char *__wrap_secure_getenv(const char *name);
struct tm *__wrap_gmtime_r(const time_t *time, struct tm *ret_date);
