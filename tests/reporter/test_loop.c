/*
 * The contract of loops (reporter/loop.h), kept by each of them, in the program's descriptor table
 * and in one of our own. A test runs on a thread that is made to be ours, and says there what it
 * has found amiss.
 */
#include "reporter/loop.h"

#include <criterion/criterion.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/timerfd.h>
#include <sys/wait.h>

#include "preload/config.h"
#include "preload/fds.h"
#include "preload/guard.h"
#include "preload/sys.h"

#define MS 1000000ll
#define MANY 100
#define FEW 12
#define STEPS 4000

static const struct place {
	const char *name;
	enum sw_loop_choice loop;
	bool private;
} places[] = {
	{"epoll, the program's table", SW_LOOP_EPOLL, false},
	{"epoll, a table of our own", SW_LOOP_EPOLL, true},
	{"io_uring, a table of our own", SW_LOOP_IO_URING, true},
};

/* One watched end of a pair of sockets, and what was told of it. */
struct end {
	struct sw_watch watch;
	int other;
	unsigned told;
	uint32_t events;
};

static struct sw_loop loop;
static const struct place *place;
static void (*body)(void);
static char amiss[256];

#define MUST(...)                                                                                  \
	do {                                                                                       \
		if (!(__VA_ARGS__)) {                                                              \
			if (!amiss[0])                                                             \
				snprintf(amiss, sizeof(amiss), "line %d: %s", __LINE__,            \
					 #__VA_ARGS__);                                            \
			return;                                                                    \
		}                                                                                  \
	} while (0)

static void *on_our_thread(void *arg)
{
	(void)arg;
	sw_guest_mark_ours();
	if (place->private && !sw_fd_go_private())
		snprintf(amiss, sizeof(amiss), "no table of our own");
	sw_config.loop = place->loop;
	if (!amiss[0] && sw_loop_open(&loop))
		snprintf(amiss, sizeof(amiss), "it does not open");
	if (!amiss[0] && strncmp(place->name, loop.backend->name, 5) != 0)
		snprintf(amiss, sizeof(amiss), "it is %s", loop.backend->name);
	if (!amiss[0])
		body();
	if (loop.backend && loop.fd >= 0)
		sw_loop_close(&loop);
	return NULL;
}

static void everywhere(void (*test)(void))
{
	body = test;
	for (place = places; place < places + SW_COUNT_OF(places); place++) {
		pthread_t thread;

		amiss[0] = 0;
		memset(&loop, 0, sizeof(loop));
		pthread_create(&thread, NULL, on_our_thread, NULL);
		pthread_join(thread, NULL);
		sw_fd_forget_private();
		cr_assert(!amiss[0], "%s: %s", place->name, amiss);
	}
}

/* The same test in every place. */
#define LOOP_TEST(test)                                                                            \
	static void test(void);                                                                    \
	Test(loop, test, .timeout = 60)                                                            \
	{                                                                                          \
		everywhere(test);                                                                  \
	}                                                                                          \
	static void test(void)

static void note(struct sw_watch *watch, uint32_t events)
{
	struct end *end = (struct end *)watch;

	end->told++;
	end->events = events;
}

static bool make(struct end *end)
{
	int pair[2];

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair))
		return false;
	*end = (struct end){{pair[0], note}, pair[1], 0, 0};
	return true;
}

static void drop(struct end *end)
{
	close(end->watch.fd);
	close(end->other);
}

static int watch(struct end *end, uint32_t events)
{
	return loop.backend->watch(&loop, &end->watch, events);
}

static int wait_ms(long long ms)
{
	return loop.backend->wait(&loop, ms * MS);
}

/* What one look tells it; 0: nothing. */
static uint32_t look(struct end *end)
{
	end->told = 0;
	end->events = 0;
	if (wait_ms(0))
		return ~0u;
	return end->told > 1 ? ~0u : end->events;
}

static long long clock_ms(void)
{
	return (long long)sw_clock_ns(CLOCK_MONOTONIC) / MS;
}

static bool send_byte(int fd)
{
	return send(fd, "x", 1, MSG_DONTWAIT | MSG_NOSIGNAL) == 1;
}

static void empty(int fd)
{
	char bytes[4096];

	while (recv(fd, bytes, sizeof(bytes), MSG_DONTWAIT) > 0)
		;
}

static void fill(int fd)
{
	char bytes[4096] = "";

	while (send(fd, bytes, sizeof(bytes), MSG_DONTWAIT | MSG_NOSIGNAL) > 0)
		;
}

/* ---- one watch ---- */

LOOP_TEST(ready_by_level)
{
	struct end a;

	MUST(make(&a) && watch(&a, EPOLLIN) == 0);
	MUST(look(&a) == 0);
	MUST(send_byte(a.other) && look(&a) == EPOLLIN && look(&a) == EPOLLIN);
	empty(a.watch.fd);
	MUST(look(&a) == 0 && look(&a) == 0);
	MUST(send_byte(a.other) && look(&a) == EPOLLIN);
	MUST(watch(&a, 0) == 0);
	drop(&a);
}

/* Came and went between two looks. */
LOOP_TEST(what_is_over_is_not_told)
{
	struct end a;

	MUST(make(&a) && watch(&a, EPOLLIN) == 0 && look(&a) == 0);
	MUST(send_byte(a.other));
	empty(a.watch.fd);
	MUST(look(&a) == 0 || a.events == EPOLLIN); /* it was on its way */
	MUST(look(&a) == 0);
	MUST(watch(&a, 0) == 0);
	drop(&a);
}

LOOP_TEST(room_to_write)
{
	struct end a;

	MUST(make(&a) && watch(&a, EPOLLOUT) == 0);
	MUST(look(&a) == EPOLLOUT && look(&a) == EPOLLOUT);
	fill(a.watch.fd);
	MUST(look(&a) == 0);
	empty(a.other);
	MUST(look(&a) == EPOLLOUT);
	MUST(watch(&a, 0) == 0);
	drop(&a);
}

LOOP_TEST(the_other_side_is_gone)
{
	struct end a;

	MUST(make(&a) && watch(&a, EPOLLIN) == 0 && look(&a) == 0);
	close(a.other);
	MUST(look(&a) == (EPOLLIN | EPOLLHUP) && look(&a) == (EPOLLIN | EPOLLHUP));
	MUST(watch(&a, EPOLLOUT) == 0 && look(&a) == (EPOLLOUT | EPOLLHUP));
	MUST(watch(&a, 0) == 0);
	drop(&a);
}

LOOP_TEST(a_connection_that_is_refused)
{
	struct sockaddr_in nobody = {.sin_family = AF_INET, .sin_port = htons(1)};
	struct end a = {{-1, note}, -1, 0, 0};

	nobody.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	a.watch.fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
	MUST(connect(a.watch.fd, (struct sockaddr *)&nobody, sizeof(nobody)) < 0);
	MUST(watch(&a, EPOLLOUT) == 0);
	MUST(wait_ms(2000) == 0 && a.told == 1);
	MUST((a.events & (EPOLLERR | EPOLLHUP)) == (EPOLLERR | EPOLLHUP));
	MUST(watch(&a, 0) == 0);
	close(a.watch.fd);
}

LOOP_TEST(watched_for_something_else)
{
	struct end a;

	MUST(make(&a) && send_byte(a.other));
	MUST(watch(&a, EPOLLIN) == 0 && look(&a) == EPOLLIN);
	MUST(watch(&a, EPOLLOUT) == 0 && look(&a) == EPOLLOUT);
	MUST(watch(&a, EPOLLIN | EPOLLOUT) == 0 && look(&a) == (EPOLLIN | EPOLLOUT));
	fill(a.watch.fd);
	MUST(look(&a) == EPOLLIN);
	MUST(watch(&a, EPOLLOUT) == 0 && look(&a) == 0);
	MUST(watch(&a, EPOLLIN) == 0 && watch(&a, EPOLLIN) == 0 && look(&a) == EPOLLIN);
	empty(a.watch.fd);
	MUST(look(&a) == 0 && watch(&a, EPOLLIN | EPOLLOUT) == 0 && look(&a) == 0);
	empty(a.other);
	MUST(look(&a) == EPOLLOUT);
	MUST(watch(&a, 0) == 0);
	drop(&a);
}

LOOP_TEST(not_watched_any_more)
{
	struct end a, b;

	MUST(make(&a) && make(&b));
	MUST(watch(&a, 0) == -ENOENT);
	MUST(watch(&a, EPOLLIN) == 0 && watch(&b, EPOLLIN) == 0 && look(&a) == 0);
	MUST(send_byte(a.other) && send_byte(b.other));
	MUST(watch(&a, 0) == 0);
	MUST(look(&a) == 0 && b.told);
	MUST(watch(&a, 0) == -ENOENT);
	MUST(watch(&a, EPOLLIN) == 0 && look(&a) == EPOLLIN);
	MUST(watch(&a, 0) == 0 && watch(&b, 0) == 0);
	drop(&a);
	drop(&b);
}

/* The memory is the caller's again, whatever was on its way. */
LOOP_TEST(unwatched_memory_is_left_alone)
{
	for (int i = 0; i < 200; i++) {
		struct end *a = malloc(sizeof(*a));

		MUST(a && make(a) && watch(a, EPOLLIN) == 0);
		MUST(i % 3 == 0 || wait_ms(0) == 0);
		MUST(send_byte(a->other));
		MUST(i % 2 || watch(a, EPOLLIN | EPOLLOUT) == 0);
		MUST(watch(a, 0) == 0);
		drop(a);
		memset(a, 0xdd, sizeof(*a)); /* called, it would go to nowhere */
		MUST(wait_ms(0) == 0 && wait_ms(i % 5 == 0) == 0);
		free(a);
	}
}

/* With its last number goes the connection: no loop keeps it. */
LOOP_TEST(unwatched_and_closed_is_closed)
{
	for (int i = 0; i < 6; i++) {
		struct end a;
		char byte;

		MUST(make(&a) && watch(&a, EPOLLIN) == 0);
		MUST(i % 2 == 0 || wait_ms(0) == 0);
		MUST(i < 2 || (watch(&a, EPOLLIN | EPOLLPRI) == 0 && (i < 4 || wait_ms(0) == 0)));
		MUST(watch(&a, 0) == 0);
		close(a.watch.fd);
		MUST(recv(a.other, &byte, 1, MSG_DONTWAIT) == 0);
		close(a.other);
	}
}

LOOP_TEST(its_number_is_another_s)
{
	struct end a, b;
	int pair[2];

	MUST(make(&a) && watch(&a, EPOLLIN) == 0 && look(&a) == 0);
	MUST(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair) == 0);
	MUST(send_byte(a.other) && watch(&a, 0) == 0);
	MUST(dup3(pair[0], a.watch.fd, 0) == a.watch.fd);
	b = (struct end){{a.watch.fd, note}, pair[1], 0, 0};
	MUST(watch(&b, EPOLLIN) == 0 && look(&b) == 0 && a.told == 0);
	MUST(send_byte(b.other) && look(&b) == EPOLLIN && a.told == 0);
	MUST(watch(&b, 0) == 0);
	close(a.other);
	close(pair[0]);
	drop(&b);
}

/* Said at once, or found out by looking at it. */
LOOP_TEST(no_descriptor)
{
	struct end a = {{-1, note}, -1, 0, 0};
	int error;

	a.watch.fd = dup(loop.fd);
	close(a.watch.fd);
	error = watch(&a, EPOLLIN);
	MUST(error == -EBADF || (error == 0 && wait_ms(1000) == 0 && (a.events & EPOLLERR)));
	MUST(error || watch(&a, 0) == 0);
	MUST(wait_ms(0) == 0);
}

/* ---- several ---- */

static struct end first, second;

/* Whoever is told first has the other one unwatched, and its memory spoilt. */
static void unwatch_the_other(struct sw_watch *told, uint32_t events)
{
	struct end *end = (struct end *)told, *other = end == &first ? &second : &first;

	(void)events;
	end->told++;
	if (loop.backend->watch(&loop, &other->watch, 0))
		end->told += 100;
	other->watch.ready = NULL;
}

LOOP_TEST(unwatched_while_the_other_is_told)
{
	MUST(make(&first) && make(&second));
	first.watch.ready = second.watch.ready = unwatch_the_other;
	MUST(watch(&first, EPOLLIN) == 0 && watch(&second, EPOLLIN) == 0);
	MUST(send_byte(first.other) && send_byte(second.other));
	MUST(wait_ms(0) == 0);
	MUST(first.told + second.told == 1);
	MUST(watch(first.told ? &first : &second, 0) == 0);
	drop(&first);
	drop(&second);
}

/* As a transport does whose connection ends: closes, and connects again, perhaps to get the number
 * of the one that is told next. */
static void replace_itself(struct sw_watch *told, uint32_t events)
{
	struct end *end = (struct end *)told;
	unsigned count = end->told + 1;

	(void)events;
	loop.backend->watch(&loop, told, 0);
	drop(end);
	if (make(end)) {
		end->watch.ready = replace_itself;
		loop.backend->watch(&loop, told, EPOLLIN);
	}
	end->told = count;
}

LOOP_TEST(one_that_replaces_itself)
{
	MUST(make(&first) && make(&second));
	first.watch.ready = replace_itself;
	MUST(watch(&first, EPOLLIN) == 0 && watch(&second, EPOLLIN) == 0);
	for (unsigned i = 1; i <= 50; i++) {
		MUST(send_byte(first.other) && wait_ms(1000) == 0 && first.told == i);
		MUST(wait_ms(0) == 0 && first.told == i && second.told == 0);
	}
	MUST(watch(&first, 0) == 0 && watch(&second, 0) == 0);
	drop(&first);
	drop(&second);
}

LOOP_TEST(many)
{
	static struct end ends[MANY];
	unsigned told = 0;

	for (int i = 0; i < MANY; i++)
		MUST(make(&ends[i]) && watch(&ends[i], EPOLLIN) == 0);
	MUST(wait_ms(0) == 0);
	for (int i = 0; i < MANY; i += 2)
		MUST(send_byte(ends[i].other));
	for (int looks = 0; told < MANY / 2 && looks < MANY; looks++) {
		MUST(wait_ms(100) == 0);
		told = 0;
		for (int i = 0; i < MANY; i++) {
			MUST(i % 2 == 0 || ends[i].told == 0);
			told += ends[i].told > 0;
			if (ends[i].told)
				empty(ends[i].watch.fd);
		}
	}
	MUST(told == MANY / 2);
	for (int i = 0; i < MANY; i++) {
		MUST(watch(&ends[i], 0) == 0);
		drop(&ends[i]);
	}
	MUST(wait_ms(0) == 0);
}

static uint32_t poll_says(const struct end *end, uint32_t watched)
{
	struct pollfd p = {end->watch.fd, (short)watched, 0};

	return watched && poll(&p, 1, 0) == 1 ? (uint32_t)p.revents : 0;
}

/*
 * Thousands of changes in any order; then two looks. The first tells of each one for which
 * something holds, and perhaps of one for which something held; the second tells what poll(2) does.
 */
static bool as_poll_says(struct end *ends, const uint32_t *watched, bool exactly)
{
	bool same = true;

	for (int i = 0; i < FEW; i++)
		ends[i].told = ends[i].events = 0;
	same = wait_ms(0) == 0;
	for (int i = 0; i < FEW; i++) {
		uint32_t want = poll_says(&ends[i], watched[i]);

		same = same && ends[i].told <= (watched[i] != 0) && (!want || ends[i].told) &&
		       (!exactly || ends[i].events == want);
	}
	return same;
}

static void change(struct end *end, uint32_t *watched, long dice)
{
	static const uint32_t wishes[] = {0, EPOLLIN, EPOLLOUT, EPOLLIN | EPOLLOUT};
	uint32_t wish = wishes[dice / 8 % 4];

	switch (dice % 8) {
	case 0:
		send_byte(end->other);
		break;
	case 1:
		empty(end->watch.fd);
		break;
	case 2:
		fill(end->watch.fd);
		break;
	case 3:
		empty(end->other);
		break;
	case 4:
		if (*watched)
			watch(end, 0);
		*watched = 0;
		drop(end);
		make(end);
		break;
	default:
		if (wish || *watched)
			watch(end, wish);
		*watched = wish;
	}
}

LOOP_TEST(any_changes_in_any_order)
{
	static struct end ends[FEW];
	uint32_t watched[FEW] = {0};

	srandom(7);
	for (int i = 0; i < FEW; i++)
		MUST(make(&ends[i]));
	for (int step = 0; step < STEPS; step++) {
		int i = (int)(random() % FEW);

		change(&ends[i], &watched[i], random());
		/* often several changes between two looks */
		MUST(step % 3 || as_poll_says(ends, watched, place->loop == SW_LOOP_EPOLL));
		MUST(step % 3 || as_poll_says(ends, watched, true));
	}
	for (int i = 0; i < FEW; i++) {
		MUST(!watched[i] || watch(&ends[i], 0) == 0);
		drop(&ends[i]);
	}
}

/* ---- the end of a loop ---- */

LOOP_TEST(closed_with_watches)
{
	static struct end ends[3];
	char byte;

	for (int i = 0; i < 3; i++)
		MUST(make(&ends[i]) && watch(&ends[i], EPOLLIN) == 0);
	MUST(wait_ms(0) == 0 && send_byte(ends[1].other));
	sw_loop_close(&loop);
	for (int i = 0; i < 3; i++) {
		close(ends[i].watch.fd);
		MUST(recv(ends[i].other, &byte, 1, MSG_DONTWAIT) <= 0 && errno != EAGAIN);
		errno = 0;
		close(ends[i].other);
		ends[i].watch.ready = NULL;
	}
	MUST(sw_loop_open(&loop) == 0 && make(&first));
	MUST(watch(&first, EPOLLIN) == 0 && wait_ms(1) == 0 && first.told == 0);
	MUST(send_byte(first.other) && wait_ms(1000) == 0 && first.told == 1);
	MUST(watch(&first, 0) == 0);
	drop(&first);
}

/* ---- time ---- */

LOOP_TEST(timeouts)
{
	long long began = clock_ms();
	struct end a;

	MUST(make(&a) && watch(&a, EPOLLIN) == 0);
	for (int i = 0; i < 100; i++)
		MUST(wait_ms(0) == 0);
	MUST(clock_ms() - began < 1000);
	for (int i = 1; i <= 5; i++) {
		uint64_t start = sw_clock_ns(CLOCK_MONOTONIC);

		MUST(loop.backend->wait(&loop, i * 7 * MS + 300) == 0);
		MUST(sw_clock_ns(CLOCK_MONOTONIC) - start >= (uint64_t)(i * 7 * MS));
		MUST(sw_clock_ns(CLOCK_MONOTONIC) - start < (uint64_t)(2000 * MS));
	}
	MUST(a.told == 0 && watch(&a, 0) == 0);
	drop(&a);
}

/* One that is ready in so many ms. */
static struct end timer(long ms)
{
	struct itimerspec when = {.it_value = {0, ms * MS}};
	struct end end = {{timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK), note}, -1, 0, 0};

	timerfd_settime(end.watch.fd, 0, &when, NULL);
	return end;
}

LOOP_TEST(an_event_ends_the_wait)
{
	static const long long limits[] = {-1, 10000};

	for (size_t i = 0; i < SW_COUNT_OF(limits); i++) {
		struct end a = timer(30);
		long long began = clock_ms();

		MUST(watch(&a, EPOLLIN) == 0);
		while (!a.told)
			MUST(loop.backend->wait(&loop, limits[i] < 0 ? -1 : limits[i] * MS) == 0);
		MUST(clock_ms() - began >= 25 && clock_ms() - began < 5000);
		MUST(a.events == EPOLLIN && watch(&a, 0) == 0);
		close(a.watch.fd);
	}
}

static _Atomic int signals;

static void on_signal(int signal)
{
	(void)signal;
	atomic_fetch_add(&signals, 1);
}

static void *interrupt(void *thread)
{
	struct timespec pause = {0, 20 * MS};

	nanosleep(&pause, NULL);
	pthread_kill(*(pthread_t *)thread, SIGUSR1);
	return NULL;
}

LOOP_TEST(an_interruption_is_nothing)
{
	struct sigaction action = {.sa_handler = on_signal};
	pthread_t self = pthread_self(), other;
	struct end a;

	MUST(make(&a) && watch(&a, EPOLLIN) == 0);
	atomic_store(&signals, 0);
	sigaction(SIGUSR1, &action, NULL);
	pthread_create(&other, NULL, interrupt, &self);
	while (!atomic_load(&signals))
		MUST(wait_ms(5000) == 0);
	pthread_join(other, NULL);
	MUST(a.told == 0 && send_byte(a.other) && look(&a) == EPOLLIN);
	MUST(watch(&a, 0) == 0);
	drop(&a);
}

static void *wake(void *arg)
{
	struct timespec pause = {0, 20 * MS};

	(void)arg;
	nanosleep(&pause, NULL);
	sw_loop_wake(&loop);
	return NULL;
}

LOOP_TEST(sleeping_and_being_woken)
{
	long long began = clock_ms();
	pthread_t other;

	sw_loop_sleep(&loop, 20 * MS);
	MUST(clock_ms() - began >= 19);
	sw_loop_wake(&loop);
	began = clock_ms();
	sw_loop_sleep(&loop, 10000 * MS);
	MUST(clock_ms() - began < 5000);
	pthread_create(&other, NULL, wake, NULL);
	sw_loop_sleep(&loop, 10000 * MS);
	pthread_join(other, NULL);
	MUST(clock_ms() - began < 5000);
}

/* An event does not end a sleep, but is told by the look after it. */
LOOP_TEST(an_event_while_it_sleeps)
{
	struct end a = timer(10);
	long long began = clock_ms();

	MUST(watch(&a, EPOLLIN) == 0 && wait_ms(0) == 0 && a.told == 0);
	sw_loop_sleep(&loop, 50 * MS);
	MUST(clock_ms() - began >= 49);
	MUST(look(&a) == EPOLLIN && watch(&a, 0) == 0);
	close(a.watch.fd);
}

/* ---- the program and its children ---- */

static void moved(int from, int to)
{
	if (loop.fd == from)
		loop.fd = to;
}

/* The program wants the loop's number, in the table that we share. */
LOOP_TEST(its_number_is_wanted)
{
	struct end a;
	int number = loop.fd;

	if (place->private)
		return;
	sw_fd_moved = moved;
	MUST(make(&a) && watch(&a, EPOLLIN) == 0 && send_byte(a.other));
	sw_fd_move_ours(number);
	MUST(loop.fd >= 0 && loop.fd != number);
	MUST(dup2(a.other, number) == number);
	MUST(look(&a) == EPOLLIN);
	MUST(watch(&a, 0) == 0 && wait_ms(0) == 0);
	close(number);
	drop(&a);
}

static long rings_mapped(void)
{
	FILE *maps = fopen("/proc/self/maps", "re");
	char line[512];
	long count = 0;

	while (maps && fgets(line, sizeof(line), maps))
		count += strstr(line, "io_uring") != NULL;
	if (maps)
		fclose(maps);
	return count;
}

/* As reporter_fork_child: it forgets, closes the number, and opens one of its own. */
static int in_child(struct end *inherited)
{
	long mapped = rings_mapped();
	struct end a;

	sw_fd_close_ours(loop.fd);
	memset(&loop, 0, sizeof(loop));
	inherited->watch.ready = NULL;
	if (mapped)
		return 1;
	if (sw_loop_open(&loop) || !make(&a))
		return 2;
	if (watch(&a, EPOLLIN) || !send_byte(a.other) || look(&a) != EPOLLIN)
		return 3;
	if (watch(&a, 0) || wait_ms(0))
		return 4;
	sw_loop_close(&loop);
	return 0;
}

LOOP_TEST(a_child_has_one_of_its_own)
{
	struct end a;

	MUST(make(&a) && watch(&a, EPOLLIN) == 0 && wait_ms(0) == 0);
	MUST(place->loop != SW_LOOP_IO_URING || rings_mapped() > 0);
	for (int i = 0; i < 20; i++) {
		pid_t child = fork();
		int status = -1;

		if (child == 0)
			_exit(in_child(&a));
		MUST(child > 0 && waitpid(child, &status, 0) == child);
		MUST(status == 0);
		MUST(look(&a) == 0 && send_byte(a.other) && look(&a) == EPOLLIN);
		empty(a.watch.fd);
	}
	MUST(watch(&a, 0) == 0);
	drop(&a);
}

static long threads(void)
{
	FILE *status = fopen("/proc/self/status", "re");
	char line[256];
	long count = -1;

	while (status && fgets(line, sizeof(line), status))
		sscanf(line, "Threads: %ld", &count);
	if (status)
		fclose(status);
	return count;
}

LOOP_TEST(no_thread_more)
{
	static struct end ends[MANY];
	long before = threads();

	for (int i = 0; i < MANY; i++)
		MUST(make(&ends[i]) && watch(&ends[i], EPOLLIN) == 0 && send_byte(ends[i].other));
	MUST(wait_ms(10) == 0 && threads() == before);
	for (int i = 0; i < MANY; i++) {
		MUST(watch(&ends[i], 0) == 0);
		drop(&ends[i]);
	}
}

/* ---- which one ---- */

static const char *chosen(enum sw_loop_choice loop_wanted)
{
	sw_config.loop = loop_wanted;
	sw_config.log_level = SW_LEVEL_OFF;
	cr_assert_eq(sw_loop_open(&loop), 0);
	sw_loop_close(&loop);
	return loop.backend->name;
}

/* In the program's table there is no ring: it could be closed, and another one be there. */
Test(loop, the_one_that_is_named_or_epoll)
{
	sw_guest_mark_ours();
	cr_assert_str_eq(chosen(SW_LOOP_AUTO), "epoll");
	cr_assert_str_eq(chosen(SW_LOOP_EPOLL), "epoll");
	cr_assert_str_eq(chosen(SW_LOOP_IO_URING), "epoll");
	cr_assert_eq(loop.fd, -1);
}
