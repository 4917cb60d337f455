/*
 * SW_CHECK states what must be true: on entry, and where data crosses a border.
 *
 * Broken in the tests (-DSW_CHECK_ABORT) it aborts; in the field it disarms: a one-way switch that
 * turns every hook into pass-through for the rest of the process, is counted, and is said once by
 * the reporter. The program is never stopped, slowed or surprised.
 */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>

#include "preload/bytes.h"

/* False: every hook passes straight through. Set once by the constructor, cleared by a disarm. */
extern _Atomic bool sw_armed;

/* Async-signal-safe. `what` is a literal; the first one is kept for the reporter. */
void sw_disarm(const char *what);

/* The same without a fault of ours: the program has set limits to itself within which we would do
 * harm (a seccomp filter). */
void sw_stand_down(void);
/* The call that made it necessary has failed: as before. */
void sw_stand_up(void);
extern _Atomic bool sw_stood_down;

/* Why we are disarmed, or NULL. */
const char *sw_disarmed_by(void);

/* Why CPython's contexts are not used (hooks/python); NULL: they are, or there are none. Any
 * thread. */
const char *sw_why_no_contexts(void);
void sw_no_contexts(const char *why);

#define SW_CHECK(condition)                                                                        \
	(SW_LIKELY(condition) ? true : (sw_disarm(__FILE_NAME__ ": " #condition), false))

#ifndef __FILE_NAME__
#define __FILE_NAME__ __FILE__
#endif
