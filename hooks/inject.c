/*
 * Injection; see inject.h.
 *
 * A call goes through three steps: look (is a head beginning or under way, and where is its seam?),
 * decide (once per head: which Exit, which text), send (one sendmsg from a vector of the program's
 * pieces and ours). What the kernel took is translated back to the program's bytes by walking the
 * same pieces. The decision survives partial writes: bytes of ours that are gone cannot be unsaid.
 */
#include "hooks/inject.h"

#include <limits.h>
#include <sys/epoll.h>

#include "hooks/context.h"
#include "hooks/filter.h"
#include "hooks/shy.h"
#include "hooks/talk.h"
#include "hooks/trace.h"
#include "preload/config.h"
#include "preload/counters.h"
#include "preload/exports.h"
#include "preload/sys.h"

/* Layout of the buffer that an injection holds: the vector, then the text. */
#define VECTOR_MAX 1024 /* IOV_MAX of Linux */
#define VECTOR_SPARE 16
#define TEXT_AT (VECTOR_MAX * sizeof(struct iovec))
#define TEXT_MAX 8192
/* With these the bytes may leave in another order, later, or on a socket that is not connected. */
#define FLAGS_REFUSED (MSG_OOB | MSG_ZEROCOPY | MSG_FASTOPEN)

/* The kernel took bytes of ours and none of the program's. */
#define OURS_ONLY (-2)

/* A stretch of the call: `len` bytes of the program's to send or to leave out, or all of ours. */
enum piece_kind { PIECE_PROGRAM, PIECE_LEFT_OUT, PIECE_OURS };

struct piece {
	enum piece_kind kind;
	size_t len;
};

#define PIECES_MAX 8

struct plan {
	struct piece piece[PIECES_MAX];
	size_t count;
	size_t program_len; /* of the whole call */
};

struct look {
	struct sw_bytes
		head;	   /* what was kept and what this call adds, from the head's first byte */
	size_t kept;	   /* bytes of it that are gone already */
	uint32_t gathered; /* slot + 1 when `head` had to be put together */
	struct sw_request request;
	struct sw_seam seam;
};

void sw_inject_drop(struct sw_talk *talk, bool forget)
{
	if (forget && talk->exit)
		sw_trace_forget(talk->exit);
	if (talk->lines)
		sw_pool_give(&sw_pool_heads, talk->lines - 1);
	talk->lines = talk->lines_len = talk->lines_sent = 0;
	talk->exit = 0;
	talk->injection = SW_INJECT_UNDECIDED;
	talk->prepared = talk->replacing = talk->skip_exit = talk->bears = false;
}

/* ---- look ---- */

/* Memory that the kernel has not checked yet: what is plainly wrong is left to it. */
static bool plausible(const struct sw_outgoing *out)
{
	if (!out->count || out->count > VECTOR_MAX || (uintptr_t)out->iov < SW_PAGE)
		return false;
	for (size_t i = 0; i < out->count; i++) {
		if (out->iov[i].iov_len &&
		    ((uintptr_t)out->iov[i].iov_base < SW_PAGE || out->iov[i].iov_len > SSIZE_MAX))
			return false;
	}
	return true;
}

/* The kernel copies an event before it finds that there is no descriptor -1: a twentieth of what
 * process_vm_readv costs. The bytes tried are among those to be sent. */
static bool page_is_readable(const uint8_t *from, const uint8_t *end)
{
	struct epoll_event event;
	const uint8_t *at = end - from < (ptrdiff_t)sizeof(event) ? from : end - sizeof(event);

	if (end - from < (ptrdiff_t)sizeof(event))
		return sw_sys_peek(&event, from, (size_t)(end - from));
	return sw_sys(epoll_ctl, -1, EPOLL_CTL_ADD, 0, at) != -EFAULT;
}

/*
 * Can the kernel read what we are about to look at? A wild pointer is its to refuse, with EFAULT,
 * and ours would be a SIGSEGV. A few bytes of each page, by a call that leaves no trace in the
 * program (nor complaints of valgrind that the real call would not bring).
 */
static bool readable(const struct sw_outgoing *out)
{
	size_t left = SW_HEAD_MAX;

	for (size_t i = 0; i < out->count && left; i++) {
		const uint8_t *from = out->iov[i].iov_base;
		const uint8_t *end = from + SW_MIN(out->iov[i].iov_len, left), *next;

		left -= (size_t)(end - from);
		for (; from < end; from = next) {
			next = (const uint8_t *)(((uintptr_t)from | (SW_PAGE - 1)) + 1);
			next = SW_MIN(next, end);
			if (!page_is_readable(from, next))
				return false;
		}
	}
	return true;
}

static size_t total_len(const struct sw_outgoing *out)
{
	size_t len = 0;

	for (size_t i = 0; i < out->count; i++)
		len += out->iov[i].iov_len;
	return len;
}

static bool gather(struct sw_talk *talk, const struct sw_outgoing *out, struct look *look)
{
	int64_t index = sw_pool_take(&sw_pool_heads);
	struct sw_writer w;

	if (index < 0) {
		sw_count(HEAD_POOL);
		return false;
	}
	look->gathered = (uint32_t)index + 1;
	w = sw_writer(sw_head_at(look->gathered), SW_HEAD_MAX);
	if (look->kept)
		sw_write(&w, sw_bytes(sw_head_at(talk->kept[SW_REQUESTS].slot), look->kept));
	for (size_t i = 0; i < out->count; i++)
		sw_write(&w, sw_bytes(out->iov[i].iov_base, out->iov[i].iov_len));
	look->head = sw_written(&w);
	return true;
}

static void look_done(struct look *look)
{
	if (look->gathered)
		sw_pool_give(&sw_pool_heads, look->gathered - 1);
	look->gathered = 0;
}

static enum sw_carry ask(struct sw_talk *talk, struct look *look)
{
	return sw_talk_parser(talk)->carry(talk->parser_state, look->head, &look->request,
					   &look->seam);
}

/* What the parser says of the head as far as we have it; finds the parser first, if need be. */
static enum sw_carry look_once(struct sw_guest *g, struct sw_talk *talk, struct look *look)
{
	if (talk->phase == SW_PHASE_SNIFF && !sw_talk_sniff(g, talk, look->head))
		return SW_CARRY_MORE;
	return sw_talk_parser(talk)->carry ? ask(talk, look) : SW_CARRY_NO;
}

/* Most heads lie whole in the first piece: no copy. Otherwise kept and new are put together. */
static enum sw_carry look_at(struct sw_guest *g, struct sw_talk *talk,
			     const struct sw_outgoing *out, struct look *look)
{
	enum sw_carry answer = SW_CARRY_MORE;

	look->kept = talk->kept[SW_REQUESTS].len;
	look->head = sw_bytes(out->iov[0].iov_base, out->iov[0].iov_len);
	if (!look->kept && look->head.len)
		answer = look_once(g, talk, look);
	if (answer != SW_CARRY_MORE || talk->phase == SW_PHASE_DEAF ||
	    (!look->kept && out->count == 1))
		return answer;
	return gather(talk, out, look) ? look_once(g, talk, look) : SW_CARRY_NO;
}

/* ---- decide ---- */

static bool same_socket(int fd, const struct sw_talk *talk)
{
	socklen_t len = sizeof(uint64_t);
	uint64_t cookie = 0;

	return talk->cookie && sw_sys(getsockopt, fd, SOL_SOCKET, SO_COOKIE, &cookie, &len) == 0 &&
	       cookie == talk->cookie;
}

/* The request whose context a forwarded head carries, when its lines can still be left out. */
static sw_ref forwarded_for(struct look *look)
{
	for (size_t i = 0; i < look->seam.had_count; i++) {
		if (look->seam.had[i].from < look->kept)
			return 0;
	}
	return look->seam.had_count ? sw_trace_entry_of_carrier(look->request.carrier) : 0;
}

static bool take_lines(struct sw_talk *talk)
{
	int64_t index = sw_pool_take(&sw_pool_heads);

	if (index < 0) {
		sw_count(HEAD_POOL);
		return false;
	}
	talk->lines = (uint32_t)index + 1;
	return true;
}

static sw_ref begin_exit(struct sw_guest *g, int fd, struct sw_talk *talk, struct look *look,
			 sw_ref entry, bool *ret_suppressed)
{
	uint8_t text[160];
	struct sw_writer w = sw_writer(text, sizeof(text));
	struct sw_begin begin = {
		.request = &look->request,
		.component = sw_talk_parser(talk)->exit_component,
		.start_ns = look->kept ? talk->kept[SW_REQUESTS].since_ns
				       : sw_clock_ns(CLOCK_MONOTONIC),
		.peer = sw_talk_called(fd, talk, look->request.peer, &w),
	};

	return sw_trace_exit(g, entry, &begin, ret_suppressed);
}

static bool lines_fit(const struct sw_talk *talk, const struct look *look)
{
	return look->seam.head_len + talk->lines_len <= sw_config.head_budget &&
	       sw_filter_peer(look->request.peer) && sw_shy_allows(talk);
}

/* Writes the text for this head and remembers the Exit. False: the head goes as it is. */
static bool decide(struct sw_guest *g, int fd, struct sw_talk *talk, struct look *look,
		   sw_ref entry)
{
	struct sw_writer w;
	bool suppressed = false;

	talk->injection = SW_INJECT_DONE;
	talk->exit = begin_exit(g, fd, talk, look, entry, &suppressed);
	talk->prepared = true;
	if ((!talk->exit && !suppressed) || !take_lines(talk))
		return false;
	w = sw_writer(sw_head_at(talk->lines) + TEXT_AT, TEXT_MAX);
	sw_trace_carrier(talk->exit, &w);
	talk->lines_len = (uint32_t)w.len;
	if (w.cut || w.len == 0 || !lines_fit(talk, look))
		return false;
	talk->injection = SW_INJECT_PENDING;
	talk->bears = true;
	return true;
}

/* The seam lies in bytes that have not gone yet, and the vector has room for our pieces. */
static bool reachable(const struct look *look, const struct sw_outgoing *out)
{
	return look->seam.at >= look->kept && out->count <= VECTOR_MAX - VECTOR_SPARE;
}

static bool decide_carried(struct sw_guest *g, int fd, struct sw_talk *talk, struct look *look)
{
	sw_ref entry = forwarded_for(look);

	if (!entry) {
		talk->skip_exit = true;
		talk->injection = SW_INJECT_DONE;
		sw_count(INJECT_FOREIGN);
		return false;
	}
	talk->replacing = true;
	return decide(g, fd, talk, look, entry);
}

static bool refuse(struct sw_talk *talk)
{
	talk->no_carry = true;
	sw_count(INJECT_SKIPPED);
	return false;
}

/* Is something of ours to go with this call? */
static bool wanted(struct sw_guest *g, int fd, struct sw_talk *talk, const struct sw_outgoing *out,
		   struct look *look)
{
	enum sw_carry answer = look_at(g, talk, out, look);
	bool injects;

	if (answer == SW_CARRY_MORE || talk->phase != SW_PHASE_FEED)
		return false;
	if (talk->injection == SW_INJECT_PENDING) /* decided earlier; is the seam in this call? */
		return answer != SW_CARRY_NO && reachable(look, out);
	if (answer == SW_CARRY_NO)
		return refuse(talk);
	if (!out->plain || (out->flags & FLAGS_REFUSED) || !reachable(look, out) ||
	    !same_socket(fd, talk))
		return refuse(talk);
	/* a lone sw8-correlation is another agent's too: ours would be the second one */
	injects = answer == SW_CARRY_TAKEN || look->seam.had_count
			  ? decide_carried(g, fd, talk, look)
			  : decide(g, fd, talk, look, sw_talk_request(g, talk));
	if (!injects && !talk->skip_exit)
		sw_count(INJECT_SKIPPED);
	return injects;
}

/* ---- send ---- */

static void plan_add(struct plan *plan, enum piece_kind kind, size_t len)
{
	if (len && plan->count < PIECES_MAX)
		plan->piece[plan->count++] = (struct piece){kind, len};
}

static void make_plan(const struct sw_talk *talk, const struct look *look,
		      const struct sw_outgoing *out, struct plan *plan)
{
	size_t at = look->kept;

	*plan = (struct plan){.program_len = total_len(out)};
	for (size_t i = 0; talk->replacing && i < look->seam.had_count; i++) {
		size_t from = look->seam.had[i].from, to = look->seam.had[i].to;

		if (from < at) /* left out by an earlier call */
			continue;
		plan_add(plan, PIECE_PROGRAM, from - at);
		plan_add(plan, PIECE_LEFT_OUT, to - from);
		at = to;
	}
	plan_add(plan, PIECE_PROGRAM, look->seam.at - at);
	plan_add(plan, PIECE_OURS, talk->lines_len - talk->lines_sent);
	plan_add(plan, PIECE_PROGRAM, plan->program_len - (look->seam.at - look->kept));
}

/* Walks the program's vector: `len` more bytes, appended to ours unless they are left out. */
struct source {
	const struct iovec *iov;
	size_t at; /* bytes of iov[0] already taken */
};

static size_t take_program(struct source *source, struct iovec *to, size_t len, bool leave_out)
{
	size_t n = 0;

	while (len) {
		size_t have = source->iov->iov_len - source->at;
		size_t part = SW_MIN(have, len);

		if (part && !leave_out)
			to[n++] =
				(struct iovec){(uint8_t *)source->iov->iov_base + source->at, part};
		source->at += part;
		len -= part;
		if (source->at == source->iov->iov_len) {
			source->iov++;
			source->at = 0;
		}
	}
	return n;
}

static size_t fill_vector(const struct sw_talk *talk, const struct sw_outgoing *out,
			  const struct plan *plan, struct iovec *vector)
{
	struct source source = {out->iov, 0};
	uint8_t *lines = sw_head_at(talk->lines) + TEXT_AT + talk->lines_sent;
	size_t n = 0;

	for (size_t i = 0; i < plan->count; i++) {
		const struct piece *piece = &plan->piece[i];

		if (piece->kind == PIECE_OURS)
			vector[n++] = (struct iovec){lines, piece->len};
		else
			n += take_program(&source, vector + n, piece->len,
					  piece->kind == PIECE_LEFT_OUT);
	}
	return n;
}

/* What `sent` bytes on the wire are: of the program's and of ours. */
static void translate(const struct plan *plan, size_t sent, size_t *ret_program, size_t *ret_ours)
{
	*ret_program = *ret_ours = 0;
	for (size_t i = 0; i < plan->count; i++) {
		const struct piece *piece = &plan->piece[i];
		size_t part = SW_MIN(piece->len, sent);

		if (piece->kind == PIECE_LEFT_OUT) {
			*ret_program += piece->len; /* all before it is gone */
			continue;
		}
		*(piece->kind == PIECE_OURS ? ret_ours : ret_program) += part;
		sent -= part;
		if (part < piece->len)
			return;
	}
}

/* Afterwards: our progress, and the program's bytes to the parser. */
static void account(struct sw_guest *g, int fd, const struct sw_outgoing *out, size_t program,
		    size_t ours)
{
	struct sw_talk *talk = sw_talk_hold(g, fd);

	if (talk && talk->injection == SW_INJECT_PENDING &&
	    SW_CHECK(ours <= talk->lines_len - talk->lines_sent)) {
		talk->lines_sent += (uint32_t)ours;
		talk->passed[SW_OUT] += ours;
		if (talk->lines_sent == talk->lines_len) {
			talk->injection = SW_INJECT_DONE;
			sw_count(INJECTED);
		} else {
			sw_count(INJECT_PARTIAL);
		}
	}
	if (talk)
		sw_talk_let_go(talk);
	sw_flow_bytes(g, fd, SW_OUT, out->iov, out->count, (ssize_t)program);
}

void sw_inject_failed(struct sw_guest *g, int fd)
{
	struct sw_talk *talk = sw_talk_hold(g, fd);

	if (!talk)
		return;
	if (talk->role == SW_ROLE_CLIENT && !talk->kept[SW_REQUESTS].len && !talk->lines_sent)
		sw_inject_drop(talk, true);
	sw_talk_let_go(talk);
}

/*
 * The call is over: its buffer goes back to the talk, or to the pool when the talk has ended or
 * gone deaf meanwhile. What was decided for a head of which nothing went is undone: the program may
 * send another one next.
 */
static void flight_over(struct sw_guest *g, int fd, uint32_t lines, ssize_t sent)
{
	struct sw_talk *talk = sw_talk_hold(g, fd);
	bool ours = talk && talk->injection == SW_INJECT_FLYING;

	if (ours) {
		talk->injection = SW_INJECT_PENDING;
		talk->lines = lines;
		if (sent <= 0 && !talk->kept[SW_REQUESTS].len && !talk->lines_sent)
			sw_inject_drop(talk, true);
	} else {
		sw_pool_give(&sw_pool_heads, lines - 1);
	}
	if (talk)
		sw_talk_let_go(talk);
}

static bool would_block(int fd, int flags)
{
	return (flags & MSG_DONTWAIT) || (sw_sys(fcntl, fd, F_GETFL) & O_NONBLOCK);
}

static ssize_t send_planned(struct sw_guest *g, int fd, const struct sw_outgoing *out,
			    const struct plan *plan, uint32_t lines, size_t count)
{
	struct iovec *vector = (struct iovec *)sw_head_at(lines);
	struct msghdr msg = {.msg_iov = vector, .msg_iovlen = count};
	size_t program = 0, ours = 0;
	ssize_t sent = sw_call(g, sendmsg, fd, &msg, out->flags);

	flight_over(g, fd, lines, sent);
	if (sent < 0)
		return sent;
	translate(plan, (size_t)sent, &program, &ours);
	account(g, fd, out, program, ours);
	return program || plan->program_len == 0 ? (ssize_t)program : OURS_ONLY;
}

/* Between two requests, or inside a head; bodies and server talks are none of our business. */
static bool concerns(const struct sw_talk *talk)
{
	if (talk->no_carry || talk->injection >= SW_INJECT_FLYING)
		return false;
	return talk->phase == SW_PHASE_SNIFF || talk->kept[SW_REQUESTS].len ||
	       sw_talk_parser(talk)->at_border(talk->parser_state);
}

/* Some of our lines are gone already: the rest goes first, then the program's bytes as they are. No
 * look is needed, and nothing may stop it: half a line would be taken for the program's. */
static bool half_gone(const struct sw_talk *talk)
{
	return talk->injection == SW_INJECT_PENDING && talk->lines_sent > 0;
}

/* A vector for the call, in the talk's buffer, which is the call's from now on; 0: none. */
static uint32_t prepare(struct sw_guest *g, int fd, struct sw_talk *talk,
			const struct sw_outgoing *out, struct plan *plan, size_t *ret_count)
{
	struct look look = {.gathered = 0};
	uint32_t lines = 0;

	if (half_gone(talk))
		look.kept = look.seam.at = talk->kept[SW_REQUESTS].len;
	if (half_gone(talk) ||
	    (concerns(talk) && readable(out) && wanted(g, fd, talk, out, &look))) {
		make_plan(talk, &look, out, plan);
		lines = talk->lines;
		*ret_count = fill_vector(talk, out, plan, (struct iovec *)sw_head_at(lines));
		talk->lines = 0;
		talk->injection = SW_INJECT_FLYING;
	}
	look_done(&look);
	return lines;
}

/* One attempt: looks, decides, sends. False: the program's own call is to be made. */
static bool attempt(struct sw_guest *g, int fd, const struct sw_outgoing *all, ssize_t *ret_result)
{
	struct sw_outgoing out = *all;
	struct sw_talk *talk = plausible(all) ? sw_talk_hold(g, fd) : NULL;
	struct plan plan;
	uint32_t lines = 0;
	size_t count = 0;

	if (!talk)
		return false;
	if (talk->role == SW_ROLE_CLIENT) {
		if (half_gone(talk)) /* taking a part is the kernel's right */
			out.count = SW_MIN(out.count, VECTOR_MAX - VECTOR_SPARE);
		lines = prepare(g, fd, talk, &out, &plan, &count);
	}
	sw_talk_let_go(talk);
	if (!lines)
		return false;
	*ret_result = send_planned(g, fd, &out, &plan, lines, count);
	return true;
}

/*
 * When the kernel took of our lines only, nothing of the program's went and it has to try again. On
 * a socket that does not block we try ourselves first, until a byte of the program's goes or the
 * kernel itself says EAGAIN: who waits for an edge would sleep for ever on an EAGAIN of our making.
 * On one that blocks a signal came in between, and EINTR is what the program would have seen.
 */
bool sw_inject_send(struct sw_guest *g, int fd, const struct sw_outgoing *out, ssize_t *ret_result)
{
	if (!sw_talk_calls(g, fd))
		return false;
	for (;;) {
		if (!attempt(g, fd, out, ret_result))
			return false;
		if (*ret_result != OURS_ONLY)
			return true;
		if (!would_block(fd, out->flags))
			break;
	}
	errno = EINTR;
	*ret_result = -1;
	return true;
}
