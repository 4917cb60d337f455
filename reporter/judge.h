/*
 * What the answer to a gRPC call means for its batch, and what of a collector is said. Of both
 * engines (SW_AGENT_GRPC_ENGINE), so that they differ in nothing else. Our thread only.
 */
#pragma once

#include "reporter/backoff.h"
#include "reporter/queue.h"
#include "reporter/roster.h"
#include "reporter/session.h"
#include "reporter/transport.h"

/* What is said once, each. */
enum sw_complaint {
	SW_COMPLAINT_UNREACHABLE, /* no connection */
	SW_COMPLAINT_TLS,	  /* certificates, ours and theirs */
	SW_COMPLAINT_SPEECH,	  /* somebody is there, and it is no gRPC server */
	SW_COMPLAINT_TOKEN,
	SW_COMPLAINT_METHOD,
	SW_COMPLAINT_BATCH,
	SW_COMPLAINTS
};

/* Of the collectors, by whoever speaks with them, one at a time. Zero is a fresh one. */
struct sw_judge {
	struct sw_agent *agent;
	const char *authority;	 /* Borrowed: whom complaints are about */
	struct sw_roster roster; /* whose turn it is */
	struct sw_backoff backoff;
	bool useful;  /* this connection has brought an answer */
	bool leaving; /* no further calls on it: another one's turn has come */
	bool unimplemented[SW_BATCH_KINDS]; /* on this connection */
};

/* A connection: it may be to another collector than the last. */
void sw_judge_begin(struct sw_judge *judge);

/* A call has ended. What becomes of its batch: SW_SENT, SW_SENT_LATER or SW_SENT_NEVER. */
enum sw_sent sw_judge_answer(struct sw_judge *judge, struct sw_batch *batch,
			     const struct sw_answer *answer);

/*
 * The one in use or tried is no good: the turn is the next one's. False: nor is any other, and we
 * are silent for a while.
 */
bool sw_judge_elsewhere(struct sw_judge *judge);

/* How long the first collector is left alone when it was no good: until the next heartbeat. */
uint64_t sw_judge_period_ns(void);

/*
 * For an engine of one connection: is it time to leave it and try the first collector again? And
 * when that has been left: the turn is the first one's. If it is no good it is left alone for
 * longer.
 */
bool sw_judge_homesick(const struct sw_judge *judge);
void sw_judge_go_home(struct sw_judge *judge);

/* Nothing is offered for a while. */
void sw_judge_back_off(struct sw_judge *judge);

/* Of the first three; once each, for all children of a fork and both engines. `why` is a sentence
 * without its end. */
void sw_judge_complain(const struct sw_judge *judge, enum sw_complaint complaint, const char *why);

/* Once: keys that are set and of no use, as in the Python agent (a certificate alone does not ask
 * for TLS). */
void sw_judge_warn(void);

/* The same functions for a plug-in. */
struct sw_judge_table {
	void (*warn)(void);
	void (*begin)(struct sw_judge *judge);
	enum sw_sent (*answer)(struct sw_judge *judge, struct sw_batch *batch,
			       const struct sw_answer *answer);
	bool (*elsewhere)(struct sw_judge *judge);
	bool (*homesick)(const struct sw_judge *judge);
	void (*go_home)(struct sw_judge *judge);
	void (*back_off)(struct sw_judge *judge);
	void (*complain)(const struct sw_judge *judge, enum sw_complaint complaint,
			 const char *why);
	/* roster.h; around which `delicate` is the caller's. */
	int (*resolve)(struct sw_roster *roster, const char *list, uint64_t now_ns,
		       char ret_authority[SW_AUTHORITY_MAX]);
};

extern const struct sw_judge_table sw_judge_table;
