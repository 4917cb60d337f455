/*
 * Says lines by every way that C has: says PORT WHAT [BUFFER]. Calls once first, so that it is watched,
 * and once at the end, so that what it said is sent. Each line of its own text is in the output once.
 * BUFFER: full, line or none, of stdout.
 */
#include "ask.h"

#include <fcntl.h>
#include <locale.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio_ext.h>
#include <sys/resource.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <syslog.h>
#include <wchar.h>

static const char *what;

static int by_list(FILE *file, const char *format, ...)
{
	va_list list;
	int n;

	va_start(list, format);
	n = vfprintf(file, format, list);
	va_end(list);
	return n;
}

static int by_fd_list(int fd, const char *format, ...)
{
	va_list list;
	int n;

	va_start(list, format);
	n = vdprintf(fd, format, list);
	va_end(list);
	return n;
}

static void put_chars(FILE *file, const char *text)
{
	for (; *text; text++)
		putc(*text, file);
}

/* `turn` chooses the way. */
static void say(FILE *file, int thread, int turn)
{
	char text[400], long_text[300];

	memset(long_text, 'x', sizeof(long_text));
	long_text[turn % 299] = 0;
	snprintf(text, sizeof(text), "t%d n%d \xe2\x82\xac %s", thread, turn, long_text);
	switch (turn % 8) {
	case 0:
		fprintf(file, "%s %d%c\n", text, turn, '%');
		break;
	case 1:
		strcat(text, "\n");
		fputs(text, file);
		break;
	case 2:
		strcat(text, "\n");
		fwrite(text, 1, strlen(text), file);
		break;
	case 3:
		strcat(text, "\n");
		flockfile(file);
		put_chars(file, text);
		funlockfile(file);
		break;
	case 4:
		by_list(file, "%s %5.2f %m\n", text, turn / 3.0);
		break;
	case 5:
		if (file == stdout)
			puts(text);
		else
			fprintf(file, "%s\n", text);
		break;
	case 6:
		if (file == stdout)
			printf("%s|%-10d|\n", text, turn);
		else
			fprintf(file, "%s|\n", text);
		break;
	default:
		fwrite_unlocked("", 1, 0, file);
		fprintf(file, "%s\n", text);
	}
}

static void *thread(void *arg)
{
	for (int i = 0; i < 200; i++)
		say(stdout, (int)(long)arg, i);
	return NULL;
}

static void threads(void)
{
	pthread_t id[8];

	for (long i = 0; i < 8; i++)
		pthread_create(&id[i], NULL, thread, (void *)i);
	for (int i = 0; i < 8; i++)
		pthread_join(id[i], NULL);
}

static void children(void)
{
	for (int i = 0; i < 4; i++) {
		if (fork() == 0) {
			for (int k = 0; k < 50; k++)
				dprintf(1, "child %d line %d of %s\n", i, k, "fifty");
			_exit(0);
		}
	}
	for (int i = 0; i < 200; i++) {
		char text[64];
		int len = snprintf(text, sizeof(text), "parent line %d\n", i);

		write(1, text, (size_t)len);
	}
	while (wait(NULL) > 0)
		;
}

static void many(void)
{
	for (int i = 0; i < 300; i++)
		say(i % 3 ? stdout : stderr, 0, i);
}

static void odd(void)
{
	struct iovec iov[4] = {{"pieces ", 7}, {"", 0}, {"of a ", 5}, {"vector\n", 7}};
	int n = 0, position;

	printf("half ");
	fflush(stdout);
	printf("and half\n");
	printf("counted%n\n", &n);
	printf("positions %2$s %1$s\n", "one", "two");
	fflush(stdout);
	writev(1, iov, 4);
	write(1, "raw ", 4);
	write(1, "write\n", 6);
	dprintf(1, "dprintf %d\n", n);
	by_fd_list(1, "vdprintf %d\n", n);
	errno = ENOENT;
	perror("perror");
	errno = EACCES;
	perror(NULL);
	errno = EPERM;
	fprintf(stderr, "%m %d\n", errno);
	printf("%s", "");
	puts("");
	fputs("the stream goes on", stdout);
	putchar('\n');
	fwrite("binary \0 inside\n", 1, 16, stdout);
	fflush(stdout);
	position = (int)ftell(stdout);
	fprintf(stderr, "errno %d position %d\n", errno, position < 0 ? -1 : 0);
}

static void wide(void)
{
	int result;

	setlocale(LC_ALL, "C.UTF-8");
	result = fputws(L"wide \u20ac line\n", stdout);
	fprintf(stderr, "fputws %d fwide %d printf %d fputs %d\n", result >= 0, fwide(stdout, 0) > 0,
		printf("narrow\n"), fputs("narrow\n", stdout));
	fprintf(stderr, "fwide of stderr %d\n", fwide(stderr, 0));
}

static void closed(void)
{
	int pair[2], n, error;

	signal(SIGPIPE, SIG_IGN);
	pipe(pair);
	dup2(pair[1], 1);
	close(pair[1]);
	close(pair[0]);
	n = printf("nobody reads this\n");
	error = fflush(stdout) ? errno : 0;
	fprintf(stderr, "printf %d fflush %s\n", n, strerror(error));
	n = (int)write(1, "nor this\n", 9);
	fprintf(stderr, "write %d %s\n", n, strerror(errno));
	close(1);
	n = (int)write(1, "nor that\n", 9);
	fprintf(stderr, "write %d %s\n", n, strerror(errno));
}

static void full(void)
{
	static char much[1 << 20];
	int pair[2];
	long total = 0, n;

	memset(much, 'm', sizeof(much));
	for (size_t i = 99; i < sizeof(much); i += 100)
		much[i] = '\n';
	pipe2(pair, O_NONBLOCK);
	dup2(pair[1], 1);
	while ((n = write(1, much + total, sizeof(much) - (size_t)total)) > 0)
		total += n;
	fprintf(stderr, "took %ld then %s\n", total, strerror(errno));
	n = write(1, much, 100);
	fprintf(stderr, "%ld %s\n", n, strerror(errno));
}

static void limited(void)
{
	struct rlimit limit = {1000, 1000};
	char much[700];
	long n;

	signal(SIGXFSZ, SIG_IGN);
	memset(much, 'l', sizeof(much));
	much[699] = '\n';
	dup2(open("limited.txt", O_CREAT | O_WRONLY | O_APPEND | O_TRUNC, 0600), 1);
	setrlimit(RLIMIT_FSIZE, &limit);
	for (int i = 0; i < 3; i++) {
		n = write(1, much, sizeof(much));
		fprintf(stderr, "%ld %s\n", n, n < 0 ? strerror(errno) : "");
	}
	n = printf("%700s\n", "x");
	n = fflush(stdout);
	fprintf(stderr, "%ld %s\n", n, strerror(errno));
}

static void reopened(void)
{
	FILE *file;

	printf("to the pipe\n");
	freopen("reopened.txt", "w", stdout);
	printf("to the file\n");
	fclose(stdout);
	file = fopen("other.txt", "w"); /* takes the number */
	fprintf(file, "data that is no log\n");
	fclose(file);
	fprintf(stderr, "reopened\n");
}

static volatile sig_atomic_t alarms;

static void on_alarm(int signal)
{
	(void)signal;
	alarms++;
	write(2, "alarm\n", 6);
}

static void signals(void)
{
	struct itimerval often = {{0, 500}, {0, 500}}, never = {0};
	long lines = 0;

	signal(SIGALRM, on_alarm);
	setitimer(ITIMER_REAL, &often, NULL);
	while (alarms < 200) {
		printf("line %ld amid signals\n", lines++);
		fflush(stdout);
		usleep(50);
	}
	setitimer(ITIMER_REAL, &never, NULL);
	dprintf(2, "%ld lines %d alarms\n", lines, (int)alarms);
}

static void *cancelled(void *arg)
{
	pthread_setcanceltype(PTHREAD_CANCEL_DEFERRED, NULL);
	for (;;) {
		printf("%s\n", (char *)arg);
		fflush(stdout);
	}
}

static void cancels(void)
{
	for (int i = 0; i < 50; i++) {
		pthread_t id;

		pthread_create(&id, NULL, cancelled, "until cancelled");
		usleep(500);
		pthread_cancel(id);
		pthread_join(id, NULL);
	}
	printf("all cancelled\n");
}

static void forked_half(void)
{
	write(1, "half of ", 8);
	if (fork() == 0) {
		write(1, "the child's\n", 12);
		_exit(0);
	}
	wait(NULL);
	write(1, "the parent's\n", 13);
}

static void sysloged(void)
{
	openlog("says", LOG_PERROR, LOG_USER);
	errno = ENOENT;
	syslog(LOG_ERR, "syslog %d: %m", 5);
	syslog(LOG_USER | LOG_DEBUG, "debug");
}

static void files(void)
{
	FILE *file = fopen("app.log", "a");
	int fd = open("raw.log", O_CREAT | O_WRONLY | O_APPEND, 0600), other;

	fprintf(file, "ERROR by file %d\n", 1);
	fclose(file);
	write(fd, "WARNING by descriptor\n", 22);
	other = dup(fd);
	close(fd);
	write(other, "WARNING by its duplicate\n", 25);
	close(other);
	fd = open("data.bin", O_CREAT | O_WRONLY, 0600);
	write(fd, "ERROR is data\n", 14);
	close(fd);
	fd = open("app.log", O_RDONLY);
	close(fd);
}

static void long_line(void)
{
	char *text = malloc(1 << 20);

	memset(text, 'L', 1 << 20);
	text[(1 << 20) - 1] = '\n';
	write(1, text, 1 << 20);
	printf("ERROR after it\n");
}

static void binary(void)
{
	unsigned char bytes[4096];

	for (int i = 0; i < 40; i++) {
		for (size_t k = 0; k < sizeof(bytes); k++)
			bytes[k] = (unsigned char)(k * 7 + (size_t)i * 31);
		write(1, bytes, sizeof(bytes));
	}
	write(1, "\xff\xfe ERROR broken \xe2\x82\n", 19);
}

static const struct {
	const char *name;
	void (*run)(void);
} ways[] = {
	{"threads", threads}, {"children", children}, {"many", many},	      {"odd", odd},
	{"wide", wide},	      {"closed", closed},     {"full", full},	      {"limited", limited},
	{"reopened", reopened}, {"signals", signals}, {"cancels", cancels},   {"half", forked_half},
	{"syslog", sysloged}, {"files", files},	      {"long", long_line},    {"binary", binary},
};

int main(int argc, char **argv)
{
	ask_port = atoi(argv[1]);
	what = argv[2];
	if (argc > 3)
		setvbuf(stdout, NULL,
			*argv[3] == 'f' ? _IOFBF : *argv[3] == 'l' ? _IOLBF : _IONBF, 4096);
	if (ask("first"))
		return 3;
	for (size_t i = 0; i < sizeof(ways) / sizeof(ways[0]); i++) {
		if (strcmp(ways[i].name, what) == 0)
			ways[i].run();
	}
	return ask("last") ? 4 : 0;
}
