/*
 * For the programs of these tests: one request over a connection, checked to the last byte.
 */
#pragma once
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <arpa/inet.h>
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static int ask_port;

/* -1 with errno */
static inline int ask_open(void)
{
	struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)ask_port)};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), error;

	address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	if (fd < 0)
		return -1;
	while (connect(fd, (struct sockaddr *)&address, sizeof(address)) != 0) {
		if (errno == EISCONN)
			break;
		if (errno == EINTR || errno == EALREADY)
			continue;
		error = errno;
		close(fd);
		errno = error;
		return -1;
	}
	return fd;
}

/* 0, or the errno of what failed; an answer that ended early is EPROTO. A signal is no failure. */
static inline int ask_on(int fd, const char *path)
{
	char text[1024], want[128];
	int len = snprintf(text, sizeof(text), "GET /%s HTTP/1.1\r\nHost: h:80\r\n\r\n", path);
	size_t got = 0, sent = 0;
	ssize_t n;

	while (sent < (size_t)len) {
		n = send(fd, text + sent, (size_t)len - sent, MSG_NOSIGNAL);
		if (n < 0 && errno != EINTR)
			return errno;
		sent += n > 0 ? (size_t)n : 0;
	}
	snprintf(want, sizeof(want), "\r\n\r\nanswer to GET /%s of 0 bytes\n", path);
	while (got < sizeof(text) - 1) {
		n = recv(fd, text + got, sizeof(text) - 1 - got, 0);
		if (n == 0 || (n < 0 && errno != EINTR))
			return n ? errno : EPROTO;
		got += n > 0 ? (size_t)n : 0;
		text[got] = 0;
		if (strstr(text, want))
			return 0;
	}
	return EMSGSIZE;
}

/* On a connection of its own. */
static inline int ask(const char *path)
{
	int fd = ask_open(), error;

	if (fd < 0)
		return errno;
	error = ask_on(fd, path);
	close(fd);
	return error;
}

/* Printed, so that both runs can be compared. */
#define ASK(path)                                                                                  \
	do {                                                                                       \
		int error_ = ask(path);                                                            \
                                                                                                   \
		printf("%s: %s\n", path, error_ ? strerror(error_) : "ok");                        \
		fflush(stdout);                                                                    \
	} while (0)
