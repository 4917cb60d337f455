/* HTTP/2 framing: each frame, each error, whole and cut everywhere; and what the writers write. */
#include <criterion/criterion.h>

#include "proto/h2.h"
#include "tests/proto/h2_log.h"
#include "tests/proto/hex.h"

#define ROOM 100
#define PREFACE "505249202a20485454502f322e300d0a0d0a534d0d0a0d0a"
/* The first frame, without settings. */
#define FIRST "000000 04 00 00000000"
#define FIRST_EVENTS "SETTINGS_END 0 \n"

static uint8_t bytes_at[80000];

static struct sw_bytes from_hex(const char *hex)
{
	struct sw_writer out = sw_writer(bytes_at, sizeof(bytes_at));

	hex_add(&out, hex);
	return sw_written(&out);
}

static void cr_logged(struct h2_log log, const char *want)
{
	cr_assert_str_eq(log.text.at, want);
	h2_log_free(&log);
}

/* Whole, byte by byte, and cut once at every position. */
static void cr_bytes(enum sw_h2_role role, struct sw_bytes bytes, const char *want)
{
	for (size_t cut = 0; cut <= bytes.len; cut++) {
		struct h2_log log;

		h2_log_init(&log, role, ROOM);
		h2_log_read(&log, sw_bytes_slice(bytes, 0, cut), NULL, NULL);
		h2_log_read(&log, sw_bytes_from(bytes, cut), NULL, NULL);
		h2_log_flush(&log);
		cr_logged(log, want);
	}
	cr_logged(h2_log_all(role, ROOM, bytes, 1), want);
}

/* After the first frame of a server. */
static void cr_frames(const char *hex, const char *want)
{
	char all[8192], events[8192];

	(void)snprintf(all, sizeof(all), "%s %s", FIRST, hex);
	(void)snprintf(events, sizeof(events), "%s%s", FIRST_EVENTS, want);
	cr_bytes(SW_H2_SERVER, from_hex(all), events);
}

static void cr_error(const char *hex, enum sw_h2_error error)
{
	char want[32];

	(void)snprintf(want, sizeof(want), "error %d\n", (int)error);
	cr_frames(hex, want);
}

/* The same, as a client. */
static void cr_client_error(const char *hex, enum sw_h2_error error)
{
	char all[8192], want[64];

	(void)snprintf(all, sizeof(all), "%s %s %s", PREFACE, FIRST, hex);
	(void)snprintf(want, sizeof(want), "%serror %d\n", FIRST_EVENTS, (int)error);
	cr_bytes(SW_H2_CLIENT, from_hex(all), want);
}

/* ---- the beginning of a connection ---- */

Test(h2, preface)
{
	cr_bytes(SW_H2_CLIENT, from_hex(PREFACE FIRST), FIRST_EVENTS);
	cr_bytes(SW_H2_CLIENT, from_hex(FIRST), "error 1\n");
	cr_bytes(SW_H2_CLIENT, SW_BYTES("PRI * HTTP/2.0\r\n\r\nSM\r\n\r."), "error 1\n");
	cr_bytes(SW_H2_CLIENT, SW_BYTES("GET / HTTP/1.1\r\n"), "error 1\n");
	cr_bytes(SW_H2_SERVER, from_hex(FIRST), FIRST_EVENTS);
	cr_bytes(SW_H2_SERVER, SW_BYTES("HTTP/1.1 400 Bad Request\r\n"), "error 1\n");
	cr_bytes(SW_H2_CLIENT, SW_BYTES("PRI * HTTP"), "");
	cr_bytes(SW_H2_SERVER, SW_BYTES(""), "");
}

Test(h2, settings_come_first)
{
	cr_bytes(SW_H2_SERVER, from_hex("000008 06 00 00000000 0011223344556677"), "error 1\n");
	cr_bytes(SW_H2_SERVER, from_hex("000000 04 01 00000000"), "error 1\n");
	cr_bytes(SW_H2_SERVER, from_hex("000000 0a 00 00000000"), "error 1\n");
	cr_bytes(SW_H2_CLIENT, from_hex(PREFACE "000001 01 05 00000001 82"), "error 1\n");
}

/* ---- DATA ---- */

Test(h2, data)
{
	cr_frames("000003 00 00 00000001 616263", "DATA 1 flow 3 abc\n");
	cr_frames("000003 00 01 00000001 616263", "DATA 1 flow 3 end abc\n");
	cr_frames("000000 00 01 00000001", "DATA 1 flow 0 end \n");
	cr_frames("000000 00 00 00000001", "");
	/* the reserved bit, and flags without a meaning here */
	cr_frames("000003 00 f6 80000001 616263", "DATA 1 flow 3 abc\n");
	cr_frames("000001 00 00 00000003 61 000001 00 00 00000005 62 000001 00 01 00000003 63",
		  "DATA 3 flow 1 a\nDATA 5 flow 1 b\nDATA 3 flow 1 end c\n");
}

Test(h2, data_with_padding)
{
	cr_frames("000007 00 09 00000001 03 616263 000000", "DATA 1 flow 7 end abc\n");
	cr_frames("000004 00 08 00000001 00 616263", "DATA 1 flow 4 abc\n");
	cr_frames("000004 00 08 00000001 03 000000", "DATA 1 flow 4 \n");
	cr_frames("000004 00 09 00000001 03 000000", "DATA 1 flow 4 end \n");
	cr_frames("000001 00 08 00000001 00", "DATA 1 flow 1 \n");
	cr_error("000004 00 08 00000001 04 000000", SW_H2_PROTOCOL_ERROR);
	cr_error("000001 00 08 00000001 01", SW_H2_PROTOCOL_ERROR);
	cr_error("000000 00 08 00000001", SW_H2_FRAME_SIZE_ERROR);
}

Test(h2, data_needs_a_stream)
{
	cr_error("000003 00 00 00000000 616263", SW_H2_PROTOCOL_ERROR);
	cr_error("000003 00 00 80000000 616263", SW_H2_PROTOCOL_ERROR);
}

/* The last piece alone ends the stream. */
Test(h2, data_in_pieces)
{
	struct sw_bytes bytes = from_hex(FIRST "000004 00 09 00000001 01 6162 00"), in;
	struct sw_h2_event event;
	struct sw_h2 h2;

	sw_h2_init(&h2, SW_H2_SERVER, NULL, 0);
	in = sw_bytes_slice(bytes, 0, 20);
	cr_assert_eq(sw_h2_read(&h2, &in, &event), 1);
	cr_assert_eq(sw_h2_read(&h2, &in, &event), 1);
	cr_assert(event.kind == SW_H2_DATA && event.bytes.len == 1 && event.flow == 1);
	cr_assert_eq(event.bytes.at, bytes.at + 19);
	cr_assert_not(event.end_stream);
	cr_assert_eq(sw_h2_read(&h2, &in, &event), 0);
	in = sw_bytes_slice(bytes, 20, 21);
	cr_assert_eq(sw_h2_read(&h2, &in, &event), 1);
	cr_assert(event.kind == SW_H2_DATA && event.bytes.len == 1 && event.flow == 3);
	cr_assert(event.end_stream);
	in = sw_bytes_from(bytes, 21);
	cr_assert_eq(sw_h2_read(&h2, &in, &event), 0);
	cr_assert_eq(in.len, 0);
}

/* ---- header blocks ---- */

Test(h2, headers)
{
	cr_frames("000003 01 04 00000001 616263", "HEADERS 1 abc\n");
	cr_frames("000003 01 05 00000001 616263", "HEADERS 1 end abc\n");
	cr_frames("000000 01 05 00000001", "HEADERS 1 end \n");
	cr_frames("000006 01 0c 00000001 02 616263 0000", "HEADERS 1 abc\n");
	cr_frames("000008 01 24 00000001 80000003 10 616263", "HEADERS 1 abc\n");
	cr_frames("00000b 01 2d 00000001 02 80000003 10 616263 0000", "HEADERS 1 end abc\n");
	cr_frames("000003 01 0c 00000001 02 0000", "HEADERS 1 \n");
}

Test(h2, headers_that_are_wrong)
{
	cr_error("000003 01 04 00000000 616263", SW_H2_PROTOCOL_ERROR);
	cr_error("000003 01 0c 00000001 036161", SW_H2_PROTOCOL_ERROR);
	cr_error("000000 01 0c 00000001", SW_H2_FRAME_SIZE_ERROR);
	cr_error("000004 01 24 00000001 80000003", SW_H2_FRAME_SIZE_ERROR);
	cr_error("000005 01 2c 00000001 01 80000003", SW_H2_FRAME_SIZE_ERROR);
	cr_error("000007 01 2c 00000001 02 80000003 10 00", SW_H2_PROTOCOL_ERROR);
}

Test(h2, continuation)
{
	cr_frames("000002 01 01 00000001 6162 000001 09 00 00000001 63 000001 09 04 00000001 64",
		  "HEADERS 1 end abcd\n");
	cr_frames("000005 01 08 00000001 02 6162 0000 000001 09 04 00000001 63", "HEADERS 1 abc\n");
	cr_frames("000000 01 00 00000001 000001 09 04 00000001 63", "HEADERS 1 c\n");
	cr_frames("000001 01 00 00000001 62 000000 09 04 00000001", "HEADERS 1 b\n");
	cr_frames("000000 01 01 00000001 000000 09 00 00000001 000000 09 04 00000001",
		  "HEADERS 1 end \n");
	/* END_STREAM, PADDED and PRIORITY mean nothing on it */
	cr_frames("000001 01 00 00000001 62 000002 09 2d 00000001 ff63", "HEADERS 1 b\\xffc\n");
	/* and then another block */
	cr_frames("000001 01 00 00000001 62 000001 09 04 00000001 63 000001 01 04 00000003 64",
		  "HEADERS 1 bc\nHEADERS 3 d\n");
}

Test(h2, nothing_may_come_between_continuations)
{
	cr_error("000001 01 00 00000001 62 000001 09 04 00000003 63", SW_H2_PROTOCOL_ERROR);
	cr_error("000001 01 00 00000001 62 000001 00 00 00000001 63", SW_H2_PROTOCOL_ERROR);
	cr_error("000001 01 00 00000001 62 000001 01 04 00000001 63", SW_H2_PROTOCOL_ERROR);
	cr_error("000001 01 00 00000001 62 000000 04 00 00000000", SW_H2_PROTOCOL_ERROR);
	cr_error("000001 01 00 00000001 62 000001 0b 00 00000001 63", SW_H2_PROTOCOL_ERROR);
	cr_error("000004 05 00 00000001 00000002 000000 00 00 00000001", SW_H2_PROTOCOL_ERROR);
	cr_error("000001 09 04 00000001 63", SW_H2_PROTOCOL_ERROR);
	cr_error("000001 09 04 00000000 63", SW_H2_PROTOCOL_ERROR);
	cr_frames("000001 01 04 00000001 62 000001 09 04 00000001 63", "HEADERS 1 b\nerror 1\n");
}

/* Room for 100 bytes, wherever they come from. */
Test(h2, blocks_that_are_too_long)
{
	char hex[1024], want[256];
	int len = snprintf(hex, sizeof(hex), FIRST "000064 01 04 00000001");

	memset(hex + len, '6', 200);
	hex[len + 200] = 0;
	(void)snprintf(want, sizeof(want), FIRST_EVENTS "HEADERS 1 %.100s\n",
		       "ffffffffffffffffffffffffffffffffffffffffffffffffff"
		       "ffffffffffffffffffffffffffffffffffffffffffffffffff");
	cr_bytes(SW_H2_SERVER, from_hex(hex), want);
	cr_error("000065 01 04 00000001", SW_H2_ENHANCE_YOUR_CALM);
	cr_frames("000065 05 04 00000001 00000002 66", "");
	cr_error("000001 01 00 00000001 62 000064 09 04 00000001", SW_H2_ENHANCE_YOUR_CALM);
}

Test(h2, push_promise)
{
	cr_frames("000007 05 04 00000001 00000002 616263", "PUSH_PROMISE 1 value 2 abc\n");
	cr_frames("000007 05 05 00000001 80000002 616263", "PUSH_PROMISE 1 value 2 abc\n");
	cr_frames("000009 05 0c 00000001 01 00000002 616263 00", "PUSH_PROMISE 1 value 2 abc\n");
	cr_frames("000005 05 00 00000001 00000004 61 000001 09 04 00000001 62",
		  "PUSH_PROMISE 1 value 4 ab\n");
	cr_error("000007 05 04 00000000 00000002 616263", SW_H2_PROTOCOL_ERROR);
	cr_error("000007 05 04 00000001 00000000 616263", SW_H2_PROTOCOL_ERROR);
	cr_error("000007 05 04 00000001 00000003 616263", SW_H2_PROTOCOL_ERROR);
	cr_error("000003 05 04 00000001 000000", SW_H2_FRAME_SIZE_ERROR);
	cr_error("000004 05 0c 00000001 00000000", SW_H2_FRAME_SIZE_ERROR);
	cr_error("000006 05 0c 00000001 02 00000002 00", SW_H2_PROTOCOL_ERROR);
	cr_client_error("000007 05 04 00000001 00000002 616263", SW_H2_PROTOCOL_ERROR);
}

/* ---- settings ---- */

Test(h2, settings)
{
	cr_frames("00000c 04 00 00000000 0001 00000000 0003 ffffffff",
		  "SETTING 0 id 1 \nSETTING 0 id 3 value 4294967295 \nSETTINGS_END 0 \n");
	cr_frames("000006 04 00 00000000 abcd 01020304",
		  "SETTING 0 id 43981 value 16909060 \nSETTINGS_END 0 \n");
	cr_frames("000000 04 01 00000000", "SETTINGS_ACK 0 \n");
	cr_frames("000006 04 00 00000000 0004 7fffffff",
		  "SETTING 0 id 4 value 2147483647 \nSETTINGS_END 0 \n");
	cr_frames("00000c 04 00 00000000 0005 00004000 0005 00ffffff",
		  "SETTING 0 id 5 value 16384 \nSETTING 0 id 5 value 16777215 \n"
		  "SETTINGS_END 0 \n");
	cr_frames("000006 04 00 00000000 0002 00000000", "SETTING 0 id 2 \nSETTINGS_END 0 \n");
}

Test(h2, settings_that_are_wrong)
{
	cr_error("000000 04 00 00000001", SW_H2_PROTOCOL_ERROR);
	cr_error("000006 04 01 00000000 0001 00000000", SW_H2_FRAME_SIZE_ERROR);
	cr_error("000005 04 00 00000000 0001 000000", SW_H2_FRAME_SIZE_ERROR);
	cr_error("000006 04 00 00000000 0004 80000000", SW_H2_FLOW_CONTROL_ERROR);
	cr_error("000006 04 00 00000000 0005 00003fff", SW_H2_PROTOCOL_ERROR);
	cr_error("000006 04 00 00000000 0005 01000000", SW_H2_PROTOCOL_ERROR);
	cr_error("000006 04 00 00000000 0002 00000001", SW_H2_PROTOCOL_ERROR);
	cr_client_error("000006 04 00 00000000 0002 00000002", SW_H2_PROTOCOL_ERROR);
	cr_bytes(SW_H2_CLIENT, from_hex(PREFACE "000006 04 00 00000000 0002 00000001"),
		 "SETTING 0 id 2 value 1 \nSETTINGS_END 0 \n");
}

/* ---- the others ---- */

Test(h2, reset)
{
	cr_frames("000004 03 00 00000001 00000008", "RESET 1 value 8 \n");
	cr_error("000004 03 00 00000000 00000008", SW_H2_PROTOCOL_ERROR);
	cr_error("000003 03 00 00000001 000008", SW_H2_FRAME_SIZE_ERROR);
	cr_error("000005 03 00 00000001 0000000008", SW_H2_FRAME_SIZE_ERROR);
}

Test(h2, ping)
{
	cr_frames("000008 06 00 00000000 6162636465666768", "PING 0 abcdefgh\n");
	cr_frames("000008 06 01 00000000 6162636465666768", "PING_ACK 0 abcdefgh\n");
	cr_error("000008 06 00 00000001 6162636465666768", SW_H2_PROTOCOL_ERROR);
	cr_error("000007 06 00 00000000 61626364656667", SW_H2_FRAME_SIZE_ERROR);
	cr_error("000009 06 00 00000000 616263646566676869", SW_H2_FRAME_SIZE_ERROR);
}

Test(h2, goaway)
{
	cr_frames("000008 07 00 00000000 80000007 0000000b", "GOAWAY 7 value 11 \n");
	cr_frames("00000b 07 00 00000000 00000000 00000000 616263", "GOAWAY 0 abc\n");
	/* 24 bytes of what it says, and the next frame */
	cr_frames("000022 07 00 00000000 00000000 00000000 6162636465666768"
		  "6162636465666768 6162636465666768 6970 000000 04 01 00000000",
		  "GOAWAY 0 abcdefghabcdefghabcdefgh\nSETTINGS_ACK 0 \n");
	cr_error("000008 07 00 00000001 80000007 0000000b", SW_H2_PROTOCOL_ERROR);
	cr_error("000007 07 00 00000000 80000007 000000", SW_H2_FRAME_SIZE_ERROR);
	cr_error("000000 07 00 00000000", SW_H2_FRAME_SIZE_ERROR);
}

Test(h2, window_update)
{
	cr_frames("000004 08 00 00000000 80000001", "WINDOW_UPDATE 0 value 1 \n");
	cr_frames("000004 08 00 00000005 7fffffff", "WINDOW_UPDATE 5 value 2147483647 \n");
	cr_error("000004 08 00 00000000 00000000", SW_H2_PROTOCOL_ERROR);
	cr_error("000004 08 00 00000005 80000000", SW_H2_PROTOCOL_ERROR);
	cr_error("000003 08 00 00000005 000001", SW_H2_FRAME_SIZE_ERROR);
	cr_error("000005 08 00 00000005 0000000100", SW_H2_FRAME_SIZE_ERROR);
}

Test(h2, what_is_passed_over)
{
	cr_frames("000005 02 00 00000001 0000000010 000000 04 01 00000000", "SETTINGS_ACK 0 \n");
	cr_frames("000003 0a ff 00000001 616263 000000 ff 00 00000000 000000 04 01 00000000",
		  "SETTINGS_ACK 0 \n");
	cr_error("000005 02 00 00000000 0000000010", SW_H2_PROTOCOL_ERROR);
	cr_error("000004 02 00 00000001 00000000", SW_H2_FRAME_SIZE_ERROR);
}

Test(h2, frames_that_are_too_large)
{
	static uint8_t at[9 + 9 + 16385];
	struct h2_log log;
	struct sw_writer w = sw_writer(at, sizeof(at));

	cr_error("004001 00 00 00000001", SW_H2_FRAME_SIZE_ERROR);
	cr_error("ffffff 0a 00 00000001", SW_H2_FRAME_SIZE_ERROR);
	hex_add(&w, FIRST "004001 00 00 00000001");
	h2_log_init(&log, SW_H2_SERVER, ROOM);
	log.h2.frame_max = 16385;
	h2_log_read(&log, sw_bytes(at, sizeof(at)), NULL, NULL);
	cr_assert(log.has_data && log.event.flow == 16385);
	h2_log_free(&log);
	/* the largest at first */
	at[11] = 0;
	h2_log_init(&log, SW_H2_SERVER, ROOM);
	h2_log_read(&log, sw_bytes(at, sizeof(at) - 1), NULL, NULL);
	cr_assert(log.has_data && log.event.flow == 16384);
	h2_log_free(&log);
}

/* ---- writing ---- */

static struct sw_writer out;
static uint8_t out_at[70000];

static void begin(void)
{
	out = sw_writer(out_at, sizeof(out_at));
}

TestSuite(h2_write, .init = begin);

static void cr_written(const char *hex)
{
	cr_assert_not(out.cut);
	cr_assert(sw_bytes_equal(sw_written(&out), from_hex(hex)), "%s", hex);
	begin();
}

Test(h2_write, each_frame)
{
	static const uint32_t settings[][2] = {{SW_H2_ENABLE_PUSH, 0},
					       {SW_H2_INITIAL_WINDOW_SIZE, 0x7fffffff}};

	sw_h2_write_settings(&out, settings, 2);
	cr_written("00000c 04 00 00000000 0002 00000000 0004 7fffffff");
	sw_h2_write_settings(&out, NULL, 0);
	cr_written("000000 04 00 00000000");
	sw_h2_write_settings_ack(&out);
	cr_written("000000 04 01 00000000");
	sw_h2_write_ping(&out, (const uint8_t *)"abcdefgh", false);
	cr_written("000008 06 00 00000000 6162636465666768");
	sw_h2_write_ping(&out, (const uint8_t *)"abcdefgh", true);
	cr_written("000008 06 01 00000000 6162636465666768");
	sw_h2_write_goaway(&out, 7, SW_H2_ENHANCE_YOUR_CALM);
	cr_written("000008 07 00 00000000 00000007 0000000b");
	sw_h2_write_reset(&out, 5, SW_H2_CANCEL);
	cr_written("000004 03 00 00000005 00000008");
	sw_h2_write_window_update(&out, 0, 0x01020304);
	cr_written("000004 08 00 00000000 01020304");
	sw_h2_write_data_head(&out, 3, 0x010203, false);
	cr_written("010203 00 00 00000003");
	sw_h2_write_data_head(&out, 3, 0, true);
	cr_written("000000 00 01 00000003");
}

Test(h2_write, headers)
{
	sw_h2_write_headers(&out, 3, SW_BYTES("abc"), false, SW_H2_FRAME_MAX);
	cr_written("000003 01 04 00000003 616263");
	sw_h2_write_headers(&out, 3, SW_BYTES("abc"), true, 3);
	cr_written("000003 01 05 00000003 616263");
	sw_h2_write_headers(&out, 3, SW_BYTES("abc"), true, 2);
	cr_written("000002 01 01 00000003 6162 000001 09 04 00000003 63");
	sw_h2_write_headers(&out, 3, SW_BYTES("abc"), false, 1);
	cr_written("000001 01 00 00000003 61 000001 09 00 00000003 62 000001 09 04 00000003 63");
	sw_h2_write_headers(&out, 3, sw_bytes(NULL, 0), true, SW_H2_FRAME_MAX);
	cr_written("000000 01 05 00000003");
	sw_h2_write_headers(&out, 3, SW_BYTES("abc"), false, 0);
	cr_written("000003 01 04 00000003 616263");
}

/* All of it or nothing, and nothing after what is missing. */
Test(h2_write, out_that_is_full)
{
	for (size_t room = 0; room < 9 + 2 + 9 + 1; room++) {
		out = sw_writer(out_at, room);
		out_at[room] = 0xaa;
		sw_h2_write_headers(&out, 3, SW_BYTES("abc"), false, 2);
		cr_assert(out.cut);
		sw_h2_write_settings_ack(&out);
		cr_assert_eq(out.len, 0);
		cr_assert_eq(out_at[room], 0xaa);
	}
	for (size_t room = 0; room < 9 + 8; room++) {
		out = sw_writer(out_at, room);
		sw_h2_write_goaway(&out, 1, 2);
		cr_assert(out.cut && out.len == 0);
	}
	out = sw_writer(out_at, 8);
	sw_h2_write_data_head(&out, 1, 2, true);
	cr_assert(out.cut && out.len == 0);
	out = sw_writer(out_at, 14);
	sw_h2_write_settings(&out, (const uint32_t[][2]){{1, 2}}, 1);
	cr_assert(out.cut && out.len == 0);
	begin();
	sw_h2_write_data_head(&out, 1, 0x1000000, true);
	cr_assert(out.cut && out.len == 0);
}

/* What the writers write the reader reads. */
Test(h2_write, read_back)
{
	static const uint32_t settings[][2] = {{SW_H2_ENABLE_PUSH, 0}};

	sw_write(&out, SW_BYTES(SW_H2_PREFACE));
	sw_h2_write_settings(&out, settings, 1);
	sw_h2_write_headers(&out, 1, SW_BYTES("0123456789"), false, 3);
	sw_h2_write_data_head(&out, 1, 3, true);
	sw_write(&out, SW_BYTES("abc"));
	sw_h2_write_window_update(&out, 1, 5);
	sw_h2_write_ping(&out, (const uint8_t *)"abcdefgh", true);
	sw_h2_write_reset(&out, 1, SW_H2_CANCEL);
	sw_h2_write_goaway(&out, 0, SW_H2_NO_ERROR);
	sw_h2_write_settings_ack(&out);
	cr_bytes(SW_H2_CLIENT, sw_written(&out),
		 "SETTING 0 id 2 \nSETTINGS_END 0 \nHEADERS 1 0123456789\nDATA 1 flow 3 end abc\n"
		 "WINDOW_UPDATE 1 value 5 \nPING_ACK 0 abcdefgh\nRESET 1 value 8 \nGOAWAY 0 \n"
		 "SETTINGS_ACK 0 \n");
}
