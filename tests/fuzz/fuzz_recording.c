/*
 * Fuzzes recordings: whatever is recorded, under whatever limit, can be written in every format.
 * The first byte is the limit; then come frames and samples, each begun by a byte whose lowest bit
 * says which. Texts are a byte of length and so many bytes.
 *
 * Watched: memory stays below the limit; each sample is kept or lost; each format tells all that
 * was kept, and is what its readers demand: lines with a number, JSON in which nothing could end a
 * script, gzip that zlib reads and protobuf in it.
 */
#include <stdio.h>
#include <stdlib.h>
#include <zlib.h>

#include "proto/buffer.h"
#include "reporter/recorded.h"
#include "reporter/recording.h"

#define FRAMES 256

int LLVMFuzzerTestOneInput(const uint8_t *at, size_t len);

static struct sw_bytes in;

static void must(bool holds, const char *promise)
{
	if (!holds) {
		fprintf(stderr, "broken: %s\n", promise);
		abort();
	}
}

/* ---- what is recorded ---- */

static uint8_t byte(void)
{
	uint8_t value = in.len ? in.at[0] : 0;

	in = sw_bytes_from(in, 1);
	return value;
}

/* One that is said to be of 255 bytes is longer than any may be. */
static struct sw_bytes text(void)
{
	size_t len = byte();
	struct sw_bytes text = sw_bytes_slice(in, 0, len == 255 ? 2 * SW_RECORDING_TEXT : len);

	in = sw_bytes_from(in, text.len);
	return text;
}

static uint32_t frame(struct sw_recording *recording, uint8_t first)
{
	struct sw_recording_frame frame = {.kind = (enum sw_recording_kind)(first >> 1 & 3)};

	frame.line = byte();
	frame.offset = byte();
	frame.function = text();
	frame.file = text();
	return sw_recording_frame(recording, &frame);
}

static bool sample(struct sw_recording *recording, uint8_t first, const uint32_t *frames)
{
	uint32_t stack[256];
	struct sw_recording_sample sample = {.tid = first >> 1 & 3, .frame = stack};

	sample.weight_ns = byte() * 1000ull; /* whole microseconds, so that nothing is rounded */
	sample.span = (int8_t)byte();
	sample.thread = text();
	sample.task = first & 8 ? text() : SW_BYTES("");
	sample.segment = first & 16 ? text() : SW_BYTES("");
	sample.frames = byte();
	for (uint32_t i = 0; i < sample.frames; i++)
		stack[i] = frames[byte()];
	return sw_recording_add(recording, &sample);
}

static struct sw_recording *record(void)
{
	struct sw_recording_about about = {.mode = (enum sw_recording_mode)(in.len % 3)};
	uint32_t frames[FRAMES], used = 0;
	struct sw_recording *recording;
	uint64_t kept = 0, lost = 0;

	memset(frames, 0xff, sizeof(frames));
	about.bytes_max = 2000ul << (byte() % 9);
	about.program = sw_bytes_slice(in, 0, 40);
	recording = sw_recording_new(&about);
	while (recording && in.len) {
		uint8_t first = byte();

		if (first & 1)
			frames[used++ % FRAMES] = frame(recording, first);
		else if (sample(recording, first, frames))
			kept++;
		else
			lost++;
		must(recording->used <= about.bytes_max, "memory has a limit");
	}
	must(!recording || sw_recording_kept(recording) == kept, "what was kept is counted");
	must(!recording || sw_recording_lost(recording) == lost, "what was lost is counted");
	return recording;
}

/* ---- what was written ---- */

static bool keep(void *arg, const void *at, size_t len)
{
	sw_buffer_add(arg, sw_bytes(at, len));
	return true;
}

/* NUL at the end. */
static struct sw_buffer written(const struct sw_recording *recording,
				enum sw_recording_format format)
{
	struct sw_buffer out = {0};

	must(sw_recording_write(recording, format, keep, &out), "it can be written");
	sw_buffer_add(&out, sw_bytes("", 1));
	return out;
}

static void check_folded(const struct sw_recording *recording)
{
	struct sw_buffer out = written(recording, SW_FORMAT_FOLDED);
	uint64_t weight_us = 0;

	must(strlen((char *)out.at) == out.len - 1, "text has no NUL");
	for (char *line = (char *)out.at, *end; *line; line = end + 1) {
		char *number;

		end = strchr(line, '\n');
		must(end, "lines end");
		*end = '\0';
		number = strrchr(line, ' ');
		must(number && number > line &&
			     strspn(number + 1, "0123456789") == (size_t)(end - number - 1),
		     "a line ends in a number");
		for (; *line; line++)
			must((uint8_t)*line >= 0x20, "no control characters");
		weight_us += strtoull(number + 1, NULL, 10);
	}
	must(weight_us * 1000 == recording->weight_ns, "collapsed stacks tell all");
	sw_buffer_free(&out);
}

/* As far as brackets, strings, and what a page could take for its own go. */
static void check_json(const char *at, const char *end)
{
	int depth = 0;

	for (bool quoted = false; at < end; at++) {
		must((uint8_t)*at >= 0x20 || (*at == '\n' && !quoted),
		     "no control characters in JSON");
		must(*at != '<' && *at != '>', "nothing ends a script");
		if (*at == '"')
			quoted = !quoted;
		else if (quoted && *at == '\\')
			must(at[1] == 'u' && strspn(at + 2, "0123456789abcdef") >= 4,
			     "escapes are whole");
		else if (!quoted)
			depth += (*at == '[' || *at == '{') - (*at == ']' || *at == '}');
		must(depth > 0 || at + 2 >= end, "JSON is one value");
	}
	must(depth == 0, "brackets are closed");
}

static void check_speedscope(const struct sw_recording *recording)
{
	struct sw_buffer out = written(recording, SW_FORMAT_SPEEDSCOPE);
	static const char word[] = "\"endValue\":";
	uint64_t weight_ns = 0;

	check_json((char *)out.at, (char *)out.at + out.len - 1);
	for (const char *at = (char *)out.at; (at = strstr(at, word)); at++)
		weight_ns += strtoull(at + sizeof(word) - 1, NULL, 10);
	must(weight_ns == recording->weight_ns, "speedscope is told all");
	sw_buffer_free(&out);
}

static void check_html(const struct sw_recording *recording)
{
	struct sw_buffer out = written(recording, SW_FORMAT_HTML);
	static const char word[] = "id=\"recording\">", after[] = "</script>";
	const char *from = strstr((char *)out.at, word), *to;

	must(from, "there is a recording in the page");
	from += sizeof(word) - 1;
	to = strstr(from, after);
	must(to, "and it ends");
	check_json(from, to);
	must(strlen((char *)out.at) == out.len - 1, "a page has no NUL");
	sw_buffer_free(&out);
}

static uint64_t varint(struct sw_bytes *b)
{
	uint64_t value = 0;

	for (unsigned shift = 0;; shift += 7) {
		must(b->len && shift < 64, "numbers are whole");
		value |= (uint64_t)(b->at[0] & 127) << shift;
		*b = sw_bytes_from(*b, 1);
		if (b->at[-1] < 128)
			return value;
	}
}

/* The next field of a message: its number; its value, or its bytes. */
static unsigned field(struct sw_bytes *b, uint64_t *ret_value, struct sw_bytes *ret_bytes)
{
	uint64_t tag = varint(b);

	must((tag & 7) == 0 || (tag & 7) == 2, "only two kinds of fields");
	*ret_value = varint(b);
	if ((tag & 7) == 2) {
		must(*ret_value <= b->len, "fields are whole");
		*ret_bytes = sw_bytes_slice(*b, 0, *ret_value);
		*b = sw_bytes_from(*b, *ret_value);
	}
	return (unsigned)(tag >> 3);
}

static void check_profile(const struct sw_recording *recording, struct sw_bytes profile)
{
	uint64_t told[2] = {0}, value;
	struct sw_bytes bytes = {0}, inner = {0};

	while (profile.len) {
		int values = 0;

		if (field(&profile, &value, &bytes) != 2)
			continue;
		while (bytes.len) {
			if (field(&bytes, &value, &inner) == 2)
				told[values++ & 1] += value;
		}
		must(values == 2, "a sample has two values");
	}
	must(told[0] == recording->kept && told[1] == recording->weight_ns, "pprof is told all");
}

static void check_pprof(const struct sw_recording *recording)
{
	struct sw_buffer out = written(recording, SW_FORMAT_PPROF);
	size_t room = out.len * 1100; /* more than deflate can make of it */
	uint8_t *plain = malloc(room);
	z_stream z = {.next_in = out.at,
		      .avail_in = (unsigned)out.len - 1,
		      .next_out = plain,
		      .avail_out = (unsigned)room};

	must(plain && inflateInit2(&z, 15 + 16) == Z_OK, "zlib is there");
	must(inflate(&z, Z_FINISH) == Z_STREAM_END && z.avail_in == 0, "zlib reads it");
	check_profile(recording, sw_bytes(plain, z.total_out));
	inflateEnd(&z);
	free(plain);
	sw_buffer_free(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *at, size_t len)
{
	struct sw_recording *recording;

	if (!len)
		return 0;
	in = sw_bytes(at, len);
	recording = record();
	if (!recording)
		return 0;
	check_folded(recording);
	check_speedscope(recording);
	check_html(recording);
	check_pprof(recording);
	sw_recording_free(recording);
	return 0;
}
