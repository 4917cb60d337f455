/*
 * swagent profile: asks a process for a profile, gathers it and writes it down.
 *
 * What came until the process ended, was killed or became another image is kept, and gone on with
 * where it lives on. A program that it has started itself keeps its input, output, signals and exit
 * status; the profile is beside that.
 */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "preload/profile.h"
#include "reporter/cli/cli.h"
#include "reporter/gather.h"

#define SECOND_NS 1000000000ull
#define AGAIN_NS 20000000ull	/* between two attempts to reach it */
#define AT_ONCE_NS 200000000ull /* a fork, after which it comes back */
#define SELDOM_NS 500000000ull	/* after a while */
#define SILENCE_NS 40000000000ull
#define PATIENCE_NS 3000000000ull /* for one that has become another image */
#define LAST_NS 2000000000ull	  /* for what is left, once it was said that it is enough */
#define DAY_S 86400

static const char help[] =
	"usage: swagent profile [options] PID\n"
	"       swagent profile [options] -- PROGRAM [ARGUMENT...]\n"
	"\n"
	"Where the time of a program goes. PID runs under the agent (LD_PRELOAD=libswagent.so);\n"
	"PROGRAM is started under it, and keeps its input, output, signals and exit status.\n"
	"\n"
	"  --cpu         time of the processor, of threads that ran (this is the default)\n"
	"  --wall        all time, of all threads\n"
	"  --off-cpu     time in which threads did not run, and what they waited for\n"
	"  -d SECONDS    for so long; else until Ctrl-C, or the program's end\n"
	"  -F HERTZ      looks at each thread in a second, 1 to 1000 (default: 100)\n"
	"  -o FILE       .html (flame graph), .pb.gz (pprof), .json (speedscope), .folded\n"
	"                (collapsed stacks); - is the last on stdout (default: profile-PID.html)\n"
	"  -q            says nothing but errors\n";

static const char *const mode_names[] = {"cpu", "wall", "off-cpu"};

struct options {
	uint32_t mode;
	double seconds; /* 0: without end */
	uint64_t hertz;
	const char *output; /* NULL: the default */
	bool quiet;
	pid_t pid;
	char **program; /* NULL: pid */
};

struct session {
	struct options options;
	struct sw_cli_target target;
	struct sw_recording *recording;
	enum sw_recording_format format;
	char path[4096];
	uint64_t end_ns;  /* CLOCK_MONOTONIC; 0: none */
	uint64_t lost_ns; /* since when it is not attached */
	uint64_t away_ns; /* not attached, between two times that it was */
	bool attached;	  /* once at least */
	bool tried;	  /* somebody listened */
	bool was;	  /* attached, when this was looked at last */
	bool enough;
	uint64_t enough_ns;
	bool ended; /* the program that was started */
	int status; /* of waitpid */
};

static struct session s;
static sigset_t waiting; /* the mask while we wait: what is heard comes then */
static volatile sig_atomic_t interrupted;
static volatile sig_atomic_t child_ended;

static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * SECOND_NS + (uint64_t)t.tv_nsec;
}

/* ---- the command line ---- */

static bool read_number(const char *text, double least, double most, double *ret_number)
{
	char *end;
	double n = strtod(text, &end);

	if (end == text || *end || !(n >= least && n <= most))
		return false;
	*ret_number = n;
	return true;
}

static int wrong(const char *what, const char *value)
{
	sw_cli_say("%s: %s (swagent profile --help)", value, what);
	return SW_CLI_WRONG;
}

static int read_option(int c, struct options *o)
{
	double n = 0;

	switch (c) {
	case 'd':
		if (!read_number(optarg, 0.001, DAY_S, &n))
			return wrong("not a number of seconds", optarg);
		o->seconds = n;
		return 0;
	case 'F':
		if (!read_number(optarg, 1, 1000, &n))
			return wrong("not a frequency from 1 to 1000", optarg);
		o->hertz = (uint64_t)n;
		return 0;
	case 'o':
		o->output = optarg;
		return 0;
	case 'q':
		o->quiet = true;
		return 0;
	case 'h':
		fputs(help, stdout);
		exit(0);
	default:
		if (c < 1000)
			return SW_CLI_WRONG; /* getopt has said it */
		o->mode = (uint32_t)c - 1000;
		return 0;
	}
}

static int read_target(int argc, char **argv, bool dashes, struct options *o)
{
	double pid;

	if (dashes && argc > 0) {
		o->program = argv;
		return 0;
	}
	if (argc != 1)
		return wrong("one PID, or -- PROGRAM", argc ? argv[1] : "nothing to profile");
	if (!read_number(argv[0], 1, 1 << 30, &pid))
		return wrong("not a process id; a program comes after --", argv[0]);
	o->pid = (pid_t)pid;
	return 0;
}

static int read_options(int argc, char **argv, struct options *o)
{
	static const struct option longer[] = {
		{"cpu", no_argument, NULL, 1000 + SW_PROFILE_CPU},
		{"wall", no_argument, NULL, 1000 + SW_PROFILE_WALL},
		{"off-cpu", no_argument, NULL, 1000 + SW_PROFILE_OFF_CPU},
		{"duration", required_argument, NULL, 'd'},
		{"frequency", required_argument, NULL, 'F'},
		{"output", required_argument, NULL, 'o'},
		{"quiet", no_argument, NULL, 'q'},
		{"help", no_argument, NULL, 'h'},
		{NULL, 0, NULL, 0},
	};
	int c, error = 0;

	*o = (struct options){.hertz = 100};
	while (!error && (c = getopt_long(argc, argv, "+d:F:o:qh", longer, NULL)) != -1)
		error = read_option(c, o);
	if (error)
		return error;
	return read_target(argc - optind, argv + optind, strcmp(argv[optind - 1], "--") == 0, o);
}

static int choose_output(pid_t pid)
{
	const char *output = s.options.output;

	if (!output)
		snprintf(s.path, sizeof(s.path), "profile-%d.html", (int)pid);
	else if (strlen(output) < sizeof(s.path))
		memcpy(s.path, output, strlen(output) + 1);
	s.format = strcmp(s.path, "-") == 0 ? SW_FORMAT_FOLDED : sw_recording_format(s.path);
	if (s.format == SW_FORMAT_NONE)
		return wrong("ends in none of .html, .pb.gz, .json, .folded", s.path);
	return 0;
}

/* ---- writing it down ---- */

static bool put(void *arg, const void *at, size_t len)
{
	return fwrite(at, 1, len, arg) == len;
}

static bool write_to(FILE *file)
{
	bool ok = sw_recording_write(s.recording, s.format, put, file);

	return fflush(file) == 0 && ok;
}

/* What is there already is somebody's, and may be a link to what is precious. */
static FILE *create(const char *path)
{
	int fd;
	FILE *file;

	unlink(path);
	fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
	file = fd < 0 ? NULL : fdopen(fd, "w");
	if (fd >= 0 && !file)
		close(fd);
	return file;
}

/* Under another name first: a file that is there is a whole one. */
static bool write_file(void)
{
	char other[sizeof(s.path) + 8];
	bool ok;
	FILE *file;

	if (strcmp(s.path, "-") == 0)
		return write_to(stdout);
	snprintf(other, sizeof(other), "%s.part", s.path);
	file = create(other);
	ok = file && write_to(file);
	if (file)
		ok = fclose(file) == 0 && ok;
	ok = ok && rename(other, s.path) == 0;
	if (!ok && file) {
		int error = errno;

		unlink(other);
		errno = error;
	}
	return ok;
}

static void say_result(const struct sw_cli_counts *c)
{
	double share = c->due ? 100.0 * (double)c->taken / (double)c->due : 100.0;

	sw_cli_say("%s: %.1f s of %s at %llu Hz: %llu of %llu stacks due taken (%.1f %%), %llu "
		   "missed, %llu lost; it took %.3f s of a processor",
		   strcmp(s.path, "-") == 0 ? "stdout" : s.path, (double)c->duration_ns / 1e9,
		   mode_names[s.options.mode], (unsigned long long)s.options.hertz,
		   (unsigned long long)c->taken, (unsigned long long)c->due, share,
		   (unsigned long long)c->missed, (unsigned long long)c->lost,
		   (double)c->used_ns / 1e9);
	if (c->shared > c->taken / 20)
		sw_cli_say("%llu of them share a stack with another look: threads answer at the "
			   "kernel's "
			   "tick (SW_AGENT_PROFILE_SIGNAL=direct asks for one at once)",
			   (unsigned long long)c->shared);
	if (s.away_ns > SECOND_NS / 10)
		sw_cli_say("nobody could look for %.1f s of it: it has forked, become another "
			   "image, or filters its system calls",
			   (double)s.away_ns / 1e9);
	if (!c->due && s.options.mode != SW_PROFILE_CPU && c->duration_ns > SECOND_NS / 10)
		sw_cli_say("no thread was seen: is there a /proc where the program is?");
	if (s.target.why[0])
		sw_cli_say("without frames of Python's: %s", s.target.why);
}

static bool finish(void)
{
	struct sw_cli_counts *c = &s.target.before;
	struct sw_recording_totals totals;

	/* A recording counts what it refused itself. */
	totals = (struct sw_recording_totals){c->duration_ns, c->due, c->taken + c->lost, c->missed,
					      c->lost};
	c->lost += sw_gather_lost(s.target.gather);
	c->taken -= SW_MIN(c->taken, sw_gather_lost(s.target.gather));
	sw_recording_end(s.recording, &totals);
	if (!write_file()) {
		sw_cli_say("cannot write %s: %s", s.path, strerror(errno));
		return false;
	}
	if (!s.options.quiet)
		say_result(c);
	return true;
}

/* ---- while it runs ---- */

static void on_signal(int signal)
{
	if (signal == SIGCHLD)
		child_ended = 1;
	else
		interrupted = signal;
}

/* One that we have started gets its signals itself: from the terminal, or from us. */
static void hear_signals(void)
{
	static const int heard[] = {SIGCHLD, SIGINT, SIGTERM, SIGHUP, SIGQUIT};
	struct sigaction action = {.sa_handler = on_signal};
	sigset_t block;

	sigemptyset(&block);
	for (size_t i = 0; i < SW_COUNT_OF(heard); i++) {
		sigaddset(&block, heard[i]);
		sigaction(heard[i], &action, NULL);
	}
	signal(SIGXFSZ, SIG_IGN); /* what cannot be written is said */
	if (s.options.program)	  /* and its status is worth more */
		signal(SIGPIPE, SIG_IGN);
	sigprocmask(SIG_BLOCK, &block, &waiting);
	for (size_t i = 0; i < SW_COUNT_OF(heard); i++)
		sigdelset(&waiting, heard[i]);
}

static void look_at_child(void)
{
	if (!s.options.program || s.ended)
		return;
	s.ended = waitpid(s.target.pid, &s.status, WNOHANG) == s.target.pid;
}

static bool is_gone(void)
{
	return s.options.program ? s.ended : !sw_cli_lives(s.target.pid);
}

static void want_no_more(void)
{
	if (s.enough)
		return;
	s.enough = true;
	s.enough_ns = now_ns();
	sw_cli_enough(&s.target);
}

/* A signal to us: one to the program, if it is ours, else the end of the profile. The second one
 * does not wait for what is left. */
static void heed_signal(void)
{
	int signal = interrupted;

	interrupted = 0;
	if (!signal)
		return;
	if (s.options.program) {
		if (signal == SIGTERM || signal == SIGHUP)
			kill(s.target.pid, signal);
	} else if (s.enough) {
		s.enough_ns = 1;
	} else {
		want_no_more();
	}
}

/* False: it cannot be had, and was said why. */
static bool reach_again(void)
{
	enum sw_cli_attached attached = sw_cli_attach(&s.target);

	s.tried |= attached == SW_CLI_ATTACHED;
	return attached != SW_CLI_NEVER;
}

/* The time that was asked for begins with the profile. */
static void notice_answer(void)
{
	if (s.target.answered && !s.was && s.attached)
		s.away_ns += now_ns() - s.lost_ns;
	s.was = s.target.answered;
	s.attached |= s.was;
	if (s.was && s.options.seconds > 0 && !s.end_ns)
		s.end_ns = now_ns() + (uint64_t)(s.options.seconds * 1e9);
}

/* How long it may take until something is to be done; 0: it is over. */
static uint64_t step_ns(uint64_t now)
{
	if (s.target.fd >= 0)
		return s.enough ? SECOND_NS / 20 : SECOND_NS / 4;
	if (s.enough || is_gone() || s.target.refused || (s.target.over && !s.target.goes_on))
		return 0;
	if (!s.options.program && now - s.lost_ns > PATIENCE_NS)
		return 0;
	if (now - s.lost_ns < AT_ONCE_NS)
		return AGAIN_NS / 10;
	return now - s.lost_ns > PATIENCE_NS ? SELDOM_NS : AGAIN_NS;
}

static void wait_for(uint64_t ns)
{
	struct pollfd one = {s.target.fd, POLLIN, 0};
	struct timespec t = {(time_t)(ns / SECOND_NS), (long)(ns % SECOND_NS)};

	if (ppoll(&one, s.target.fd >= 0, &t, &waiting) > 0 && !sw_cli_read(&s.target)) {
		notice_answer();
		if (s.target.answered) /* else it is still the same attempt */
			s.lost_ns = now_ns();
		sw_cli_detach(&s.target);
		s.was = false;
	}
}

/* One that listens and never says anything; ours does within 30 s, if it gets a core. */
static bool is_silent(uint64_t now)
{
	return !s.options.program && s.target.fd >= 0 && !s.target.answered &&
	       now - s.lost_ns > SILENCE_NS;
}

/* Once, of one that takes its time. */
static void say_patience(uint64_t now)
{
	static bool said;

	if (said || s.options.quiet || s.options.program || s.target.fd < 0 || s.attached ||
	    now - s.lost_ns < SECOND_NS)
		return;
	said = true;
	sw_cli_say("waits for %d: it is idle, and could not be woken", (int)s.target.pid);
}

/* Once around. False: it is over. */
static bool turn(void)
{
	uint64_t now = now_ns(), ns;

	look_at_child();
	heed_signal();
	notice_answer();
	say_patience(now);
	if (s.end_ns && now >= s.end_ns)
		want_no_more();
	if (s.enough && now > s.enough_ns + LAST_NS)
		return false;
	ns = is_silent(now) ? 0 : step_ns(now);
	if (!ns || (s.target.fd < 0 && !reach_again()))
		return false;
	if (s.end_ns && !s.enough)
		ns = SW_MIN(ns, s.end_ns - now + 1000);
	wait_for(ns);
	return true;
}

static void profile(void)
{
	hear_signals();
	s.lost_ns = now_ns();
	if (!s.options.program && !reach_again())
		return;
	if (!s.options.program && s.target.fd < 0) {
		sw_cli_say_why_not(s.target.pid);
		return;
	}
	while (turn())
		;
	if (s.attached && s.target.fd < 0 && !s.enough)
		s.away_ns += now_ns() - s.lost_ns;
	sw_cli_detach(&s.target);
}

/* The profile is over; the program that we have started goes on. */
static void wait_for_program(void)
{
	while (s.options.program && !s.ended) {
		ppoll(NULL, 0, NULL, &waiting);
		look_at_child();
		heed_signal();
	}
}

/* As the program ended, so do we. */
static int end_like(int status)
{
	struct rlimit none = {0, 0};
	sigset_t all;

	if (!WIFSIGNALED(status))
		return WEXITSTATUS(status);
	setrlimit(RLIMIT_CORE, &none);
	signal(WTERMSIG(status), SIG_DFL);
	sigemptyset(&all);
	sigprocmask(SIG_SETMASK, &all, NULL);
	raise(WTERMSIG(status));
	return 128 + WTERMSIG(status);
}

static bool make_recording(char *line, size_t size)
{
	struct timespec t;
	struct sw_recording_about about = {
		.mode = (enum sw_recording_mode)s.options.mode,
		.pid = s.target.pid,
		.program = sw_cli_line(s.target.pid, line, size),
		.period_ns = s.target.period_ns,
	};

	clock_gettime(CLOCK_REALTIME, &t);
	about.start_ms = (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
	s.recording = sw_recording_new(&about);
	s.target.gather = s.recording ? sw_gather_new(s.recording) : NULL;
	if (!s.target.gather)
		sw_cli_say("no memory");
	return s.target.gather != NULL;
}

int sw_cli_profile(int argc, char **argv)
{
	static char line[4096];
	int error = read_options(argc, argv, &s.options);
	bool ok;

	s.target.fd = -1;
	s.target.mode = s.options.mode;
	s.target.pid = s.options.pid;
	if (!error)
		error = choose_output(s.target.pid);
	if (error)
		return error;
	s.target.period_ns = SECOND_NS / s.options.hertz;
	if (s.options.program && (s.target.pid = sw_cli_start(s.options.program)) < 0)
		return 127;
	choose_output(s.target.pid);
	if (!make_recording(line, sizeof(line)))
		return SW_CLI_FAILED;
	profile();
	if (strcmp(s.path, "-") == 0) /* which is the program's, too */
		wait_for_program();
	if (!s.options.program && !s.attached && s.tried && !s.target.refused && !is_gone())
		sw_cli_say("process %d does not answer", (int)s.target.pid);
	if (s.options.program && !s.attached && !s.target.refused)
		sw_cli_say("%s ended before it could be looked at, or has not loaded the agent "
			   "(SW_AGENT_ENABLE, a static or setuid program): no profile",
			   s.options.program[0]);
	ok = s.attached && !(s.target.refused && !s.target.before.due) && finish();
	sw_gather_free(s.target.gather);
	sw_recording_free(s.recording);
	wait_for_program();
	return s.options.program ? end_like(s.status) : ok ? 0 : SW_CLI_FAILED;
}
