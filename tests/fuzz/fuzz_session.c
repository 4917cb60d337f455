/*
 * Fuzzes the gRPC client with a hostile collector. Instructions are a byte each, followed by what
 * they need:
 *
 *   0..127    so many bytes of what follows come from the other side
 *   128..191  a call begins, its body (low bits + 1) * 700 bytes
 *   192..223  everything that can be written is written
 *   224..239  time passes
 *   240..255  the connection ends, and the next one begins
 *
 * Watched: each call ends exactly once, the output is HTTP/2 that our own reader understands, and
 * it stays within bounds.
 */
#include "reporter/session.h"

#include <stdio.h>

#define SECOND 1000000000ull
#define BODIES 64
#define OUT_BOUND (2u << 20)

int LLVMFuzzerTestOneInput(const uint8_t *at, size_t len);

static struct sw_session session;
static struct sw_h2 reader;
static uint8_t block[8192], body[BODIES * 700];
static unsigned begun, ended;
static bool open_call[1u << 16];

static void must(bool holds, const char *what)
{
	if (!holds) {
		fprintf(stderr, "%s\n", what);
		__builtin_trap();
	}
}

static void done(void *arg, void *owner, const struct sw_answer *answer)
{
	bool *call = owner;

	(void)arg;
	must(*call, "a call ends once");
	*call = false;
	ended++;
	must(answer->status < SW_GRPC_STATUSES && strlen(answer->message) < 100, "a sane answer");
	must(!(answer->given && answer->perhaps), "what was answered is known");
}

static void begin(void)
{
	struct sw_session_peer peer = {"oap:11800", "token", done, NULL};

	sw_session_start(&session, &peer);
	sw_h2_init(&reader, SW_H2_CLIENT, block, sizeof(block));
	reader.frame_max = 1u << 24;
}

static void write_all(void)
{
	struct sw_h2_event event;

	do {
		struct sw_bytes out;
		int got;

		sw_session_fill(&session);
		must(session.out.len < OUT_BOUND, "the output is bounded");
		out = sw_bytes(session.out.at, session.out.len);
		while ((got = sw_h2_read(&reader, &out, &event)) > 0)
			;
		must(got == 0, "what is written is HTTP/2");
		sw_session_wrote(&session, session.out.len);
	} while (session.out.len);
}

static void end(void)
{
	sw_session_abort(&session);
	must(session.calls == 0 && begun == ended, "every call ends");
}

/* False: the connection ended. */
static bool step(struct sw_bytes *in, uint64_t *now)
{
	uint8_t what = in->at[0];
	size_t len = SW_MIN(what, in->len - 1);
	struct sw_bytes rest = sw_bytes_from(*in, 1);

	*in = rest;
	if (what < 128) {
		*in = sw_bytes_from(rest, len);
		return sw_session_feed(&session, sw_bytes_slice(rest, 0, len)) == 0;
	}
	if (what < 192) {
		bool *call = &open_call[begun % SW_COUNT_OF(open_call)];
		struct sw_bytes text = sw_bytes(body, (what % BODIES + 1) * 700u);

		*call = true;
		begun += sw_session_call(&session, "/a.B/c", text, call, *now + 20 * SECOND);
	} else if (what < 224) {
		write_all();
	} else if (what < 240) {
		*now += SECOND * (what % 16);
		sw_session_expire(&session, *now);
	} else {
		return false;
	}
	return true;
}

int LLVMFuzzerTestOneInput(const uint8_t *at, size_t len)
{
	struct sw_bytes in = sw_bytes(at, len);
	uint64_t now = 1;

	begun = ended = 0;
	begin();
	while (in.len) {
		if (!step(&in, &now)) {
			write_all();
			end();
			begin();
		}
	}
	end();
	sw_buffer_free(&session.out);
	return 0;
}
