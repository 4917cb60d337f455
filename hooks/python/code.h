/*
 * What a frame's code object is called, and its locals. Apart from frames.h because it costs more:
 * once per code object is enough, and it may be long after the frame was seen.
 *
 * Code objects are freed, and others made where they were. What is read by the kernel's answer is
 * compared with the frame's print before and after, so an answer is of the code that ran, or none.
 */
#pragma once

#include "hooks/python/frames.h"

#define SW_CODE_NAME_MAX 128
#define SW_CODE_FILE_MAX 256

struct sw_code {
	char name[SW_CODE_NAME_MAX]; /* qualified from 3.11 on; UTF-8, cut at its end */
	char file[SW_CODE_FILE_MAX]; /* cut at its beginning */
	int line;		     /* of the instruction; 0: it belongs to none */
};

/* Any thread, any moment. False: the code object is gone. Some us. */
bool sw_code_read(const struct sw_frame *frame, struct sw_code *ret_code);

/*
 * Where the local variable `name` (or parameter) of this code stands, or -1. Worth keeping for each
 * code and print. Both of these are for the calling thread's own frames, inside a hook: they load.
 */
int sw_code_local(const struct sw_frame *frame, const char *name);

/* The object it holds now, borrowed from the frame; NULL: none, or one that cannot be told (a
 * variable that an inner function shares, before 3.11). */
const void *sw_code_value(const struct sw_frame *frame, int local);
