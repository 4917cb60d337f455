/*
 * What a logging library says of the text that this thread is writing; see log.h.
 *
 * A stream that buffers may write other bytes together with the text, before it, and may write it
 * in pieces. So what is told holds for bytes that begin as the text does and end where it ends, and
 * for those that go on with it; for other bytes of the same call nothing is told. It is kept with
 * the thread, not on its stack: greenlets move theirs.
 */
#include "hooks/log_writing.h"

#define BEGIN_MAX 32

static __thread struct {
	const void *of;
	bool active;	/* the library's call is going on */
	bool begun;	/* some of the text was written, to `entry` */
	uint32_t entry; /* of a stream */
	size_t left;	/* bytes of the text not yet written */
	uint8_t begin[BEGIN_MAX];
	uint8_t begin_len, severity, level_len, logger_len, thread_len;
	uint8_t words[SW_LOG_LEVEL_MAX + SW_LOG_LOGGER_MAX + SW_LOG_THREAD_MAX];
} told;

static uint8_t keep(struct sw_bytes word, size_t at, size_t max)
{
	if (!word.len || word.len > max)
		return 0;
	memcpy(told.words + at, word.at, word.len);
	return (uint8_t)word.len;
}

void sw_log_told_begin(const struct sw_log_told *what)
{
	size_t at = 0;

	told.active = false; /* a handler of a signal may write meanwhile */
	atomic_signal_fence(memory_order_seq_cst);
	told.of = what->of;
	told.begun = false;
	told.left = what->text.len;
	told.begin_len = (uint8_t)SW_MIN(what->text.len, BEGIN_MAX);
	memcpy(told.begin, what->text.at, told.begin_len);
	told.severity = what->severity;
	at += told.level_len = keep(what->level, at, SW_LOG_LEVEL_MAX);
	at += told.logger_len = keep(what->logger, at, SW_LOG_LOGGER_MAX);
	told.thread_len = keep(what->thread, at, SW_LOG_THREAD_MAX);
	atomic_signal_fence(memory_order_seq_cst);
	told.active = true;
}

bool sw_log_told_again(const void *of)
{
	if (told.of != of || !told.left)
		return false;
	told.active = true;
	return true;
}

void sw_log_told_forget(void)
{
	told.of = NULL;
}

void sw_log_told_end(void)
{
	told.active = false;
	if (!told.left)
		told.of = NULL;
}

/* Only a write of one buffer is looked at: what CPython's streams make. */
size_t sw_log_told_from(uint32_t entry, const struct iovec *iov, size_t count, size_t total)
{
	size_t from;

	if (!told.active || !told.left || count != 1)
		return total;
	if (told.begun)
		return told.entry == entry && iov->iov_len <= told.left ? 0 : total;
	from = iov->iov_len > told.left ? iov->iov_len - told.left : 0;
	if (from >= total || total - from < told.begin_len ||
	    memcmp((const char *)iov->iov_base + from, told.begin, told.begin_len) != 0)
		return total;
	return from;
}

struct sw_bytes sw_log_told_take(struct sw_record_log *head, uint32_t entry, size_t len)
{
	told.begun = true;
	told.entry = entry;
	told.left -= SW_MIN(len, told.left);
	head->severity = told.severity;
	head->level = told.level_len;
	head->logger = told.logger_len;
	head->name = told.thread_len;
	return sw_bytes(told.words, (size_t)told.level_len + told.logger_len + told.thread_len);
}
