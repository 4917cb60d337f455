/*
 * What curl and OpenSSL get when they ask libc for things that are the program's, or that we do for
 * them. These definitions are hidden and win over libc's within this object only.
 *
 *   threads, children, signal handlers, other objects   none; curl's resolver would be a thread
 *   descriptors       sockets are opened by sockets.c; curl's pair to wake itself is not needed
 *   the resolver      addresses are given (transport.c)
 *   send, recv, connect   real, by the kernel's own names: not through our own hooks, and only on
 *                     a descriptor that is still ours
 */
#include <netdb.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "preload/sys.h"
#include "reporter/plugins/http/sockets.h"

/* As libc's functions answer. */
static long with_errno(long result)
{
	if (result >= 0)
		return result;
	errno = (int)-result;
	return -1;
}

int pthread_create(pthread_t *restrict thread, const pthread_attr_t *restrict attr,
		   void *(*start)(void *), void *restrict arg)
{
	(void)thread, (void)attr, (void)start, (void)arg;
	return EAGAIN;
}

pid_t fork(void)
{
	return (pid_t)with_errno(-EAGAIN);
}

int sigaction(int number, const struct sigaction *restrict action, struct sigaction *restrict old)
{
	(void)number, (void)action;
	if (old)
		*old = (struct sigaction){.sa_handler = SIG_DFL};
	return 0;
}

void *dlopen(const char *path, int flags);
void *dlopen(const char *path, int flags)
{
	(void)path, (void)flags;
	return NULL;
}

int socketpair(int domain, int type, int protocol, int pair[2])
{
	(void)domain, (void)type, (void)protocol, (void)pair;
	return (int)with_errno(-EMFILE);
}

int socket(int domain, int type, int protocol)
{
	(void)domain, (void)type, (void)protocol;
	return (int)with_errno(-EMFILE);
}

int getaddrinfo(const char *restrict name, const char *restrict service,
		const struct addrinfo *restrict hints, struct addrinfo **restrict list)
{
	(void)name, (void)service, (void)hints, (void)list;
	return EAI_FAIL;
}

int connect(int fd, const struct sockaddr *address, socklen_t len)
{
	return (int)with_errno(sw_sockets_ours(fd) ? sw_sys(connect, fd, address, len) : -EBADF);
}

ssize_t send(int fd, const void *bytes, size_t len, int flags)
{
	if (!sw_sockets_ours(fd))
		return with_errno(-EBADF);
	return with_errno(
		sw_sys(sendto, fd, bytes, len, flags | MSG_NOSIGNAL | MSG_DONTWAIT, NULL, 0));
}

ssize_t recv(int fd, void *bytes, size_t len, int flags)
{
	if (!sw_sockets_ours(fd))
		return with_errno(-EBADF);
	return with_errno(sw_sys(recvfrom, fd, bytes, len, flags | MSG_DONTWAIT, NULL, NULL));
}
