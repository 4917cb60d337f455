/*
 * A kernel that takes few bytes: loaded after the agent, so that the agent's calls end here. STINGY
 * says how many bytes of a socket a call takes; with STINGY_BUSY every other call on a socket that
 * does not block takes none (EAGAIN).
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

static size_t most;
static int busy;

__attribute__((constructor)) static void start(void)
{
	most = getenv("STINGY") ? (size_t)atol(getenv("STINGY")) : 1;
	busy = getenv("STINGY_BUSY") != NULL;
}

static int is_socket(int fd)
{
	int type;
	socklen_t len = sizeof(type);

	return getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &len) == 0 && type == SOCK_STREAM;
}

/* Called directly: by its exported name it would be the agent's again. */
static ssize_t take_few(int fd, const struct msghdr *msg, int flags)
{
	static ssize_t (*real)(int, const struct msghdr *, int);
	static unsigned turn;
	struct iovec iov[1024];
	struct msghdr few = *msg;
	size_t left = most;

	if (!real)
		real = (ssize_t (*)(int, const struct msghdr *, int))dlsym(RTLD_NEXT, "sendmsg");
	if (!is_socket(fd))
		return real(fd, msg, flags);
	if (busy && ++turn % 2 && ((flags & MSG_DONTWAIT) || (fcntl(fd, F_GETFL) & O_NONBLOCK))) {
		errno = EAGAIN;
		return -1;
	}
	few.msg_iov = iov;
	few.msg_iovlen = 0;
	for (size_t i = 0; i < msg->msg_iovlen && left; i++) {
		size_t len = msg->msg_iov[i].iov_len < left ? msg->msg_iov[i].iov_len : left;

		iov[few.msg_iovlen++] = (struct iovec){msg->msg_iov[i].iov_base, len};
		left -= len;
	}
	return real(fd, &few, flags);
}

ssize_t sendmsg(int fd, const struct msghdr *msg, int flags)
{
	return take_few(fd, msg, flags);
}

ssize_t send(int fd, const void *buf, size_t len, int flags)
{
	struct iovec iov = {(void *)buf, len};
	struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};

	return take_few(fd, &msg, flags);
}

ssize_t writev(int fd, const struct iovec *iov, int count)
{
	static ssize_t (*real)(int, const struct iovec *, int);
	struct msghdr msg = {.msg_iov = (struct iovec *)iov, .msg_iovlen = (size_t)count};

	if (!real)
		real = (ssize_t (*)(int, const struct iovec *, int))dlsym(RTLD_NEXT, "writev");
	return is_socket(fd) ? take_few(fd, &msg, 0) : real(fd, iov, count);
}

ssize_t write(int fd, const void *buf, size_t len)
{
	static ssize_t (*real)(int, const void *, size_t);
	struct iovec iov = {(void *)buf, len};
	struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};

	if (!real)
		real = (ssize_t (*)(int, const void *, size_t))dlsym(RTLD_NEXT, "write");
	return is_socket(fd) ? take_few(fd, &msg, 0) : real(fd, buf, len);
}
