/*
 * Fuzzes the line machine. The input is a list of writes: a byte that says who writes, for which
 * request, and whether time passes, a byte of length, and so many bytes (a NUL stands for a line
 * end).
 *
 * Watched: texts are no longer than they may be; nothing waits after the end; where nothing is
 * overwritten or coloured, what one writer has written comes out whole and in order, but for line
 * ends; records that come in another order within their stream give the same.
 */
#include <stdio.h>
#include <stdlib.h>

#include "preload/config.h"
#include "reporter/logs/lines.h"
#include "reporter/logs/order.h"

#define LINE_MAX_BYTES 256
#define WRITES_MAX 512
#define OUT_MAX 65536
#define WRITERS 4

int LLVMFuzzerTestOneInput(const uint8_t *at, size_t len);

static void must(bool holds, const char *promise)
{
	if (!holds) {
		fprintf(stderr, "broken: %s\n", promise);
		abort();
	}
}

struct result {
	struct sw_log_lines *lines;
	uint64_t now_ns;
	size_t count;
	size_t len[WRITERS]; /* of what each writer has got out */
	uint8_t out[WRITERS][OUT_MAX];
};

static void take_piece(void *arg, const struct sw_log_piece *piece)
{
	struct result *result = arg;
	uint32_t writer = piece->origin->thread;

	must(piece->text.len <= LINE_MAX_BYTES, "a text has a length");
	must(piece->text.len > 0, "a text is not empty");
	for (size_t i = 0; i < piece->text.len; i++) {
		if (piece->text.at[i] != '\n')
			result->out[writer][result->len[writer]++] = piece->text.at[i];
	}
	result->count++;
}

static void take_record(void *arg, const struct sw_record_log *record)
{
	struct result *result = arg;

	sw_log_lines_take(result->lines, record, result->now_ns);
}

static void take_gap(void *arg, uint32_t stream)
{
	(void)arg;
	(void)stream;
	must(false, "nothing is missing");
}

struct write {
	uint8_t how;
	const uint8_t *at;
	size_t len;
};

static struct sw_record_log *record_of(const struct write *write, uint64_t sequence)
{
	size_t size = sizeof(struct sw_record_log) + write->len;
	struct sw_record_log *record = calloc(1, size);
	uint8_t *text = (uint8_t *)(record + 1);

	record->record = (struct sw_record){(uint32_t)size, SW_RECORD_LOG};
	record->stream = 256;
	record->sequence = sequence;
	record->thread = write->how % WRITERS;
	record->flags = write->how & 0x10 ? SW_LOG_MORE : 0;
	record->text = (uint32_t)write->len;
	memcpy(text, write->at, write->len);
	for (size_t i = 0; i < write->len; i++)
		text[i] = text[i] ? text[i] : '\n';
	return record;
}

/* In the order of the writes, or each pair of them exchanged. */
static void play(struct result *result, const struct write *write, size_t count, bool exchanged)
{
	struct sw_log_order *order = sw_log_order_new(take_record, take_gap, result);

	result->lines = sw_log_lines_new(take_piece, result, LINE_MAX_BYTES);
	for (size_t i = 0; i < count; i++) {
		size_t which = exchanged && (i ^ 1) < count ? i ^ 1 : i;
		struct sw_record_log *record = record_of(&write[which], which);

		sw_log_order_take(order, record);
		free(record);
		if (!exchanged && write[i].how & 0x20) {
			result->now_ns += 100000000;
			sw_log_lines_turn(result->lines, result->now_ns, false);
		}
	}
	sw_log_order_turn(order, true);
	sw_log_lines_turn(result->lines, result->now_ns, true);
	must(!sw_log_order_waiting(order) && !sw_log_lines_waiting(result->lines), "all has left");
	sw_log_order_free(order);
	sw_log_lines_free(result->lines);
}

static void check_whole(const struct result *result, const struct write *write, size_t count)
{
	for (uint32_t writer = 0; writer < WRITERS; writer++) {
		size_t at = 0;

		for (size_t i = 0; i < count; i++) {
			for (size_t k = 0; k < write[i].len && write[i].how % WRITERS == writer;
			     k++) {
				if (!write[i].at[k] || write[i].at[k] == '\n')
					continue;
				must(at < result->len[writer] &&
					     result->out[writer][at++] == write[i].at[k],
				     "what was written comes out, in order");
			}
		}
		must(at == result->len[writer], "nothing else comes out");
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *at, size_t len)
{
	static struct result first, second;
	struct write write[WRITES_MAX];
	size_t count = 0;
	bool plain = true;

	memset(&first, 0, sizeof(first));
	memset(&second, 0, sizeof(second));
	for (size_t i = 0; i + 2 <= len && count < WRITES_MAX;) {
		size_t room = len - i - 2;

		write[count] = (struct write){at[i], at + i + 2, SW_MIN(at[i + 1], room)};
		i += 2 + write[count++].len;
	}
	for (size_t i = 0; i < count; i++)
		plain &= !memchr(write[i].at, '\r', write[i].len) &&
			 !memchr(write[i].at, 0x1b, write[i].len);
	play(&first, write, count, false);
	play(&second, write, count, true);
	if (plain) {
		check_whole(&first, write, count);
		check_whole(&second, write, count);
	}
	return 0;
}
