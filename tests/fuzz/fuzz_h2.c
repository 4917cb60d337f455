/*
 * Fuzzes the HTTP/2 framing. The first byte decides, three more are the seed of the cuts:
 *
 *   bit 0  a client speaks, else a server
 *   bit 1  what follows says what is to be written and must be read back; else it is what is read
 *   the rest, times 8, is the room for a header block
 *
 * Whatever is read is read whole, in pieces and byte by byte, and must give the same events. All
 * else that can be broken is watched by tests/proto/h2_log.h on each call.
 */
#include "tests/proto/h2_log.h"

#define HEAD_LEN 4
#define OUT_MAX (1U << 20)

int LLVMFuzzerTestOneInput(const uint8_t *at, size_t len);

struct fuzz {
	enum sw_h2_role role;
	size_t room;
	uint32_t random;
};

static struct h2_log read_in_pieces(const struct fuzz *fuzz, struct sw_bytes bytes)
{
	uint32_t random = fuzz->random;
	struct h2_log log;

	h2_log_init(&log, fuzz->role, fuzz->room);
	while (bytes.len) {
		size_t len = h2_random_len(&random, bytes.len);

		h2_log_read(&log, sw_bytes_slice(bytes, 0, len), NULL, NULL);
		bytes = sw_bytes_from(bytes, len);
	}
	h2_log_flush(&log);
	return log;
}

static void expect(const char *want, struct h2_log log)
{
	if (strcmp(want, log.text.at) != 0) {
		fprintf(stderr, "--- want\n%s--- have\n%s", want, log.text.at);
		h2_must(false, "the same bytes give the same events however they were cut");
	}
	h2_log_free(&log);
}

static void check(const struct fuzz *fuzz, struct sw_bytes bytes, const char *want)
{
	struct h2_log whole = h2_log_all(fuzz->role, fuzz->room, bytes, bytes.len);

	expect(want ? want : whole.text.at, read_in_pieces(fuzz, bytes));
	expect(want ? want : whole.text.at, h2_log_all(fuzz->role, fuzz->room, bytes, 1));
	expect(want ? want : whole.text.at, whole);
}

/* ---- what is written is read ---- */

/* Bytes that decide; zeros when there are no more. */
static uint32_t take(struct sw_bytes *in, size_t len)
{
	uint32_t number = 0;

	for (; len && in->len; len--, *in = sw_bytes_from(*in, 1))
		number = number << 8 | in->at[0];
	return number;
}

static uint32_t take_stream(struct sw_bytes *in)
{
	return (take(in, 1) + 1) & SW_H2_STREAM_MAX;
}

static void say_settings(struct sw_bytes *in, struct sw_writer *out, struct h2_log *want)
{
	uint32_t setting[4][2], count = take(in, 1) % 5;

	for (uint32_t i = 0; i < count; i++) {
		/* all of its values are allowed */
		setting[i][0] = 6 + take(in, 1);
		setting[i][1] = take(in, 4);
		h2_log_event(want, &(struct sw_h2_event){.kind = SW_H2_SETTING,
							 .id = setting[i][0],
							 .value = setting[i][1]});
	}
	h2_log_event(want, &(struct sw_h2_event){.kind = SW_H2_SETTINGS_END});
	sw_h2_write_settings(out, setting, count);
}

static void say_headers(struct sw_bytes *in, struct sw_writer *out, struct h2_log *want)
{
	uint32_t frame_max = take(in, 1), len = take(in, 1);
	struct sw_h2_event event = {.kind = SW_H2_HEADERS, .stream = take_stream(in)};

	event.end_stream = len & 1;
	event.bytes = sw_bytes_slice(*in, 0, SW_MIN(len, want->h2.room));
	*in = sw_bytes_from(*in, event.bytes.len);
	h2_log_event(want, &event);
	sw_h2_write_headers(out, event.stream, event.bytes, event.end_stream, frame_max);
}

static void say_data(struct sw_bytes *in, struct sw_writer *out, struct h2_log *want)
{
	struct sw_h2_event event = {.kind = SW_H2_DATA, .stream = take_stream(in)};
	uint32_t len = take(in, 1);

	event.end_stream = len & 1;
	event.bytes = sw_bytes_slice(*in, 0, len);
	event.flow = (uint32_t)event.bytes.len;
	*in = sw_bytes_from(*in, event.bytes.len);
	if (event.flow || event.end_stream)
		h2_log_event(want, &event);
	sw_h2_write_data_head(out, event.stream, event.flow, event.end_stream);
	sw_write(out, event.bytes);
}

static void say_ping(struct sw_bytes *in, struct sw_writer *out, struct h2_log *want)
{
	uint8_t data[8];

	for (size_t i = 0; i < sizeof(data); i++)
		data[i] = (uint8_t)take(in, 1);
	h2_log_event(want, &(struct sw_h2_event){.kind = data[0] & 1 ? SW_H2_PING_ACK : SW_H2_PING,
						 .bytes = sw_bytes(data, sizeof(data))});
	sw_h2_write_ping(out, data, data[0] & 1);
}

static void say(struct sw_bytes *in, struct sw_writer *out, struct h2_log *want)
{
	struct sw_h2_event event = {.stream = 0};

	switch (take(in, 1) % 8) {
	case 0:
		say_settings(in, out, want);
		return;
	case 1:
		say_headers(in, out, want);
		return;
	case 2:
		say_data(in, out, want);
		return;
	case 3:
		say_ping(in, out, want);
		return;
	case 4:
		event.kind = SW_H2_SETTINGS_ACK;
		sw_h2_write_settings_ack(out);
		break;
	case 5:
		event = (struct sw_h2_event){.kind = SW_H2_RESET, .stream = take_stream(in)};
		event.value = take(in, 4);
		sw_h2_write_reset(out, event.stream, event.value);
		break;
	case 6:
		event = (struct sw_h2_event){.kind = SW_H2_WINDOW_UPDATE,
					     .stream = take(in, 1),
					     .value = 1 + take(in, 3)};
		sw_h2_write_window_update(out, event.stream, event.value);
		break;
	default:
		event = (struct sw_h2_event){.kind = SW_H2_GOAWAY, .stream = take_stream(in)};
		event.value = take(in, 4);
		sw_h2_write_goaway(out, event.stream, event.value);
	}
	h2_log_event(want, &event);
}

static void check_written(const struct fuzz *fuzz, struct sw_bytes in)
{
	static uint8_t at[OUT_MAX];
	struct sw_writer out = sw_writer(at, sizeof(at));
	struct h2_log want;

	h2_log_init(&want, fuzz->role, fuzz->room);
	if (fuzz->role == SW_H2_CLIENT)
		sw_write(&out, SW_BYTES(SW_H2_PREFACE));
	say_settings(&in, &out, &want);
	while (in.len)
		say(&in, &out, &want);
	h2_log_flush(&want);
	h2_must(!out.cut, "there is room for all frames");
	check(fuzz, sw_written(&out), want.text.at);
	h2_log_free(&want);
}

int LLVMFuzzerTestOneInput(const uint8_t *at, size_t len)
{
	struct fuzz fuzz;

	if (len < HEAD_LEN)
		return 0;
	fuzz.role = at[0] & 1 ? SW_H2_CLIENT : SW_H2_SERVER;
	fuzz.room = (at[0] >> 2) * 8;
	fuzz.random = 1U << 24 | (uint32_t)at[1] << 16 | (uint32_t)at[2] << 8 | at[3];
	if (at[0] & 2)
		check_written(&fuzz, sw_bytes(at + HEAD_LEN, len - HEAD_LEN));
	else
		check(&fuzz, sw_bytes(at + HEAD_LEN, len - HEAD_LEN), NULL);
	return 0;
}
