/*
 * The request's ids in the program's own lines (SW_AGENT_LOG_INJECT_CONTEXT), as users of
 * SkyWalking know them: [SW_CTX: [service,instance,trace,segment,span]].
 *
 * Off unless asked for, because it changes what the program writes; and then only where one write
 * stays one write: whole lines, from the beginning of a line on, that with ours in them still are
 * as short as a pipe takes at once. What the program gets is the count of its own bytes, and after
 * a partial write it goes on behind these. A line that may not be as described is left as it is.
 */
#include <errno.h>
#include <limits.h>

#include "hooks/context.h"
#include "hooks/inject.h"
#include "hooks/log_writing.h"
#include "preload/carrier.h"
#include "preload/config.h"
#include "preload/counters.h"
#include "preload/exports.h"
#include "preload/sys.h"

#define ROOM 352

/* Where a line is, and ours in it. */
struct seam {
	size_t at; /* our text goes before this byte */
	bool json; /* the line is an object: ours is a member of it */
	uint8_t text[ROOM];
	size_t len;
};

/* Nothing that would end the list early, or a string in JSON. */
static bool is_plain(struct sw_bytes text)
{
	for (size_t i = 0; i < text.len; i++) {
		if (text.at[i] <= ' ' || text.at[i] > '~' || memchr("\"\\,[]", text.at[i], 5))
			return false;
	}
	return text.len > 0;
}

static void add(struct sw_writer *w, struct sw_bytes text)
{
	w->cut |= !is_plain(text);
	sw_write(w, text);
	sw_write(w, SW_BYTES(","));
}

static bool write_ids(struct sw_writer *w, const struct sw_words *words)
{
	uint8_t room[128];
	struct sw_writer trace = sw_writer(room, sizeof(room));

	if (!words->trace_len)
		sw_write_id(&trace, sw_process_trace_of(words->segment));
	else if (!sw_read_base64(sw_bytes(words->text, words->trace_len), &trace))
		return false;
	add(w, sw_bytes_text(sw_process_service()));
	add(w, sw_bytes_text(sw_process_instance()));
	add(w, sw_written(&trace));
	sw_write_id(w, words->segment);
	return !trace.cut;
}

static bool write_text(struct sw_guest *g, struct seam *seam)
{
	struct sw_writer w = sw_writer(seam->text, sizeof(seam->text));
	struct sw_words words;

	if (!sw_words_find(sw_context_request(g), &words))
		return false;
	sw_write(&w, seam->json ? SW_BYTES(",\"SW_CTX\":\"[") : SW_BYTES(" [SW_CTX: ["));
	if (!write_ids(&w, &words))
		return false;
	sw_write(&w, seam->json ? SW_BYTES(",0]\"") : SW_BYTES(",0]]"));
	seam->len = w.len;
	return !w.cut;
}

/* The end of the first line of bytes that are whole lines. */
static bool find_seam(struct sw_bytes text, struct seam *seam)
{
	size_t end = sw_bytes_find(text, '\n');

	if (!text.len || text.at[text.len - 1] != '\n')
		return false;
	if (end && text.at[end - 1] == '\r')
		end--;
	seam->json =
		end > 2 && text.at[0] == '{' && text.at[end - 1] == '}' && text.at[end - 2] != '{';
	seam->at = seam->json ? end - 1 : end;
	return end > 0;
}

/* Looks at a copy: the program's memory may not be readable, which is the kernel's to say. */
static bool look(const struct iovec *iov, struct seam *seam)
{
	int64_t slot = sw_pool_take(&sw_log_texts);
	bool found = false;
	uint8_t *copy;

	if (slot < 0)
		return false;
	copy = sw_pool_item(&sw_log_texts, (uint32_t)slot);
	if (sw_sys_peek(copy, iov->iov_base, iov->iov_len))
		found = find_seam(sw_bytes(copy, iov->iov_len), seam);
	sw_pool_give(&sw_log_texts, (uint32_t)slot);
	return found;
}

/* Of what went, the program's. */
static ssize_t own(ssize_t sent, const struct seam *seam)
{
	if (sent <= (ssize_t)seam->at)
		return sent;
	return sent <= (ssize_t)(seam->at + seam->len) ? (ssize_t)seam->at
						       : sent - (ssize_t)seam->len;
}

bool sw_log_inject(struct sw_guest *g, uint32_t entry, int fd, const struct iovec *iov,
		   ssize_t *ret_sent)
{
	struct seam seam;
	struct iovec all[3];
	ssize_t sent;

	if (!iov->iov_len || iov->iov_len > PIPE_BUF || !sw_log_at_start(entry) ||
	    !look(iov, &seam) || !write_text(g, &seam) || iov->iov_len + seam.len > PIPE_BUF)
		return false;
	all[0] = (struct iovec){iov->iov_base, seam.at};
	all[1] = (struct iovec){seam.text, seam.len};
	all[2] = (struct iovec){(uint8_t *)iov->iov_base + seam.at, iov->iov_len - seam.at};
	sent = sw_call(g, writev, fd, all, 3);
	if (sent < 0 && errno == EINVAL) /* bytes that must lie on a border (O_DIRECT) */
		return false;
	if (sent > 0)
		sw_count(LOG_INJECTED);
	*ret_sent = own(sent, &seam);
	return true;
}
