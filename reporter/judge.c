/* What answers mean, and what is said; see judge.h. */
#include "reporter/judge.h"

#include "preload/config.h"
#include "preload/sys.h"
#include "reporter/reporter.h"
#include "reporter/say.h"

/* Faults found with one batch itself, after which it is not offered any more. */
#define REFUSALS_MAX 3

static bool said[SW_COMPLAINTS]; /* kept across fork: once for all children */

void sw_judge_begin(struct sw_judge *judge)
{
	judge->useful = judge->leaving = false;
	memset(judge->unimplemented, 0, sizeof(judge->unimplemented));
}

void sw_judge_back_off(struct sw_judge *judge)
{
	judge->agent->retry_ns = judge->agent->now_ns + sw_backoff_fail(&judge->backoff);
}

uint64_t sw_judge_period_ns(void)
{
	return sw_config.heartbeat_s * SW_SECOND_NS;
}

bool sw_judge_elsewhere(struct sw_judge *judge)
{
	if (sw_roster_fail(&judge->roster, judge->agent->now_ns, sw_judge_period_ns()))
		return true;
	sw_judge_back_off(judge);
	return false;
}

/* It answers, but not as we like: with several there is one that may like it better. Not with one,
 * whose connection is good. Once for each connection. One that did take some has too much to do,
 * and so may have the others: all are left alone for a while. */
static void turn_away(struct sw_judge *judge)
{
	if (judge->leaving)
		return;
	if (sw_judge_elsewhere(judge) && judge->useful)
		sw_judge_back_off(judge);
	judge->leaving = judge->roster.count > 1;
}

/* Who wants a profile in a file, and has named no collector, does not miss the one that nobody has
 * started. */
static enum sw_level level_of_unreachable(void)
{
	bool wanted = !sw_config.profile_output[0] || sw_config_given(&sw_config.collector) ||
		      sw_config_given(&sw_config.protocol);

	return wanted ? SW_LEVEL_WARNING : SW_LEVEL_DEBUG;
}

void sw_judge_complain(const struct sw_judge *judge, enum sw_complaint complaint, const char *why)
{
	if (!sw_say_first(&said[complaint]))
		return;
	if (complaint == SW_COMPLAINT_UNREACHABLE)
		sw_say(level_of_unreachable(),
		       "no collector at %s: %s; what cannot wait is dropped "
		       "(SW_AGENT_COLLECTOR_BACKEND_SERVICES)",
		       judge->authority, why);
	else if (complaint == SW_COMPLAINT_TLS) /* what of it the configuration can mend */
		sw_say(SW_LEVEL_WARNING,
		       "no TLS with the collector %s: %s; what cannot wait is dropped "
		       "(SW_AGENT_SSL_TRUSTED_CA_PATH, SW_AGENT_SSL_CERT_CHAIN_PATH, "
		       "SW_AGENT_SSL_KEY_PATH)",
		       judge->authority, why);
	else
		sw_say(SW_LEVEL_WARNING,
		       "%s does not answer as a gRPC server (%s); what cannot wait is dropped "
		       "(SW_AGENT_COLLECTOR_BACKEND_SERVICES)",
		       judge->authority, why);
}

enum verdict { IS_SENT, IS_LATER, IS_FAULTY, IS_REFUSED, IS_UNKNOWN };

/* What a status means for the batch. */
static const enum verdict verdicts[SW_GRPC_STATUSES] = {
	[SW_GRPC_OK] = IS_SENT,
	[SW_GRPC_CANCELLED] = IS_LATER,
	[SW_GRPC_UNKNOWN] = IS_FAULTY,
	[SW_GRPC_INVALID_ARGUMENT] = IS_FAULTY,
	[SW_GRPC_DEADLINE_EXCEEDED] = IS_LATER,
	[SW_GRPC_NOT_FOUND] = IS_FAULTY,
	[SW_GRPC_ALREADY_EXISTS] = IS_FAULTY,
	[SW_GRPC_PERMISSION_DENIED] = IS_REFUSED,
	[SW_GRPC_RESOURCE_EXHAUSTED] = IS_LATER,
	[SW_GRPC_FAILED_PRECONDITION] = IS_FAULTY,
	[SW_GRPC_ABORTED] = IS_LATER,
	[SW_GRPC_OUT_OF_RANGE] = IS_FAULTY,
	[SW_GRPC_UNIMPLEMENTED] = IS_UNKNOWN,
	[SW_GRPC_INTERNAL] = IS_FAULTY,
	[SW_GRPC_UNAVAILABLE] = IS_LATER,
	[SW_GRPC_DATA_LOSS] = IS_FAULTY,
	[SW_GRPC_UNAUTHENTICATED] = IS_REFUSED,
};

static const char *const status_names[SW_GRPC_STATUSES] = {
	"OK",
	"CANCELLED",
	"UNKNOWN",
	"INVALID_ARGUMENT",
	"DEADLINE_EXCEEDED",
	"NOT_FOUND",
	"ALREADY_EXISTS",
	"PERMISSION_DENIED",
	"RESOURCE_EXHAUSTED",
	"FAILED_PRECONDITION",
	"ABORTED",
	"OUT_OF_RANGE",
	"UNIMPLEMENTED",
	"INTERNAL",
	"UNAVAILABLE",
	"DATA_LOSS",
	"UNAUTHENTICATED",
};

static void say_faulty(const struct sw_judge *judge, const struct sw_batch *batch,
		       const struct sw_answer *answer)
{
	if (sw_say_first(&said[SW_COMPLAINT_BATCH]))
		sw_say(SW_LEVEL_WARNING, "%s refuses a %s batch: %s (%s)", judge->authority,
		       sw_kinds[batch->kind].name, status_names[answer->status],
		       answer->message[0] ? answer->message : "no reason given");
}

static void say_refused(const struct sw_judge *judge, const struct sw_answer *answer)
{
	if (sw_say_first(&said[SW_COMPLAINT_TOKEN]))
		sw_say(SW_LEVEL_WARNING,
		       "%s refuses us: %s (%s); what cannot wait is dropped "
		       "(SW_AGENT_AUTHENTICATION %s)",
		       judge->authority, status_names[answer->status],
		       answer->message[0] ? answer->message : "no reason given",
		       sw_config.authentication[0] ? "is perhaps wrong" : "is not set");
}

static void note_unknown(struct sw_judge *judge, const struct sw_batch *batch)
{
	judge->unimplemented[batch->kind] = true;
	if (batch->kind == SW_BATCH_SEGMENT && sw_say_first(&said[SW_COMPLAINT_METHOD]))
		sw_say(SW_LEVEL_WARNING, "%s does not know %s; these records are dropped",
		       judge->authority, sw_kinds[batch->kind].method);
}

/* By another collector: what all of them are for. */
static bool may_be_known(const struct sw_judge *judge, const struct sw_batch *batch)
{
	return batch->kind == SW_BATCH_SEGMENT &&
	       (judge->leaving || sw_roster_more(&judge->roster));
}

/* The status was given by the other side: it decides. */
static enum sw_sent judge_given(struct sw_judge *judge, struct sw_batch *batch,
				const struct sw_answer *answer)
{
	switch (verdicts[answer->status]) {
	case IS_SENT:
		judge->useful = true;
		sw_backoff_succeed(&judge->backoff);
		sw_roster_good(&judge->roster);
		sw_reporter_replied(judge->agent, batch->kind, answer->reply);
		return SW_SENT;
	case IS_UNKNOWN:
		if (!may_be_known(judge, batch)) {
			note_unknown(judge, batch);
			return SW_SENT_NEVER;
		}
		break;
	case IS_REFUSED:
		say_refused(judge, answer);
		break;
	case IS_FAULTY:
		say_faulty(judge, batch, answer);
		if (++batch->refused >= REFUSALS_MAX)
			return SW_SENT_NEVER;
		if (batch->kind != SW_BATCH_SEGMENT)
			return SW_SENT_LATER; /* traces do not wait for a receiver of others */
		break;
	case IS_LATER:
		break;
	}
	turn_away(judge);
	return SW_SENT_LATER;
}

enum sw_sent sw_judge_answer(struct sw_judge *judge, struct sw_batch *batch,
			     const struct sw_answer *answer)
{
	if (answer->given)
		return judge_given(judge, batch, answer);
	batch->seen |= answer->perhaps;
	if (!answer->cut)
		turn_away(judge); /* this call alone went wrong; the next one would, too */
	return SW_SENT_LATER;
}

void sw_judge_warn(void)
{
	static bool told;

	if (!told && !sw_config_wants_tls(&sw_config) &&
	    (sw_config.tls_chain[0] || sw_config.tls_key[0]))
		sw_say(SW_LEVEL_WARNING,
		       "SW_AGENT_SSL_CERT_CHAIN_PATH and SW_AGENT_SSL_KEY_PATH are not used: "
		       "neither SW_AGENT_FORCE_TLS nor SW_AGENT_SSL_TRUSTED_CA_PATH asks for TLS");
	told = true;
}

bool sw_judge_homesick(const struct sw_judge *judge)
{
	return sw_roster_homesick(&judge->roster, judge->agent->now_ns);
}

void sw_judge_go_home(struct sw_judge *judge)
{
	sw_roster_return(&judge->roster, sw_judge_period_ns());
}

const struct sw_judge_table sw_judge_table = {
	.warn = sw_judge_warn,
	.begin = sw_judge_begin,
	.answer = sw_judge_answer,
	.elsewhere = sw_judge_elsewhere,
	.homesick = sw_judge_homesick,
	.go_home = sw_judge_go_home,
	.back_off = sw_judge_back_off,
	.complain = sw_judge_complain,
	.resolve = sw_roster_resolve,
};
