/*
 * C++ in the midst of calls: thrown PORT. Exceptions through frames of ours (a buffer's destructor
 * runs while a call is unwound), and threads that are cancelled, whose destructors make requests.
 */
#include "ask.h"

#include <cxxabi.h>
#include <pthread.h>
#include <stdexcept>
#include <unistd.h>

static int unwound;

struct Guard {
	~Guard()
	{
		unwound++;
		if (ask("in-destructor"))
			puts("a request failed");
	}
};

static void throws(int fd)
{
	Guard guard;
	char byte;

	if (recv(fd, &byte, 1, MSG_DONTWAIT) < 0)
		throw std::runtime_error("nothing there");
}

static void *waits(void *arg)
{
	Guard guard;
	char byte;

	try {
		recv(*(int *)arg, &byte, 1, 0);
	} catch (abi::__forced_unwind &) {
		throw;
	} catch (...) {
		puts("something else");
	}
	return NULL;
}

int main(int, char **argv)
{
	int fd, caught = 0;

	ask_port = atoi(argv[1]);
	fd = ask_open();
	for (int i = 0; i < 20; i++) {
		try {
			throws(fd);
		} catch (const std::exception &) {
			caught++;
		}
	}
	printf("caught %d\n", caught);
	unwound = 0;
	for (int i = 0; i < 20; i++) {
		pthread_t thread;

		pthread_create(&thread, NULL, waits, &fd);
		usleep(2000);
		pthread_cancel(thread);
		pthread_join(thread, NULL);
	}
	printf("unwound %d\n", unwound);
	ASK("last");
	return 0;
}
