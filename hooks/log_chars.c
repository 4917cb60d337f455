/*
 * What is written byte by byte (putc), collected up to the end of a line: a record for each byte
 * would cost a program of such a kind a hundred times what it does.
 *
 * Threads share a few collectors by their ids. Who finds one in use goes without; who finds another
 * thread's bytes in it sends them on their way first, with what was noted when they began. So
 * nothing of a thread that has ended is lost, and no line is joined to a wrong one.
 */
#include "hooks/log_writing.h"
#include "preload/counters.h"

#define COLLECTORS 32
#define ROOM 512

struct collector {
	_Atomic bool busy;
	uint32_t entry, len;
	struct sw_log_writing writing; /* of the first byte */
	uint8_t text[ROOM];
};

static struct collector collectors[COLLECTORS];
static _Atomic bool used; /* there may be bytes in some */

static struct collector *collector_of(struct sw_guest *g)
{
	return &collectors[(unsigned)sw_guest_tid(g) % COLLECTORS];
}

static bool hold(struct collector *c)
{
	return !atomic_exchange_explicit(&c->busy, true, memory_order_acquire);
}

static void let_go(struct collector *c)
{
	atomic_store_explicit(&c->busy, false, memory_order_release);
}

static void leave(struct sw_guest *g, struct collector *c)
{
	struct iovec iov = {c->text, c->len};
	struct sw_log_cursor cursor = {&iov, 1, 0, c->len};

	c->len = 0;
	if (cursor.left)
		sw_log_put_writing(g, &c->writing, &cursor);
}

static bool is_own(struct sw_guest *g, const struct collector *c)
{
	return c->writing.head.thread == (uint32_t)sw_guest_tid(g);
}

void sw_log_chars_leave(struct sw_guest *g)
{
	struct collector *c;

	if (!atomic_load_explicit(&used, memory_order_relaxed))
		return;
	c = collector_of(g);
	if (!hold(c))
		return;
	if (c->len && is_own(g, c))
		leave(g, c);
	let_go(c);
}

void sw_log_chars_leave_all(struct sw_guest *g)
{
	for (size_t i = 0; atomic_load(&used) && i < COLLECTORS; i++) {
		if (!hold(&collectors[i]))
			continue;
		leave(g, &collectors[i]);
		let_go(&collectors[i]);
	}
}

void sw_log_chars_forget(void)
{
	for (size_t i = 0; i < COLLECTORS; i++) {
		collectors[i].len = 0;
		let_go(&collectors[i]);
	}
}

static void add(struct sw_guest *g, struct collector *c, uint32_t entry, uint8_t byte)
{
	enum sw_log_source source;

	if (c->len && (c->entry != entry || !is_own(g, c) || c->len == ROOM))
		leave(g, c);
	if (!c->len) {
		c->writing.skipped = 0;
		if (!sw_log_aim(&c->writing, entry, &source))
			return;
		sw_log_begin_writing(g, &c->writing, source);
		c->writing.head.stream = entry & SW_FD_INDEX;
		c->entry = entry;
	}
	c->text[c->len++] = byte;
	if (byte == '\n')
		leave(g, c);
}

void sw_log_char(struct sw_guest *g, uint32_t entry, uint8_t byte)
{
	struct collector *c = collector_of(g);
	struct iovec iov = {&byte, 1};

	if (!hold(c)) {
		sw_log_wrote(g, entry, &iov, 1, 1);
		return;
	}
	atomic_store_explicit(&used, true, memory_order_relaxed);
	add(g, c, entry, byte);
	let_go(c);
}
