/*
 * What is unwound in test_oracle_unwind.c: functions that keep a processor busy in ways that
 * compilers have different unwind rows for. Each runs some us to ms and is called again and again.
 */
#pragma once

typedef void sw_case(void);

/* cases.c, once for each way of compiling it. */
#define CASES_OF(way)                                                                              \
	sw_case way##_calls, way##_sorts, way##_allocas, way##_aligned, way##_copies, way##_clock, \
		way##_stubs;

CASES_OF(o0)
CASES_OF(o1)
CASES_OF(o2)
CASES_OF(o3)
CASES_OF(fp)

/* cases.cpp */
sw_case cpp_throws, cpp_lambdas;
