/* Equal is one, what does not fit is counted, and each format says what was recorded. */
#include <criterion/criterion.h>
#include <stdio.h>

#include "proto/buffer.h"
#include "reporter/recorded.h"
#include "reporter/recording.h"

static struct sw_recording *recording;

static void begin(size_t bytes_max)
{
	struct sw_recording_about about = {.mode = SW_RECORDING_WALL,
					   .pid = 17,
					   .program = SW_BYTES("prog"),
					   .start_ms = 1795305600000,
					   .period_ns = 10000000,
					   .bytes_max = bytes_max};

	recording = sw_recording_new(&about);
	cr_assert_not_null(recording);
}

static void setup(void)
{
	begin(0);
}

static void teardown(void)
{
	sw_recording_free(recording);
}

TestSuite(recording, .init = setup, .fini = teardown);

static uint32_t frame(const char *function, uint32_t line)
{
	struct sw_recording_frame frame = {SW_RECORDED_PYTHON, sw_bytes_text(function),
					   SW_BYTES("/a/b.py"), line, 0};

	return sw_recording_frame(recording, &frame);
}

static bool add(int tid, const char *thread, uint64_t weight_ns, const uint32_t *stack,
		uint32_t frames)
{
	struct sw_recording_sample sample = {.tid = tid,
					     .thread = sw_bytes_text(thread),
					     .weight_ns = weight_ns,
					     .frame = stack,
					     .frames = frames};

	return sw_recording_add(recording, &sample);
}

static bool keep(void *arg, const void *at, size_t len)
{
	sw_buffer_add(arg, sw_bytes(at, len));
	return true;
}

/* Owned by the caller, NUL terminated. */
static char *written(enum sw_recording_format format)
{
	struct sw_buffer out = {0};

	cr_assert(sw_recording_write(recording, format, keep, &out));
	sw_buffer_add(&out, sw_bytes("", 1));
	return (char *)out.at;
}

static void assert_folded(const char *expected)
{
	char *text = written(SW_FORMAT_FOLDED);

	cr_assert_str_eq(text, expected);
	free(text);
}

Test(recording, equal_frames_have_one_number)
{
	struct sw_recording_frame native = {SW_RECORDED_NATIVE, SW_BYTES("f"), SW_BYTES("/a/b.py"),
					    0, 4};

	cr_assert_eq(frame("f", 1), 0);
	cr_assert_eq(frame("f", 2), 1);
	cr_assert_eq(frame("f", 1), 0);
	cr_assert_eq(sw_recording_frame(recording, &native), 2);
	native.offset = 8;
	cr_assert_eq(sw_recording_frame(recording, &native), 3);
}

Test(recording, equal_stacks_are_added_up)
{
	uint32_t stack[] = {frame("main", 3), frame("f", 1)};

	cr_assert(add(1, "MainThread", 1500000, stack, 2));
	cr_assert(add(1, "MainThread", 1500400, stack, 2));
	cr_assert(add(1, "MainThread", 7000, stack, 1));
	cr_assert(add(2, "", 1000, stack, 0));
	cr_assert_eq(sw_recording_kept(recording), 4);
	cr_assert_eq(recording->sums.count, 3);
	assert_folded("MainThread;main (/a/b.py:3) 7\n"
		      "MainThread;main (/a/b.py:3);f (/a/b.py:1) 3000\n"
		      "thread 2 1\n");
}

Test(recording, threads_of_one_name_are_one_in_folded)
{
	uint32_t stack[] = {frame("main", 3)};

	add(1, "w", 1000, stack, 1);
	add(2, "w", 2000, stack, 1);
	add(3, "x", 4000, stack, 1);
	add(4, "", 1000, stack, 1);
	add(5, "", 2000, stack, 1);
	assert_folded("w;main (/a/b.py:3) 3\nx;main (/a/b.py:3) 4\n"
		      "thread 4;main (/a/b.py:3) 1\nthread 5;main (/a/b.py:3) 2\n");
}

Test(recording, tasks_and_requests_stay_apart)
{
	uint32_t stack[] = {frame("main", 3)};
	struct sw_recording_sample sample = {.tid = 1, .weight_ns = 1, .frame = stack, .frames = 1};

	sw_recording_add(recording, &sample);
	sample.span = 7; /* of no segment: nothing */
	sw_recording_add(recording, &sample);
	cr_assert_eq(recording->sums.count, 1);
	sample.segment = SW_BYTES("a.1.2");
	sw_recording_add(recording, &sample);
	sample.span = 8;
	sw_recording_add(recording, &sample);
	sample.task = SW_BYTES("Task-1");
	sw_recording_add(recording, &sample);
	cr_assert_eq(recording->sums.count, 4);
	cr_assert_eq(recording->nodes.count, 2);
}

Test(recording, what_would_end_a_frame_or_a_line_is_replaced)
{
	uint32_t stack[] = {frame("a;b\nc\x7f", 0)};

	add(1, "t;\x01", 1000, stack, 1);
	assert_folded("t: ;a:b c  (/a/b.py) 1\n");
}

Test(recording, texts_become_utf8_of_a_length)
{
	char name[3000];
	uint32_t first, node;
	struct sw_bytes text;

	first = frame("a\xff\xc3z\xe2\x82\xac", 0);
	text = sw_recorded_text(recording, sw_recorded_frames(recording)[first].function);
	cr_assert(sw_bytes_equal(text, SW_BYTES("a??z\xe2\x82\xac")));
	for (size_t i = 0; i < sizeof(name) - 1; i++)
		name[i] = "\xe2\x82\xac"[i % 3];
	name[sizeof(name) - 1] = '\0';
	for (int shift = 0; shift < 3; shift++) {
		name[0] = 'x', name[1] = 'y';
		node = frame(name + shift, 0);
		text = sw_recorded_text(recording, sw_recorded_frames(recording)[node].function);
		cr_assert(text.len <= SW_RECORDING_TEXT && text.len > SW_RECORDING_TEXT - 4);
		cr_assert(sw_bytes_ends(text, SW_BYTES("\xe2\x82\xac...")));
	}
}

Test(recording, a_frame_of_no_number_is_counted)
{
	uint32_t stack[] = {frame("main", 3), UINT32_MAX};

	cr_assert_not(add(1, "t", 1, stack, 2));
	stack[1] = 1; /* not given yet */
	cr_assert_not(add(1, "t", 1, stack, 2));
	cr_assert_eq(sw_recording_lost(recording), 2);
	cr_assert_eq(sw_recording_kept(recording), 0);
	assert_folded("");
}

static uint64_t number_after(const char *text, const char *word)
{
	const char *at = strstr(text, word);

	cr_assert_not_null(at, "%s", word);
	return strtoull(at + strlen(word), NULL, 10);
}

/* The weights of all lines. */
static uint64_t folded_us(void)
{
	char *text = written(SW_FORMAT_FOLDED);
	uint64_t sum = 0;

	for (char *line = text, *end; *line; line = end + 1) {
		end = strchr(line, '\n');
		*end = '\0';
		sum += strtoull(strrchr(line, ' '), NULL, 10);
	}
	free(text);
	return sum;
}

Test(recording, the_limit_holds_and_each_sample_is_kept_or_lost)
{
	const unsigned turns = 200000;
	char name[32], *text;

	teardown();
	begin(1 << 20);
	for (unsigned i = 0; i < turns; i++) {
		uint32_t stack[2] = {frame("main", 3)};

		snprintf(name, sizeof(name), "f%u", i % 50000);
		stack[1] = frame(name, i % 50000);
		add(1, "t", 1000, stack, 2);
	}
	cr_assert_leq(recording->used, 1u << 20);
	cr_assert_gt(recording->used, 1u << 19); /* it was tried */
	cr_assert_gt(sw_recording_lost(recording), 0);
	cr_assert_eq(sw_recording_lost(recording) + sw_recording_kept(recording), turns);
	cr_assert_eq(folded_us(), sw_recording_kept(recording));
	cr_assert(recording->order_ended);
	text = written(SW_FORMAT_SPEEDSCOPE);
	cr_assert_eq(number_after(text, "\"endValue\":"), sw_recording_kept(recording) * 1000);
	cr_assert_not_null(strstr(text, "later samples not in order"));
	free(text);
}

Test(recording, no_memory_at_all)
{
	struct sw_recording_about about = {.bytes_max = 100};

	cr_assert_null(sw_recording_new(&about));
}

Test(recording, order_is_kept_and_repetition_is_one)
{
	uint32_t f = frame("f", 1), g = frame("g", 1);
	char *text;

	add(1, "t", 5, &f, 1);
	add(2, "u", 9, &f, 1);
	add(1, "t", 5, &f, 1);
	add(1, "t", 7, &g, 1);
	add(1, "t", 5, &f, 1);
	text = written(SW_FORMAT_SPEEDSCOPE);
	cr_assert_not_null(strstr(text, "\"samples\":[\n[0],\n[1],\n[0]],\n\"weights\":[10,7,5]"),
			   "%s", text);
	cr_assert_not_null(strstr(text, "\"name\":\"t (1)\""));
	cr_assert_eq(number_after(text, "\"endValue\":"), 22);
	free(text);
}

Test(recording, a_deep_stack)
{
	static uint32_t stack[100000];
	char *text;

	for (uint32_t i = 0; i < SW_COUNT_OF(stack); i++)
		stack[i] = frame("f", i % 7);
	cr_assert(add(1, "t", 5000, stack, SW_COUNT_OF(stack)));
	for (int format = 0; format < SW_FORMAT_NONE; format++) {
		text = written((enum sw_recording_format)format);
		free(text);
	}
	cr_assert_eq(folded_us(), 5);
}

/* A page's script would end, or begin, with these. */
Test(recording, json_is_harmless_in_a_page)
{
	uint32_t f = frame("</script><script>alert(1)//\"\\\n\xe2\x80\xa8&", 0);
	char *text;

	add(1, "<!--", 5, &f, 1);
	text = written(SW_FORMAT_HTML);
	cr_assert_null(strstr(text, "alert(1)//\""));
	cr_assert_null(strstr(text, "<!--"));
	cr_assert_not_null(strstr(text,
				  "\"\\u003c/script\\u003e\\u003cscript\\u003ealert(1)//\\u0022"
				  "\\u005c\\u000a\\u2028\\u0026\""));
	free(text);
}

Test(recording, totals_are_told)
{
	struct sw_recording_totals totals = {2050000000, 205, 200, 5, 3};
	struct sw_buffer out = {0};
	struct sw_output output;
	uint32_t f = UINT32_MAX;

	add(1, "t", 5, &f, 1);
	sw_recording_end(recording, &totals);
	sw_output_init(&output, keep, &out);
	sw_recorded_tell(recording, &output);
	sw_output_flush(&output);
	cr_assert(sw_bytes_equal(sw_bytes(out.at, out.len),
				 SW_BYTES("200 samples taken of 205 due, 5 missed, 4 lost; asked "
					  "for every 10 ms, over 2.05 s")));
	sw_buffer_free(&out);
}

Test(recording, formats_by_ending)
{
	cr_assert_eq(sw_recording_format("a/b.folded"), SW_FORMAT_FOLDED);
	cr_assert_eq(sw_recording_format("b.pb.gz"), SW_FORMAT_PPROF);
	cr_assert_eq(sw_recording_format("b.json"), SW_FORMAT_SPEEDSCOPE);
	cr_assert_eq(sw_recording_format("b.html"), SW_FORMAT_HTML);
	cr_assert_eq(sw_recording_format("b.html.gz"), SW_FORMAT_NONE);
	cr_assert_eq(sw_recording_format(""), SW_FORMAT_NONE);
	cr_assert_not(sw_recording_write(recording, SW_FORMAT_NONE, keep, NULL));
}

struct refusing {
	int left, asked;
};

static bool refuse(void *arg, const void *at, size_t len)
{
	struct refusing *refusing = arg;

	(void)at;
	(void)len;
	cr_assert_geq(refusing->left, 0, "asked again");
	refusing->asked++;
	return refusing->left-- > 0;
}

/* A disk is full, sooner or later. */
Test(recording, who_refuses_is_not_asked_again)
{
	char name[300];

	memset(name, 'x', sizeof(name));
	for (uint32_t i = 0; i < 300; i++) {
		uint32_t f;

		snprintf(name + 290, 10, "%u", i * 2654435761u >> 8);
		f = frame(name, i);
		add(1, "t", 5, &f, 1);
	}
	for (int format = 0; format < SW_FORMAT_NONE; format++) {
		struct refusing all = {.left = 1 << 20};

		cr_assert(sw_recording_write(recording, (enum sw_recording_format)format, refuse,
					     &all));
		for (int left = 0; left < all.asked; left++) {
			struct refusing refusing = {.left = left};

			cr_assert_not(sw_recording_write(
				recording, (enum sw_recording_format)format, refuse, &refusing));
		}
	}
}

Test(recording, the_same_again)
{
	uint32_t f = frame("f", 1);

	add(1, "t", 5, &f, 1);
	for (int format = 0; format < SW_FORMAT_NONE; format++) {
		struct sw_buffer one = {0}, two = {0};

		cr_assert(sw_recording_write(recording, (enum sw_recording_format)format, keep,
					     &one));
		cr_assert(sw_recording_write(recording, (enum sw_recording_format)format, keep,
					     &two));
		cr_assert(sw_bytes_equal(sw_bytes(one.at, one.len), sw_bytes(two.at, two.len)));
		sw_buffer_free(&one);
		sw_buffer_free(&two);
	}
}
