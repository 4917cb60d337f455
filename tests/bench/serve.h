/*
 * What the servers of the benchmarks share: a loopback listener, counts in a file that the bench
 * maps. Whatever fails here ends the program and says why.
 */
#pragma once

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

static inline long must(long result, const char *what)
{
	if (result < 0) {
		fprintf(stderr, "%s: %s: %s\n", program_invocation_short_name, what,
			strerror(errno));
		exit(1);
	}
	return result;
}

/* flags: SOCK_NONBLOCK or 0. */
static inline int listen_on(int port, int flags)
{
	struct sockaddr_in address = {.sin_family = AF_INET,
				      .sin_port = htons((uint16_t)port),
				      .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	int on = 1,
	    fd = (int)must(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | flags, 0), "socket");

	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	must(bind(fd, (struct sockaddr *)&address, sizeof(address)), "bind");
	must(listen(fd, 128), "listen");
	return fd;
}

static inline void *map_counts(const char *path, size_t size)
{
	int fd = (int)must(open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600), path);
	void *at;

	must(ftruncate(fd, (off_t)size), path);
	at = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (at == MAP_FAILED)
		must(-1, "mmap");
	close(fd);
	return at;
}
