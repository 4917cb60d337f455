/*
 * Descriptors, conversations, and the facts that parsers report; see flow.h.
 *
 * The descriptor table leads to a talk by index. Whoever looks at a talk holds its lock and then
 * looks again whether the descriptor still leads there, so a number that was closed and reused in
 * between never meets the old state. Talks live in a pool that is never unmapped: a stale index
 * finds a lock word of another generation, not freed memory.
 */
#include "hooks/flow.h"

#include "hooks/blocked.h"
#include "hooks/context.h"
#include "hooks/handshake.h"
#include "hooks/log.h"
#include "hooks/python/python.h"
#include "hooks/shy.h"
#include "hooks/talk.h"
#include "hooks/trace.h"
#include "preload/config.h"
#include "preload/counters.h"
#include "preload/exports.h"
#include "preload/fds.h"
#include "preload/module.h"
#include "preload/process.h"
#include "preload/sys.h"
#include "preload/tallies.h"

/* A section lasts well under a microsecond; a holder that lost its CPU is not waited for. */
#define HOLD_SPINS 2000

#define SW_PARSER(name, doc) extern const struct sw_parser sw_parser_##name;
#include "hooks/parsers.def"
#undef SW_PARSER

const struct sw_parser *const sw_parsers[] = {
#define SW_PARSER(name, doc) &sw_parser_##name,
#include "hooks/parsers.def"
#undef SW_PARSER
};

static struct sw_pool talks;

/* ---- holding ---- */

static sw_ref talk_ref(const struct sw_talk *talk)
{
	return (atomic_load(&talk->lock) >> 1) << 32 | (talk->index + 1ull); /* held or not */
}

static struct sw_talk *talk_at(uint32_t entry)
{
	uint32_t index = entry & SW_FD_INDEX;

	return (entry & SW_FD_TALK) && index < talks.limit ? sw_pool_item(&talks, index) : NULL;
}

static bool lock(struct sw_talk *talk)
{
	for (int i = 0; i < HOLD_SPINS; i++) {
		uint64_t seen = atomic_load_explicit(&talk->lock, memory_order_relaxed);

		if (!(seen & 1) && atomic_compare_exchange_weak(&talk->lock, &seen, seen | 1))
			return true;
		sw_pause();
	}
	return false;
}

void sw_talk_let_go(struct sw_talk *talk)
{
	/* Nobody else writes to it meanwhile. Pairs with lock. */
	atomic_store_explicit(&talk->lock,
			      atomic_load_explicit(&talk->lock, memory_order_relaxed) & ~1ull,
			      memory_order_release);
}

static void go_deaf(struct sw_guest *g, struct sw_talk *talk, enum sw_counter why);
static void leave_talk(struct sw_guest *g, int fd, struct sw_talk *talk);

struct sw_call_note sw_call_begin(struct sw_guest *g, int fd)
{
	struct sw_call_note outer = {g->call_fd, g->call};
	uint32_t entry = sw_fd_entry(fd);
	struct sw_talk *talk = talk_at(entry);

	g->call_fd = fd;
	g->call = talk ? talk_ref(talk) : 0;
	if (talk && sw_fd_entry(fd) != entry) /* it went away while we looked */
		g->call = 0;
	return outer;
}

/* What the descriptor of this call led to before the call; of others, what they lead to now. */
static sw_ref ref_of(const struct sw_guest *g, int fd)
{
	struct sw_talk *talk;

	if (g->call_fd == fd && g->call)
		return g->call;
	talk = talk_at(sw_fd_entry(fd));
	return talk ? talk_ref(talk) : 0;
}

static struct sw_talk *hold_ref(sw_ref ref)
{
	struct sw_talk *talk = ref ? sw_pool_item(&talks, (uint32_t)ref - 1) : NULL;

	if (!talk)
		return NULL;
	if (!lock(talk)) {
		atomic_store(&talk->blind, true);
		return NULL;
	}
	if (talk_ref(talk) == ref)
		return talk;
	sw_talk_let_go(talk);
	return NULL;
}

struct sw_talk *sw_talk_hold(struct sw_guest *g, int fd)
{
	struct sw_talk *talk = hold_ref(ref_of(g, fd));

	if (!talk)
		return NULL;
	if (SW_UNLIKELY(atomic_load_explicit(&talk->blind, memory_order_relaxed)) &&
	    talk->phase != SW_PHASE_DEAF)
		go_deaf(g, talk, SW_COUNTER_CONNECTION_BLIND);
	if (talk->phase == SW_PHASE_DEAF) {
		leave_talk(g, fd, talk);
		return NULL;
	}
	return talk;
}

bool sw_talk_calls(const struct sw_guest *g, int fd)
{
	sw_ref ref = ref_of(g, fd);
	struct sw_talk *talk = ref ? sw_pool_item(&talks, (uint32_t)ref - 1) : NULL;

	return talk && talk->role == SW_ROLE_CLIENT;
}

void sw_flow_blind(int fd)
{
	struct sw_talk *talk = talk_at(sw_fd_entry(fd));

	if (talk)
		atomic_store(&talk->blind, true);
}

sw_ref sw_flow_unanswered(sw_ref ref)
{
	struct sw_talk *talk;
	sw_ref oldest;

	if (!(uint32_t)ref)
		return 0;
	talk = sw_pool_item(&talks, (uint32_t)ref - 1);
	oldest = atomic_load(&talk->oldest);
	if (atomic_load(&talk->lock) >> 1 != ref >> 32 || !sw_trace_open(oldest))
		return 0;
	return oldest;
}

void sw_flow_writes(int fd, sw_ref entry)
{
	struct sw_talk *talk = talk_at(sw_fd_entry(fd));

	if (talk && talk->role == SW_ROLE_CLIENT)
		atomic_store(&talk->writes, entry);
}

sw_ref sw_talk_request(struct sw_guest *g, struct sw_talk *talk)
{
	sw_ref noted = atomic_exchange(&talk->writes, 0);

	return noted ? noted : sw_context_request(g);
}

sw_ref sw_flow_unanswered_by(sw_ref ref, int tid)
{
	struct sw_talk *talk;

	if (!(uint32_t)ref)
		return 0;
	talk = sw_pool_item(&talks, (uint32_t)ref - 1);
	return atomic_load_explicit(&talk->reader, memory_order_relaxed) == tid
		       ? sw_flow_unanswered(ref)
		       : 0;
}

/* ---- open spans of a talk ---- */

static void show_oldest(struct sw_talk *talk)
{
	atomic_store_explicit(&talk->oldest, talk->count ? talk->open[talk->first] : 0,
			      memory_order_release);
}

/* There is room: the caller has looked. */
static void open_push(struct sw_talk *talk, sw_ref span, bool bears)
{
	unsigned at = (talk->first + talk->count++) % SW_TALK_OPEN;

	talk->open[at] = span;
	talk->injected = (uint16_t)((talk->injected & ~(1u << at)) | (unsigned)bears << at);
	show_oldest(talk);
}

static void open_pop(struct sw_guest *g, struct sw_talk *talk, enum sw_ending ending)
{
	sw_ref span = talk->open[talk->first];

	if (!talk->count)
		return;
	talk->first = (uint8_t)((talk->first + 1) % SW_TALK_OPEN);
	talk->count--;
	sw_trace_end(g, span, ending);
	show_oldest(talk);
}

static void drop_kept(struct sw_talk *talk, enum sw_side side)
{
	if (talk->kept[side].slot)
		sw_pool_give(&sw_pool_heads, talk->kept[side].slot - 1);
	talk->kept[side].slot = talk->kept[side].len = 0;
}

/* Nothing more is looked at. What becomes of open requests is not known: nothing is said of them.
 */
static void go_deaf(struct sw_guest *g, struct sw_talk *talk, enum sw_counter why)
{
	while (talk->count)
		open_pop(g, talk, SW_ENDING_UNSEEN);
	drop_kept(talk, SW_REQUESTS);
	drop_kept(talk, SW_RESPONSES);
	sw_inject_drop(talk, true);
	talk->phase = SW_PHASE_DEAF;
	if (why < SW_COUNTER_COUNT)
		sw_count_many(why, 1);
}

/* Once per exchange, not per call: the conversation is held and its line is at hand. */
static void tally_bytes(struct sw_guest *g, struct sw_talk *talk)
{
	for (int i = SW_IN; i <= SW_OUT; i++) {
		if (talk->passed[i] != talk->tallied[i])
			sw_tally_add(g, i == SW_IN ? SW_TALLY_BYTES_IN : SW_TALLY_BYTES_OUT,
				     talk->passed[i] - talk->tallied[i]);
		talk->tallied[i] = talk->passed[i];
	}
}

/* ---- facts ---- */

/* The sink on the stack of a feed: parsers report to it, it knows the talk. */
struct flow_sink {
	struct sw_sink sink;
	struct sw_guest *g;
	struct sw_talk *talk;
	int fd;
	bool full;    /* more open requests than we follow */
	bool enough;  /* what is to come does not concern us */
	bool closing; /* the end is our closing, not bytes that were seen */
};

static uint64_t head_began(struct sw_talk *talk)
{
	return talk->kept[SW_REQUESTS].slot ? talk->kept[SW_REQUESTS].since_ns
					    : sw_clock_ns(CLOCK_MONOTONIC);
}

static sw_ref begin_entry(struct flow_sink *s, const struct sw_request *request)
{
	uint8_t text[160];
	struct sw_writer w = sw_writer(text, sizeof(text));
	struct sw_begin begin = {
		.request = request,
		.component = sw_talk_parser(s->talk)->entry_component,
		.start_ns = head_began(s->talk),
		.peer = sw_talk_peer(s->fd, s->talk, &w),
	};

	return sw_trace_entry(s->g, &begin);
}

/* A call whose head was not prepared on its way out: it bears no lines of ours. */
static sw_ref begin_unprepared(struct flow_sink *s, const struct sw_request *request)
{
	uint8_t text[160];
	struct sw_writer w = sw_writer(text, sizeof(text));
	struct sw_begin begin = {
		.request = request,
		.component = sw_talk_parser(s->talk)->exit_component,
		.start_ns = head_began(s->talk),
		.peer = sw_talk_called(s->fd, s->talk, request->peer, &w),
	};
	bool suppressed;

	if (request->carrier.len) {
		sw_count(INJECT_FOREIGN);
		return 0;
	}
	return sw_trace_exit(s->g, sw_talk_request(s->g, s->talk), &begin, &suppressed);
}

static sw_ref begin_exit(struct flow_sink *s, const struct sw_request *request)
{
	struct sw_talk *talk = s->talk;
	sw_ref exit = talk->exit;

	if (!talk->prepared)
		exit = talk->skip_exit ? 0 : begin_unprepared(s, request);
	sw_inject_drop(talk, false);
	return exit;
}

static void on_request(struct sw_sink *sink, const struct sw_request *request)
{
	struct flow_sink *s = (struct flow_sink *)sink;
	bool serves = s->talk->role == SW_ROLE_SERVER;
	bool bears = s->talk->bears;
	sw_ref span;

	if (s->talk->count == SW_TALK_OPEN) {
		s->full = true;
		return;
	}
	span = serves ? begin_entry(s, request) : begin_exit(s, request);
	open_push(s->talk, span, bears);
	s->talk->reader = sw_guest_tid(s->g);
	if (serves) {
		sw_context_serves(s->g, s->fd, talk_ref(s->talk), span);
		sw_blocked_serves(s->g, span);
	} else {
		sw_blocked_works(s->g);
	}
}

static void on_request_end(struct sw_sink *sink)
{
	(void)sink;
}

static void on_response(struct sw_sink *sink, const struct sw_response *response)
{
	struct flow_sink *s = (struct flow_sink *)sink;
	struct sw_talk *talk = s->talk;

	if (!talk->count)
		return;
	sw_trace_answer(talk->open[talk->first], response);
	if (talk->role == SW_ROLE_SERVER)
		sw_blocked_works(s->g);
	if (talk->role == SW_ROLE_SERVER && talk->reader != sw_guest_tid(s->g))
		sw_context_handed_over();
	if (talk->role == SW_ROLE_CLIENT)
		sw_shy_answered(talk, talk->injected >> talk->first & 1, response->status);
}

static void on_response_end(struct sw_sink *sink, bool whole)
{
	struct flow_sink *s = (struct flow_sink *)sink;

	tally_bytes(s->g, s->talk);
	open_pop(s->g, s->talk,
		 !whole	      ? SW_ENDING_CUT
		 : s->closing ? SW_ENDING_CLOSED
			      : SW_ENDING_WHOLE);
}

static void on_handshake(struct sw_sink *sink, enum sw_handshake what)
{
	struct flow_sink *s = (struct flow_sink *)sink;

	s->enough |= !sw_handshake(s->g, s->fd, s->talk, what);
}

static struct flow_sink flow_sink(struct sw_guest *g, int fd, struct sw_talk *talk)
{
	return (struct flow_sink){
		.sink = {on_request, on_request_end, on_response, on_response_end, on_handshake},
		.g = g,
		.talk = talk,
		.fd = fd,
	};
}

/* ---- bytes ---- */

/* Of a format without components no spans come, but meters alone. */
static bool concerns_us(const struct sw_parser *parser)
{
	return parser->entry_component || sw_config.meter_active;
}

bool sw_talk_sniff(struct sw_guest *g, struct sw_talk *talk, struct sw_bytes first)
{
	bool more = false;

	for (uint8_t i = 0; i < SW_COUNT_OF(sw_parsers); i++) {
		enum sw_sniff answer =
			concerns_us(sw_parsers[i]) ? sw_parsers[i]->sniff(first) : SW_SNIFF_NO;

		if (answer == SW_SNIFF_YES) {
			talk->parser = i;
			talk->phase = SW_PHASE_FEED;
			return true;
		}
		more |= answer == SW_SNIFF_MORE;
	}
	if (!more)
		go_deaf(g, talk, SW_COUNTER_CONNECTION_OPAQUE);
	return false;
}

/* Appends to the head in pieces of this side. False: no buffer, or no room for even one byte. */
static bool keep(struct sw_talk *talk, enum sw_side side, struct sw_bytes bytes, size_t *ret_took)
{
	uint32_t *slot = &talk->kept[side].slot, *len = &talk->kept[side].len;

	if (!*slot) {
		int64_t index = sw_pool_take(&sw_pool_heads);

		if (index < 0) {
			sw_count(HEAD_POOL);
			return false;
		}
		*slot = (uint32_t)index + 1;
		talk->kept[side].since_ns = sw_clock_ns(CLOCK_MONOTONIC);
	}
	*ret_took = SW_MIN(bytes.len, SW_HEAD_MAX - *len);
	memcpy(sw_head_at(*slot) + *len, bytes.at, *ret_took);
	*len += (uint32_t)*ret_took;
	return *ret_took > 0;
}

static ssize_t feed_once(struct flow_sink *s, enum sw_side side, struct sw_bytes bytes)
{
	struct sw_talk *talk = s->talk;
	ssize_t took;

	if (talk->phase == SW_PHASE_SNIFF) {
		if (side == SW_RESPONSES) /* the server speaks first: nothing that we know */
			return SW_FEED_OPAQUE;
		if (!sw_talk_sniff(s->g, talk, bytes))
			return 0;
	}
	took = sw_talk_parser(talk)->feed(talk->parser_state, side, bytes, &s->sink);
	return s->full ? SW_FEED_LOST : s->enough ? SW_FEED_OPAQUE : took;
}

/* One step: how many of the new bytes were dealt with, or negative. */
static ssize_t feed_step(struct flow_sink *s, enum sw_side side, struct sw_bytes bytes)
{
	struct sw_talk *talk = s->talk;
	uint32_t had = talk->kept[side].len;
	size_t kept = 0;
	ssize_t took;

	if (!had) {
		took = feed_once(s, side, bytes);
		if (took != 0 || talk->phase == SW_PHASE_DEAF)
			return took;
		return keep(talk, side, bytes, &kept) && kept == bytes.len ? (ssize_t)kept
									   : SW_FEED_LOST;
	}
	if (!keep(talk, side, bytes, &kept))
		return SW_FEED_LOST;
	took = feed_once(s, side,
			 sw_bytes(sw_head_at(talk->kept[side].slot), talk->kept[side].len));
	if (took < 0 || talk->phase == SW_PHASE_DEAF)
		return took;
	if (took == 0)
		return (ssize_t)kept;
	drop_kept(talk, side);
	return SW_CHECK((size_t)took > had) ? took - (ssize_t)had : SW_FEED_LOST;
}

void sw_talk_feed(struct sw_guest *g, int fd, struct sw_talk *talk, enum sw_side side,
		  struct sw_bytes bytes)
{
	struct flow_sink s = flow_sink(g, fd, talk);

	while (bytes.len && talk->phase != SW_PHASE_DEAF) {
		ssize_t took = feed_step(&s, side, bytes);

		if (took < 0)
			go_deaf(g, talk,
				took == SW_FEED_OPAQUE ? SW_COUNTER_CONNECTION_OPAQUE
						       : SW_COUNTER_CONNECTION_LOST);
		else
			bytes = sw_bytes_from(bytes, (size_t)took);
	}
}

static void free_talk(struct sw_guest *g, struct sw_talk *talk, uint32_t index)
{
	tally_bytes(g, talk);
	sw_tally_add(
		g, talk->role == SW_ROLE_SERVER ? SW_TALLY_ACCEPTED_ENDED : SW_TALLY_MADE_ENDED, 1);
	atomic_store(&talk->lock, (atomic_load(&talk->lock) & ~1ull) + 2);
	sw_pool_give(&talks, index);
}

/* A talk that went deaf needs no descriptor entry: the number is as good as unknown. */
static void leave_talk(struct sw_guest *g, int fd, struct sw_talk *talk)
{
	uint32_t index = (uint32_t)talk_ref(talk) - 1;

	if (talk->phase == SW_PHASE_DEAF && talk->fds == 1 && sw_fd_clear(fd, SW_FD_TALK | index))
		free_talk(g, talk, index);
	else
		sw_talk_let_go(talk);
}

static void finish_side(struct sw_guest *g, int fd, struct sw_talk *talk, enum sw_side side)
{
	struct flow_sink s = flow_sink(g, fd, talk);

	if (talk->phase == SW_PHASE_FEED)
		sw_talk_parser(talk)->finish(talk->parser_state, side, &s.sink);
	if (s.enough)
		go_deaf(g, talk, SW_COUNTER_CONNECTION_OPAQUE);
}

void sw_flow_bytes(struct sw_guest *g, int fd, enum sw_direction direction, const struct iovec *iov,
		   size_t count, ssize_t total)
{
	struct sw_talk *talk;
	enum sw_side side;

	if (total < 0 || (total == 0 && direction == SW_OUT) || !(talk = sw_talk_hold(g, fd)))
		return;
	side = sw_talk_side(talk, direction);
	talk->passed[direction] += (size_t)total;
	if (total == 0)
		finish_side(g, fd, talk, side);
	for (size_t i = 0; i < count && total > 0; i++) {
		size_t len = SW_MIN(iov[i].iov_len, (size_t)total);

		total -= (ssize_t)len;
		if (len)
			sw_talk_feed(g, fd, talk, side, sw_bytes(iov[i].iov_base, len));
	}
	leave_talk(g, fd, talk);
}

void sw_flow_unread(struct sw_guest *g, int fd, enum sw_direction direction, ssize_t total)
{
	struct sw_talk *talk;
	struct flow_sink s;
	enum sw_side side;

	if (total <= 0 || !(talk = sw_talk_hold(g, fd)))
		return;
	side = sw_talk_side(talk, direction);
	talk->passed[direction] += (size_t)total;
	s = flow_sink(g, fd, talk);
	if (talk->phase != SW_PHASE_FEED || talk->kept[side].len ||
	    !sw_talk_parser(talk)->skip(talk->parser_state, side, (uint64_t)total, &s.sink))
		go_deaf(g, talk, SW_COUNTER_CONNECTION_BLIND);
	leave_talk(g, fd, talk);
}

void sw_flow_ended(struct sw_guest *g, int fd, enum sw_direction direction)
{
	struct sw_talk *talk = sw_talk_hold(g, fd);

	if (!talk)
		return;
	finish_side(g, fd, talk, sw_talk_side(talk, direction));
	sw_talk_let_go(talk);
}

/* ---- beginning and end ---- */

static void end_talk(struct sw_guest *g, int fd, struct sw_talk *talk)
{
	struct flow_sink s = flow_sink(g, fd, talk);

	s.closing = true;
	if (talk->phase == SW_PHASE_FEED && (!talk->count || sw_talk_saw_all(fd, talk)))
		sw_talk_parser(talk)->finish(talk->parser_state, SW_RESPONSES, &s.sink);
	if (talk->phase != SW_PHASE_DEAF)
		go_deaf(g, talk, s.enough ? SW_COUNTER_CONNECTION_OPAQUE : SW_COUNTER_COUNT);
}

/* One descriptor less leads to the talk behind `entry`. */
static void leave_entry(struct sw_guest *g, int fd, uint32_t entry)
{
	struct sw_talk *talk = talk_at(entry);

	if (entry & SW_FD_LOG)
		sw_log_left(entry);
	if (!talk)
		return;
	if (!lock(talk)) {
		atomic_store(&talk->blind, true); /* leaks one slot of the pool, counted below */
		sw_count(CONNECTION_LOST);
		return;
	}
	if (--talk->fds) {
		sw_talk_let_go(talk);
		return;
	}
	end_talk(g, fd, talk);
	free_talk(g, talk, entry & SW_FD_INDEX);
}

/* `ask`: the number by which the kernel can be asked for the socket. */
static void leave_number(struct sw_guest *g, int fd, int ask)
{
	uint32_t old = 0;

	if (sw_fd_swap(fd, 0, &old))
		leave_entry(g, ask, old);
}

void sw_flow_closed(struct sw_guest *g, int fd)
{
	leave_number(g, fd, fd);
}

void sw_flow_replaced(struct sw_guest *g, int fd)
{
	leave_number(g, fd, -1);
}

void sw_flow_closed_range(struct sw_guest *g, unsigned from, unsigned to)
{
	for (unsigned fd = from; fd <= to && fd < SW_FD_LIMIT; fd++) {
		if (!atomic_load(&sw_fd_pages[fd / SW_FD_PAGE])) {
			fd |= SW_FD_PAGE - 1;
			continue;
		}
		if (sw_fd_entry((int)fd) & (SW_FD_TALK | SW_FD_LOG))
			sw_flow_closed(g, (int)fd);
	}
}

void sw_flow_duplicated(struct sw_guest *g, int fd, int to)
{
	uint32_t entry = sw_fd_entry(fd), old = 0;
	struct sw_talk *talk;

	if (fd == to)
		return;
	sw_flow_replaced(g, to);
	if (!(entry & SW_FD_TALK) && (to == STDOUT_FILENO || to == STDERR_FILENO))
		sw_log_look(to);
	else if (entry & SW_FD_LOG)
		sw_log_duplicated(entry, to);
	talk = talk_at(entry);
	if (!talk || !lock(talk))
		return;
	if (sw_fd_entry(fd) == entry && sw_fd_swap(to, entry, &old))
		talk->fds++;
	sw_talk_let_go(talk);
}

static bool is_stream(int fd)
{
	int type = 0;
	socklen_t len = sizeof(type);

	return sw_sys(getsockopt, fd, SOL_SOCKET, SO_TYPE, &type, &len) == 0 && type == SOCK_STREAM;
}

static void begin_talk(struct sw_guest *g, int fd, enum sw_role role)
{
	socklen_t cookie_len = sizeof(uint64_t);
	struct sw_talk *talk;
	uint32_t old;
	int64_t index;

	sw_flow_replaced(g, fd);
	if (!sw_modules_start() || !is_stream(fd))
		return;
	index = sw_pool_take(&talks);
	if (index < 0) {
		sw_count(CONNECTION_POOL);
		return;
	}
	talk = sw_pool_item(&talks, (uint32_t)index);
	memset((uint8_t *)talk + sizeof(talk->lock), 0, sizeof(*talk) - sizeof(talk->lock));
	talk->index = (uint32_t)index;
	talk->role = (uint8_t)role;
	talk->fds = 1;
	if (role == SW_ROLE_CLIENT)
		sw_sys(getsockopt, fd, SOL_SOCKET, SO_COOKIE, &talk->cookie, &cookie_len);
	if (!sw_fd_swap(fd, SW_FD_TALK | (uint32_t)index, &old)) {
		sw_pool_give(&talks, (uint32_t)index);
		return;
	}
	sw_tally_add(g, role == SW_ROLE_SERVER ? SW_TALLY_ACCEPTED : SW_TALLY_MADE, 1);
}

void sw_flow_accepted(struct sw_guest *g, int fd)
{
	struct sw_talk *talk;

	begin_talk(g, fd, SW_ROLE_SERVER);
	talk = talk_at(sw_fd_entry(fd));
	if (talk)
		sw_python_serves(g, (struct sw_whom){.talk = talk_ref(talk)});
	if (!atomic_load_explicit(&sw_process_serves, memory_order_relaxed)) {
		atomic_store(&sw_process_serves, true);
		sw_python_listens(g);
		g->kick = true;
	}
}

void sw_flow_connected(struct sw_guest *g, int fd)
{
	begin_talk(g, fd, SW_ROLE_CLIENT);
}

void sw_refused(int fd)
{
	if (sw_guest_hidden())
		return;
	sw_flow_blind(fd);
	sw_log_unseen(sw_log_entry(fd));
}

/* ---- lifetime ---- */

static bool flow_start(void)
{
	return sw_pool_map(&talks, sizeof(struct sw_talk), (uint32_t)sw_config.connections_max);
}

/* Locks of threads that do not exist in the child. Their conversations were caught in mid-change.
 */
static void flow_fork_child(void)
{
	uint32_t used = sw_pool_used(&talks);

	for (uint32_t i = 0; i < used; i++) {
		struct sw_talk *talk = sw_pool_item(&talks, i);

		if (atomic_load(&talk->lock) & 1) {
			atomic_store(&talk->blind, true);
			sw_talk_let_go(talk);
		}
	}
}

const struct sw_module sw_module_flow = {
	.name = "flow",
	.start = flow_start,
	.fork_child = flow_fork_child,
};

/* Copied between two looks at the lock, which changes with whoever holds it. */
bool sw_flow_peer(int fd, struct sw_writer *w)
{
	struct sw_talk *talk = talk_at(sw_fd_entry(fd));
	uint64_t before = talk ? atomic_load(&talk->lock) : 1;
	struct sw_talk copy = {0};

	if (before & 1)
		return false;
	copy.family = talk->family;
	copy.port = talk->port;
	memcpy(copy.address, talk->address, sizeof(copy.address));
	atomic_thread_fence(memory_order_acquire);
	if (atomic_load(&talk->lock) != before ||
	    (copy.family != AF_INET && copy.family != AF_INET6))
		return false;
	sw_talk_peer(fd, &copy, w);
	return true;
}
