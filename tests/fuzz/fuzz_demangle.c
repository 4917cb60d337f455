/*
 * Fuzzes the reader of mangled names. The input is one.
 *
 * Watched: no byte beyond it is touched; what is understood is not empty, and is the same when it
 * is asked for again; it fits into the memory that the reader has.
 */
#include <stdio.h>
#include <stdlib.h>

#include "sampler/native/demangle.h"

#define TEXT_MAX (256u << 10)

int LLVMFuzzerTestOneInput(const uint8_t *at, size_t len);

static void must(bool holds, const char *promise)
{
	if (!holds) {
		fprintf(stderr, "broken: %s\n", promise);
		abort();
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *at, size_t len)
{
	static uint8_t before[TEXT_MAX];
	struct sw_bytes text, name = sw_bytes(at, len);
	size_t text_len;

	if (!sw_demangle(name, &text))
		return 0;
	must(text.len > 0 && text.len <= TEXT_MAX, "what is understood has a text that fits");
	memcpy(before, text.at, text.len);
	text_len = text.len;
	must(sw_demangle(name, &text) && text.len == text_len && !memcmp(before, text.at, text_len),
	     "an answer is always the same");
	return 0;
}
