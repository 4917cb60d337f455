/*
 * Many of something: storm PORT WHAT COUNT. Prints what went wrong, and how many requests were made.
 *
 * many      requests on one connection
 * forks     children, while two threads make requests; each tenth makes one, each hundredth has a
 *           child that does (as forks.c, but without waiting for each: 8 at a time)
 * threads   at once, each with a request on a connection of its own
 * turns     threads one after the other (8 at a time), each with a request
 * small     as turns, with stacks of PTHREAD_STACK_MIN
 * late      threads whose destructor of thread-local data makes a request
 * leave     threads that make requests while one of them ends the process by exit(7)
 */
#include "ask.h"

#include <limits.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/wait.h>

static atomic_int failures, requests, stop;
static sem_t room;
static pthread_barrier_t all;
static pthread_key_t key;

static void fail(const char *what, int error)
{
	fprintf(stderr, "%s: %s\n", what, strerror(error));
	failures++;
}

static void request(const char *path)
{
	int error = ask(path);

	if (error)
		fail(path, error);
	else
		requests++;
}

static void many(int count)
{
	int fd = ask_open(), error;

	for (int i = 0; i < count; i++) {
		error = ask_on(fd, "many");
		if (error)
			fail("many", error);
		else
			requests++;
		usleep(i % 10 ? 100 : 20000);
	}
	close(fd);
}

/* ---- forks ---- */

static void *keep_asking(void *arg)
{
	int fd = ask_open(), error;

	while (!stop) {
		error = ask_on(fd, arg);
		if (error)
			fail(arg, error);
		requests++;
		usleep(500);
	}
	close(fd);
	return NULL;
}

static int status_of(pid_t pid)
{
	int status = 0;

	if (pid < 0 || waitpid(pid, &status, 0) != pid)
		return -1;
	return WIFEXITED(status) ? WEXITSTATUS(status) : -status;
}

static void child(int number)
{
	alarm(60); /* one that hangs is found */
	if (number % 100 == 0) {
		pid_t pid = fork();

		if (pid == 0) {
			request("grandchild");
			_exit(failures ? 1 : 7);
		}
		if (status_of(pid) != 7)
			_exit(1);
	} else if (number % 10 == 0) {
		request("child");
	}
	if (number % 3)
		_exit(failures ? 1 : 7);
	exit(failures ? 1 : 7);
}

#define AT_ONCE 8

static void forks(int count)
{
	pid_t pids[AT_ONCE] = {0};
	pthread_t thread[2];
	int status;

	for (int i = 0; i < 2; i++)
		pthread_create(&thread[i], NULL, keep_asking, i ? "second" : "first");
	for (int i = 0; i < count + AT_ONCE; i++) {
		pid_t *slot = &pids[i % AT_ONCE];

		if (*slot && (status = status_of(*slot)) != 7) {
			fprintf(stderr, "child %d ended with %d\n", i - AT_ONCE, status);
			failures++;
		}
		*slot = i < count ? fork() : 0;
		if (i < count && *slot == 0)
			child(i);
		if (*slot < 0)
			fail("fork", errno);
	}
	stop = 1;
	for (int i = 0; i < 2; i++)
		pthread_join(thread[i], NULL);
}

/* ---- threads ---- */

static void start(pthread_t *thread, void *(*run)(void *), size_t stack)
{
	pthread_attr_t attr;
	int error;

	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, stack);
	error = pthread_create(thread, &attr, run, NULL);
	if (error)
		fail("pthread_create", error);
}

static void *together(void *arg)
{
	int fd, error;

	pthread_barrier_wait(&all);
	fd = ask_open();
	error = fd < 0 ? errno : ask_on(fd, "together");
	if (error)
		fail("together", error);
	else
		requests++;
	pthread_barrier_wait(&all);
	close(fd);
	return arg;
}

static void threads(int count)
{
	pthread_t *thread = calloc((size_t)count, sizeof(*thread));

	pthread_barrier_init(&all, NULL, (unsigned)count);
	for (int i = 0; i < count; i++)
		start(&thread[i], together, 64 << 10);
	for (int i = 0; i < count; i++)
		pthread_join(thread[i], NULL);
}

static void *one_turn(void *arg)
{
	request("turn");
	sem_post(&room);
	return arg;
}

static void turns(int count, size_t stack)
{
	pthread_t thread[AT_ONCE];

	sem_init(&room, 0, AT_ONCE);
	for (int i = 0; i < count + AT_ONCE; i++) {
		if (i >= AT_ONCE)
			pthread_join(thread[i % AT_ONCE], NULL);
		if (i < count)
			start(&thread[i % AT_ONCE], one_turn, stack);
	}
}

static void destructor(void *value)
{
	int *rounds = value;

	request(*rounds == 1 ? "destructor-again" : "destructor");
	if (--*rounds)
		pthread_setspecific(key, value); /* libc calls us again */
	else
		free(rounds);
}

static void *with_destructor(void *arg)
{
	int *rounds = malloc(sizeof(int));

	*rounds = 2;
	pthread_setspecific(key, rounds);
	request("body");
	return arg;
}

static void late(int count)
{
	pthread_t thread;

	pthread_key_create(&key, destructor);
	for (int i = 0; i < count; i++) {
		start(&thread, with_destructor, 128 << 10);
		pthread_join(thread, NULL);
	}
}

static void *busy(void *arg)
{
	while (1)
		ask("busy");
	return arg;
}

static void *leaves(void *arg)
{
	usleep(50000);
	exit(7);
	return arg;
}

static void leave(int count)
{
	pthread_t thread;

	for (int i = 0; i < count; i++)
		start(&thread, busy, 128 << 10);
	start(&thread, leaves, 128 << 10);
	pthread_join(thread, NULL);
}

int main(int argc, char **argv)
{
	int count = atoi(argv[3]);
	const char *what = argv[2];

	(void)argc;
	ask_port = atoi(argv[1]);
	if (strcmp(what, "many") == 0)
		many(count);
	if (strcmp(what, "forks") == 0)
		forks(count);
	if (strcmp(what, "threads") == 0)
		threads(count);
	if (strcmp(what, "turns") == 0)
		turns(count, 64 << 10);
	if (strcmp(what, "small") == 0)
		turns(count, PTHREAD_STACK_MIN);
	if (strcmp(what, "late") == 0)
		late(count);
	if (strcmp(what, "leave") == 0)
		leave(count);
	printf("%d requests, %d failures\n", requests, failures);
	return failures != 0;
}
