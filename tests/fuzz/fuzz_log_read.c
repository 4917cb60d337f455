/*
 * Fuzzes what reads a line of log: layouts, pairs, JSON, syslog, journald. The input is a line or a
 * datagram.
 *
 * Watched: what is found lies within the line or is a word of ours, names are not longer than they
 * may be, a level that is known has a word; of a line that is JSON no part up to a byte before its
 * end is; a message lies within its datagram.
 */
#include <stdio.h>
#include <stdlib.h>

#include "reporter/logs/journal.h"
#include "reporter/logs/read.h"

int LLVMFuzzerTestOneInput(const uint8_t *at, size_t len);

static void must(bool holds, const char *promise)
{
	if (!holds) {
		fprintf(stderr, "broken: %s\n", promise);
		abort();
	}
}

static bool within(struct sw_bytes view, struct sw_bytes line)
{
	return !view.len || (view.at >= line.at && view.at + view.len <= line.at + line.len);
}

static void check(const struct sw_log_facts *facts, struct sw_bytes line)
{
	must(within(facts->logger, line), "a logger is of the line");
	must(within(facts->thread, line), "a thread is of the line");
	must(facts->logger.len <= SW_FACT_MAX && facts->thread.len <= SW_FACT_MAX,
	     "names have a length");
	must(!facts->levelled || facts->level.len, "who knows a level has its word");
	must(!facts->levelled || facts->severity < SW_LEVEL_OFF, "a level is one");
}

static void check_json(struct sw_bytes line)
{
	struct sw_log_facts facts = {.layout = NULL};
	size_t end = line.len;

	while (end && memchr(" \t\r\n", line.at[end - 1], 4))
		end--;
	for (size_t cut = 1; cut < 40 && cut <= end; cut++)
		must(!sw_log_read_json(sw_bytes(line.at, end - cut), &facts), "half of it is JSON");
	must(end && line.at[end - 1] == '}', "an object ends");
}

int LLVMFuzzerTestOneInput(const uint8_t *at, size_t len)
{
	struct sw_bytes line = sw_bytes(at, len);
	struct sw_log_facts facts;
	int64_t ms;

	sw_log_read(line, &facts);
	check(&facts, line);
	if (facts.json)
		check_json(line);
	must(within(sw_log_read_syslog(line, &facts), line), "a message is of its datagram");
	check(&facts, line);
	must(within(sw_log_read_journal(line, &facts), line), "a message is of its datagram");
	check(&facts, line);
	sw_log_time(line, &ms);
	return 0;
}
