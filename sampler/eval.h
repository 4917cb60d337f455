/* Where CPython's interpreter is: the native code whose frames run Python's. The sampler's thread
 * only, after sw_native_refresh. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct sw_span {
	uint64_t from, to; /* empty: there is none */
};

struct sw_eval {
	struct sw_span hot,
		cold; /* _PyEval_EvalFrameDefault, and what the compiler has put apart */
	/* greenlet's library: below the frames of a greenlet that runs lie those of whoever. */
	struct sw_span switches;
};

static inline bool sw_span_has(const struct sw_span *span, uint64_t pc)
{
	return pc - span->from < span->to - span->from;
}

static inline bool sw_eval_has(const struct sw_eval *eval, uint64_t pc)
{
	return sw_span_has(&eval->hot, pc) || sw_span_has(&eval->cold, pc);
}

/* All empty where there is no CPython. Some ms once; then a compare, and a look through the list of
 * libraries when that has changed. */
const struct sw_eval *sw_eval_find(void);
