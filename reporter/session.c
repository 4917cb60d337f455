/*
 * gRPC calls over one HTTP/2 connection; see session.h.
 *
 * A batch is one call: its header block is a dozen bytes once the tables are warm, its DATA frames
 * are as large as the peer takes, and its answer is the receipt. Nothing else is kept open, so a
 * stream is as old and as long as its batch.
 */
#include "reporter/session.h"

/* The output is not filled beyond this: what waits is better kept once. */
#define OUT_FULL (64u << 10)
/* A peer that makes us answer more than this without reading is not well. */
#define OUT_MAX (1u << 20)
/* Give window back after so many bytes. */
#define RETURN_AFTER (SW_H2_WINDOW / 2)
#define BLOCK_MAX 4096

/* ---- output ---- */

static bool out_room(struct sw_session *s, size_t room, struct sw_writer *ret_writer)
{
	uint8_t *at = sw_buffer_room(&s->out, room);

	if (at)
		*ret_writer = sw_writer(at, room);
	return at;
}

static void out_add(struct sw_session *s, const struct sw_writer *writer)
{
	s->out.len += writer->len;
}

static void write_short(struct sw_session *s, enum sw_h2_kind kind, uint32_t stream, uint32_t value,
			const uint8_t *data)
{
	struct sw_writer w;

	if (!out_room(s, 64, &w))
		return;
	switch (kind) {
	case SW_H2_SETTINGS_ACK:
		sw_h2_write_settings_ack(&w);
		break;
	case SW_H2_PING_ACK:
		sw_h2_write_ping(&w, data, true);
		break;
	case SW_H2_RESET:
		sw_h2_write_reset(&w, stream, value);
		break;
	case SW_H2_GOAWAY:
		sw_h2_write_goaway(&w, stream, value);
		break;
	default:
		sw_h2_write_window_update(&w, stream, value);
		break;
	}
	out_add(s, &w);
}

void sw_session_wrote(struct sw_session *s, size_t n)
{
	sw_buffer_drop(&s->out, n);
}

static void write_preface(struct sw_session *s)
{
	static const uint32_t settings[][2] = {{SW_H2_ENABLE_PUSH, 0},
					       {SW_H2_MAX_HEADER_LIST_SIZE, sizeof(s->block)}};
	struct sw_writer w;

	if (!out_room(s, 128, &w))
		return;
	sw_write(&w, SW_BYTES(SW_H2_PREFACE));
	sw_h2_write_settings(&w, settings, SW_COUNT_OF(settings));
	out_add(s, &w);
}

void sw_session_start(struct sw_session *s, const struct sw_session_peer *peer)
{
	struct sw_buffer out = s->out;

	memset(s, 0, offsetof(struct sw_session, block));
	s->peer = *peer;
	s->out = out;
	s->out.len = 0;
	s->out.failed = false;
	sw_h2_init(&s->reader, SW_H2_SERVER, s->block, sizeof(s->block));
	sw_hpack_init(&s->in, s->in_table, sizeof(s->in_table));
	sw_hpack_init(&s->fields, s->fields_table, sizeof(s->fields_table));
	s->next_stream = 1;
	s->window = s->window_stream = SW_H2_WINDOW;
	s->frame_max = SW_H2_FRAME_MAX;
	s->streams_max = UINT32_MAX;
	write_preface(s);
}

/* ---- calls ---- */

static struct sw_call *find_call(struct sw_session *s, uint32_t stream)
{
	for (unsigned i = 0; stream && i < SW_SESSION_CALLS; i++) {
		if (s->call[i].stream == stream)
			return &s->call[i];
	}
	return NULL;
}

/* The call is free before the owner hears of it. */
static void end_call(struct sw_session *s, struct sw_call *call, const struct sw_answer *answer)
{
	struct sw_buffer reply = call->reply;
	void *owner = call->owner;

	call->stream = 0;
	call->reply = (struct sw_buffer){NULL, 0, 0, false};
	s->calls--;
	s->peer.done(s->peer.arg, owner, answer);
	sw_buffer_free(&reply);
}

/* This call alone. */
static void end_unanswered(struct sw_session *s, struct sw_call *call, enum sw_grpc_status status,
			   bool perhaps)
{
	struct sw_answer answer = {status, false, false, perhaps && call->begun, "", {NULL, 0}};

	end_call(s, call, &answer);
}

static void end_cut(struct sw_session *s, struct sw_call *call, bool perhaps)
{
	struct sw_answer answer = {SW_GRPC_UNAVAILABLE,	   false, true,
				   perhaps && call->begun, "",	  {NULL, 0}};

	end_call(s, call, &answer);
}

bool sw_session_room(const struct sw_session *s)
{
	return !s->going && s->calls < SW_MIN(SW_SESSION_CALLS, s->streams_max);
}

static void write_field(struct sw_session *s, struct sw_writer *block, const char *name,
			const char *value, enum sw_hpack_how how)
{
	sw_hpack_write(&s->fields, block, sw_bytes_text(name), sw_bytes_text(value), how);
}

/* gRPC over HTTP2, "Requests": the order is its own. */
static bool write_request(struct sw_session *s, const char *path)
{
	uint8_t memory[BLOCK_MAX];
	struct sw_writer block = sw_writer(memory, sizeof(memory)), w;

	write_field(s, &block, ":method", "POST", SW_HPACK_INDEX);
	write_field(s, &block, ":scheme", s->peer.secure ? "https" : "http", SW_HPACK_INDEX);
	write_field(s, &block, ":path", path, SW_HPACK_INDEX);
	write_field(s, &block, ":authority", s->peer.authority, SW_HPACK_INDEX);
	write_field(s, &block, "te", "trailers", SW_HPACK_INDEX);
	write_field(s, &block, "content-type", "application/grpc", SW_HPACK_INDEX);
	write_field(s, &block, "user-agent", "libswagent/" SW_VERSION, SW_HPACK_INDEX);
	if (s->peer.token[0])
		write_field(s, &block, "authentication", s->peer.token, SW_HPACK_NEVER);
	if (block.cut || !out_room(s, BLOCK_MAX + 64, &w))
		return false;
	sw_h2_write_headers(&w, s->next_stream, sw_written(&block), false, s->frame_max);
	out_add(s, &w);
	return !w.cut;
}

bool sw_session_call(struct sw_session *s, const char *path, struct sw_bytes body, void *owner,
		     uint64_t deadline_ns)
{
	struct sw_call *call;

	if (!sw_session_room(s))
		return false;
	for (call = s->call; call->stream; call++)
		;
	if (!write_request(s, path)) {
		s->going = true; /* the tables of the two sides may differ now */
		return false;
	}
	*call = (struct sw_call){.stream = s->next_stream,
				 .owner = owner,
				 .body = body,
				 .window = s->window_stream,
				 .deadline_ns = deadline_ns,
				 .status = -1};
	s->calls++;
	s->next_stream += 2;
	if (s->next_stream > SW_H2_STREAM_MAX / 2)
		s->going = true;
	return true;
}

/* ---- bodies ---- */

/* One DATA frame of this call. False: nothing may be sent of it now. */
static bool send_data(struct sw_session *s, struct sw_call *call)
{
	int64_t allowed = SW_MIN(s->window, call->window);
	size_t len = SW_MIN(call->body.len, (size_t)SW_MIN(s->frame_max, 1u << 16));
	struct sw_writer w;
	bool last;

	if (call->closed || (call->body.len && allowed <= 0))
		return false;
	len = SW_MIN(len, (size_t)SW_MIN((int64_t)len, allowed < 0 ? 0 : allowed));
	last = len == call->body.len;
	if (!out_room(s, SW_H2_FRAME_HEAD + len, &w))
		return false;
	sw_h2_write_data_head(&w, call->stream, (uint32_t)len, last);
	sw_write(&w, sw_bytes_slice(call->body, 0, len));
	out_add(s, &w);
	call->body = sw_bytes_from(call->body, len);
	call->begun = true;
	call->closed = last;
	call->window -= (int64_t)len;
	s->window -= (int64_t)len;
	return true;
}

/* Oldest first, so that one after the other is complete. */
static struct sw_call *oldest_after(struct sw_session *s, uint32_t stream)
{
	struct sw_call *oldest = NULL;

	for (unsigned i = 0; i < SW_SESSION_CALLS; i++) {
		struct sw_call *call = &s->call[i];

		if (call->stream > stream && !call->closed &&
		    (!oldest || call->stream < oldest->stream))
			oldest = call;
	}
	return oldest;
}

void sw_session_fill(struct sw_session *s)
{
	struct sw_call *call = s->calls ? oldest_after(s, 0) : NULL;

	while (call) {
		while (s->out.len < OUT_FULL && send_data(s, call))
			;
		if (s->out.len >= OUT_FULL)
			return;
		call = oldest_after(s, call->stream);
	}
}

bool sw_session_stalled(const struct sw_session *s)
{
	for (unsigned i = 0; s->calls && i < SW_SESSION_CALLS; i++) {
		if (s->call[i].stream && !s->call[i].closed)
			return true;
	}
	return false;
}

/* ---- answers ---- */

/* gRPC's "HTTP to gRPC status code mapping", for what is in between and knows no gRPC. */
static enum sw_grpc_status status_of_http(unsigned http)
{
	static const struct {
		unsigned http;
		enum sw_grpc_status status;
	} map[] = {
		{400, SW_GRPC_INTERNAL},	  {401, SW_GRPC_UNAUTHENTICATED},
		{403, SW_GRPC_PERMISSION_DENIED}, {404, SW_GRPC_UNIMPLEMENTED},
		{429, SW_GRPC_UNAVAILABLE},	  {502, SW_GRPC_UNAVAILABLE},
		{503, SW_GRPC_UNAVAILABLE},	  {504, SW_GRPC_UNAVAILABLE},
	};

	for (size_t i = 0; i < SW_COUNT_OF(map); i++) {
		if (map[i].http == http)
			return map[i].status;
	}
	return SW_GRPC_UNKNOWN;
}

/* What a reset without a status says (gRPC over HTTP2, "Errors"). */
static enum sw_grpc_status status_of_reset(uint32_t error)
{
	switch (error) {
	case SW_H2_REFUSED_STREAM:
	case SW_H2_NO_ERROR:
		return SW_GRPC_UNAVAILABLE;
	case SW_H2_CANCEL:
		return SW_GRPC_CANCELLED;
	case SW_H2_ENHANCE_YOUR_CALM:
		return SW_GRPC_RESOURCE_EXHAUSTED;
	default:
		return SW_GRPC_INTERNAL;
	}
}

/* -1: not a number of at most four digits. */
static int number(struct sw_bytes text)
{
	int n = 0;

	if (text.len == 0 || text.len > 4)
		return -1;
	for (size_t i = 0; i < text.len; i++) {
		if (text.at[i] < '0' || text.at[i] > '9')
			return -1;
		n = n * 10 + (text.at[i] - '0');
	}
	return n;
}

/* It will be printed: only what is printable in ASCII. */
static void keep_message(struct sw_call *call, struct sw_bytes text)
{
	size_t len = SW_MIN(text.len, sizeof(call->message) - 1);

	for (size_t i = 0; i < len; i++)
		call->message[i] = (char)(text.at[i] < ' ' || text.at[i] > '~' ? '?' : text.at[i]);
	call->message[len] = '\0';
}

static void take_field(struct sw_call *call, const struct sw_hpack_field *field)
{
	int n;

	if (field->cut)
		return;
	if (sw_bytes_equal(field->name, SW_BYTES(":status"))) {
		n = number(field->value);
		call->http_status = n < 0 ? 0 : (unsigned)n;
	} else if (sw_bytes_equal(field->name, SW_BYTES("grpc-status"))) {
		n = number(field->value);
		call->status = n < 0 || n >= SW_GRPC_STATUSES ? SW_GRPC_UNKNOWN : n;
	} else if (sw_bytes_equal(field->name, SW_BYTES("grpc-message"))) {
		keep_message(call, field->value);
	}
}

/* The other side has said its last. */
static void finish(struct sw_session *s, struct sw_call *call)
{
	struct sw_answer answer = {.given = true, .message = call->message};

	if (!call->reply.failed)
		answer.reply = sw_bytes(call->reply.at, call->reply.len);

	answer.status = call->status >= 0 ? (enum sw_grpc_status)call->status
					  : status_of_http(call->http_status);
	if (call->status < 0 && !call->message[0])
		keep_message(call, SW_BYTES("no gRPC status in the answer"));
	if (!call->closed) /* it needs no more of it */
		write_short(s, SW_H2_RESET, call->stream, SW_H2_CANCEL, NULL);
	end_call(s, call, &answer);
}

/* Also when nobody waits for it: the table must see every block. */
static int take_headers(struct sw_session *s, const struct sw_h2_event *event)
{
	struct sw_call *call = find_call(s, event->stream), nobody;
	struct sw_writer text = sw_writer(s->text, sizeof(s->text));
	struct sw_bytes block = event->bytes;
	struct sw_hpack_field field;
	enum sw_hpack_read got;

	while ((got = sw_hpack_read(&s->in, &block, &text, &field)) == SW_HPACK_FIELD)
		take_field(call ? call : &nobody, &field);
	if (got == SW_HPACK_BROKEN)
		return -SW_H2_COMPRESSION_ERROR;
	if (call && event->end_stream)
		finish(s, call);
	return 0;
}

static void keep_reply(struct sw_session *s, struct sw_call *call, struct sw_bytes bytes)
{
	if (!bytes.len || !s->peer.wants || !s->peer.wants(call->owner))
		return;
	if (call->reply.len + bytes.len > SW_SESSION_REPLY_MAX)
		call->reply.failed = true;
	sw_buffer_add(&call->reply, bytes);
}

static int take_data(struct sw_session *s, const struct sw_h2_event *event)
{
	struct sw_call *call = find_call(s, event->stream);

	s->unreturned += event->flow;
	if (s->unreturned >= RETURN_AFTER) {
		write_short(s, SW_H2_WINDOW_UPDATE, 0, s->unreturned, NULL);
		s->unreturned = 0;
	}
	if (call)
		keep_reply(s, call, event->bytes);
	if (call && event->end_stream)
		finish(s, call);
	return 0;
}

static int take_reset(struct sw_session *s, const struct sw_h2_event *event)
{
	struct sw_call *call = find_call(s, event->stream);

	if (call)
		end_unanswered(s, call, status_of_reset(event->value),
			       event->value != SW_H2_REFUSED_STREAM);
	return 0;
}

static int take_goaway(struct sw_session *s, const struct sw_h2_event *event)
{
	s->going = true;
	for (unsigned i = 0; i < SW_SESSION_CALLS; i++) {
		if (s->call[i].stream > event->stream)
			end_cut(s, &s->call[i], false);
	}
	return 0;
}

static bool widen(int64_t *window, int64_t by)
{
	*window += by;
	return *window <= SW_H2_WINDOW_MAX;
}

static int take_window(struct sw_session *s, const struct sw_h2_event *event)
{
	struct sw_call *call = find_call(s, event->stream);
	bool fits = true;

	if (event->stream == 0)
		fits = widen(&s->window, event->value);
	else if (call)
		fits = widen(&call->window, event->value);
	return fits ? 0 : -SW_H2_FLOW_CONTROL_ERROR;
}

/* Section 6.9.2: a new initial size moves the windows of all open streams. */
static int move_windows(struct sw_session *s, uint32_t initial)
{
	int64_t by = (int64_t)initial - s->window_stream;
	bool fits = true;

	s->window_stream = initial;
	for (unsigned i = 0; i < SW_SESSION_CALLS; i++) {
		if (s->call[i].stream)
			fits &= widen(&s->call[i].window, by);
	}
	return fits ? 0 : -SW_H2_FLOW_CONTROL_ERROR;
}

static int take_setting(struct sw_session *s, const struct sw_h2_event *event)
{
	switch (event->id) {
	case SW_H2_HEADER_TABLE_SIZE:
		sw_hpack_limit(&s->fields, event->value);
		return 0;
	case SW_H2_MAX_CONCURRENT_STREAMS:
		s->streams_max = event->value;
		return 0;
	case SW_H2_INITIAL_WINDOW_SIZE:
		return move_windows(s, event->value);
	case SW_H2_MAX_FRAME_SIZE:
		s->frame_max = event->value;
		return 0;
	default:
		return 0;
	}
}

/* A stream that we never opened (section 5.1, idle). */
static bool unheard_of(const struct sw_session *s, uint32_t stream)
{
	return stream % 2 == 0 || stream >= s->next_stream;
}

static int take_event(struct sw_session *s, const struct sw_h2_event *event)
{
	switch (event->kind) {
	case SW_H2_HEADERS:
		return unheard_of(s, event->stream) ? -SW_H2_PROTOCOL_ERROR
						    : take_headers(s, event);
	case SW_H2_DATA:
		return unheard_of(s, event->stream) ? -SW_H2_PROTOCOL_ERROR : take_data(s, event);
	case SW_H2_RESET:
		return unheard_of(s, event->stream) ? -SW_H2_PROTOCOL_ERROR : take_reset(s, event);
	case SW_H2_WINDOW_UPDATE:
		if (event->stream && unheard_of(s, event->stream))
			return -SW_H2_PROTOCOL_ERROR;
		return take_window(s, event);
	case SW_H2_SETTING:
		return take_setting(s, event);
	case SW_H2_SETTINGS_END:
		s->settled = true;
		write_short(s, SW_H2_SETTINGS_ACK, 0, 0, NULL);
		return 0;
	case SW_H2_PING:
		write_short(s, SW_H2_PING_ACK, 0, 0, event->bytes.at);
		return 0;
	case SW_H2_GOAWAY:
		return take_goaway(s, event);
	case SW_H2_PUSH_PROMISE: /* we forbade it */
		return -SW_H2_PROTOCOL_ERROR;
	default: /* acknowledgements */
		return 0;
	}
}

int sw_session_feed(struct sw_session *s, struct sw_bytes bytes)
{
	struct sw_h2_event event;
	int got;

	while ((got = sw_h2_read(&s->reader, &bytes, &event)) > 0) {
		got = take_event(s, &event);
		if (got == 0 && s->out.len > OUT_MAX)
			got = -SW_H2_ENHANCE_YOUR_CALM;
		if (got < 0)
			break;
	}
	if (got < 0)
		write_short(s, SW_H2_GOAWAY, 0, (uint32_t)-got, NULL);
	return got;
}

/* ---- ends ---- */

uint64_t sw_session_expire(struct sw_session *s, uint64_t now_ns)
{
	uint64_t next = 0;

	for (unsigned i = 0; s->calls && i < SW_SESSION_CALLS; i++) {
		struct sw_call *call = &s->call[i];

		if (!call->stream)
			continue;
		if (call->deadline_ns <= now_ns) {
			write_short(s, SW_H2_RESET, call->stream, SW_H2_CANCEL, NULL);
			end_unanswered(s, call, SW_GRPC_DEADLINE_EXCEEDED, true);
		} else if (!next || call->deadline_ns < next) {
			next = call->deadline_ns;
		}
	}
	return next;
}

/* Newest first: what comes back is put before what waits, and the oldest shall be the first. */
void sw_session_abort(struct sw_session *s)
{
	while (s->calls) {
		struct sw_call *newest = s->call;

		for (unsigned i = 1; i < SW_SESSION_CALLS; i++) {
			if (s->call[i].stream > newest->stream)
				newest = &s->call[i];
		}
		end_cut(s, newest, true);
	}
}
