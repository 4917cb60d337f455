/*
 * What C programs may do with stdio that a second look must not break: printing WHAT, after a
 * connection, so that stdout is captured.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <printf.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <syslog.h>
#include <unistd.h>

static int calls;

static int print_calls(FILE *file, const struct printf_info *info, const void *const *args)
{
	(void)info, (void)args;
	return fprintf(file, "<%d>", ++calls);
}

static int no_arguments(const struct printf_info *info, size_t n, int *types, int *sizes)
{
	(void)info, (void)n, (void)types, (void)sizes;
	return 0;
}

/* Wild pointers are the kernel's to refuse. */
static void wild(void)
{
	void *nowhere = (void *)0x10000;
	ssize_t a = sendmsg(1, nowhere, 0), b = writev(1, nowhere, 1), c = write(1, nowhere, 1);

	dprintf(2, "%zd %zd %zd\n", a, b, c);
	dprintf(2, "%zd %d\n", send(1, "not a socket\n", 13, 0), errno);
}

/* A number that libc has closed behind our back is not a log any more. */
static void reopened(void)
{
	int pair[2];

	if (freopen("/dev/null/file", "w", stdout))
		abort();
	socketpair(AF_UNIX, SOCK_STREAM, 0, pair);
	write(pair[0], "CRITICAL: between processes\n", 28);
	dprintf(2, "%d\n", pair[0]);
}

int main(int argc, char **argv)
{
	struct sockaddr_in peer = {.sin_family = AF_INET, .sin_port = htons(1)};
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	(void)argc;
	peer.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	connect(fd, (struct sockaddr *)&peer, sizeof(peer));
	close(fd);
	if (strcmp(argv[1], "nothing") == 0)
		dprintf(2, "%zu\n", fwrite("x", 0, 0, NULL));
	if (strcmp(argv[1], "wild") == 0)
		wild();
	if (strcmp(argv[1], "reopened") == 0)
		reopened();
	if (strcmp(argv[1], "own") == 0) {
		setvbuf(stdout, NULL, _IONBF, 0);
		register_printf_specifier('W', print_calls, no_arguments);
		printf("%W\n");
		printf("%W\n");
	}
	if (strcmp(argv[1], "masked") == 0) {
		setlogmask(LOG_UPTO(LOG_ERR));
		syslog(LOG_ERR, "an error");
		syslog(LOG_WARNING, "CRITICAL: masked");
	}
	return 0;
}
