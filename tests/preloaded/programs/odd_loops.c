/* Threads that wait in ways that a loop does not: odd_loops PORT. A handler jumps out of
 * epoll_wait, a thread is cancelled in it, hundreds come and go, a handler polls within a turn, a
 * vfork child waits. It serves two requests first, so that its main thread is a loop. Prints what
 * it saw. */
#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

static sigjmp_buf out;
static int pipes[2];

static void jump(int signal)
{
	siglongjmp(out, 1);
}

static void polls(int signal)
{
	struct pollfd two[2] = {{.fd = pipes[0], .events = POLLIN}, {.fd = -1}};
	int saved = errno;

	poll(two, 2, 1);
	errno = saved;
}

static int waiting(void)
{
	struct epoll_event event = {.events = EPOLLIN};
	int epoll = epoll_create1(EPOLL_CLOEXEC);

	epoll_ctl(epoll, EPOLL_CTL_ADD, pipes[0], &event);
	return epoll;
}

static void soon(int ms)
{
	struct itimerval timer = {.it_value = {.tv_usec = ms * 1000}};

	setitimer(ITIMER_REAL, &timer, NULL);
}

static void *loop(void *arg)
{
	struct epoll_event event;
	int epoll = waiting();

	for (int i = 0; arg || i < 3; i++)
		epoll_wait(epoll, &event, 1, arg ? -1 : 1);
	close(epoll);
	return NULL;
}

static void serve_two(int port)
{
	static const char done[] = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ndone";
	struct sockaddr_in addr = {.sin_family = AF_INET, .sin_port = htons(port)};
	struct epoll_event event = {.events = EPOLLIN};
	int fd = socket(AF_INET, SOCK_STREAM, 0), epoll = epoll_create1(0), talk, one = 1;
	char head[4096];

	inet_pton(AF_INET, "127.0.0.1", &addr.sin_addr);
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	bind(fd, (void *)&addr, sizeof(addr));
	listen(fd, 5);
	talk = accept4(fd, NULL, NULL, SOCK_NONBLOCK);
	epoll_ctl(epoll, EPOLL_CTL_ADD, talk, &event);
	for (int i = 0; i < 2; i++) {
		epoll_wait(epoll, &event, 1, -1);
		read(talk, head, sizeof(head));
		write(talk, done, sizeof(done) - 1);
	}
	close(talk);
	close(epoll);
	close(fd);
}

int main(int argc, char **argv)
{
	int epoll, status, result;
	struct epoll_event event;
	pthread_t thread;
	pid_t child;

	pipe(pipes);
	serve_two(atoi(argv[1]));
	epoll = waiting();
	signal(SIGALRM, jump);
	for (volatile int i = 0; i < 20; i++) {
		soon(2);
		if (!sigsetjmp(out, 1))
			epoll_wait(epoll, &event, 1, -1);
	}
	puts("jumped");
	signal(SIGALRM, polls);
	for (int i = 0; i < 20; i++) {
		soon(2);
		errno = 0;
		result = epoll_wait(epoll, &event, 1, 50);
		if (result >= 0 || errno != EINTR)
			printf("%d %s\n", result, strerror(errno));
	}
	puts("polled");
	for (int i = 0; i < 300; i++) {
		pthread_create(&thread, NULL, loop, i % 3 ? NULL : &out);
		if (i % 3 == 0) {
			usleep(500);
			pthread_cancel(thread);
		}
		pthread_join(thread, NULL);
	}
	puts("came and went");
	child = vfork();
	if (!child) {
		poll(NULL, 0, 1);
		epoll_wait(epoll, &event, 1, 1);
		_exit(7);
	}
	waitpid(child, &status, 0);
	printf("vfork %d\n", WEXITSTATUS(status));
	child = fork();
	if (!child) {
		for (int i = 0; i < 5; i++)
			epoll_wait(epoll, &event, 1, 1);
		_exit(8);
	}
	waitpid(child, &status, 0);
	printf("fork %d\n", WEXITSTATUS(status));
	errno = 5;
	result = epoll_wait(-1, &event, 1, 0);
	printf("%d %d\n", result, errno);
	result = epoll_wait(epoll, &event, -1, 0);
	printf("%d %d\n", result, errno);
	result = epoll_wait(epoll, NULL, 1, 0);
	printf("%d\n", result);
	return 0;
}
