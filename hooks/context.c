/*
 * The current request of a thread; see context.h.
 *
 * Two signs tell a thread that interleaves requests: it read a head while an earlier one of another
 * connection was still unanswered; or it waits for many descriptors at once (epoll, poll, select)
 * and its connections do not block. The second is known before the first call can be misjudged,
 * and spares the servers that wait only for their listening socket: their connections block. In a
 * Python process that sign alone is not enough (uWSGI's workers): its event loops are known by
 * their contexts and greenlets, and others by waiting while a request is unanswered. A last one
 * tells of the whole process: a request was answered by another thread than read it. All are for
 * ever, because a wrong parent is worse than none.
 */
#include "hooks/context.h"

#include "hooks/flow.h"
#include "hooks/python/python.h"
#include "preload/sys.h"

static bool blocks(int fd)
{
	long flags = sw_sys(fcntl, fd, F_GETFL);

	return flags >= 0 && !(flags & O_NONBLOCK);
}

void sw_context_serves(struct sw_guest *g, int fd, sw_ref talk, sw_ref entry)
{
	g->lent_by = SW_LENT_NOT;
	sw_python_serves(g, (struct sw_whom){.talk = talk, .entry = entry});
	if (g->talk != talk && sw_flow_unanswered_by(g->talk, sw_guest_tid(g)))
		g->mixed = true;
	if (g->loop && !g->mixed && !blocks(fd)) {
		g->tentative = sw_python_plain();
		g->mixed = !g->tentative;
	}
	g->talk = talk;
}

void sw_context_waits(struct sw_guest *g)
{
	if (g->tentative && sw_flow_unanswered_by(g->talk, sw_guest_tid(g)))
		g->mixed = true;
}

static _Atomic bool handed_over;

void sw_context_handed_over(void)
{
	atomic_store_explicit(&handed_over, true, memory_order_relaxed);
}

/* What a thread itself has read, where that says something. */
static sw_ref read_by(const struct sw_guest *g, int tid)
{
	return g->mixed || atomic_load_explicit(&handed_over, memory_order_relaxed)
		       ? 0
		       : sw_flow_unanswered_by(g->talk, tid);
}

static sw_ref own_request(struct sw_guest *g)
{
	if (g->tentative && !sw_python_plain())
		return 0;
	return read_by(g, sw_guest_tid(g));
}

static _Atomic bool told;

_Atomic bool sw_context_all_told;

void sw_context_tells(struct sw_guest *g)
{
	if (sw_python_present()) {
		atomic_store(&sw_context_all_told, true);
	} else if (own_request(g)) {
		atomic_store(&told, true);
		atomic_store(&sw_context_all_told, true);
	}
}

/* Where the mechanism is off nobody sees when a thread turns to something else. */
static bool lent(const struct sw_guest *g)
{
	if (g->lent_by == SW_LENT_NOT || sw_python_is_off())
		return false;
	return g->lent_by != SW_LENT_BIRTH || !atomic_load_explicit(&told, memory_order_relaxed);
}

struct sw_whom sw_context_whom(struct sw_guest *g)
{
	struct sw_whom whom;

	if (sw_python_current(&whom) != SW_PYTHON_NOTHING) {
		if (!whom.entry)
			whom.entry = sw_flow_unanswered(whom.talk);
		return whom;
	}
	if (lent(g))
		return g->lent;
	return (struct sw_whom){.talk = g->talk, .entry = own_request(g)};
}

sw_ref sw_context_request(struct sw_guest *g)
{
	return sw_context_whom(g).entry;
}

sw_ref sw_context_of(int tid, const void *state)
{
	struct sw_whom whom;
	struct sw_guest g;

	if (sw_python_current_of(state, &whom))
		return whom.entry ? whom.entry : sw_flow_unanswered(whom.talk);
	if (!sw_guest_copy(tid, &g))
		return 0;
	if (lent(&g))
		return g.lent.entry;
	return g.tentative && !sw_python_plain_of(state) ? 0 : read_by(&g, tid);
}

static _Atomic bool has_lent;

bool sw_context_has_lent(void)
{
	return atomic_load_explicit(&has_lent, memory_order_relaxed);
}

void sw_context_lend(struct sw_guest *g, struct sw_whom whom, enum sw_lent by)
{
	sw_guest_tid(g); /* known from now on */
	if (own_request(g))
		return;
	g->lent = whom;
	g->lent_by = whom.entry ? (uint8_t)by : SW_LENT_NOT;
	if (whom.entry && !sw_context_has_lent())
		atomic_store_explicit(&has_lent, true, memory_order_relaxed);
}
