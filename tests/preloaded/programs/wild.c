/*
 * Pointers that the kernel refuses: wild PORT. Each call is made on a connection where a request
 * could begin; prints results and errno, then makes a whole request.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

static void *const wild = (void *)0x123456000;

static void said(const char *what, ssize_t result)
{
	printf("%s %zd %d\n", what, result, result < 0 ? errno : 0);
	errno = 0;
}

int main(int argc, char **argv)
{
	struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(argv[1]))};
	char *pages = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	const char *request = "GET /whole HTTP/1.1\r\nHost: h\r\n\r\n";
	int fd = socket(AF_INET, SOCK_STREAM, 0);
	struct iovec both[2] = {{pages + 4080, 10}, {wild, 10}};
	struct msghdr msg = {.msg_iov = both, .msg_iovlen = 2};
	char answer[1000];

	(void)argc;
	address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	if (connect(fd, (struct sockaddr *)&address, sizeof(address)) ||
	    mprotect(pages + 4096, 4096, PROT_NONE))
		return 1;
	memset(pages, 'G', 4096);
	said("send", send(fd, wild, 100, 0));
	said("write", write(fd, wild, 100));
	said("over the edge", send(fd, pages + 4090, 100, 0));
	said("writev", writev(fd, both + 1, 1));
	said("sendmsg", sendmsg(fd, &msg, 0));
	said("nothing", send(fd, NULL, 0, 0));
	said("null", send(fd, NULL, 5, 0));
	said("recv", recv(fd, wild, 5, MSG_DONTWAIT));
	memcpy(pages + 4096 - strlen(request), request, strlen(request)); /* its last byte is the page's */
	said("whole", send(fd, pages + 4096 - strlen(request), strlen(request), 0));
	said("answer", recv(fd, answer, sizeof(answer), 0) > 0);
	return 0;
}
