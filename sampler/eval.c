/*
 * Finding CPython's interpreter; see eval.h.
 *
 * Its beginning is an exported symbol, its length is what the symbol says. GCC moves what is seldom
 * run out of a function; without a symbol (Debian's python3 has none) that part is found by what
 * jumps to it: hundreds of the interpreter's jumps lead into that entry of the unwind table, and at
 * most one or two into any other that is no function of its own.
 */
#include "sampler/eval.h"

#include "hooks/python/frames_at.h"
#include "sampler/native/native.h"

#define CODE_BYTES_MAX (512u << 10)
#define PARTS_MAX 64
#define VOTES_LEAST 16

static struct sw_eval found;
static unsigned changes; /* of the list of libraries, when that was found */

struct part {
	struct sw_span span;
	unsigned votes;
};

static void vote(struct part parts[PARTS_MAX], uint64_t target, bool conditional)
{
	struct sw_span span;

	/* To the beginning of a function leads a tail call. */
	if (!sw_native_part(target, &span.from, &span.to) || (target == span.from && !conditional))
		return;
	for (unsigned i = 0; i < PARTS_MAX; i++) {
		if (parts[i].votes && parts[i].span.from != span.from)
			continue;
		parts[i].span = span;
		parts[i].votes++;
		return;
	}
}

/* jcc and jmp with 4 bytes of distance; also what looks like one within another instruction, which
 * leads anywhere. */
static void vote_by_jumps(const uint8_t *code, const struct sw_span *hot, struct part *parts)
{
	uint64_t len = hot->to - hot->from;

	for (uint64_t i = 0; i + 6 <= len; i++) {
		bool conditional = code[i] == 0x0f && code[i + 1] >> 4 == 8;
		uint64_t end = i + (conditional ? 6 : 5), target;
		int32_t by;

		if (!conditional && code[i] != 0xe9)
			continue;
		memcpy(&by, code + end - 4, sizeof(by));
		target = hot->from + end + (uint64_t)(int64_t)by;
		if (!sw_span_has(hot, target))
			vote(parts, target, conditional);
	}
}

static struct sw_span find_cold(const struct sw_span *hot)
{
	uint64_t len = hot->to - hot->from;
	struct part parts[PARTS_MAX] = {0}, *best = parts;
	uint8_t *code = len <= CODE_BYTES_MAX ? sw_sys_map(len) : NULL;

	if (!code)
		return (struct sw_span){0, 0};
	if (sw_sys_peek(code, (void *)hot->from, len))
		vote_by_jumps(code, hot, parts);
	sw_sys(munmap, code, len);
	for (unsigned i = 1; i < PARTS_MAX; i++) {
		if (parts[i].votes > best->votes)
			best = &parts[i];
	}
	return best->votes >= VOTES_LEAST ? best->span : (struct sw_span){0, 0};
}

static void find_interpreter(void)
{
	uint64_t at = (uintptr_t)sw_frames_api._PyEval_EvalFrameDefault, end;

	if (!at || found.hot.from == at || !sw_native_function(at, &end))
		return;
	found.hot = (struct sw_span){at, end};
#if defined(__x86_64__)
	found.cold = find_cold(&found.hot);
#endif
}

const struct sw_eval *sw_eval_find(void)
{
	unsigned now = sw_native_changes();

	if (now == changes)
		return &found;
	changes = now;
	found.switches = (struct sw_span){0, 0};
	sw_native_library(SW_BYTES("_greenlet."), &found.switches.from, &found.switches.to);
	if (sw_frames_ready())
		find_interpreter();
	return &found;
}
