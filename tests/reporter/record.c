/*
 * Makes recordings of a description, to try the formats and to draw pictures without a profile.
 *
 * usage: record FILE... <description
 *
 * Each FILE is written in the format that its ending names. Lines of the description, fields
 * between tabs, bytes that would end one as \xHH:
 *
 *   about   cpu|wall|off-cpu  PID  START_MS  PERIOD_NS  BYTES_MAX  PROGRAM
 *   frame   python|native|await|note  LINE  OFFSET  FUNCTION  FILE     numbered from 0
 *   sample  TID  WEIGHT_NS  SPAN  THREAD  TASK  SEGMENT  FRAME FRAME...  outermost first
 *   end     DURATION_NS  DUE  TAKEN  MISSED  LOST
 */
#include <stdio.h>
#include <stdlib.h>

#include "reporter/recording.h"

#define FIELDS 8
#define DEPTH 65536

static struct sw_recording *recording;
static uint32_t *number; /* of the recording, for those of the description */
static uint32_t numbers;
static uint64_t refused;

static int die(const char *what, const char *detail)
{
	fprintf(stderr, "record: %s%s\n", what, detail);
	exit(2);
}

/* In place. */
static struct sw_bytes plain(char *text)
{
	char *to = text;

	for (char *from = text; *from;) {
		if (from[0] == '\\' && from[1] == 'x' && from[2] && from[3]) {
			char hex[3] = {from[2], from[3]};

			*to++ = (char)strtoul(hex, NULL, 16);
			from += 4;
		} else {
			*to++ = *from++;
		}
	}
	return sw_bytes(text, (size_t)(to - text));
}

static uint64_t natural(const char *text)
{
	return strtoull(text, NULL, 10);
}

static unsigned one_of(const char *text, const char *const *names, unsigned count)
{
	for (unsigned i = 0; i < count; i++) {
		if (strcmp(text, names[i]) == 0)
			return i;
	}
	return (unsigned)die("unknown: ", text);
}

static void about(char **field)
{
	static const char *const modes[] = {"cpu", "wall", "off-cpu"};
	struct sw_recording_about about = {
		.mode = (enum sw_recording_mode)one_of(field[1], modes, 3),
		.pid = (int)natural(field[2]),
		.start_ms = (int64_t)natural(field[3]),
		.period_ns = natural(field[4]),
		.bytes_max = natural(field[5]),
		.program = plain(field[6]),
	};

	recording = sw_recording_new(&about);
	if (!recording)
		die("no memory", "");
}

static void frame(char **field)
{
	static const char *const kinds[] = {"python", "native", "await", "note"};
	struct sw_recording_frame frame = {
		.kind = (enum sw_recording_kind)one_of(field[1], kinds, 4),
		.line = (uint32_t)natural(field[2]),
		.offset = natural(field[3]),
		.function = plain(field[4]),
		.file = plain(field[5]),
	};

	if ((numbers & (numbers - 1)) == 0)
		number = realloc(number, (numbers ? numbers * 2 : 1) * sizeof(*number));
	number[numbers++] = sw_recording_frame(recording, &frame);
}

static void sample(char **field)
{
	static uint32_t stack[DEPTH];
	struct sw_recording_sample sample = {
		.tid = (int)natural(field[1]),
		.weight_ns = natural(field[2]),
		.span = (int32_t)natural(field[3]),
		.thread = plain(field[4]),
		.task = plain(field[5]),
		.segment = plain(field[6]),
		.frame = stack,
	};

	for (char *at = field[7]; *at && sample.frames < DEPTH;) {
		uint64_t n = strtoull(at, &at, 10);

		stack[sample.frames++] = n < numbers ? number[n] : UINT32_MAX;
		at += *at == ' ';
	}
	refused += !sw_recording_add(recording, &sample);
}

static void end(char **field)
{
	struct sw_recording_totals totals = {natural(field[1]), natural(field[2]),
					     natural(field[3]), natural(field[4]),
					     natural(field[5])};

	sw_recording_end(recording, &totals);
}

static void take_line(char *line)
{
	static const struct {
		const char *word;
		void (*take)(char **field);
	} words[] = {{"about", about}, {"frame", frame}, {"sample", sample}, {"end", end}};
	static char nothing[1];
	char *field[FIELDS];

	line[strcspn(line, "\n")] = '\0';
	for (size_t i = 0; i < FIELDS; i++) {
		field[i] = line ? strsep(&line, "\t") : nothing;
	}
	for (size_t i = 0; i < SW_COUNT_OF(words); i++) {
		if (strcmp(field[0], words[i].word) == 0) {
			if (i && !recording)
				die("`about` comes first", "");
			words[i].take(field);
			return;
		}
	}
	if (field[0][0])
		die("unknown: ", field[0]);
}

static bool put(void *arg, const void *at, size_t len)
{
	return fwrite(at, 1, len, arg) == len;
}

static void write_to(const char *path)
{
	FILE *out = fopen(path, "w");

	if (!out || !sw_recording_write(recording, sw_recording_format(path), put, out) ||
	    fclose(out))
		die("cannot write ", path);
}

int main(int argc, char **argv)
{
	char *line = NULL;
	size_t room = 0;

	while (getline(&line, &room, stdin) > 0)
		take_line(line);
	if (!recording)
		die("nothing to record", "");
	for (int i = 1; i < argc; i++)
		write_to(argv[i]);
	printf("%llu refused\n", (unsigned long long)refused);
	sw_recording_free(recording);
	free(number);
	free(line);
	return 0;
}
