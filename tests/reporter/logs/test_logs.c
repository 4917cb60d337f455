/* Bytes of streams to logs: joining, splitting, order, tracebacks, filters. */
#include "tests/reporter/logs/machine.h"

#include "preload/counters.h"

Test(logs, lines_are_whole)
{
	struct sw_logs *logs = machine();

	say(logs, "one\ntwo\nth");
	turn(logs, 100);
	turn(logs, 100);
	say(logs, "ree\n");
	end_is(logs, "|||one\n----\n|||two\n----\n|||three\n----\n");
}

Test(logs, a_line_of_many_bytes_written_one_by_one)
{
	const char *text = "WARNING:a.b:\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80 end\n";
	struct sw_logs *logs = machine();

	for (const char *at = text; *at; at++) {
		char one[2] = {*at, 0};

		say(logs, one);
		turn(logs, 100);
	}
	end_is(logs, "WARNING|a.b||WARNING:a.b:\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80 end\n----\n");
}

Test(logs, halves_of_two_threads_are_two_lines)
{
	struct sw_logs *logs = machine();

	put(logs, (struct wrote){"/a", 256, 1, 0, .severity = 0xff}, "hal", 3);
	put(logs, (struct wrote){"/b", 256, 2, 1, .severity = 0xff}, "other\n", 6);
	put(logs, (struct wrote){"/a", 256, 1, 2, .severity = 0xff}, "ves\n", 4);
	end_is(logs, "||/a|halves\n----\n||/b|other\n----\n");
}

Test(logs, one_thread_for_two_requests)
{
	struct sw_logs *logs = machine();

	put(logs, (struct wrote){"/a", 256, 1, 0, .severity = 0xff}, "for a", 5);
	put(logs, (struct wrote){"/b", 256, 1, 1, .severity = 0xff}, "for b\n", 6);
	put(logs, (struct wrote){"/a", 256, 1, 2, .severity = 0xff}, "\n", 1);
	end_is(logs, "||/a|for a\n----\n||/b|for b\n----\n");
}

Test(logs, rings_are_put_in_order)
{
	struct sw_logs *logs = machine();
	static const uint64_t order[] = {3, 1, 0, 2, 5, 4};

	for (size_t i = 0; i < SW_COUNT_OF(order); i++) {
		char text[2] = {(char)('0' + order[i]), 0};

		put(logs, (struct wrote){.stream = 256, .thread = 1, .sequence = order[i]}, text,
		    1);
		if (i == 3)
			turn(logs, 100);
	}
	end_is(logs, "|||012345\n----\n");
}

Test(logs, a_gap_is_waited_for_and_then_given_up)
{
	struct sw_logs *logs = machine();

	put(logs, (struct wrote){.stream = 256, .thread = 1, .sequence = 0}, "before", 6);
	put(logs, (struct wrote){.stream = 256, .thread = 1, .sequence = 2}, "after\n", 6);
	turn(logs, 100);
	cr_assert_eq(out_count, 0);
	turn(logs, 100);
	turn(logs, 100);
	end_is(logs, "|||before\n----\n|||after\n----\n");
}

Test(logs, another_generation_is_another_stream)
{
	struct sw_logs *logs = machine();

	put(logs, (struct wrote){.stream = 256, .thread = 1, .sequence = 0}, "old", 3);
	put(logs, (struct wrote){.stream = 512, .thread = 1, .sequence = 0}, "new\n", 4);
	end_is(logs, "|||old\n----\n|||new\n----\n");
}

#define TRACE                                                                                      \
	"Traceback (most recent call last):\n  File \"a.py\", line 1, in f\n    g()\nValueError: " \
	"no"

Test(logs, a_traceback_is_one_record)
{
	struct sw_logs *logs = machine();

	say(logs, "ERROR:root:failed\n" TRACE "\n");
	say(logs, "INFO:root:next\n");
	end_is(logs,
	       "ERROR|root||ERROR:root:failed\n" TRACE "\n----\nINFO|root||INFO:root:next\n----\n");
}

Test(logs, a_traceback_line_by_line_with_a_cause)
{
	static const char *const lines[] = {
		"before\n",
		"Traceback (most recent call last):\n",
		"  File \"a.py\", line 1, in f\n",
		"KeyError: 1\n",
		"\n",
		"During handling of the above exception, another exception occurred:\n",
		"\n",
		"Traceback (most recent call last):\n",
		"  File \"b.py\", line 2, in g\n",
		"ValueError: no\n",
		"\n",
		"after\n",
	};
	struct sw_logs *logs = machine();

	for (size_t i = 0; i < SW_COUNT_OF(lines); i++)
		say(logs, lines[i]);
	end_is(logs, "|||before\n----\n"
		     "|||Traceback (most recent call last):\n  File \"a.py\", line 1, in "
		     "f\nKeyError: 1\n\n"
		     "During handling of the above exception, another exception occurred:\n\n"
		     "Traceback (most recent call last):\n  File \"b.py\", line 2, in "
		     "g\nValueError: no\n----\n"
		     "|||after\n----\n");
}

Test(logs, frames_of_java)
{
	struct sw_logs *logs = machine();

	say(logs, "java.lang.Error: no\n");
	say(logs, "\tat a.B.c(B.java:1)\n\t... 3 more\n");
	turn(logs, 10);
	say(logs, "Caused by: java.io.IOException\n\tat d.E.f(E.java:2)\n");
	say(logs, "next\n");
	end_is(logs, "|||java.lang.Error: no\n\tat a.B.c(B.java:1)\n\t... 3 more\n"
		     "Caused by: java.io.IOException\n\tat d.E.f(E.java:2)\n----\n|||next\n----\n");
}

Test(logs, indented_lines_of_one_write_belong_to_the_first)
{
	struct sw_logs *logs = machine();

	say(logs, "INFO:a:config\n  x: 1\n  y: 2\nINFO:a:done\n");
	say(logs, "  alone\n");
	end_is(logs, "INFO|a||INFO:a:config\n  x: 1\n  y: 2\n----\nINFO|a||INFO:a:done\n----\n"
		     "|||  alone\n----\n");
}

Test(logs, a_line_that_is_whole_waits_a_turn_and_no_longer)
{
	struct sw_logs *logs = machine();

	say(logs, "whole\n");
	turn(logs, 0);
	cr_assert_eq(out_count, 0);
	turn(logs, 100);
	cr_assert_eq(out_count, 1);
	say(logs, "half");
	turn(logs, 100);
	turn(logs, 100);
	cr_assert_eq(out_count, 1);
	turn(logs, 1000);
	cr_assert_eq(out_count, 2);
	end_is(logs, "|||whole\n----\n|||half\n----\n");
}

Test(logs, a_long_line_is_split_between_characters)
{
	struct sw_logs *logs = machine();
	size_t len = 100000, body = 0;
	char *line = malloc(len + 8), *at;

	strcpy(line, "ERROR:a:");
	for (size_t i = 8; i + 3 < len; i += 3)
		memcpy(line + i, "\xe2\x82\xac", 4);
	strcat(line, "\n");
	say(logs, line);
	sw_logs_turn(logs, now_ns, true);
	cr_assert_eq(out_count, (strlen(line) - 1 + 16383) / 16384);
	for (at = out; at < out + out_len;) {
		char *end = strstr(at, "\n----\n");

		cr_assert(strncmp(at, "ERROR|a||", 9) == 0,
			  "every part has the level of the first");
		cr_assert((at[9] & 0xc0) != 0x80, "a part begins with half a character");
		body += (size_t)(end - at) - 9;
		at = end + 6;
	}
	cr_assert_eq(body, strlen(line) - 1);
	free(line);
	sw_logs_free(logs);
}

Test(logs, progress_bars_and_colours)
{
	struct sw_logs *logs = machine();

	say(logs, "\r 10%");
	say(logs, "\r 20%");
	say(logs, "\r100%\r\n");
	say(logs, "\x1b[32mINFO\x1b[0m:     ready\n");
	end_is(logs, "|||100%\n----\nINFO|||INFO:     ready\n----\n");
}

Test(logs, endless_progress_keeps_its_last_state)
{
	struct sw_logs *logs = machine();
	char text[32];

	for (int i = 0; i < 5000; i++) {
		snprintf(text, sizeof(text), "\rstep %d", i);
		say(logs, text);
	}
	say(logs, "\n");
	end_is(logs, "|||step 4999\n----\n");
}

Test(logs, levels_are_filtered)
{
	struct sw_logs *logs = machine();

	sw_config.log_least = SW_LEVEL_WARNING;
	say(logs, "INFO:a:no\nWARNING:a:yes\nplain\n");
	say(logs, TRACE "\n");
	put(logs, (struct wrote){.stream = 513, .thread = 1, .source = SW_LOG_STDERR}, "plain\n",
	    6);
	end_is(logs, "WARNING|a||WARNING:a:yes\n----\n|||" TRACE "\n----\n|||plain\n----\n");
	cr_assert_eq(sw_counter_read(SW_COUNTER_LOG_FILTERED), 2);
}

Test(logs, rate_is_limited)
{
	struct sw_logs *logs = machine();

	sw_config.log_rate = 3;
	say(logs, "1\n2\n3\n4\n5\n6\n");
	end_is(logs, "|||1\n----\n|||2\n----\n|||3\n----\n");
	cr_assert_eq(sw_counter_read(SW_COUNTER_LOG_LIMITED), 3);
}

Test(logs, credentials_are_taken_out)
{
	struct sw_logs *logs = machine();

	sw_config.log_safe = true;
	say(logs, "a http://user:secret@host/x b ftp://t0ken@h c http://host/a@b d ://@ e\n");
	say(logs, "amqp://u:p@ss@h, http://h?to=a@b http://h#a@b \"http://u:p\"@\n");
	end_is(logs, "|||a http://host/x b ftp://h c http://host/a@b d :// e\n----\n"
		     "|||amqp://h, http://h?to=a@b http://h#a@b \"http://u:p\"@\n----\n");
}

Test(logs, messages_with_a_severity)
{
	struct sw_logs *logs = machine();
	static const char journal[] = "PRIORITY=4\nSYSLOG_IDENTIFIER=shop\nMESSAGE\n"
				      "\x05\0\0\0\0\0\0\0a\nb c\nCODE_LINE=1\n";

	put(logs, (struct wrote){"/x", .source = SW_LOG_SYSLOG, .severity = 3}, "no\nroom", 7);
	put(logs, (struct wrote){.stream = 257, .source = SW_LOG_DEVLOG},
	    "<28>May  6 07:08:09 shop[12]: low", 33);
	put(logs, (struct wrote){.stream = 258, .source = SW_LOG_DEVLOG}, "<28", 3);
	put(logs, (struct wrote){.stream = 259, .source = SW_LOG_JOURNAL}, journal,
	    sizeof(journal) - 1);
	put(logs, (struct wrote){.stream = 260, .source = SW_LOG_JOURNAL}, "MESSAGE\n\xff\xff", 10);
	end_is(logs, "ERROR||/x|no\nroom\n----\nWARNING|shop||low\n----\n|||<28\n----\n"
		     "WARNING|shop||a\nb c\n----\n");
}

Test(logs, a_skipped_end_is_said)
{
	struct sw_logs *logs = machine();

	put(logs, (struct wrote){.stream = 256, .thread = 1, .flags = SW_LOG_SKIPPED}, "begin", 5);
	put(logs, (struct wrote){.stream = 256, .thread = 1, .sequence = 1}, "next\n", 5);
	end_is(logs, "|||begin\n----\n|||next\n----\n");
}

Test(logs, many_writers_are_bounded)
{
	struct sw_logs *logs = machine();

	sw_config.log_rate = 0;
	for (uint32_t i = 0; i < 5000; i++)
		put(logs, (struct wrote){.stream = 256, .thread = i, .sequence = i}, "x", 1);
	cr_assert_eq(out_count, 5000 - 512, "%zu", out_count);
	sw_logs_free(logs);
}

/* ---- what the record of a logging library says ---- */

static void tell(struct sw_logs *logs, struct wrote wrote, const char *text)
{
	wrote.stream = 256;
	wrote.thread = 1;
	wrote.sequence = sequence++;
	put(logs, wrote, text, strlen(text));
}

Test(logs, records_know_better_than_texts)
{
	struct sw_logs *logs = machine();

	tell(logs, (struct wrote){.level = "ERROR", .logger = "shop", .severity = 3}, "plain\n");
	tell(logs, (struct wrote){.level = "INFO", .logger = "shop", .severity = 6},
	     "ERROR:other:of a program that it started\n");
	tell(logs, (struct wrote){.endpoint = "/x", .level = "LOUD", .severity = 4},
	     "two\nlines\n");
	tell(logs, (struct wrote){.severity = 2}, "no word\n");
	tell(logs, (struct wrote){.level = "own"}, "no number\n");
	say(logs, "of none\n");
	end_is(logs, "ERROR|shop||plain\n----\n"
		     "LOUD||/x|two\n----\n"
		     "INFO|shop||ERROR:other:of a program that it started\n----\n"
		     "CRITICAL|||no word\n----\n"
		     "OWN|||no number\n----\n"
		     "|||of none\n----\n"
		     "LOUD||/x|lines\n----\n");
}

Test(logs, members_of_json_are_not_overruled)
{
	struct sw_logs *logs = machine();

	tell(logs, (struct wrote){.level = "ERROR", .logger = "shop", .severity = 3},
	     "{\"level\":\"info\",\"logger\":\"its.own\"}\n{\"what\":1}\n");
	end_is(logs, "INFO|its.own||{\"level\":\"info\",\"logger\":\"its.own\"}\n----\n"
		     "ERROR|shop||{\"what\":1}\n----\n");
}

Test(logs, levels_of_records_are_filtered)
{
	struct sw_logs *logs = machine();

	sw_config.log_least = SW_LEVEL_WARNING;
	tell(logs, (struct wrote){.level = "INFO", .severity = 6, .source = SW_LOG_STDERR},
	     "less\n");
	tell(logs, (struct wrote){.level = "Level 35", .severity = 4}, "enough\n");
	end_is(logs, "LEVEL 35|||enough\n----\n");
}

Test(logs, records_are_asked_for_once_a_text_says_no_level)
{
	struct sw_logs *logs = machine();

	say(logs, "ERROR:shop:it says so\n");
	turn(logs, 100);
	cr_assert(!sw_process_levels_asked);
	say(logs, "it does not\n");
	turn(logs, 100);
	cr_assert(sw_process_levels_asked);
	sw_logs_free(logs);
}
