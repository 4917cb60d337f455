/*
 * A server that reads requests as all do, and answers and closes where no hook is: PORT WAY COUNT.
 * WAY is stdio, flushed (before it is closed), or kernel: by system calls of its own. One
 * connection after the other, so each has the number of the last one.
 */
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

static const char answer[] = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

static long kernel(long number, long a, long b, long c)
{
	long result = number;

#if defined(__x86_64__)
	__asm__ volatile("syscall" : "+a"(result) : "D"(a), "S"(b), "d"(c) : "rcx", "r11", "memory");
#elif defined(__aarch64__)
	register long x8 __asm__("x8") = number, x0 __asm__("x0") = a, x1 __asm__("x1") = b,
			 x2 __asm__("x2") = c;

	__asm__ volatile("svc #0" : "+r"(x0) : "r"(x8), "r"(x1), "r"(x2) : "memory");
	result = x0;
#endif
	return result;
}

static void by_stdio(int fd, int flushes)
{
	FILE *file = fdopen(fd, "w");

	fputs(answer, file);
	if (flushes)
		fflush(file);
	fclose(file);
}

static void by_kernel(int fd)
{
	kernel(SYS_write, fd, (long)answer, sizeof(answer) - 1);
	kernel(SYS_close, fd, 0, 0);
}

int main(int argc, char **argv)
{
	struct sockaddr_in address = {.sin_family = AF_INET,
				      .sin_port = htons((unsigned short)atoi(argv[1]))};
	int listener = socket(AF_INET, SOCK_STREAM, 0), one = 1;

	(void)argc;
	setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	if (bind(listener, (void *)&address, sizeof(address)) || listen(listener, 9))
		return 1;
	for (int i = 0; i < atoi(argv[3]); i++) {
		char text[4096];
		int fd = accept(listener, NULL, NULL);

		if (read(fd, text, sizeof(text)) <= 0)
			return 2;
		if (strcmp(argv[2], "kernel"))
			by_stdio(fd, strcmp(argv[2], "stdio"));
		else
			by_kernel(fd);
	}
	return 0;
}
