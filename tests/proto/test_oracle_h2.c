/*
 * Framing and HPACK against a whole HTTP/2 of others: an nghttp2 session on one end, our reader and
 * writers on the other, in both roles. Every stream carries random fields (some too large for one
 * frame), bodies in random pieces, padding, trailers; bytes are cut at random. What one end says
 * must be what the other hears, written down per stream and direction.
 *
 * Our end knows nothing of windows: it gives back what it read at once, and sends less than anybody
 * announces at first.
 */
#include <criterion/criterion.h>
#include <nghttp2/nghttp2.h>

#include "proto/h2.h"
#include "proto/hpack.h"
#include "tests/proto/h2_log.h"
#include "tests/proto/random_fields.h"

#define STREAMS 9
#define STREAM_IDS (2 * STREAMS + 2)
#define TABLE_ROOM 65536
#define BLOCK_ROOM 300000
#define OUT_ROOM (4U << 20)
/* Less than the window of a connection, over all streams. */
#define BODY_MAX 6000
#define HUGE 20000

/* What is still to come of a body of theirs. */
struct body {
	size_t left;
	bool has_trailers;
};

struct talk {
	uint32_t random;
	enum sw_h2_role theirs; /* their role */
	nghttp2_session *session;
	struct h2_log log; /* our reader */
	struct sw_hpack reads, writes;
	struct sw_writer out; /* of ours */
	size_t sent;	      /* of out */
	uint32_t frame_max;   /* theirs */
	uint32_t announced[8];
	size_t settings_said, settings_acked;
	struct text we_said[STREAM_IDS], they_heard[STREAM_IDS];
	struct text they_said[STREAM_IDS], we_heard[STREAM_IDS];
	struct body body[STREAM_IDS];
	size_t streams_open;
	unsigned pings, ping_acks, their_ping_acks, resets, goaways, promised, promises_heard;
	bool failed; /* they complained */
};

static _Alignas(4) uint8_t read_memory[TABLE_ROOM], write_memory[TABLE_ROOM];
static uint8_t out_at[OUT_ROOM], block_at[BLOCK_ROOM], text_at[TABLE_ROOM];
static uint8_t huge[HUGE];

static const struct sw_bytes END = {(const uint8_t *)"END\n", 4};

static struct sw_bytes piece_of_body(struct talk *t, uint8_t *at, size_t len)
{
	for (size_t i = 0; i < len; i++)
		at[i] = (uint8_t)h2_random(&t->random);
	return sw_bytes(at, len);
}

/* ---- their end: what it hears ---- */

static int on_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name,
		     size_t name_len, const uint8_t *value, size_t value_len, uint8_t flags,
		     void *self)
{
	struct talk *t = self;

	(void)session;
	(void)flags;
	add_field(&t->they_heard[frame->hd.stream_id], sw_bytes(name, name_len),
		  sw_bytes(value, value_len));
	return 0;
}

static int on_data(nghttp2_session *session, uint8_t flags, int32_t stream, const uint8_t *at,
		   size_t len, void *self)
{
	struct talk *t = self;

	(void)session;
	(void)flags;
	add_bytes(&t->they_heard[stream], sw_bytes(at, len));
	return 0;
}

static void respond(struct talk *t, int32_t stream);

static int on_frame(nghttp2_session *session, const nghttp2_frame *frame, void *self)
{
	struct talk *t = self;
	bool ends = frame->hd.flags & NGHTTP2_FLAG_END_STREAM &&
		    (frame->hd.type == NGHTTP2_DATA || frame->hd.type == NGHTTP2_HEADERS);

	(void)session;
	if (ends)
		add_bytes(&t->they_heard[frame->hd.stream_id], END);
	if (frame->hd.type == NGHTTP2_PING && frame->hd.flags & NGHTTP2_FLAG_ACK)
		t->their_ping_acks++;
	if (frame->hd.type == NGHTTP2_GOAWAY)
		t->goaways += frame->goaway.error_code == SW_H2_ENHANCE_YOUR_CALM;
	if (frame->hd.type == NGHTTP2_RST_STREAM)
		t->resets += frame->rst_stream.error_code == SW_H2_CANCEL;
	if (ends && t->theirs == SW_H2_SERVER)
		respond(t, frame->hd.stream_id);
	return 0;
}

static int on_invalid_frame(nghttp2_session *session, const nghttp2_frame *frame, int code,
			    void *self)
{
	struct talk *t = self;

	(void)session;
	fprintf(stderr, "frame of type %d: %s\n", frame->hd.type, nghttp2_strerror(code));
	t->failed = true;
	return 0;
}

/* ---- their end: what it says ---- */

static ssize_t add_padding(nghttp2_session *session, const nghttp2_frame *frame, size_t most,
			   void *self)
{
	struct talk *t = self;
	uint32_t pad = h2_random(&t->random) % 512;

	(void)session;
	return (ssize_t)(pad < 256 ? SW_MIN(most, frame->hd.length + pad) : frame->hd.length);
}

static ssize_t choose_length(nghttp2_session *session, uint8_t type, int32_t stream,
			     int32_t connection_window, int32_t stream_window, uint32_t frame_max,
			     void *self)
{
	struct talk *t = self;
	int32_t most = SW_MIN(SW_MIN(connection_window, stream_window), (int32_t)frame_max);

	(void)session;
	(void)type;
	(void)stream;
	return (ssize_t)h2_random_len(&t->random, (size_t)most);
}

/* Fields, and what they are in nghttp2's words; some are too large for one frame. */
static size_t make_fields(struct talk *t, struct random_field *field, nghttp2_nv *nv)
{
	size_t count = 1 + h2_random(&t->random) % FIELDS_MAX;

	for (size_t i = 0; i < count; i++) {
		random_field(&t->random, &field[i]);
		if (i < 2 && h2_random(&t->random) % 8 == 0)
			field[i].value = sw_bytes(huge, HUGE - h2_random(&t->random) % 5000);
		if (nv)
			nv[i] = (nghttp2_nv){(uint8_t *)field[i].name.at,
					     (uint8_t *)field[i].value.at, field[i].name.len,
					     field[i].value.len, NGHTTP2_NV_FLAG_NONE};
	}
	return count;
}

static void note_fields(struct text *said, const struct random_field *field, size_t count)
{
	for (size_t i = 0; i < count; i++)
		add_field(said, field[i].name, field[i].value);
}

static void say_trailers(struct talk *t, int32_t stream)
{
	struct random_field field[FIELDS_MAX];
	nghttp2_nv nv[FIELDS_MAX];
	size_t count = make_fields(t, field, nv);

	cr_assert_eq(nghttp2_submit_trailer(t->session, stream, nv, count), 0);
	note_fields(&t->they_said[stream], field, count);
	add_bytes(&t->they_said[stream], END);
}

static ssize_t say_data(nghttp2_session *session, int32_t stream, uint8_t *at, size_t len,
			uint32_t *ret_flags, nghttp2_data_source *source, void *self)
{
	struct talk *t = self;
	struct body *body = &t->body[stream];

	(void)session;
	(void)source;
	len = SW_MIN(len, body->left);
	body->left -= len;
	add_bytes(&t->they_said[stream], piece_of_body(t, at, len));
	if (body->left)
		return (ssize_t)len;
	*ret_flags = NGHTTP2_DATA_FLAG_EOF;
	if (body->has_trailers) {
		*ret_flags |= NGHTTP2_DATA_FLAG_NO_END_STREAM;
		say_trailers(t, stream);
	} else {
		add_bytes(&t->they_said[stream], END);
	}
	return (ssize_t)len;
}

/* The body of the next message; none in some. */
static bool choose_body(struct talk *t, int32_t stream)
{
	t->body[stream].left = h2_random_len(&t->random, BODY_MAX * 5) - 1;
	t->body[stream].has_trailers = h2_random(&t->random) % 2;
	return h2_random(&t->random) % 4;
}

static void say_response(struct talk *t, int32_t stream)
{
	nghttp2_data_provider provider = {.read_callback = say_data};
	struct random_field field[FIELDS_MAX];
	nghttp2_nv nv[FIELDS_MAX];
	size_t count = make_fields(t, field, nv);
	bool has_body = choose_body(t, stream);

	cr_assert_eq(
		nghttp2_submit_response(t->session, stream, nv, count, has_body ? &provider : NULL),
		0);
	note_fields(&t->they_said[stream], field, count);
	if (!has_body)
		add_bytes(&t->they_said[stream], END);
}

static void promise(struct talk *t, int32_t stream)
{
	struct random_field field[FIELDS_MAX];
	nghttp2_nv nv[FIELDS_MAX];
	size_t count = make_fields(t, field, nv);
	int32_t promised = nghttp2_submit_push_promise(t->session, 0, stream, nv, count, NULL);

	cr_assert(promised > 0 && promised < STREAM_IDS);
	note_fields(&t->they_said[promised], field, count);
	t->promised++;
	say_response(t, promised);
}

static void respond(struct talk *t, int32_t stream)
{
	if (h2_random(&t->random) % 3 == 0)
		promise(t, stream);
	say_response(t, stream);
}

static void request(struct talk *t)
{
	nghttp2_data_provider provider = {.read_callback = say_data};
	struct random_field field[FIELDS_MAX];
	nghttp2_nv nv[FIELDS_MAX];
	size_t count = make_fields(t, field, nv);
	int32_t stream = (int32_t)(2 * t->streams_open++ + 1);
	bool has_body = choose_body(t, stream);

	cr_assert_eq(nghttp2_submit_request(t->session, NULL, nv, count,
					    has_body ? &provider : NULL, NULL),
		     stream);
	note_fields(&t->they_said[stream], field, count);
	if (!has_body)
		add_bytes(&t->they_said[stream], END);
}

/* ---- our end: what it says ---- */

static void write_fields(struct talk *t, uint32_t stream, bool end_stream)
{
	struct random_field field[FIELDS_MAX];
	size_t count = make_fields(t, field, NULL);
	struct sw_writer block = sw_writer(block_at, sizeof(block_at));

	for (size_t i = 0; i < count; i++)
		sw_hpack_write(&t->writes, &block, field[i].name, field[i].value,
			       (enum sw_hpack_how)(h2_random(&t->random) % 3));
	cr_assert_not(block.cut);
	sw_h2_write_headers(&t->out, stream, sw_written(&block), end_stream,
			    t->frame_max - h2_random(&t->random) % 3);
	note_fields(&t->we_said[stream], field, count);
	if (end_stream)
		add_bytes(&t->we_said[stream], END);
}

static void write_data(struct talk *t, uint32_t stream, size_t len, bool end_stream)
{
	uint8_t at[BODY_MAX];
	struct sw_bytes piece = piece_of_body(t, at, len);

	sw_h2_write_data_head(&t->out, stream, (uint32_t)len, end_stream);
	sw_write(&t->out, piece);
	add_bytes(&t->we_said[stream], piece);
	if (end_stream)
		add_bytes(&t->we_said[stream], END);
}

static void write_message(struct talk *t, uint32_t stream)
{
	bool has_body = h2_random(&t->random) % 4, has_trailers = h2_random(&t->random) % 2;
	size_t left = BODY_MAX;

	write_fields(t, stream, !has_body && !has_trailers);
	while (has_body && left) {
		size_t len = h2_random_len(&t->random, left) - h2_random(&t->random) % 2;

		left = h2_random(&t->random) % 3 ? left - len : 0;
		write_data(t, stream, len, !left && !has_trailers);
	}
	if (has_trailers)
		write_fields(t, stream, true);
}

static void write_settings(struct talk *t)
{
	uint32_t size = random_table_size(&t->random);
	const uint32_t setting[][2] = {{SW_H2_HEADER_TABLE_SIZE, size},
				       {SW_H2_MAX_FRAME_SIZE, 30000}};

	t->announced[t->settings_said++ % SW_COUNT_OF(t->announced)] = size;
	t->log.h2.frame_max = 30000;
	sw_h2_write_settings(&t->out, setting, SW_COUNT_OF(setting));
}

/* ---- our end: what it hears ---- */

static void hear_block(struct talk *t, uint32_t stream, struct sw_bytes block)
{
	struct sw_writer text = sw_writer(text_at, sizeof(text_at));
	struct sw_hpack_field field;
	enum sw_hpack_read result;

	while ((result = sw_hpack_read(&t->reads, &block, &text, &field)) == SW_HPACK_FIELD)
		add_field(&t->we_heard[stream], field.name, field.value);
	cr_assert_eq(result, SW_HPACK_END);
}

static void hear_setting(struct talk *t, const struct sw_h2_event *event)
{
	if (event->id == SW_H2_HEADER_TABLE_SIZE)
		(void)sw_hpack_limit(&t->writes, event->value);
	if (event->id == SW_H2_MAX_FRAME_SIZE)
		t->frame_max = event->value;
}

static void hear_data(struct talk *t, const struct sw_h2_event *event)
{
	add_bytes(&t->we_heard[event->stream], event->bytes);
	if (!event->flow)
		return;
	sw_h2_write_window_update(&t->out, 0, event->flow);
	if (!event->end_stream)
		sw_h2_write_window_update(&t->out, event->stream, event->flow);
}

static void hear_end(struct talk *t, uint32_t stream)
{
	add_bytes(&t->we_heard[stream], END);
	if (t->theirs == SW_H2_CLIENT)
		write_message(t, stream);
}

static void hear(void *self, const struct sw_h2_event *event)
{
	struct talk *t = self;

	cr_assert_lt(event->stream, STREAM_IDS);
	switch (event->kind) {
	case SW_H2_DATA:
		hear_data(t, event);
		break;
	case SW_H2_HEADERS:
		hear_block(t, event->stream, event->bytes);
		break;
	case SW_H2_PUSH_PROMISE:
		t->promises_heard++;
		hear_block(t, event->value, event->bytes);
		break;
	case SW_H2_SETTING:
		hear_setting(t, event);
		break;
	case SW_H2_SETTINGS_END:
		sw_h2_write_settings_ack(&t->out);
		break;
	case SW_H2_SETTINGS_ACK:
		cr_assert(sw_hpack_limit(
			&t->reads, t->announced[t->settings_acked++ % SW_COUNT_OF(t->announced)]));
		break;
	case SW_H2_PING:
		sw_h2_write_ping(&t->out, event->bytes.at, true);
		break;
	case SW_H2_PING_ACK:
		t->ping_acks += memcmp(event->bytes.at, "ourping!", 8) == 0;
		break;
	case SW_H2_RESET:
		t->resets += event->value == SW_H2_CANCEL;
		break;
	case SW_H2_GOAWAY:
		t->goaways += event->value == SW_H2_ENHANCE_YOUR_CALM &&
			      sw_bytes_equal(event->bytes, SW_BYTES("too many"));
		break;
	case SW_H2_WINDOW_UPDATE:
		break;
	}
	if (event->end_stream)
		hear_end(t, event->stream);
}

/* ---- both ---- */

static nghttp2_session_callbacks *make_callbacks(void)
{
	nghttp2_session_callbacks *callbacks;

	cr_assert_eq(nghttp2_session_callbacks_new(&callbacks), 0);
	nghttp2_session_callbacks_set_on_header_callback(callbacks, on_header);
	nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, on_data);
	nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, on_frame);
	nghttp2_session_callbacks_set_on_invalid_frame_recv_callback(callbacks, on_invalid_frame);
	nghttp2_session_callbacks_set_select_padding_callback(callbacks, add_padding);
	nghttp2_session_callbacks_set_data_source_read_length_callback(callbacks, choose_length);
	return callbacks;
}

static void submit_settings(struct talk *t)
{
	nghttp2_settings_entry setting[] = {
		{NGHTTP2_SETTINGS_HEADER_TABLE_SIZE, random_table_size(&t->random)},
		{NGHTTP2_SETTINGS_MAX_FRAME_SIZE, 16384 + h2_random(&t->random) % 9999},
		{NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, SW_H2_WINDOW + h2_random(&t->random) % 9999},
	};

	cr_assert_eq(nghttp2_submit_settings(t->session, 0, setting, SW_COUNT_OF(setting)), 0);
}

static void open_theirs(struct talk *t)
{
	nghttp2_session_callbacks *callbacks = make_callbacks();
	nghttp2_option *option;

	cr_assert_eq(nghttp2_option_new(&option), 0);
	nghttp2_option_set_no_http_messaging(option, 1);
	nghttp2_option_set_max_deflate_dynamic_table_size(option, TABLE_ROOM);
	nghttp2_option_set_max_send_header_block_length(option, BLOCK_ROOM);
	cr_assert_eq((t->theirs == SW_H2_CLIENT
			      ? nghttp2_session_client_new2
			      : nghttp2_session_server_new2)(&t->session, callbacks, t, option),
		     0);
	nghttp2_option_del(option);
	nghttp2_session_callbacks_del(callbacks);
	submit_settings(t);
}

static void open_talk(struct talk *t, enum sw_h2_role theirs, uint32_t seed)
{
	*t = (struct talk){.random = seed, .theirs = theirs, .frame_max = SW_H2_FRAME_MAX};
	memset(huge, 'h', sizeof(huge));
	t->out = sw_writer(out_at, sizeof(out_at));
	h2_log_init(&t->log, theirs, BLOCK_ROOM);
	sw_hpack_init(&t->reads, read_memory, TABLE_ROOM);
	sw_hpack_init(&t->writes, write_memory, TABLE_ROOM);
	open_theirs(t);
	if (theirs == SW_H2_SERVER)
		sw_write(&t->out, SW_BYTES(SW_H2_PREFACE));
	write_settings(t);
}

static void close_talk(struct talk *t)
{
	nghttp2_session_del(t->session);
	h2_log_free(&t->log);
	for (size_t i = 0; i < STREAM_IDS; i++) {
		free(t->we_said[i].at);
		free(t->they_heard[i].at);
		free(t->they_said[i].at);
		free(t->we_heard[i].at);
	}
}

/* What they have to say, to us, in pieces. True when there was something. */
static bool carry_theirs(struct talk *t)
{
	const uint8_t *at;
	ssize_t len = nghttp2_session_mem_send(t->session, &at);
	struct sw_bytes left;

	cr_assert_geq(len, 0, "%s", nghttp2_strerror((int)len));
	left = sw_bytes(at, (size_t)len);
	while (left.len) {
		size_t step = h2_random_len(&t->random, left.len);

		h2_log_read(&t->log, sw_bytes_slice(left, 0, step), hear, t);
		cr_assert_eq(t->log.error, 0);
		left = sw_bytes_from(left, step);
	}
	t->log.text.len = 0;
	return len > 0;
}

/* A piece of what we have to say, to them. */
static bool carry_ours(struct talk *t)
{
	size_t left = t->out.len - t->sent, step;

	cr_assert_not(t->out.cut);
	if (!left) {
		t->out.len = t->sent = 0;
		return false;
	}
	step = h2_random_len(&t->random, left);
	cr_assert_eq(nghttp2_session_mem_recv(t->session, t->out.at + t->sent, step),
		     (ssize_t)step);
	t->sent += step;
	return true;
}

/* Until both have said everything. */
static void carry(struct talk *t)
{
	bool more = true;

	while (more) {
		more = carry_ours(t);
		if (!more || h2_random(&t->random) % 4 == 0)
			more |= carry_theirs(t);
	}
	cr_assert_not(t->failed);
}

static void cr_same(const struct text *said, const struct text *heard, size_t stream)
{
	cr_assert_eq(said->len, heard->len, "stream %zu: %zu bytes of %zu", stream, heard->len,
		     said->len);
	cr_assert(said->len == 0 || memcmp(said->at, heard->at, said->len) == 0);
}

static void check_talk(struct talk *t)
{
	for (size_t i = 0; i < STREAM_IDS; i++) {
		cr_same(&t->they_said[i], &t->we_heard[i], i);
		cr_same(&t->we_said[i], &t->they_heard[i], i);
	}
	for (size_t i = 1; i < 2 * STREAMS; i += 2)
		cr_assert(t->they_said[i].len && t->we_said[i].len);
	cr_assert_eq(t->ping_acks, t->pings);
	cr_assert_eq(t->their_ping_acks, t->pings);
	cr_assert_eq(t->promises_heard, t->promised);
	cr_assert_eq(t->settings_said, t->settings_acked);
	/* all that counted against their window was given back, to the byte */
	cr_assert_eq(nghttp2_session_get_remote_window_size(t->session), SW_H2_WINDOW);
}

/* Things that may come at any time. */
static void interfere(struct talk *t)
{
	switch (h2_random(&t->random) % 4) {
	case 0:
		t->pings++;
		sw_h2_write_ping(&t->out, (const uint8_t *)"ourping!", false);
		cr_assert_eq(nghttp2_submit_ping(t->session, 0, NULL), 0);
		break;
	case 1:
		write_settings(t);
		break;
	case 2:
		submit_settings(t);
		break;
	default:
		cr_assert_eq(nghttp2_submit_window_update(t->session, 0, 0, 1000), 0);
		break;
	}
}

/* A stream that is given up by one or the other, and the end of the connection. */
static void give_up(struct talk *t, uint32_t stream)
{
	if (t->theirs == SW_H2_SERVER)
		write_fields(t, stream, false);
	else
		request(t);
	carry(t);
	if (t->random % 2)
		sw_h2_write_reset(&t->out, stream, SW_H2_CANCEL);
	else
		cr_assert_eq(
			nghttp2_submit_rst_stream(t->session, 0, (int32_t)stream, SW_H2_CANCEL), 0);
	carry(t);
	cr_assert_eq(t->resets, 1);
	/* ours first: who has said it does not listen any more */
	sw_h2_write_goaway(&t->out, 0, SW_H2_ENHANCE_YOUR_CALM);
	carry(t);
	cr_assert_eq(t->goaways, 1);
	cr_assert_eq(nghttp2_submit_goaway(t->session, 0, 0, SW_H2_ENHANCE_YOUR_CALM,
					   (const uint8_t *)"too many", 8),
		     0);
	carry(t);
	cr_assert_eq(t->goaways, 2);
}

static void talk(enum sw_h2_role theirs, uint32_t seed)
{
	static struct talk t;

	open_talk(&t, theirs, seed);
	for (uint32_t i = 0; i < STREAMS; i++) {
		if (theirs == SW_H2_CLIENT)
			request(&t);
		else
			write_message(&t, 2 * i + 1);
		interfere(&t);
		if (h2_random(&t.random) % 2)
			carry(&t);
	}
	carry(&t);
	check_talk(&t);
	if (theirs == SW_H2_SERVER)
		give_up(&t, 2 * STREAMS + 1);
	close_talk(&t);
}

Test(oracle_h2, our_client_and_their_server)
{
	for (uint32_t seed = 1; seed <= 60; seed++)
		talk(SW_H2_SERVER, seed * 2654435761U);
}

Test(oracle_h2, their_client_and_our_server)
{
	for (uint32_t seed = 1; seed <= 60; seed++)
		talk(SW_H2_CLIENT, seed * 2654435761U);
}
