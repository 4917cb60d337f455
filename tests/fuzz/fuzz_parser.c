/*
 * Fuzzes one parser; compiled once per row with -DSW_FUZZ_PARSER=NAME.
 *
 * The input is a conversation: four bytes that decide the cuts, then bytes of the client's side,
 * with 0xff as an escape so that inserting and removing bytes leaves the rest what it was:
 *
 *   ff 00        the other side speaks
 *   ff 01 N*8    N bytes (little endian) that nobody could read
 *   ff 02        no more bytes on this side
 *   ff else      one byte 0xff (ff ff), or that other byte
 *
 * It is played whole, in pieces and byte by byte, and must give the same facts each time. All else
 * that can be broken is watched by tests/parsers/play.h on each call.
 */
#include "tests/parsers/script.h"

#define JOIN_(a, b) a##b
#define JOIN(a, b) JOIN_(a, b)
#define PARSER JOIN(sw_parser_, SW_FUZZ_PARSER)
#define CUTS_LEN 4
/* Byte by byte is quadratic in the length of a head. */
#define EVERY_BYTE_MAX 2048

extern const struct sw_parser PARSER;

int LLVMFuzzerTestOneInput(const uint8_t *at, size_t len);

static bool add_byte(struct script *s, enum sw_side side, uint8_t byte)
{
	struct event *event = script_event(s, EVENT_BYTES, side);

	if (!event)
		return false;
	text_room(&event->bytes, 1);
	event->bytes.at[event->bytes.len++] = (char)byte;
	s->total++;
	return true;
}

static bool add_skip(struct script *s, enum sw_side side, struct sw_bytes *input)
{
	struct event *event = script_event(s, EVENT_SKIP, side);

	for (size_t i = 0; event && i < 8 && i < input->len; i++)
		event->count |= (uint64_t)input->at[i] << (8 * i);
	*input = sw_bytes_from(*input, 8);
	return event != NULL;
}

static bool add_escape(struct script *s, enum sw_side *side, struct sw_bytes *input)
{
	uint8_t op;

	if (input->len == 0)
		return false;
	op = input->at[0];
	*input = sw_bytes_from(*input, 1);
	switch (op) {
	case 0:
		*side = *side == SW_REQUESTS ? SW_RESPONSES : SW_REQUESTS;
		return true;
	case 1:
		return add_skip(s, *side, input);
	case 2:
		return script_event(s, EVENT_FINISH, *side) != NULL;
	default:
		return add_byte(s, *side, op);
	}
}

static void decode(struct sw_bytes input, struct script *s)
{
	enum sw_side side = SW_REQUESTS;
	bool fine = true;

	*s = (struct script){.count = 0};
	while (fine && input.len) {
		uint8_t byte = input.at[0];

		input = sw_bytes_from(input, 1);
		fine = byte == 0xff ? add_escape(s, &side, &input) : add_byte(s, side, byte);
	}
}

/* xorshift; never zero when it did not begin so. */
static uint32_t next(uint32_t *random)
{
	*random ^= *random << 13;
	*random ^= *random >> 17;
	*random ^= *random << 5;
	return *random;
}

static void play_in_pieces(const struct script *s, struct play *play, uint32_t random)
{
	for (size_t i = 0; i < s->count; i++) {
		const struct event *e = &s->event[i];
		struct sw_bytes bytes = sw_bytes(e->bytes.at, e->bytes.len);

		if (e->kind == EVENT_SKIP)
			play_skip(play, e->side, e->count);
		if (e->kind == EVENT_FINISH)
			play_finish(play, e->side);
		while (bytes.len) {
			/* Mostly small pieces, some large. */
			size_t len = 1 + next(&random) % (1U << (next(&random) % 8));

			play_bytes(play, e->side, sw_bytes_slice(bytes, 0, len));
			bytes = sw_bytes_from(bytes, SW_MIN(len, bytes.len));
		}
	}
}

static void start(struct play *play, uint32_t cuts)
{
	play_init(play, &PARSER);
	play->sniffed = !(cuts & 1);
}

static void expect_same(const struct play *whole, const struct play *cut)
{
	if (strcmp(whole->facts.at, cut->facts.at) == 0)
		return;
	fprintf(stderr, "--- whole\n%s--- cut\n%s", whole->facts.at, cut->facts.at);
	play_broken(cut, "the same bytes give the same facts however they were cut");
}

/* What sniff() says for certain of a beginning, it says of all that begins so. */
static void check_sniff(const struct script *s, const struct play *play)
{
	struct sw_bytes first;
	enum sw_sniff last;

	if (s->count == 0 || s->event[0].kind != EVENT_BYTES || s->event[0].side != SW_REQUESTS)
		return;
	first = sw_bytes(s->event[0].bytes.at, SW_MIN(s->event[0].bytes.len, EVERY_BYTE_MAX));
	last = PARSER.sniff(first);
	for (size_t len = 1; len < first.len; len++) {
		enum sw_sniff answer = PARSER.sniff(sw_bytes_slice(first, 0, len));

		PLAY_PROMISE(play, answer == SW_SNIFF_MORE || answer == last,
			     "sniff() stands by its word");
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *at, size_t len)
{
	static struct script script;
	struct play whole, cut;
	uint32_t cuts;

	if (len <= CUTS_LEN)
		return 0;
	memcpy(&cuts, at, CUTS_LEN);
	decode(sw_bytes(at + CUTS_LEN, len - CUTS_LEN), &script);
	start(&whole, cuts);
	script_play(&script, &whole, (struct cuts){SIZE_MAX, 0});
	check_sniff(&script, &whole);
	start(&cut, cuts);
	play_in_pieces(&script, &cut, cuts | 1);
	expect_same(&whole, &cut);
	play_deinit(&cut);
	if (script.total <= EVERY_BYTE_MAX) {
		start(&cut, cuts);
		script_play(&script, &cut, (struct cuts){1, 0});
		expect_same(&whole, &cut);
		play_deinit(&cut);
	}
	play_deinit(&whole);
	script_deinit(&script);
	return 0;
}
