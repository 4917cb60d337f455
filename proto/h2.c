/*
 * HTTP/2 framing; see h2.h. Sections are those of RFC 9113.
 *
 * The reader goes through a frame in steps: its head; the part of the payload that has a fixed
 * length (padding, priorities, numbers), which is gathered in `part`; the rest, which is passed on
 * as it comes (DATA), gathered in the caller's memory unless it is whole (header blocks), or passed
 * over. What a step does depends only on bytes that have been taken, and limits are checked before
 * the bytes that they concern: so events and errors are the same however the bytes were cut.
 */
#include "proto/h2.h"

#define PREFACE_LEN (sizeof(SW_H2_PREFACE) - 1)
#define SETTING_LEN 6
#define PING_LEN 8
#define GOAWAY_LEN 8
#define FRAME_MAX_MAX 0xffffff
#define PART_MAX sizeof(((struct sw_h2 *)NULL)->part)

enum type {
	DATA,
	HEADERS,
	PRIORITY,
	RST_STREAM,
	SETTINGS,
	PUSH_PROMISE,
	PING,
	GOAWAY,
	WINDOW_UPDATE,
	CONTINUATION,
	TYPE_COUNT,
};

enum {
	FLAG_ACK = 0x1, /* SETTINGS, PING */
	FLAG_END_STREAM = 0x1,
	FLAG_END_HEADERS = 0x4,
	FLAG_PADDED = 0x8,
	FLAG_PRIORITY = 0x20,
};

enum state {
	READ_PREFACE,
	READ_HEAD,
	READ_PART,
	READ_DATA,
	READ_BLOCK,
	SKIP,
	FAILED,
};

/* What a step may come to, beside an error, which is negative. */
enum {
	WAIT, /* for more bytes */
	EVENT,
	GO_ON,
};

/* What all frames of a type have in common: the streams they may be on, their length. */
static const struct rule {
	bool on_stream, on_connection;
	uint8_t exact; /* 0: depends */
} rules[TYPE_COUNT] = {
	[DATA] = {true, false, 0},	   [HEADERS] = {true, false, 0},
	[PRIORITY] = {true, false, 5},	   [RST_STREAM] = {true, false, 4},
	[SETTINGS] = {false, true, 0},	   [PUSH_PROMISE] = {true, false, 0},
	[PING] = {false, true, PING_LEN},  [GOAWAY] = {false, true, 0},
	[WINDOW_UPDATE] = {true, true, 4}, [CONTINUATION] = {true, false, 0},
};

static uint32_t number_at(const uint8_t *at)
{
	return (uint32_t)at[0] << 24 | (uint32_t)at[1] << 16 | (uint32_t)at[2] << 8 | at[3];
}

/* Stream ids and increments: the highest bit is reserved, and ignored. */
static uint32_t number31_at(const uint8_t *at)
{
	return number_at(at) & SW_H2_STREAM_MAX;
}

/* Without a step from where there may be nothing at all. */
static struct sw_bytes take(struct sw_bytes *in, size_t len)
{
	struct sw_bytes taken = sw_bytes(in->at, SW_MIN(len, in->len));

	if (taken.len)
		*in = sw_bytes_from(*in, taken.len);
	return taken;
}

/* Moves bytes to `part` until there are `want` of them. */
static bool gather(struct sw_h2 *h2, struct sw_bytes *in, uint8_t want)
{
	struct sw_bytes taken = take(in, (size_t)want - h2->part_len);

	if (taken.len)
		memcpy(h2->part + h2->part_len, taken.at, taken.len);
	h2->part_len = (uint8_t)(h2->part_len + taken.len);
	return h2->part_len == want;
}

/* ---- the head of a frame ---- */

static int read_preface(struct sw_h2 *h2, struct sw_bytes *in)
{
	static const char preface[] = SW_H2_PREFACE;
	struct sw_bytes taken = take(in, PREFACE_LEN - h2->part_len);

	if (!sw_bytes_equal(taken, sw_bytes(preface + h2->part_len, taken.len)))
		return -SW_H2_PROTOCOL_ERROR;
	h2->part_len = (uint8_t)(h2->part_len + taken.len);
	if (h2->part_len < PREFACE_LEN)
		return WAIT;
	h2->part_len = 0;
	h2->state = READ_HEAD;
	return GO_ON;
}

/* How much of the payload is to be gathered before the frame can be looked at. */
static uint8_t part_of(const struct sw_h2 *h2)
{
	uint8_t padded = h2->flags & FLAG_PADDED ? 1 : 0;

	switch (h2->type) {
	case DATA:
		return padded;
	case HEADERS:
		return (uint8_t)(padded + (h2->flags & FLAG_PRIORITY ? 5 : 0));
	case PUSH_PROMISE:
		return (uint8_t)(padded + 4);
	case SETTINGS:
		return h2->left ? SETTING_LEN : 0;
	case GOAWAY:
		return (uint8_t)h2->left < GOAWAY_LEN ? GOAWAY_LEN : SW_MIN(h2->left, PART_MAX);
	case RST_STREAM:
	case PING:
	case WINDOW_UPDATE:
		return rules[h2->type].exact;
	default:
		return 0;
	}
}

/* Sizes and streams (sections 4.2 and 6). */
static int check_type(const struct sw_h2 *h2)
{
	const struct rule *rule;

	if (h2->type >= TYPE_COUNT)
		return GO_ON;
	rule = &rules[h2->type];
	if (h2->stream ? !rule->on_stream : !rule->on_connection)
		return -SW_H2_PROTOCOL_ERROR;
	if (h2->type == PUSH_PROMISE && h2->role == SW_H2_CLIENT)
		return -SW_H2_PROTOCOL_ERROR;
	if (rule->exact && h2->left != rule->exact)
		return -SW_H2_FRAME_SIZE_ERROR;
	if (h2->type == SETTINGS && (h2->flags & FLAG_ACK ? h2->left : h2->left % SETTING_LEN))
		return -SW_H2_FRAME_SIZE_ERROR;
	if (part_of(h2) > h2->left)
		return -SW_H2_FRAME_SIZE_ERROR;
	return GO_ON;
}

/* Order and size (sections 3.4, 4.2 and 6.10). */
static int check_head(const struct sw_h2 *h2)
{
	bool goes_on = h2->type == CONTINUATION;

	if (!h2->settled && (h2->type != SETTINGS || h2->flags & FLAG_ACK))
		return -SW_H2_PROTOCOL_ERROR;
	if (h2->left > h2->frame_max)
		return -SW_H2_FRAME_SIZE_ERROR;
	if (goes_on != (h2->gathering != 0) || (goes_on && h2->stream != h2->gathering))
		return -SW_H2_PROTOCOL_ERROR;
	return check_type(h2);
}

static int read_head(struct sw_h2 *h2, struct sw_bytes *in)
{
	int result;

	if (!gather(h2, in, SW_H2_FRAME_HEAD))
		return WAIT;
	h2->left = number_at(h2->part) >> 8;
	h2->type = h2->part[3];
	h2->flags = h2->part[4];
	h2->stream = number31_at(h2->part + 5);
	h2->part_len = 0;
	result = check_head(h2);
	h2->settled = true;
	h2->state = READ_PART;
	return result;
}

/* ---- short frames ---- */

/* Section 6.5.2. */
static int check_setting(const struct sw_h2 *h2, uint32_t id, uint32_t value)
{
	switch (id) {
	case SW_H2_ENABLE_PUSH:
		/* Servers may only say that they will not be pushed to. */
		return value > (h2->role == SW_H2_CLIENT) ? -SW_H2_PROTOCOL_ERROR : EVENT;
	case SW_H2_INITIAL_WINDOW_SIZE:
		return value > SW_H2_WINDOW_MAX ? -SW_H2_FLOW_CONTROL_ERROR : EVENT;
	case SW_H2_MAX_FRAME_SIZE:
		return value < SW_H2_FRAME_MAX || value > FRAME_MAX_MAX ? -SW_H2_PROTOCOL_ERROR
									: EVENT;
	default:
		return EVENT;
	}
}

/* One setting, and after the last that there are no more. */
static int read_setting(struct sw_h2 *h2, struct sw_h2_event *event)
{
	if (h2->part_len == 0) {
		event->kind = h2->flags & FLAG_ACK ? SW_H2_SETTINGS_ACK : SW_H2_SETTINGS_END;
		return EVENT;
	}
	event->kind = SW_H2_SETTING;
	event->id = number_at(h2->part) >> 16;
	event->value = number_at(h2->part + 2);
	h2->state = READ_PART;
	return check_setting(h2, event->id, event->value);
}

/* A frame that was gathered whole, or as far as we want to know it. */
static int read_short(struct sw_h2 *h2, struct sw_h2_event *event)
{
	h2->state = SKIP;
	switch (h2->type) {
	case SETTINGS:
		return read_setting(h2, event);
	case RST_STREAM:
		event->kind = SW_H2_RESET;
		event->value = number_at(h2->part);
		return EVENT;
	case PING:
		event->kind = h2->flags & FLAG_ACK ? SW_H2_PING_ACK : SW_H2_PING;
		event->bytes = sw_bytes(h2->part, PING_LEN);
		return EVENT;
	case GOAWAY:
		event->kind = SW_H2_GOAWAY;
		event->stream = number31_at(h2->part);
		event->value = number_at(h2->part + 4);
		event->bytes = sw_bytes(h2->part + GOAWAY_LEN, h2->part_len - GOAWAY_LEN);
		return EVENT;
	case WINDOW_UPDATE:
		event->kind = SW_H2_WINDOW_UPDATE;
		event->value = number31_at(h2->part);
		return event->value ? EVENT : -SW_H2_PROTOCOL_ERROR;
	default:
		return GO_ON;
	}
}

/* ---- DATA and header blocks ---- */

/* A header block, or more of one. */
static int open_block(struct sw_h2 *h2)
{
	const uint8_t *at = h2->part + (h2->flags & FLAG_PADDED ? 1 : 0);

	if (h2->type != CONTINUATION) {
		h2->held = 0;
		h2->first_type = h2->type;
		h2->first_flags = h2->flags;
		h2->promised = h2->type == PUSH_PROMISE ? number31_at(at) : 0;
	}
	/* Streams of a server have even numbers, and none is 0 (section 5.1.1). */
	if (h2->first_type == PUSH_PROMISE && (h2->promised == 0 || h2->promised % 2))
		return -SW_H2_PROTOCOL_ERROR;
	if (h2->left - h2->pad > h2->room - h2->held)
		return -SW_H2_ENHANCE_YOUR_CALM;
	h2->gathering = h2->flags & FLAG_END_HEADERS ? 0 : h2->stream;
	h2->state = READ_BLOCK;
	return GO_ON;
}

static int read_part(struct sw_h2 *h2, struct sw_bytes *in, struct sw_h2_event *event)
{
	bool padded = h2->type == DATA || h2->type == HEADERS || h2->type == PUSH_PROMISE;
	int result;

	if (!gather(h2, in, part_of(h2)))
		return WAIT;
	h2->left -= h2->part_len;
	h2->pad = padded && h2->flags & FLAG_PADDED ? h2->part[0] : 0;
	if (h2->pad > h2->left)
		return -SW_H2_PROTOCOL_ERROR;
	if (h2->type == DATA) {
		h2->state = READ_DATA;
		result = GO_ON;
	} else if (padded || h2->type == CONTINUATION) {
		result = open_block(h2);
	} else {
		result = read_short(h2, event);
	}
	h2->part_len = 0;
	return result;
}

/* What came of it. Its padding is told with the last piece, before it was seen. */
static int read_data(struct sw_h2 *h2, struct sw_bytes *in, struct sw_h2_event *event)
{
	uint32_t left = h2->left - h2->pad;

	event->kind = SW_H2_DATA;
	event->bytes = take(in, left);
	event->flow = (uint32_t)event->bytes.len;
	h2->left -= event->flow;
	if (event->flow < left)
		return event->flow ? EVENT : WAIT;
	if (h2->flags & FLAG_PADDED)
		event->flow += 1 + h2->pad;
	event->end_stream = h2->flags & FLAG_END_STREAM;
	h2->state = SKIP;
	return event->flow || event->end_stream ? EVENT : GO_ON;
}

static int end_block(struct sw_h2 *h2, struct sw_bytes block, struct sw_h2_event *event)
{
	bool is_promise = h2->first_type == PUSH_PROMISE;

	event->kind = is_promise ? SW_H2_PUSH_PROMISE : SW_H2_HEADERS;
	event->value = h2->promised;
	event->end_stream = !is_promise && h2->first_flags & FLAG_END_STREAM;
	event->bytes = block;
	h2->state = SKIP;
	return EVENT;
}

static int read_block(struct sw_h2 *h2, struct sw_bytes *in, struct sw_h2_event *event)
{
	uint32_t left = h2->left - h2->pad;
	bool ends = h2->flags & FLAG_END_HEADERS;
	struct sw_bytes taken = take(in, left);

	h2->left -= (uint32_t)taken.len;
	if (ends && taken.len == left && h2->held == 0)
		return end_block(h2, taken, event);
	if (taken.len)
		memcpy(h2->memory + h2->held, taken.at, taken.len);
	h2->held += taken.len;
	if (taken.len < left)
		return WAIT;
	if (ends)
		return end_block(h2, sw_bytes(h2->memory, h2->held), event);
	h2->state = SKIP;
	return GO_ON;
}

static int skip(struct sw_h2 *h2, struct sw_bytes *in)
{
	h2->left -= (uint32_t)take(in, h2->left).len;
	if (h2->left)
		return WAIT;
	h2->state = READ_HEAD;
	return GO_ON;
}

/* ---- reading ---- */

void sw_h2_init(struct sw_h2 *h2, enum sw_h2_role role, void *memory, size_t room)
{
	*h2 = (struct sw_h2){
		.role = role,
		.frame_max = SW_H2_FRAME_MAX,
		.memory = memory,
		.room = room,
		.state = role == SW_H2_CLIENT ? READ_PREFACE : READ_HEAD,
	};
}

static int step(struct sw_h2 *h2, struct sw_bytes *in, struct sw_h2_event *event)
{
	switch ((enum state)h2->state) {
	case READ_PREFACE:
		return read_preface(h2, in);
	case READ_HEAD:
		return read_head(h2, in);
	case READ_PART:
		return read_part(h2, in, event);
	case READ_DATA:
		return read_data(h2, in, event);
	case READ_BLOCK:
		return read_block(h2, in, event);
	case SKIP:
		return skip(h2, in);
	case FAILED:
		break;
	}
	return h2->error;
}

int sw_h2_read(struct sw_h2 *h2, struct sw_bytes *in, struct sw_h2_event *ret_event)
{
	struct sw_h2_event event;
	int result;

	do {
		event = (struct sw_h2_event){.stream = h2->stream};
		result = step(h2, in, &event);
	} while (result == GO_ON);
	if (result == EVENT)
		*ret_event = event;
	if (result < 0) {
		h2->state = FAILED;
		h2->error = result;
	}
	return result;
}

/* ---- writing ---- */

static void put_number(uint8_t *at, uint32_t number)
{
	at[0] = (uint8_t)(number >> 24);
	at[1] = (uint8_t)(number >> 16);
	at[2] = (uint8_t)(number >> 8);
	at[3] = (uint8_t)number;
}

/* All of a frame, or nothing: what was there stays of use. */
static bool is_room(struct sw_writer *out, size_t len)
{
	out->cut |= len > out->room - out->len;
	return !out->cut;
}

static void write_head(struct sw_writer *out, size_t len, enum type type, unsigned flags,
		       uint32_t stream)
{
	uint8_t head[SW_H2_FRAME_HEAD];

	put_number(head, (uint32_t)len << 8);
	head[3] = (uint8_t)type;
	head[4] = (uint8_t)flags;
	put_number(head + 5, stream & SW_H2_STREAM_MAX);
	sw_write(out, sw_bytes(head, sizeof(head)));
}

static void write_frame(struct sw_writer *out, enum type type, unsigned flags, uint32_t stream,
			struct sw_bytes payload)
{
	if (!is_room(out, SW_H2_FRAME_HEAD + payload.len))
		return;
	write_head(out, payload.len, type, flags, stream);
	sw_write(out, payload);
}

void sw_h2_write_settings(struct sw_writer *out, const uint32_t (*setting)[2], size_t count)
{
	if (!is_room(out, SW_H2_FRAME_HEAD + count * SETTING_LEN))
		return;
	write_head(out, count * SETTING_LEN, SETTINGS, 0, 0);
	for (size_t i = 0; i < count; i++) {
		uint8_t text[SETTING_LEN];

		text[0] = (uint8_t)(setting[i][0] >> 8);
		text[1] = (uint8_t)setting[i][0];
		put_number(text + 2, setting[i][1]);
		sw_write(out, sw_bytes(text, sizeof(text)));
	}
}

void sw_h2_write_settings_ack(struct sw_writer *out)
{
	write_frame(out, SETTINGS, FLAG_ACK, 0, sw_bytes(NULL, 0));
}

void sw_h2_write_ping(struct sw_writer *out, const uint8_t data[8], bool ack)
{
	write_frame(out, PING, ack ? FLAG_ACK : 0, 0, sw_bytes(data, PING_LEN));
}

void sw_h2_write_goaway(struct sw_writer *out, uint32_t last_stream, uint32_t error)
{
	uint8_t text[GOAWAY_LEN];

	put_number(text, last_stream & SW_H2_STREAM_MAX);
	put_number(text + 4, error);
	write_frame(out, GOAWAY, 0, 0, sw_bytes(text, sizeof(text)));
}

void sw_h2_write_reset(struct sw_writer *out, uint32_t stream, uint32_t error)
{
	uint8_t text[4];

	put_number(text, error);
	write_frame(out, RST_STREAM, 0, stream, sw_bytes(text, sizeof(text)));
}

void sw_h2_write_window_update(struct sw_writer *out, uint32_t stream, uint32_t increment)
{
	uint8_t text[4];

	put_number(text, increment & SW_H2_WINDOW_MAX);
	write_frame(out, WINDOW_UPDATE, 0, stream, sw_bytes(text, sizeof(text)));
}

void sw_h2_write_headers(struct sw_writer *out, uint32_t stream, struct sw_bytes block,
			 bool end_stream, uint32_t frame_max)
{
	size_t piece_max = frame_max ? SW_MIN(frame_max, FRAME_MAX_MAX) : SW_H2_FRAME_MAX;
	size_t frames = block.len ? (block.len - 1) / piece_max + 1 : 1;
	unsigned flags = end_stream ? FLAG_END_STREAM : 0;
	enum type type = HEADERS;

	if (!is_room(out, block.len + frames * SW_H2_FRAME_HEAD))
		return;
	do {
		struct sw_bytes piece = take(&block, piece_max);

		write_frame(out, type, flags | (block.len ? 0 : FLAG_END_HEADERS), stream, piece);
		type = CONTINUATION;
		flags = 0;
	} while (block.len);
}

void sw_h2_write_data_head(struct sw_writer *out, uint32_t stream, uint32_t len, bool end_stream)
{
	out->cut |= len > FRAME_MAX_MAX;
	if (is_room(out, SW_H2_FRAME_HEAD))
		write_head(out, len, DATA, end_stream ? FLAG_END_STREAM : 0, stream);
}
