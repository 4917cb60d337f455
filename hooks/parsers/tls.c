/*
 * TLS: whether its handshake succeeds, as far as that can be told without a key; nothing after it.
 *
 * What is read is the header of each record (RFC 8446, 5.1; RFC 5246, 6.2.1), the two hellos, which
 * are never encrypted, and alerts as long as they are not.
 *
 * TLS 1.2 and before: it is over when both sides have sent ChangeCipherSpec and a handshake record
 * after it, which is Finished. A fatal alert before that is its failure.
 *
 * TLS 1.3: all that comes after the ServerHello looks like data, so lengths tell. An alert is a
 * record of 19 bytes, two of them its own; no handshake message is that short. A client without a
 * certificate answers the server's flight with one message, Finished, which has as many bytes as
 * the hash of the cipher suite; it sends that when it is content with the server, and nothing can
 * go wrong then but the arithmetic. An answer that begins with another length is a certificate, or
 * padded: whether the server takes it shows in what it sends next. A lone alert-sized record may
 * still be two bytes of data, so it is believed when nothing follows but the end; unless the client
 * has sent one, too: then both may only have said goodbye.
 *
 * Where the bytes leave a doubt (early data, records of unknown types, an order that no handshake
 * has) the outcome is UNKNOWN. The other end of a tunnel sees the same bytes and says the same.
 *
 * Invariants:
 *  - Every handshake that BEGINS has at most one outcome, and after it OPAQUE stays.
 *  - Nothing is left with the caller: each byte is taken as it comes.
 */
#include "hooks/parser.h"

#define HEADER_LEN 5
/* RFC 5246, 6.2.3; that of TLS 1.3 is less. */
#define RECORD_MAX (16384 + 2048)
/* Records of the client's while the server has not said whether it takes its certificate. */
#define LATER_MAX 32

/* What a record under the keys of TLS 1.3 has besides: its type, and 16 bytes of tag in these
 * suites (RFC 8446, B.4). With the shorter tag of CCM_8 a whole message is as short as an alert. */
#define SEAL_LEN (1 + 16)
#define SEALED_ALERT_LEN (2 + SEAL_LEN)
#define SUITE_FIRST 0x1301
#define SUITE_LAST 0x1304

enum type {
	TYPE_CHANGE_CIPHER_SPEC = 20,
	TYPE_ALERT = 21,
	TYPE_HANDSHAKE = 22,
	TYPE_DATA = 23,
};

enum message { MESSAGE_CLIENT_HELLO = 1, MESSAGE_SERVER_HELLO = 2 };

enum extension { EXTENSION_EARLY_DATA = 42, EXTENSION_VERSIONS = 43 };

#define ALERT_FATAL 2
#define VERSION_MAJOR 3
#define VERSION_13 0x0304

enum phase {
	PHASE_CLIENT_HELLO, /* zero: how it begins */
	PHASE_SERVER_HELLO,
	PHASE_OLD,     /* TLS 1.2 and before */
	PHASE_NEW,     /* TLS 1.3, until the client answers the server's flight */
	PHASE_VERDICT, /* ... until the server says whether it takes a certificate */
	PHASE_REFUSED, /* ... it seems not, if nothing else comes */
	PHASE_OVER,
};

/* Where in a hello: what the number is that is being read. */
enum step {
	STEP_TYPE,
	STEP_LENGTH,
	STEP_SESSION,
	STEP_SUITE,
	STEP_CIPHERS,
	STEP_COMPRESSIONS,
	STEP_EXTENSIONS,
	STEP_EXTENSION,
	STEP_EXTENSION_LENGTH,
	STEP_VERSION,
	STEP_DONE,
	STEP_BAD,
};

struct hello {
	uint32_t number; /* of which `digits` bytes have come */
	uint32_t left;	 /* bytes of the message that are to come */
	uint32_t skip;	 /* of these, that are passed over */
	uint16_t extension, version, suite;
	uint8_t step; /* enum step */
	uint8_t digits, type;
	bool early; /* has the extension early_data */
};

struct record {
	uint8_t type;
	uint8_t have;	  /* bytes of the header that have come */
	uint16_t len, at; /* of the body; `at` of it have come */
	uint8_t first;	  /* byte of the body */
};

struct tls {
	struct record record[SW_SIDE_COUNT];
	struct hello hello;
	uint8_t phase;		      /* enum phase */
	uint8_t later;		      /* records since the client's answer */
	bool began;		      /* it was told of */
	bool goes;		      /* the client's last words, perhaps, after its answer */
	bool sealed[SW_SIDE_COUNT];   /* has sent ChangeCipherSpec; TLS 1.2 */
	bool finished[SW_SIDE_COUNT]; /* and Finished */
	bool flight;		      /* a first sealed record of the server's came; TLS 1.3 */
};

_Static_assert(sizeof(struct tls) <= SW_PARSER_STATE_MAX, "the pool of talks has this much");

static void over(struct tls *talk, enum sw_handshake outcome, struct sw_sink *sink)
{
	if (talk->phase != PHASE_OVER && talk->began)
		sink->handshake(sink, outcome);
	talk->phase = PHASE_OVER;
}

static void doubt(struct tls *talk, struct sw_sink *sink)
{
	over(talk, SW_HANDSHAKE_UNKNOWN, sink);
}

/* ---- hellos ---- */

static const uint8_t digits_of[] = {
	[STEP_TYPE] = 1,       [STEP_LENGTH] = 3,    [STEP_SESSION] = 1,
	[STEP_SUITE] = 2,      [STEP_CIPHERS] = 2,   [STEP_COMPRESSIONS] = 1,
	[STEP_EXTENSIONS] = 2, [STEP_EXTENSION] = 2, [STEP_EXTENSION_LENGTH] = 2,
	[STEP_VERSION] = 2,
};

static void pass(struct hello *hello, uint32_t count, enum step next)
{
	hello->skip = count;
	hello->step = (uint8_t)(count <= hello->left ? next : STEP_BAD);
}

static void extension(struct hello *hello, uint32_t len)
{
	hello->early |= hello->extension == EXTENSION_EARLY_DATA;
	if (hello->extension == EXTENSION_VERSIONS && hello->type == MESSAGE_SERVER_HELLO &&
	    len == 2)
		pass(hello, 0, STEP_VERSION);
	else
		pass(hello, len, STEP_EXTENSION);
}

/* A number is complete. */
static void step_on(struct hello *hello, uint32_t number)
{
	switch ((enum step)hello->step) {
	case STEP_TYPE:
		hello->type = (uint8_t)number;
		hello->step = STEP_LENGTH;
		break;
	case STEP_LENGTH:
		hello->left = number;
		pass(hello, 2 + 32, STEP_SESSION); /* version and random */
		break;
	case STEP_SESSION:
		pass(hello, number,
		     hello->type == MESSAGE_CLIENT_HELLO ? STEP_CIPHERS : STEP_SUITE);
		break;
	case STEP_SUITE:
		hello->suite = (uint16_t)number;
		pass(hello, 1, STEP_EXTENSIONS); /* compression */
		break;
	case STEP_CIPHERS:
		pass(hello, number, STEP_COMPRESSIONS);
		break;
	case STEP_COMPRESSIONS:
		pass(hello, number, STEP_EXTENSIONS);
		break;
	case STEP_EXTENSIONS:
		pass(hello, 0, STEP_EXTENSION);
		break;
	case STEP_EXTENSION:
		hello->extension = (uint16_t)number;
		hello->step = STEP_EXTENSION_LENGTH;
		break;
	case STEP_EXTENSION_LENGTH:
		extension(hello, number);
		break;
	case STEP_VERSION:
		hello->version = (uint16_t)number;
		hello->step = STEP_EXTENSION;
		break;
	case STEP_DONE:
	case STEP_BAD:
		break;
	}
}

static size_t hello_skip(struct hello *hello, size_t len)
{
	uint32_t count = (uint32_t)SW_MIN(len, hello->skip);

	hello->skip -= count;
	hello->left -= count;
	return count;
}

static void hello_digit(struct hello *hello, uint8_t byte)
{
	uint32_t number = hello->number << 8 | byte;

	if (hello->step > STEP_LENGTH)
		hello->left--;
	hello->number = number;
	if (++hello->digits < digits_of[hello->step])
		return;
	hello->number = hello->digits = 0;
	step_on(hello, number);
}

/* A message may end after its compression (no extensions), and after an extension. */
static bool hello_at_end(const struct hello *hello)
{
	return hello->step > STEP_LENGTH && hello->left == 0;
}

/* How many bytes belonged to the message. */
static size_t hello_read(struct hello *hello, struct sw_bytes bytes)
{
	size_t at = 0;

	while (at < bytes.len && hello->step < STEP_DONE) {
		if (hello->skip)
			at += hello_skip(hello, bytes.len - at);
		else
			hello_digit(hello, bytes.at[at++]);
		if (hello->step < STEP_DONE && hello_at_end(hello))
			hello->step =
				(hello->step == STEP_EXTENSIONS || hello->step == STEP_EXTENSION) &&
						!hello->digits
					? STEP_DONE
					: STEP_BAD;
	}
	return at;
}

static void client_said_hello(struct tls *talk, struct sw_sink *sink)
{
	if (talk->hello.early) { /* it cannot be told from the client's answer */
		doubt(talk, sink);
		return;
	}
	talk->hello = (struct hello){.step = STEP_TYPE};
	talk->phase = PHASE_SERVER_HELLO;
}

static void server_said_hello(struct tls *talk, struct sw_sink *sink)
{
	const struct hello *hello = &talk->hello;

	if (!hello->version)
		talk->phase = PHASE_OLD;
	else if (hello->version == VERSION_13 && hello->suite >= SUITE_FIRST &&
		 hello->suite <= SUITE_LAST)
		talk->phase = PHASE_NEW;
	else /* a draft, what comes after 1.3, a suite with lengths of its own */
		doubt(talk, sink);
}

static void hello_over(struct tls *talk, struct sw_sink *sink)
{
	if (talk->phase == PHASE_CLIENT_HELLO)
		client_said_hello(talk, sink);
	else
		server_said_hello(talk, sink);
}

/* A piece of a handshake record, of which `rest` bytes were to come, while a hello is expected. */
static void read_hello(struct tls *talk, struct sw_bytes bytes, size_t rest, struct sw_sink *sink)
{
	struct hello *hello = &talk->hello;
	bool clients = talk->phase == PHASE_CLIENT_HELLO;
	size_t took = hello_read(hello, bytes);

	if (hello->step == STEP_TYPE)
		return;
	if (hello->type != (clients ? MESSAGE_CLIENT_HELLO : MESSAGE_SERVER_HELLO)) {
		doubt(talk, sink);
		return;
	}
	if (!talk->began)
		sink->handshake(sink, SW_HANDSHAKE_BEGINS);
	talk->began = true;
	if (hello->step == STEP_BAD || (hello->step == STEP_DONE && clients && took < rest))
		doubt(talk, sink); /* nothing may follow the client's */
	else if (hello->step == STEP_DONE)
		hello_over(talk, sink);
}

static bool hello_is_due(const struct tls *talk, enum sw_side side)
{
	return talk->phase == (side == SW_REQUESTS ? PHASE_CLIENT_HELLO : PHASE_SERVER_HELLO);
}

/* ---- records ---- */

static void old_record(struct tls *talk, enum sw_side side, enum type type, struct sw_sink *sink)
{
	if (type == TYPE_CHANGE_CIPHER_SPEC)
		talk->sealed[side] = true;
	else if (type == TYPE_HANDSHAKE)
		talk->finished[side] |= talk->sealed[side];
	else if (!talk->finished[side]) /* data; a client may send some before the server is done */
		doubt(talk, sink);
	if (talk->finished[SW_REQUESTS] && talk->finished[SW_RESPONSES])
		over(talk, SW_HANDSHAKE_DONE, sink);
}

/* Finished alone, by the lengths of SHA-256 and SHA-384. */
static bool is_finished(uint16_t len)
{
	return len == 4 + 32 + SEAL_LEN || len == 4 + 48 + SEAL_LEN;
}

/* The first sealed record of the client's. */
static void client_answered(struct tls *talk, uint16_t len, struct sw_sink *sink)
{
	if (!talk->flight)
		doubt(talk, sink);
	else if (len == SEALED_ALERT_LEN)
		over(talk, SW_HANDSHAKE_FAILED, sink);
	else if (is_finished(len)) {
		over(talk, SW_HANDSHAKE_DONE, sink);
	} else {
		talk->phase = PHASE_VERDICT;
		sink->handshake(sink, SW_HANDSHAKE_ANSWERED);
	}
}

/* What is not sealed is a second hello of each side, or ChangeCipherSpec, which means nothing. */
static void new_record(struct tls *talk, enum sw_side side, enum type type, uint16_t len,
		       struct sw_sink *sink)
{
	if (type == TYPE_CHANGE_CIPHER_SPEC)
		return;
	if (type == TYPE_HANDSHAKE && talk->flight)
		doubt(talk, sink);
	if (type != TYPE_DATA)
		return;
	if (side == SW_REQUESTS)
		client_answered(talk, len, sink);
	else if (!talk->flight && len == SEALED_ALERT_LEN)
		over(talk, SW_HANDSHAKE_FAILED, sink);
	else
		talk->flight = true;
}

static void later_record(struct tls *talk, enum sw_side side, enum type type, uint16_t len,
			 struct sw_sink *sink)
{
	if (type != TYPE_DATA || (side == SW_REQUESTS && ++talk->later == LATER_MAX))
		doubt(talk, sink);
	else if (side == SW_REQUESTS)
		talk->goes |= len == SEALED_ALERT_LEN;
	else if (talk->phase == PHASE_VERDICT && len == SEALED_ALERT_LEN)
		talk->phase = PHASE_REFUSED;
	else
		over(talk, SW_HANDSHAKE_DONE, sink);
}

/* Once sealed, the level is not to be read; before, a warning is no end. */
static void alert(struct tls *talk, enum sw_side side, const struct record *record,
		  struct sw_sink *sink)
{
	bool sealed = talk->phase == PHASE_OLD && talk->sealed[side];

	if (!sealed && record->len != 2)
		doubt(talk, sink);
	else if (sealed || record->first == ALERT_FATAL)
		over(talk, SW_HANDSHAKE_FAILED, sink);
}

static void record_over(struct tls *talk, enum sw_side side, struct sw_sink *sink)
{
	struct record record = talk->record[side];

	talk->record[side] = (struct record){.have = 0};
	if (record.type == TYPE_ALERT)
		alert(talk, side, &record, sink);
	else if (talk->phase == PHASE_OLD)
		old_record(talk, side, record.type, sink);
	else if (talk->phase == PHASE_NEW)
		new_record(talk, side, record.type, record.len, sink);
	else if (talk->phase == PHASE_VERDICT || talk->phase == PHASE_REFUSED)
		later_record(talk, side, record.type, record.len, sink);
}

static bool plausible(const struct tls *talk, enum sw_side side)
{
	const struct record *record = &talk->record[side];

	if (record->type < TYPE_CHANGE_CIPHER_SPEC || record->type > TYPE_DATA ||
	    record->len > RECORD_MAX || (!record->len && record->type != TYPE_DATA))
		return false;
	/* until both hellos are there each side sends its own and alerts, and nothing else */
	if (talk->phase <= PHASE_SERVER_HELLO && record->type != TYPE_ALERT)
		return record->type == TYPE_HANDSHAKE && hello_is_due(talk, side);
	return true;
}

/* One more byte of a header. False: this is no record. */
static bool header(struct tls *talk, enum sw_side side, uint8_t byte)
{
	struct record *record = &talk->record[side];

	switch (record->have++) {
	case 0:
		record->type = byte;
		return true;
	case 1:
		return byte == VERSION_MAJOR;
	case 2:
		return true;
	default:
		record->len = (uint16_t)(record->len << 8 | byte);
		return record->have < HEADER_LEN || plausible(talk, side);
	}
}

static size_t body(struct tls *talk, enum sw_side side, struct sw_bytes bytes, struct sw_sink *sink)
{
	struct record *record = &talk->record[side];
	uint16_t count = (uint16_t)SW_MIN(bytes.len, (size_t)(record->len - record->at));

	if (!record->at && count)
		record->first = bytes.at[0];
	if (record->type == TYPE_HANDSHAKE && hello_is_due(talk, side))
		read_hello(talk, sw_bytes_slice(bytes, 0, count), record->len - record->at, sink);
	record->at += count;
	return count;
}

static ssize_t tls_feed(void *state, enum sw_side side, struct sw_bytes bytes, struct sw_sink *sink)
{
	struct tls *talk = state;
	const struct record *record = &talk->record[side];
	size_t at = 0;

	while (at < bytes.len && talk->phase != PHASE_OVER) {
		if (record->have == HEADER_LEN)
			at += body(talk, side, sw_bytes_from(bytes, at), sink);
		else if (!header(talk, side, bytes.at[at++]))
			doubt(talk, sink);
		if (record->have == HEADER_LEN && record->at == record->len)
			record_over(talk, side, sink);
	}
	return talk->phase == PHASE_OVER ? SW_FEED_OPAQUE : (ssize_t)bytes.len;
}

static bool tls_skip(void *state, enum sw_side side, uint64_t count, struct sw_sink *sink)
{
	struct tls *talk = state;

	(void)side;
	(void)count;
	doubt(talk, sink);
	return false;
}

static void tls_finish(void *state, enum sw_side side, struct sw_sink *sink)
{
	struct tls *talk = state;

	if (talk->phase == PHASE_OLD && talk->finished[side])
		return; /* it has said all that it had to */
	if (talk->phase == PHASE_VERDICT || (talk->phase == PHASE_REFUSED && talk->goes))
		doubt(talk, sink);
	else
		over(talk, SW_HANDSHAKE_CUT, sink);
}

/* The second byte is the version's; who begins otherwise speaks SSL 2, or something else. */
static enum sw_sniff tls_sniff(struct sw_bytes first)
{
	if (first.at[0] != TYPE_HANDSHAKE || (first.len > 1 && first.at[1] != VERSION_MAJOR))
		return SW_SNIFF_NO;
	return first.len > 1 ? SW_SNIFF_YES : SW_SNIFF_MORE;
}

/* No head will ever be complete: nothing is said of lines that were not to be here. */
static enum sw_carry tls_carry(const void *state, struct sw_bytes head,
			       struct sw_request *ret_request, struct sw_seam *ret_seam)
{
	(void)state;
	(void)head;
	(void)ret_request;
	(void)ret_seam;
	return SW_CARRY_MORE;
}

static bool tls_at_border(const void *state)
{
	(void)state;
	return false;
}

const struct sw_parser sw_parser_tls = {
	.name = "tls",
	.state_size = sizeof(struct tls),
	.sniff = tls_sniff,
	.feed = tls_feed,
	.skip = tls_skip,
	.finish = tls_finish,
	.carry = tls_carry,
	.at_border = tls_at_border,
};
