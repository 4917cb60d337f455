/* What a thread that blocks the signal of shots finds pending. */
#include "hooks/shot.h"

#include <criterion/criterion.h>
#include <pthread.h>
#include <unistd.h>

#include "preload/exports.h"
#include "preload/real.h"
#include "preload/sys.h"

#define ASKED_US 5000

static struct sw_shot *shot;
static int asked;

static void prepare(void)
{
	struct sigaction action = {.sa_sigaction = sw_shot_handler, .sa_flags = SA_SIGINFO};

	sw_real_resolve();
	atomic_store(&sw_armed, true);
	shot = sw_sys_map(SW_SHOTS_MAX * sizeof(*shot));
	cr_assert(shot);
	shot->timer = -1;
	atomic_store(&sw_shots, shot);
	atomic_store(&sw_shots_high, 1);
	asked = (int)sw_sys(gettid);
	atomic_store(&sw_shot_tids[0], asked);
	cr_assert_eq(sw_real.sigaction(SW_SHOT_SIGNAL, &action, NULL), 0);
}

TestSuite(shot, .init = prepare);

static void send_it(void)
{
	siginfo_t info = {.si_signo = SW_SHOT_SIGNAL, .si_code = SI_QUEUE};

	long error;

	info.si_value.sival_ptr = shot;
	error = sw_sys(rt_tgsigqueueinfo, getpid(), asked, SW_SHOT_SIGNAL, &info);
	cr_assert_eq(error, 0);
}

/* The sampler, which has looked whether it may, and loses its processor before it asks. */
static void *ask_late(void *none)
{
	(void)none;
	usleep(ASKED_US);
	send_it();
	atomic_store(&shot->asking, false);
	return NULL;
}

static void begin_to_ask(pthread_t *ret_sampler)
{
	atomic_store(&shot->asking, true);
	atomic_store(&shot->state, SW_SHOT_ASKING);
	cr_assert_eq(pthread_create(ret_sampler, NULL, ask_late, NULL), 0);
}

static bool is_pending_once_blocked(void)
{
	sigset_t all, pending;

	sigfillset(&all);
	cr_assert_eq(sw_plain_pthread_sigmask(SIG_SETMASK, &all, NULL), 0);
	usleep(2 * ASKED_US);
	sigpending(&pending);
	return sigismember(&pending, SW_SHOT_SIGNAL);
}

Test(shot, who_blocks_waits_for_what_is_being_asked)
{
	pthread_t sampler;

	begin_to_ask(&sampler);
	cr_assert_not(is_pending_once_blocked());
	pthread_join(sampler, NULL);
}

/* By DIRECT a timer of before may go off while its thread is asked anew. */
Test(shot, also_after_a_signal_of_before)
{
	pthread_t sampler;

	begin_to_ask(&sampler);
	send_it();
	cr_assert_eq(atomic_load(&shot->state), SW_SHOT_TAKEN);
	cr_assert_not(is_pending_once_blocked());
	pthread_join(sampler, NULL);
}
