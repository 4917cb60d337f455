/* gRPC calls without a network: the other side is written by hand, frame by frame. */
#include "reporter/session.h"

#include <criterion/criterion.h>
#include <stdio.h>

#define SECOND 1000000000ull

static struct sw_session session;
static struct sw_answer last;
static char last_message[100];
static unsigned ended;
static void *last_owner;

static uint8_t peer_bytes[300000];
static struct sw_writer peer;
static uint8_t peer_table[4096];
static struct sw_hpack peer_fields;

/* What the session has written, read back. */
static struct sw_h2 reader;
static uint8_t reader_block[8192], reader_table[4096];
static struct sw_hpack reader_fields;
static size_t data_bytes;
static unsigned requests, streams_ended, acks, pongs, resets, goaways;
static uint32_t last_stream, last_error;
static char headers[2000];

static void done(void *arg, void *owner, const struct sw_answer *answer)
{
	(void)arg;
	last = *answer;
	snprintf(last_message, sizeof(last_message), "%s", answer->message);
	last_owner = owner;
	ended++;
}

static void setup(void)
{
	struct sw_session_peer who = {.authority = "oap:11800", .token = "", .done = done};

	sw_session_start(&session, &who);
	peer = sw_writer(peer_bytes, sizeof(peer_bytes));
	sw_hpack_init(&peer_fields, peer_table, sizeof(peer_table));
	sw_h2_init(&reader, SW_H2_CLIENT, reader_block, sizeof(reader_block));
	sw_hpack_init(&reader_fields, reader_table, sizeof(reader_table));
	ended = requests = streams_ended = acks = pongs = resets = goaways = 0;
	data_bytes = 0;
}

static void teardown(void)
{
	sw_buffer_free(&session.out);
}

TestSuite(session, .init = setup, .fini = teardown);

static void read_headers(struct sw_bytes block)
{
	uint8_t text[4096];
	struct sw_writer room = sw_writer(text, sizeof(text));
	struct sw_hpack_field field;
	size_t at = 0;

	requests++;
	while (sw_hpack_read(&reader_fields, &block, &room, &field) == SW_HPACK_FIELD)
		at += (size_t)snprintf(headers + at, sizeof(headers) - at, "%.*s=%.*s%s;",
				       (int)field.name.len, field.name.at, (int)field.value.len,
				       field.value.at, field.never_indexed ? "!" : "");
}

static void note(const struct sw_h2_event *event)
{
	last_stream = event->stream;
	switch (event->kind) {
	case SW_H2_HEADERS:
		read_headers(event->bytes);
		break;
	case SW_H2_DATA:
		data_bytes += event->bytes.len;
		streams_ended += event->end_stream;
		break;
	case SW_H2_SETTINGS_ACK:
		acks++;
		break;
	case SW_H2_PING_ACK:
		pongs++;
		break;
	case SW_H2_RESET:
		resets++;
		last_error = event->value;
		break;
	case SW_H2_GOAWAY:
		goaways++;
		last_error = event->value;
		break;
	default:
		break;
	}
}

/* Takes everything that the session wants to write. */
static void take_output(void)
{
	struct sw_h2_event event;

	do {
		struct sw_bytes in;

		sw_session_fill(&session);
		in = sw_bytes(session.out.at, session.out.len);
		while (sw_h2_read(&reader, &in, &event) > 0)
			note(&event);
		cr_assert_eq(in.len, 0);
		sw_session_wrote(&session, session.out.len);
		sw_session_fill(&session);
	} while (session.out.len);
}

static int give(void)
{
	int result = sw_session_feed(&session, sw_written(&peer));

	peer.len = 0;
	return result;
}

static void settings(uint32_t id, uint32_t value)
{
	const uint32_t pair[1][2] = {{id, value}};

	sw_h2_write_settings(&peer, pair, id ? 1 : 0);
}

static void answer(uint32_t stream, const char *http, const char *status, const char *message,
		   bool end)
{
	uint8_t memory[2000];
	struct sw_writer block = sw_writer(memory, sizeof(memory));

	if (http)
		sw_hpack_write(&peer_fields, &block, SW_BYTES(":status"), sw_bytes_text(http),
			       SW_HPACK_INDEX);
	if (status)
		sw_hpack_write(&peer_fields, &block, SW_BYTES("grpc-status"), sw_bytes_text(status),
			       SW_HPACK_INDEX);
	if (message)
		sw_hpack_write(&peer_fields, &block, SW_BYTES("grpc-message"),
			       sw_bytes_text(message), SW_HPACK_ONCE);
	sw_h2_write_headers(&peer, stream, sw_written(&block), end, 16384);
}

static bool call(struct sw_bytes body)
{
	return sw_session_call(&session, "/a.B/c", body, (void *)"owner", 20 * SECOND);
}

static const uint8_t zeroes[300000];

static void start_call(void)
{
	settings(0, 0);
	cr_assert_eq(give(), 0);
	cr_assert(call(SW_BYTES("12345")));
	take_output();
}

Test(session, a_call_is_sent_and_answered)
{
	start_call();
	cr_assert_eq(requests, 1);
	cr_assert_eq(data_bytes, 5);
	cr_assert_eq(streams_ended, 1);
	cr_assert_eq(acks, 1);
	cr_assert_str_eq(headers, ":method=POST;:scheme=http;:path=/a.B/c;:authority=oap:11800;"
				  "te=trailers;content-type=application/grpc;"
				  "user-agent=libswagent/" SW_VERSION ";");
	answer(1, "200", NULL, NULL, false);
	sw_h2_write_data_head(&peer, 1, 5, false);
	sw_write(&peer, sw_bytes(zeroes, 5));
	answer(1, NULL, "0", NULL, true);
	cr_assert_eq(give(), 0);
	cr_assert_eq(ended, 1);
	cr_assert(last.given && last.status == SW_GRPC_OK && !last.perhaps);
	cr_assert_str_eq(last_owner, "owner");
	cr_assert_eq(session.calls, 0);
}

Test(session, the_token_is_a_secret)
{
	struct sw_session_peer who = {.authority = "oap:11800", .token = "s3cret", .done = done};

	sw_session_start(&session, &who);
	start_call();
	cr_assert(strstr(headers, "authentication=s3cret!;"));
}

Test(session, trailers_only_and_every_cut)
{
	uint8_t copy[1000];
	size_t len;

	start_call();
	answer(1, "200", "7", "no token\n100%25", true);
	len = peer.len;
	memcpy(copy, peer.at, len);
	for (size_t i = 0; i < len; i++)
		cr_assert_eq(sw_session_feed(&session, sw_bytes(copy + i, 1)), 0);
	cr_assert_eq(ended, 1);
	cr_assert(last.given && last.status == SW_GRPC_PERMISSION_DENIED);
	cr_assert_str_eq(last_message, "no token?100%25");
}

Test(session, an_answer_without_a_status)
{
	static const struct {
		const char *http;
		enum sw_grpc_status status;
	} map[] = {{"200", SW_GRPC_UNKNOWN},	       {"401", SW_GRPC_UNAUTHENTICATED},
		   {"403", SW_GRPC_PERMISSION_DENIED}, {"404", SW_GRPC_UNIMPLEMENTED},
		   {"503", SW_GRPC_UNAVAILABLE},       {"abc", SW_GRPC_UNKNOWN},
		   {"99999999999", SW_GRPC_UNKNOWN}};

	settings(0, 0);
	for (size_t i = 0; i < SW_COUNT_OF(map); i++) {
		cr_assert(call(SW_BYTES("x")));
		take_output();
		answer((uint32_t)(2 * i + 1), map[i].http, NULL, NULL, true);
		cr_assert_eq(give(), 0);
		cr_assert_eq(last.status, map[i].status, "%s", map[i].http);
	}
}

Test(session, a_status_before_the_end_of_the_body_stops_it)
{
	settings(SW_H2_INITIAL_WINDOW_SIZE, 10);
	cr_assert_eq(give(), 0);
	cr_assert(call(sw_bytes(zeroes, 100)));
	take_output();
	cr_assert_eq(data_bytes, 10);
	answer(1, "200", "16", "", true);
	cr_assert_eq(give(), 0);
	cr_assert(ended == 1 && last.given && last.status == SW_GRPC_UNAUTHENTICATED);
	take_output();
	cr_assert(resets == 1 && last_error == SW_H2_CANCEL);
	cr_assert_eq(data_bytes, 10);
}

Test(session, windows_of_the_stream_and_the_connection)
{
	settings(0, 0);
	cr_assert_eq(give(), 0);
	cr_assert(call(sw_bytes(zeroes, 200000)));
	take_output();
	cr_assert_eq(data_bytes, SW_H2_WINDOW);
	cr_assert(sw_session_stalled(&session));
	sw_h2_write_window_update(&peer, 1, 100000); /* the connection's is still used up */
	cr_assert_eq(give(), 0);
	take_output();
	cr_assert_eq(data_bytes, SW_H2_WINDOW);
	sw_h2_write_window_update(&peer, 0, 90000);
	cr_assert_eq(give(), 0);
	take_output();
	cr_assert_eq(data_bytes, SW_H2_WINDOW + 90000);
	sw_h2_write_window_update(&peer, 0, 1000000);
	sw_h2_write_window_update(&peer, 1, 1000000);
	cr_assert_eq(give(), 0);
	take_output();
	cr_assert_eq(data_bytes, 200000);
	cr_assert_eq(streams_ended, 1);
	cr_assert_not(sw_session_stalled(&session));
}

Test(session, a_stalled_stream_does_not_hold_up_the_next)
{
	settings(SW_H2_INITIAL_WINDOW_SIZE, 100);
	cr_assert_eq(give(), 0);
	cr_assert(call(sw_bytes(zeroes, 1000)));
	cr_assert(call(sw_bytes(zeroes, 50)));
	take_output();
	cr_assert_eq(data_bytes, 150);
	cr_assert_eq(streams_ended, 1);
}

Test(session, a_smaller_initial_window_takes_back)
{
	settings(SW_H2_INITIAL_WINDOW_SIZE, 1000);
	cr_assert_eq(give(), 0);
	cr_assert(call(sw_bytes(zeroes, 3000)));
	take_output();
	cr_assert_eq(data_bytes, 1000);
	settings(SW_H2_INITIAL_WINDOW_SIZE, 0);
	sw_h2_write_window_update(&peer, 1, 900);
	cr_assert_eq(give(), 0);
	take_output();
	cr_assert_eq(data_bytes, 1000); /* -100 */
	settings(SW_H2_INITIAL_WINDOW_SIZE, 5000);
	cr_assert_eq(give(), 0);
	take_output();
	cr_assert_eq(data_bytes, 3000);
}

Test(session, a_window_too_large_is_an_error)
{
	start_call();
	sw_h2_write_window_update(&peer, 0, SW_H2_WINDOW_MAX);
	cr_assert_eq(give(), -SW_H2_FLOW_CONTROL_ERROR);
	take_output();
	cr_assert(goaways == 1 && last_error == SW_H2_FLOW_CONTROL_ERROR);
}

Test(session, goodbye_gives_back_what_will_not_be_looked_at)
{
	settings(0, 0);
	cr_assert_eq(give(), 0);
	for (int i = 0; i < 3; i++)
		cr_assert(call(SW_BYTES("x")));
	take_output();
	sw_h2_write_goaway(&peer, 3, SW_H2_NO_ERROR);
	cr_assert_eq(give(), 0);
	cr_assert_eq(ended, 1);
	cr_assert(!last.given && !last.perhaps);
	cr_assert_not(sw_session_room(&session));
	answer(1, "200", "0", NULL, true);
	answer(3, "200", "0", NULL, true);
	cr_assert_eq(give(), 0);
	cr_assert_eq(ended, 3);
}

Test(session, resets)
{
	static const struct {
		uint32_t error;
		enum sw_grpc_status status;
		bool perhaps;
	} map[] = {{SW_H2_REFUSED_STREAM, SW_GRPC_UNAVAILABLE, false},
		   {SW_H2_CANCEL, SW_GRPC_CANCELLED, true},
		   {SW_H2_ENHANCE_YOUR_CALM, SW_GRPC_RESOURCE_EXHAUSTED, true},
		   {SW_H2_NO_ERROR, SW_GRPC_UNAVAILABLE, true},
		   {4711, SW_GRPC_INTERNAL, true}};

	settings(0, 0);
	for (size_t i = 0; i < SW_COUNT_OF(map); i++) {
		cr_assert(call(SW_BYTES("x")));
		take_output();
		sw_h2_write_reset(&peer, (uint32_t)(2 * i + 1), map[i].error);
		cr_assert_eq(give(), 0);
		cr_assert(!last.given && last.status == map[i].status &&
			  last.perhaps == map[i].perhaps);
	}
	cr_assert_eq(session.calls, 0);
}

static struct sw_buffer replied;

static void done_with_reply(void *arg, void *owner, const struct sw_answer *given)
{
	done(arg, owner, given);
	replied.len = 0;
	sw_buffer_add(&replied, given->reply);
}

static bool wants_first(void *owner)
{
	return strcmp(owner, "owner") == 0;
}

/* In pieces, of the calls whose owner wants it; another's is not kept, one too long is none. */
Test(session, replies)
{
	static uint8_t piece[16000];
	struct sw_session_peer who = {.authority = "oap:11800",
				      .token = "",
				      .done = done_with_reply,
				      .wants = wants_first};

	sw_session_start(&session, &who);
	settings(0, 0);
	cr_assert(call(SW_BYTES("x")));
	cr_assert(sw_session_call(&session, "/a.B/c", SW_BYTES("y"), "other", 30 * SECOND));
	cr_assert(call(SW_BYTES("z")));
	take_output();
	for (uint32_t stream = 1; stream <= 5; stream += 2) {
		answer(stream, "200", NULL, NULL, false);
		for (int i = 0; i < (stream == 5 ? 5 : 2); i++) {
			memset(piece, 'a' + i, sizeof(piece));
			sw_h2_write_data_head(&peer, stream, sizeof(piece), false);
			sw_write(&peer, sw_bytes(piece, sizeof(piece)));
			cr_assert_eq(give(), 0);
		}
		answer(stream, NULL, "0", NULL, true);
		cr_assert_eq(give(), 0);
		cr_assert(last.given && last.status == SW_GRPC_OK);
		cr_assert_eq(replied.len, stream == 1 ? 2 * sizeof(piece) : 0);
		if (stream == 1)
			cr_assert(replied.at[0] == 'a' && replied.at[sizeof(piece)] == 'b');
	}
	cr_assert_eq(ended, 3);
	sw_buffer_free(&replied);
}

Test(session, deadlines)
{
	start_call();
	cr_assert(sw_session_call(&session, "/a.B/c", SW_BYTES("y"), NULL, 30 * SECOND));
	cr_assert_eq(sw_session_expire(&session, 19 * SECOND), 20 * SECOND);
	cr_assert_eq(ended, 0);
	cr_assert_eq(sw_session_expire(&session, 20 * SECOND), 30 * SECOND);
	cr_assert(ended == 1 && last.status == SW_GRPC_DEADLINE_EXCEEDED && last.perhaps);
	take_output();
	cr_assert(resets == 1 && last_error == SW_H2_CANCEL);
	answer(1, "200", "0", NULL, true); /* too late, but its fields are read */
	answer(3, "200", "0", NULL, true);
	cr_assert_eq(give(), 0);
	cr_assert_eq(ended, 2);
	cr_assert_eq(sw_session_expire(&session, 100 * SECOND), 0);
}

Test(session, the_end_of_the_connection)
{
	start_call();
	cr_assert(call(SW_BYTES("never begun")));
	sw_session_abort(&session);
	cr_assert_eq(ended, 2);
	cr_assert_eq(session.calls, 0);
	cr_assert(last.cut && last.perhaps && !last.given); /* the oldest comes last */
}

Test(session, as_many_streams_as_the_peer_allows)
{
	settings(SW_H2_MAX_CONCURRENT_STREAMS, 2);
	cr_assert_eq(give(), 0);
	cr_assert(call(SW_BYTES("x")));
	cr_assert(call(SW_BYTES("x")));
	cr_assert_not(call(SW_BYTES("x")));
	settings(SW_H2_MAX_CONCURRENT_STREAMS, 1000);
	cr_assert_eq(give(), 0);
	for (unsigned i = 2; i < SW_SESSION_CALLS; i++)
		cr_assert(call(SW_BYTES("x")));
	cr_assert_not(call(SW_BYTES("x")));
}

Test(session, settings_of_frames_and_tables)
{
	const uint32_t both[2][2] = {{SW_H2_HEADER_TABLE_SIZE, 0}, {SW_H2_MAX_FRAME_SIZE, 32768}};

	sw_h2_write_settings(&peer, both, 2);
	cr_assert_eq(give(), 0);
	sw_hpack_limit(&reader_fields, 0);
	reader.frame_max = 32768;
	for (int i = 0; i < 3; i++) {
		cr_assert(call(sw_bytes(zeroes, 20000)));
		take_output();
		cr_assert(strstr(headers, ":authority=oap:11800;"));
	}
	cr_assert_eq(data_bytes, 60000);
}

Test(session, pings_and_unknown_frames)
{
	static const uint8_t unknown[] = {0, 0, 2, 99, 0xff, 0, 0, 0, 1, 1, 2};

	start_call();
	sw_h2_write_ping(&peer, zeroes, false);
	sw_h2_write_ping(&peer, zeroes, true);
	sw_write(&peer, sw_bytes(unknown, sizeof(unknown)));
	cr_assert_eq(give(), 0);
	take_output();
	cr_assert_eq(pongs, 1);
}

Test(session, a_flood_of_pings_that_wants_no_answers)
{
	int result = 0;

	start_call();
	for (int i = 0; i < 100000 && result == 0; i++) {
		sw_h2_write_ping(&peer, zeroes, false);
		result = give();
	}
	cr_assert_eq(result, -SW_H2_ENHANCE_YOUR_CALM);
}

Test(session, long_answers_get_their_window_back)
{
	unsigned before;

	start_call();
	answer(1, "200", NULL, NULL, false);
	for (int i = 0; i < 3; i++) {
		sw_h2_write_data_head(&peer, 1, 16384, false);
		sw_write(&peer, sw_bytes(zeroes, 16384));
	}
	cr_assert_eq(give(), 0);
	before = session.unreturned;
	cr_assert_lt(before, 3u * 16384);
	take_output();
	cr_assert_eq(last_stream, 0); /* WINDOW_UPDATE of the connection */
}

Test(session, what_no_server_may_say)
{
	start_call();
	answer(3, "200", "0", NULL, true); /* a stream that does not exist */
	cr_assert_eq(give(), -SW_H2_PROTOCOL_ERROR);
	setup();
	settings(0, 0);
	answer(2, "200", "0", NULL, true); /* one of its own, which we forbade */
	cr_assert_eq(give(), -SW_H2_PROTOCOL_ERROR);
	setup();
	sw_write(&peer, SW_BYTES("HTTP/1.1 400 Bad Request\r\n\r\n"));
	cr_assert_lt(give(), 0);
	setup();
	settings(0, 0);
	cr_assert_eq(give(), 0);
	cr_assert(call(SW_BYTES("x")));
	sw_h2_write_headers(&peer, 1, SW_BYTES("\xff\xff\xff\xff\xff\xff"), true, 16384);
	cr_assert_eq(give(), -SW_H2_COMPRESSION_ERROR);
	sw_session_abort(&session);
	cr_assert_eq(ended, 1);
}
