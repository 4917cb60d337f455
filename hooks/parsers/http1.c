/*
 * HTTP/1.0 and HTTP/1.1: one conversation, both sides of it.
 *
 * Each side is at any moment in one phase: a head, or one of the ways in which a body passes. Only
 * heads are ever left with the caller; bodies and chunk framing are taken byte by byte without
 * being kept. One feed() takes one head or one stretch of body, never both.
 *
 * What links the sides is the queue of open requests: the length of an answer depends on the
 * method that it answers (HEAD, CONNECT), and the end of a request is worth telling only while it
 * is open. The queue is bounded; a client that pipelines more is lost.
 *
 * Invariants:
 *  - The request whose body is passing is the newest of the queue, or was answered already; so
 *    `open > 0` at the end of a request means that this one is still open.
 *  - A CONNECT is the newest of the queue until its answer: its side leaves PHASE_TUNNEL only then.
 *  - A call that returns 0 has reported nothing.
 *  - LOST and OPAQUE stay: every later call gives the same answer.
 *
 * An answer may be over before its request is; response_end comes then and request_end never. A
 * server that closes while requests are open ends each of them with response_end(false).
 */
#include "hooks/parser.h"
#include "hooks/parsers/http1_head.h"

/* SkyWalking's generic `http`; the flow may know the framework's own. */
#define COMPONENT_HTTP 49

#define OPEN_MAX 32
#define KIND_BITS 2
/* Chunk sizes and lengths stay below this, so that nothing can overflow. */
#define BODY_MAX (UINT64_C(1) << 60)
/* A chunk's extensions, and all trailers together, are counted against these. */
#define CHUNK_LINE_MAX 8192
#define TRAILERS_MAX SW_HEAD_MAX
/* Bytes of empty lines that may wait for their head; the sniffer allows no more. */
#define EMPTY_KEPT_MAX 16

enum phase {
	PHASE_HEAD, /* zero: how both sides begin */
	PHASE_LENGTH,
	PHASE_UNTIL_CLOSE,
	PHASE_TUNNEL, /* after a CONNECT, until its answer */
	PHASE_LOST,
	PHASE_OPAQUE,
	/* The rest is chunked framing; feed_chunked() takes it byte by byte. */
	PHASE_SIZE_START, /* a first digit must come */
	PHASE_SIZE,
	PHASE_SIZE_BLANK, /* blanks after the size */
	PHASE_EXTENSION,
	PHASE_SIZE_LF,
	PHASE_DATA,
	PHASE_DATA_CR,
	PHASE_DATA_LF,
	PHASE_TRAILER_START,
	PHASE_TRAILER,
	PHASE_TRAILER_LF,
	PHASE_END_LF,
	PHASE_END, /* never kept: the message is over */
};

enum kind {
	KIND_OTHER,
	KIND_HEAD,
	KIND_CONNECT,
};

struct http1 {
	uint64_t left[SW_SIDE_COUNT];	 /* of the body, or of the chunk */
	uint64_t kinds;			 /* of the open requests, the oldest in the lowest bits */
	uint32_t scanned[SW_SIDE_COUNT]; /* bytes searched in vain for a head's end; in chunks, */
					 /* bytes of the present line */
	uint8_t phase[SW_SIDE_COUNT];
	uint8_t open;	/* requests without the end of an answer */
	bool ambiguous; /* a border on the request side was found by leniency */
	bool early;	/* bytes came after a CONNECT and before its answer */
};

_Static_assert(sizeof(struct http1) <= SW_PARSER_STATE_MAX, "the pool of talks has this much");
_Static_assert(OPEN_MAX *KIND_BITS <= 64, "kinds is one word");

static ssize_t stop(struct http1 *talk, enum phase phase)
{
	talk->phase[SW_REQUESTS] = (uint8_t)phase;
	talk->phase[SW_RESPONSES] = (uint8_t)phase;
	return phase == PHASE_OPAQUE ? SW_FEED_OPAQUE : SW_FEED_LOST;
}

static void queue_push(struct http1 *talk, enum kind kind)
{
	talk->kinds |= (uint64_t)kind << (KIND_BITS * talk->open);
	talk->open++;
}

static enum kind queue_oldest(const struct http1 *talk)
{
	return (enum kind)(talk->kinds & ((1U << KIND_BITS) - 1));
}

static void answer_over(struct http1 *talk, bool whole, struct sw_sink *sink)
{
	talk->kinds >>= KIND_BITS;
	talk->open--;
	sink->response_end(sink, whole);
}

static void message_over(struct http1 *talk, enum sw_side side, struct sw_sink *sink)
{
	talk->phase[side] = PHASE_HEAD;
	talk->scanned[side] = 0;
	if (side == SW_RESPONSES)
		answer_over(talk, true, sink);
	else if (talk->open > 0)
		sink->request_end(sink);
}

static bool is_connect(const struct sw_http1_head *head)
{
	return sw_bytes_equal(head->method, SW_BYTES("CONNECT"));
}

static void describe_url(const struct sw_http1_target *target, struct sw_bytes authority,
			 struct sw_tag *tag)
{
	bool star = sw_bytes_equal(target->path, SW_BYTES("*"));

	tag->key = SW_TAG_HTTP_URL;
	if (authority.len == 0) {
		tag->part[0] = target->path;
		return;
	}
	tag->part[0] = target->scheme.len ? target->scheme : SW_BYTES("http://");
	tag->part[1] = authority;
	/* RFC 9112 3.3: the URL of an asterisk-form has no path. */
	if (!star)
		tag->part[2] = target->path;
}

/* Only for heads that were read: their target is known to be of one of the four forms. */
static void describe(const struct sw_http1_head *head, struct sw_request *ret_request)
{
	struct sw_http1_target target = {.path = SW_BYTES("/")};

	(void)sw_http1_head_target(head->method, head->target, &target);
	*ret_request = (struct sw_request){
		.layer = SW_LAYER_HTTP,
		.method = head->method,
		.operation = target.path.len ? target.path : target.authority,
		.peer = target.authority.len ? target.authority
					     : sw_http1_head_without_user(head->host),
		.params = target.query,
		.tag_count = 2,
		.tag = {{.key = SW_TAG_HTTP_METHOD, .part = {head->method}}},
	};
	describe_url(&target, ret_request->peer, &ret_request->tag[1]);
	if (head->carrier.value.len)
		ret_request->carrier = head->carrier.value;
	if (head->correlation.count)
		ret_request->correlation = head->correlation.value;
}

/* Enters the body that a head announced; one of no bytes is over at once. */
static void begin_body(struct http1 *talk, enum sw_side side, const struct sw_http1_head *head,
		       struct sw_sink *sink)
{
	talk->left[side] = head->length;
	if (head->framing == SW_HTTP1_CHUNKED)
		talk->phase[side] = PHASE_SIZE_START;
	else if (head->framing == SW_HTTP1_UNFRAMED && side == SW_RESPONSES)
		talk->phase[side] = PHASE_UNTIL_CLOSE;
	else if (head->length > 0)
		talk->phase[side] = PHASE_LENGTH;
	else
		message_over(talk, side, sink);
}

static enum kind kind_of(const struct sw_http1_head *head)
{
	if (is_connect(head))
		return KIND_CONNECT;
	return sw_bytes_equal(head->method, SW_BYTES("HEAD")) ? KIND_HEAD : KIND_OTHER;
}

/* A body of CONNECT has no meaning that two servers agree on. */
static bool read_request(struct sw_bytes bytes, struct sw_http1_head *ret_head)
{
	return sw_http1_head_read(bytes, SW_REQUESTS, ret_head) &&
	       !(is_connect(ret_head) &&
		 (ret_head->framing == SW_HTTP1_CHUNKED || ret_head->length > 0));
}

static bool is_ambiguous(const struct sw_http1_head *head)
{
	return head->bare || head->length_count > 1;
}

/* On its own so that a request and the reading of a head are never on the stack together. */
__attribute__((noinline)) static void tell_request(const struct sw_http1_head *head,
						   struct sw_sink *sink)
{
	struct sw_request request;

	describe(head, &request);
	sink->request(sink, &request);
}

static ssize_t take_request(struct http1 *talk, struct sw_bytes bytes, struct sw_sink *sink)
{
	struct sw_http1_head head;

	if (talk->open == OPEN_MAX || !read_request(bytes, &head))
		return stop(talk, PHASE_LOST);
	tell_request(&head, sink);
	queue_push(talk, kind_of(&head));
	talk->ambiguous |= is_ambiguous(&head);
	begin_body(talk, SW_REQUESTS, &head, sink);
	if (is_connect(&head))
		talk->phase[SW_REQUESTS] = PHASE_TUNNEL;
	return (ssize_t)bytes.len;
}

/* The client speaks HTTP again, unless it spoke something else before it knew. */
static void refuse_tunnel(struct http1 *talk)
{
	if (talk->phase[SW_REQUESTS] == PHASE_TUNNEL)
		talk->phase[SW_REQUESTS] = talk->early ? PHASE_LOST : PHASE_HEAD;
}

static ssize_t take_response(struct http1 *talk, struct sw_bytes bytes, struct sw_sink *sink)
{
	enum kind kind = queue_oldest(talk);
	struct sw_http1_head head;
	bool opaque;

	if (talk->open == 0 || !sw_http1_head_read(bytes, SW_RESPONSES, &head))
		return stop(talk, PHASE_LOST);
	opaque = head.status == 101 || (kind == KIND_CONNECT && head.status / 100 == 2);
	if (head.status < 200 && !opaque)
		return (ssize_t)bytes.len;
	sink->response(sink, &(struct sw_response){head.status, head.status >= 400});
	if (opaque) {
		answer_over(talk, true, sink);
		return stop(talk, PHASE_OPAQUE);
	}
	if (kind == KIND_CONNECT)
		refuse_tunnel(talk);
	if (kind == KIND_HEAD || head.status == 204 || head.status == 304)
		message_over(talk, SW_RESPONSES, sink);
	else
		begin_body(talk, SW_RESPONSES, &head, sink);
	return (ssize_t)bytes.len;
}

/* RFC 9112 2.2: empty lines before a request are passed over. */
static size_t empty_lines(struct sw_bytes bytes)
{
	size_t len = 0;

	while (len + 1 < bytes.len && bytes.at[len] == '\r' && bytes.at[len + 1] == '\n')
		len += 2;
	return len;
}

static ssize_t need_more(struct http1 *talk, enum sw_side side, struct sw_bytes bytes)
{
	talk->scanned[side] = (uint32_t)bytes.len;
	return 0;
}

static ssize_t feed_head(struct http1 *talk, enum sw_side side, struct sw_bytes bytes,
			 struct sw_sink *sink)
{
	size_t before = talk->scanned[side];
	size_t len;

	if (!sw_http1_head_plausible(bytes, side))
		return stop(talk, PHASE_LOST);
	len = sw_http1_head_end(bytes, before);
	if (len > SW_HEAD_MAX || (len == 0 && bytes.len >= SW_HEAD_MAX))
		return stop(talk, PHASE_LOST);
	if (len == 0)
		return need_more(talk, side, bytes);
	talk->scanned[side] = 0;
	bytes = sw_bytes_slice(bytes, 0, len);
	return side == SW_REQUESTS ? take_request(talk, bytes, sink)
				   : take_response(talk, bytes, sink);
}

/*
 * A few empty lines go together with the head behind them: while the parser was still being
 * chosen the caller may have kept them with the beginning of that head, and it expects to be
 * taken more than it kept. None are kept alone, and more than a few are not kept at all.
 */
static ssize_t feed_request_head(struct http1 *talk, struct sw_bytes bytes, struct sw_sink *sink)
{
	size_t empty = empty_lines(bytes);
	struct sw_bytes rest = sw_bytes_from(bytes, empty);
	ssize_t took;

	talk->ambiguous |= empty > 0;
	if (empty && (rest.len == 0 || empty > EMPTY_KEPT_MAX)) {
		talk->scanned[SW_REQUESTS] = 0;
		return (ssize_t)empty;
	}
	if (sw_bytes_equal(rest, SW_BYTES("\r")))
		return need_more(talk, SW_REQUESTS, bytes);
	talk->scanned[SW_REQUESTS] -= (uint32_t)SW_MIN(empty, talk->scanned[SW_REQUESTS]);
	took = feed_head(talk, SW_REQUESTS, rest, sink);
	if (took == 0)
		return need_more(talk, SW_REQUESTS, bytes);
	return took < 0 ? took : took + (ssize_t)empty;
}

static ssize_t feed_length(struct http1 *talk, enum sw_side side, size_t len, struct sw_sink *sink)
{
	size_t taken = SW_MIN(talk->left[side], len);

	talk->left[side] -= taken;
	if (talk->left[side] == 0)
		message_over(talk, side, sink);
	return (ssize_t)taken;
}

static int hex_value(uint8_t c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c = sw_lower(c);
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static enum phase size_ended(uint8_t c)
{
	switch (c) {
	case '\r':
		return PHASE_SIZE_LF;
	case ';':
		return PHASE_EXTENSION;
	case ' ':
	case '\t':
		return PHASE_SIZE_BLANK;
	default:
		return PHASE_LOST;
	}
}

static enum phase size_digit(uint64_t *left, uint8_t c)
{
	int digit = hex_value(c);

	if (digit < 0)
		return size_ended(c);
	*left = *left * 16 + (uint64_t)digit;
	return *left < BODY_MAX ? PHASE_SIZE : PHASE_LOST;
}

/* Text up to a CR. NUL or LF in it could end the line for another reader. */
static enum phase line_byte(uint8_t c, enum phase same, enum phase after_cr)
{
	if (c == '\r')
		return after_cr;
	return c == '\n' || c == 0 ? PHASE_LOST : same;
}

static enum phase trailer_start(uint8_t c)
{
	if (c == ' ' || c == '\t' || c == ':')
		return PHASE_LOST;
	return line_byte(c, PHASE_TRAILER, PHASE_END_LF);
}

static enum phase expect(uint8_t c, uint8_t wanted, enum phase next)
{
	return c == wanted ? next : PHASE_LOST;
}

/* The phase after one byte of chunked framing; never called for the data itself. */
static enum phase chunk_step(enum phase phase, uint64_t *left, uint8_t c)
{
	switch (phase) {
	case PHASE_SIZE_START:
		*left = 0;
		return hex_value(c) < 0 ? PHASE_LOST : size_digit(left, c);
	case PHASE_SIZE:
		return size_digit(left, c);
	case PHASE_SIZE_BLANK:
		return size_ended(c);
	case PHASE_EXTENSION:
		return line_byte(c, PHASE_EXTENSION, PHASE_SIZE_LF);
	case PHASE_SIZE_LF:
		return expect(c, '\n', *left ? PHASE_DATA : PHASE_TRAILER_START);
	case PHASE_DATA_CR:
		return expect(c, '\r', PHASE_DATA_LF);
	case PHASE_DATA_LF:
		return expect(c, '\n', PHASE_SIZE_START);
	case PHASE_TRAILER_START:
		return trailer_start(c);
	case PHASE_TRAILER:
		return line_byte(c, PHASE_TRAILER, PHASE_TRAILER_LF);
	case PHASE_TRAILER_LF:
		return expect(c, '\n', PHASE_TRAILER_START);
	case PHASE_END_LF:
		return expect(c, '\n', PHASE_END);
	default:
		return PHASE_LOST;
	}
}

/* Data of a chunk, as much as there is of it. */
static size_t chunk_data(struct http1 *talk, enum sw_side side, uint64_t count)
{
	uint64_t taken = SW_MIN(talk->left[side], count);

	talk->left[side] -= taken;
	if (talk->left[side] == 0)
		talk->phase[side] = PHASE_DATA_CR;
	return (size_t)taken;
}

/* Counts the bytes of the present chunk line, or of the trailers; false when there are too many. */
static bool chunk_line_fits(struct http1 *talk, enum sw_side side, enum phase phase)
{
	if (phase == PHASE_SIZE_START || phase == PHASE_DATA)
		talk->scanned[side] = 0;
	else
		talk->scanned[side]++;
	return talk->scanned[side] <=
	       (phase >= PHASE_TRAILER_START ? TRAILERS_MAX : CHUNK_LINE_MAX);
}

static ssize_t feed_chunked(struct http1 *talk, enum sw_side side, struct sw_bytes bytes,
			    struct sw_sink *sink)
{
	size_t at = 0;
	enum phase phase;

	while (at < bytes.len) {
		phase = (enum phase)talk->phase[side];
		if (phase == PHASE_DATA) {
			at += chunk_data(talk, side, bytes.len - at);
			continue;
		}
		phase = chunk_step(phase, &talk->left[side], bytes.at[at++]);
		if (phase == PHASE_LOST || !chunk_line_fits(talk, side, phase))
			return stop(talk, PHASE_LOST);
		talk->phase[side] = (uint8_t)phase;
		if (phase == PHASE_END) {
			message_over(talk, side, sink);
			break;
		}
	}
	return (ssize_t)at;
}

static ssize_t http1_feed(void *state, enum sw_side side, struct sw_bytes bytes,
			  struct sw_sink *sink)
{
	struct http1 *talk = state;

	switch (talk->phase[side]) {
	case PHASE_HEAD:
		return side == SW_REQUESTS ? feed_request_head(talk, bytes, sink)
					   : feed_head(talk, side, bytes, sink);
	case PHASE_LENGTH:
		return feed_length(talk, side, bytes.len, sink);
	case PHASE_UNTIL_CLOSE:
		return (ssize_t)bytes.len;
	case PHASE_TUNNEL:
		talk->early = true;
		return (ssize_t)bytes.len;
	case PHASE_LOST:
		return SW_FEED_LOST;
	case PHASE_OPAQUE:
		return SW_FEED_OPAQUE;
	default:
		return feed_chunked(talk, side, bytes, sink);
	}
}

static bool http1_skip(void *state, enum sw_side side, uint64_t count, struct sw_sink *sink)
{
	struct http1 *talk = state;
	uint8_t phase = talk->phase[side];

	if (count == 0 || phase == PHASE_UNTIL_CLOSE)
		return true;
	/* Bytes beyond the body would be a head or framing, and those must be read. */
	if ((phase != PHASE_LENGTH && phase != PHASE_DATA) || count > talk->left[side]) {
		stop(talk, PHASE_LOST);
		return false;
	}
	if (phase == PHASE_DATA) {
		(void)chunk_data(talk, side, count);
		return true;
	}
	talk->left[side] -= count;
	if (talk->left[side] == 0)
		message_over(talk, side, sink);
	return true;
}

static void http1_finish(void *state, enum sw_side side, struct sw_sink *sink)
{
	struct http1 *talk = state;
	uint8_t phase = talk->phase[side];

	if (phase == PHASE_LOST || phase == PHASE_OPAQUE)
		return;
	talk->phase[side] = PHASE_LOST;
	if (side == SW_REQUESTS)
		return;
	/* Nobody is left to answer; whatever is asked from here on is not worth reading. */
	talk->phase[SW_REQUESTS] = PHASE_LOST;
	if (phase == PHASE_UNTIL_CLOSE)
		answer_over(talk, true, sink);
	while (talk->open > 0)
		answer_over(talk, false, sink);
}

static bool http1_at_border(const void *state)
{
	const struct http1 *talk = state;

	return talk->phase[SW_REQUESTS] == PHASE_HEAD && talk->scanned[SW_REQUESTS] == 0;
}

static void had_line(const struct sw_http1_field *field, struct sw_seam *seam)
{
	if (field->count == 0)
		return;
	seam->had[seam->had_count].from = field->from;
	seam->had[seam->had_count].to = field->to;
	seam->had_count++;
}

static void describe_seam(const struct sw_http1_head *head, size_t len, struct sw_seam *ret_seam)
{
	*ret_seam = (struct sw_seam){.at = len - 2, .head_len = len};
	/* Which of several lines counts is for their reader to say; we could not replace them. */
	if (head->carrier.count > 1 || head->correlation.count > 1)
		return;
	if (head->carrier.from < head->correlation.from) {
		had_line(&head->carrier, ret_seam);
		had_line(&head->correlation, ret_seam);
	} else {
		had_line(&head->correlation, ret_seam);
		had_line(&head->carrier, ret_seam);
	}
}

/* May anything ever be added to what this side sends? */
static bool is_closed_to_us(const struct http1 *talk)
{
	uint8_t phase = talk->phase[SW_REQUESTS];

	return phase == PHASE_LOST || phase == PHASE_OPAQUE || talk->ambiguous ||
	       talk->open == OPEN_MAX;
}

/*
 * The phase says whether `head` begins at a border; `scanned` does not matter here, since a head
 * that went out in pieces is put together again by the caller. A head that begins with an empty
 * line begins with CR, which is no token and hence implausible.
 * A correlation without a carrier is told in `had` also on YES, so that no head gets two.
 */
static enum sw_carry http1_carry(const void *state, struct sw_bytes head,
				 struct sw_request *ret_request, struct sw_seam *ret_seam)
{
	const struct http1 *talk = state;
	struct sw_http1_head found;
	size_t len;

	if (is_closed_to_us(talk))
		return SW_CARRY_NO;
	if (talk->phase[SW_REQUESTS] != PHASE_HEAD || head.len == 0)
		return SW_CARRY_MORE;
	if (!sw_http1_head_plausible(head, SW_REQUESTS))
		return SW_CARRY_NO;
	len = sw_http1_head_end(head, 0);
	if (len > SW_HEAD_MAX || (len == 0 && head.len >= SW_HEAD_MAX))
		return SW_CARRY_NO;
	if (len == 0)
		return SW_CARRY_MORE;
	if (!read_request(sw_bytes_slice(head, 0, len), &found) || is_ambiguous(&found) ||
	    is_connect(&found))
		return SW_CARRY_NO;
	describe(&found, ret_request);
	describe_seam(&found, len, ret_seam);
	return found.carrier.count ? SW_CARRY_TAKEN : SW_CARRY_YES;
}

static enum sw_sniff http1_sniff(struct sw_bytes first)
{
	return sw_http1_head_sniff(first);
}

const struct sw_parser sw_parser_http1 = {
	.name = "http1",
	.entry_component = COMPONENT_HTTP,
	.exit_component = COMPONENT_HTTP,
	.state_size = sizeof(struct http1),
	.sniff = http1_sniff,
	.feed = http1_feed,
	.skip = http1_skip,
	.finish = http1_finish,
	.carry = http1_carry,
	.at_border = http1_at_border,
};
