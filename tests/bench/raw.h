/*
 * System calls without libc, so that no preloaded library sees them: the other end of a connection
 * lives in the same thread as the measured one and stays invisible. x86-64 only, like the bench.
 */
#pragma once

#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>

static inline long raw_call(long number, long a, long b, long c, long d, long e)
{
	register long r10 __asm__("r10") = d;
	register long r8 __asm__("r8") = e;
	register long r9 __asm__("r9") = 0;
	long result;

	__asm__ volatile("syscall"
			 : "=a"(result)
			 : "a"(number), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
			 : "rcx", "r11", "memory");
	return result;
}

/* Ends the program unless `result` is as promised. */
static inline long must(long result, const char *what)
{
	if (result < 0) {
		fprintf(stderr, "calls: %s: failed (%ld, errno %d)\n", what, result, errno);
		exit(1);
	}
	return result;
}

static inline long raw_socket(void)
{
	return must(raw_call(SYS_socket, AF_INET, SOCK_STREAM, 0, 0, 0), "raw socket");
}

static inline void raw_connect(long fd, const struct sockaddr_in *address)
{
	must(raw_call(SYS_connect, fd, (long)address, sizeof(*address), 0, 0), "raw connect");
}

static inline void raw_send(long fd, const char *bytes, size_t len)
{
	must(raw_call(SYS_write, fd, (long)bytes, (long)len, 0, 0), "raw write");
}

static inline long raw_receive(long fd, char *buf, size_t room)
{
	return must(raw_call(SYS_read, fd, (long)buf, (long)room, 0, 0), "raw read");
}
