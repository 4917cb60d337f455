/* The table of descriptors, and descriptors that are ours. Real ones: the kernel decides numbers.
 */
#include "preload/fds.h"

#include <criterion/criterion.h>
#include <pthread.h>
#include <sys/resource.h>

#include "preload/sys.h"

#define THREADS 4

static void limit_to(unsigned top)
{
	struct rlimit limit = {top, top};

	cr_assert_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
}

static int some_fd(void)
{
	int fd = open("/dev/null", O_RDONLY);

	cr_assert_geq(fd, 0);
	return fd;
}

static bool is_open(int fd)
{
	return fcntl(fd, F_GETFD) >= 0;
}

Test(fds, unknown)
{
	static const int fds[] = {0,	       3,	  4095, 4096,	  SW_FD_LIMIT - 1,
				  SW_FD_LIMIT, INT32_MAX, -1,	INT32_MIN};

	for (size_t i = 0; i < SW_COUNT_OF(fds); i++) {
		cr_assert_eq(sw_fd_entry(fds[i]), 0);
		cr_assert_not(sw_fd_known(fds[i]));
		cr_assert_not(sw_fd_ours(fds[i]));
	}
}

Test(fds, swap_gives_the_old_word)
{
	uint32_t old = 9;

	cr_assert(sw_fd_swap(7, SW_FD_TALK | 5, &old));
	cr_assert_eq(old, 0);
	cr_assert_eq(sw_fd_entry(7), SW_FD_TALK | 5);
	cr_assert(sw_fd_known(7));
	cr_assert_not(sw_fd_known(6));
	cr_assert_not(sw_fd_known(8));
	cr_assert(sw_fd_swap(7, 0, &old));
	cr_assert_eq(old, SW_FD_TALK | 5);
	cr_assert_not(sw_fd_known(7));
	old = 9;
	cr_assert(sw_fd_swap(7, 0, &old));
	cr_assert_eq(old, 0);
}

Test(fds, the_table_has_an_end)
{
	uint32_t old;

	cr_assert(sw_fd_swap(SW_FD_LIMIT - 1, SW_FD_TALK, &old));
	cr_assert_eq(sw_fd_entry(SW_FD_LIMIT - 1), SW_FD_TALK);
	cr_assert_not(sw_fd_swap(SW_FD_LIMIT, SW_FD_TALK, &old));
	cr_assert_not(sw_fd_swap(-1, SW_FD_TALK, &old));
}

/* Forgetting what was never known must not cost a page: closefrom asks for every number. */
Test(fds, forgetting_maps_nothing)
{
	uint32_t old = 9;

	cr_assert(sw_fd_swap(5 * SW_FD_PAGE, 0, &old));
	cr_assert_eq(old, 0);
	cr_assert(atomic_load(&sw_fd_pages[5]) == NULL);
}

Test(fds, adopt_moves_up)
{
	int fd, ours;

	limit_to(256);
	fd = some_fd();
	ours = sw_fd_adopt(fd);
	cr_assert_eq(ours, 255, "the highest below the limit");
	cr_assert_not(is_open(fd), "the low number is the program's again");
	cr_assert(is_open(ours));
	cr_assert_eq(fcntl(ours, F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
	cr_assert(sw_fd_ours(ours));
	cr_assert_eq(sw_fd_adopt(some_fd()), 254, "the next one below");
}

Test(fds, adopt_stays_below_1024)
{
	struct rlimit limit;

	getrlimit(RLIMIT_NOFILE, &limit);
	if (limit.rlim_max < 2048)
		cr_skip_test("the hard limit is too low");
	limit_to(2048);
	cr_assert_eq(sw_fd_adopt(some_fd()), 1023);
}

Test(fds, adopt_finds_holes)
{
	limit_to(64);
	dup2(0, 63);
	dup2(0, 61);
	cr_assert_eq(sw_fd_adopt(some_fd()), 62);
	cr_assert_eq(sw_fd_adopt(some_fd()), 60);
}

Test(fds, adopt_stays_where_all_is_taken)
{
	int fd, last;

	limit_to(64);
	fd = some_fd();
	do
		last = open("/dev/null", O_RDONLY);
	while (last >= 0);
	cr_assert_eq(sw_fd_adopt(fd), fd);
	cr_assert(is_open(fd));
	cr_assert(sw_fd_ours(fd));
}

Test(fds, next_ours)
{
	int first, second;

	cr_assert_eq(sw_fd_next_ours(0), -1);
	limit_to(64);
	second = sw_fd_adopt(some_fd());
	first = sw_fd_adopt(some_fd());
	cr_assert_lt(first, second);
	cr_assert_eq(sw_fd_next_ours(0), first);
	cr_assert_eq(sw_fd_next_ours(first), first);
	cr_assert_eq(sw_fd_next_ours(first + 1), second);
	cr_assert_eq(sw_fd_next_ours(second + 1), -1);
	cr_assert_eq(sw_fd_next_ours(-5), first);
}

Test(fds, close_forgets)
{
	int ours;

	limit_to(64);
	ours = sw_fd_adopt(some_fd());
	sw_fd_close_ours(ours);
	cr_assert_not(is_open(ours));
	cr_assert_not(sw_fd_known(ours));
	cr_assert_eq(sw_fd_next_ours(0), -1);
	sw_fd_close_ours(-1);
}

static int moved_from, moved_to;

static void note_moved(int from, int to)
{
	moved_from = from;
	moved_to = to;
}

Test(fds, ours_give_way)
{
	int ours, other;

	limit_to(64);
	ours = sw_fd_adopt(some_fd());
	other = sw_fd_adopt(some_fd());
	sw_fd_close_ours(ours); /* so that there is room above */
	sw_fd_moved = note_moved;
	sw_fd_move_ours(other);
	cr_assert_eq(moved_from, other);
	cr_assert_eq(moved_to, ours);
	cr_assert(sw_fd_ours(moved_to));
	cr_assert(is_open(moved_to));
	cr_assert_eq(fcntl(moved_to, F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
	cr_assert_not(sw_fd_known(other), "the program's from now on");
	cr_assert_eq(sw_fd_next_ours(0), moved_to);
}

/* The number that the program wants is our highest one: where else could ours be? */
Test(fds, ours_give_way_downwards)
{
	int ours;

	limit_to(64);
	ours = sw_fd_adopt(some_fd());
	cr_assert_eq(ours, 63);
	sw_fd_move_ours(ours);
	cr_assert(sw_fd_ours(sw_fd_next_ours(0)));
	cr_assert_eq(sw_fd_next_ours(0), 62, "not a low number, which the program would miss");
}

Test(fds, the_programs_errno_stays)
{
	errno = 77;
	sw_fd_close_ours(sw_fd_adopt(some_fd()));
	sw_fd_move_ours(sw_fd_adopt(some_fd()));
	sw_fd_close_ours(9999);
	cr_assert_eq(errno, 77);
}

/* The first write to a page of the table, by all threads at once: one page stays, no word is lost.
 */
static pthread_barrier_t together;

static void *mark_numbers(void *arg)
{
	int me = (int)(intptr_t)arg;
	uint32_t old;

	for (int page = 0; page < 64; page++) {
		pthread_barrier_wait(&together);
		sw_fd_swap(page * SW_FD_PAGE + me, SW_FD_TALK | (uint32_t)me, &old);
	}
	return NULL;
}

Test(fds, threads_map_a_page_once)
{
	pthread_t thread[THREADS];

	pthread_barrier_init(&together, NULL, THREADS);
	for (intptr_t i = 0; i < THREADS; i++)
		cr_assert_eq(pthread_create(&thread[i], NULL, mark_numbers, (void *)i), 0);
	for (int i = 0; i < THREADS; i++)
		pthread_join(thread[i], NULL);
	for (int page = 0; page < 64; page++) {
		for (int i = 0; i < THREADS; i++)
			cr_assert_eq(sw_fd_entry(page * SW_FD_PAGE + i), SW_FD_TALK | (uint32_t)i);
	}
}
