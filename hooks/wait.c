/*
 * Waiting for many descriptors at once marks a thread as one that may interleave requests
 * (hooks/context.c), and parts the turns of an event loop (preload/turns.h). Some words in the
 * thread's own memory; the calls themselves are untouched.
 */
#include "hooks/blocked.h"
#include "hooks/context.h"
#include "hooks/python/frames.h"
#include "hooks/python/python.h"
#include "hooks/shot.h"
#include "preload/exports.h"
#include "preload/module.h"
#include "preload/ring.h"
#include "preload/tallies.h"
#include "preload/turns.h"

/* Polls in a row, no epoll_wait between, after which they are what the loop waits by. */
#define OTHER_WAITS 64

/* A thread that has no turns yet: who waits by epoll is probably a loop, who waits otherwise is one
 * only where it is known to interleave; there are few to be had. */
static __attribute__((noinline)) void first_turn(struct sw_guest *g, bool epoll)
{
	struct sw_turns *t = !g->ours && (epoll || g->mixed) ? sw_turns_take(g) : NULL;

	if (t)
		atomic_store(&t->python, sw_python_thread());
	if (t && atomic_load(&t->python))
		sw_frames_ready(); /* our thread has no frames of its own to check the table by */
}

/*
 * A callback of an epoll loop that polls or selects keeps its loop waiting: that is no end of its
 * turn. Unless it goes on for ever: then the thread has a new kind of loop.
 */
static bool within_turn(struct sw_turns *t, bool epoll)
{
	if (epoll) {
		t->by_epoll = true;
		t->other_waits = 0;
		return false;
	}
	if (t->by_epoll && ++t->other_waits < OTHER_WAITS)
		return true;
	t->by_epoll = false;
	return false;
}

static inline void turn_ends(bool epoll)
{
	struct sw_guest *g = &sw_guest_self;
	struct sw_turns *t = g->turns;
	uint64_t ns;

	if (SW_UNLIKELY(!t)) {
		if (sw_turns)
			first_turn(g, epoll);
		return;
	}
	if (SW_UNLIKELY(epoll != t->by_epoll || t->other_waits) && within_turn(t, epoll))
		return;
	ns = sw_turns_end(t);
	if (sw_blocked_undecided(t))
		sw_blocked_consider(g, true);
	if (SW_UNLIKELY(ns >= sw_turns_long_ns))
		sw_blocked_ended(t, ns);
}

/* After the wait, if that had ended a turn. One that was left by a jump begins none. */
static inline int turn_begins(int events)
{
	struct sw_turns *t = sw_guest_self.turns;

	if (t && !atomic_load_explicit(&t->began, memory_order_relaxed) && !sw_guest_vfork)
		sw_turns_begin(t, events);
	return events;
}

/* After a wait that may have been one with another mask. */
static inline int mask_is_back(const sigset_t *mask, int events)
{
	if (SW_UNLIKELY(mask && atomic_load_explicit(&sw_shots, memory_order_relaxed)))
		sw_shot_unmasked();
	return events;
}

/* Also a moment for our thread to come back after a fork, if no record comes (heartbeats). */
static inline void waits(bool many, bool epoll)
{
	if (many && !sw_guest_vfork) {
		sw_guest_self.loop = true;
		sw_python_waits();
		if (SW_UNLIKELY(sw_guest_self.tentative))
			sw_context_waits(&sw_guest_self);
		turn_ends(epoll);
	}
	if (SW_UNLIKELY(atomic_load_explicit(&sw_ring_reader, memory_order_relaxed) ==
			SW_READER_LEFT) &&
	    !sw_guest_hidden())
		sw_modules_kick();
}

int sw_plain_epoll_wait(int fd, struct epoll_event *events, int count, int timeout)
{
	waits(true, true);
	return turn_begins(sw_real.epoll_wait(fd, events, count, timeout));
}

int sw_plain_epoll_pwait(int fd, struct epoll_event *events, int count, int timeout,
			 const sigset_t *mask)
{
	waits(true, true);
	return turn_begins(
		mask_is_back(mask, sw_real.epoll_pwait(fd, events, count, timeout, mask)));
}

int sw_plain_epoll_pwait2(int fd, struct epoll_event *events, int count,
			  const struct timespec *timeout, const sigset_t *mask)
{
	waits(true, true);
	return turn_begins(
		mask_is_back(mask, sw_real.epoll_pwait2(fd, events, count, timeout, mask)));
}

int sw_plain_poll(struct pollfd *fds, nfds_t count, int timeout)
{
	waits(count > 1, false);
	return turn_begins(sw_real.poll(fds, count, timeout));
}

int sw_plain___poll_chk(struct pollfd *fds, nfds_t count, int timeout, size_t size)
{
	waits(count > 1, false);
	return turn_begins(sw_real.__poll_chk(fds, count, timeout, size));
}

int sw_plain_ppoll(struct pollfd *fds, nfds_t count, const struct timespec *timeout,
		   const sigset_t *mask)
{
	waits(count > 1, false);
	return turn_begins(mask_is_back(mask, sw_real.ppoll(fds, count, timeout, mask)));
}

int sw_plain___ppoll_chk(struct pollfd *fds, nfds_t count, const struct timespec *timeout,
			 const sigset_t *mask, size_t size)
{
	waits(count > 1, false);
	return turn_begins(
		mask_is_back(mask, sw_real.__ppoll_chk(fds, count, timeout, mask, size)));
}

/*
 * A thread that was made for a request works for it until it waits to be told what to do next: on a
 * condition. In CPython that is a semaphore, and only hooks/python can tell such a wait from one
 * for a lock that is in use for a moment.
 */
static inline void waits_to_be_told(void)
{
	struct sw_guest *g = &sw_guest_self;

	if (SW_UNLIKELY(g->lent_by == SW_LENT_BIRTH) && !sw_guest_vfork &&
	    sw_python_waits_to_be_told())
		sw_context_lend(g, (struct sw_whom){.talk = 0}, SW_LENT_NOT);
}

int sw_plain_sem_wait(sem_t *sem)
{
	waits_to_be_told();
	return sw_real.sem_wait(sem);
}

int sw_plain_sem_timedwait(sem_t *sem, const struct timespec *until)
{
	waits_to_be_told();
	return sw_real.sem_timedwait(sem, until);
}

int sw_plain_sem_clockwait(sem_t *sem, clockid_t clock, const struct timespec *until)
{
	waits_to_be_told();
	return sw_real.sem_clockwait(sem, clock, until);
}

int sw_plain_pthread_cond_wait(pthread_cond_t *cond, pthread_mutex_t *mutex)
{
	waits_to_be_told();
	return sw_real.pthread_cond_wait(cond, mutex);
}

/* CPython waits for its GIL on a condition that lies in its runtime's state (hooks/python). */
static int waits_for_gil(pthread_cond_t *cond, pthread_mutex_t *mutex, const struct timespec *until)
{
	uint64_t began_ns = sw_clock_ns(CLOCK_MONOTONIC);
	int result = sw_real.pthread_cond_timedwait(cond, mutex, until);

	sw_tally_add(&sw_guest_self, SW_TALLY_GIL_WAITS, 1);
	sw_tally_add(&sw_guest_self, SW_TALLY_GIL_NS, sw_clock_ns(CLOCK_MONOTONIC) - began_ns);
	return result;
}

int sw_plain_pthread_cond_timedwait(pthread_cond_t *cond, pthread_mutex_t *mutex,
				    const struct timespec *until)
{
	if (sw_python_is_gil(cond) && !sw_guest_self.ours)
		return waits_for_gil(cond, mutex, until);
	waits_to_be_told();
	return sw_real.pthread_cond_timedwait(cond, mutex, until);
}

int sw_plain_pthread_cond_clockwait(pthread_cond_t *cond, pthread_mutex_t *mutex, clockid_t clock,
				    const struct timespec *until)
{
	waits_to_be_told();
	return sw_real.pthread_cond_clockwait(cond, mutex, clock, until);
}

static inline void tells(void)
{
	if (SW_UNLIKELY(!atomic_load_explicit(&sw_context_all_told, memory_order_relaxed)) &&
	    sw_guest_self.talk && !sw_guest_self.frame && !sw_guest_vfork)
		sw_context_tells(&sw_guest_self);
}

/*
 * Also a moment for our thread to come back after a fork, where it was asked for from the start on:
 * a program that only computes waits for nothing. CPython from 3.12 on counts its threads as soon
 * as it has forked; when it gives up its GIL next it has done so.
 */
static inline void gives_up_gil(const pthread_cond_t *cond)
{
	if (SW_UNLIKELY(atomic_load_explicit(&sw_ring_reader, memory_order_relaxed) ==
			SW_READER_LEFT) &&
	    !sw_guest_hidden() && sw_python_is_gil(cond))
		sw_modules_wanted();
}

int sw_plain_pthread_cond_signal(pthread_cond_t *cond)
{
	tells();
	gives_up_gil(cond);
	return sw_real.pthread_cond_signal(cond);
}

int sw_plain_pthread_cond_broadcast(pthread_cond_t *cond)
{
	tells();
	return sw_real.pthread_cond_broadcast(cond);
}

/* In a handler, too. */
int sw_plain_sem_post(sem_t *sem)
{
	tells();
	return sw_real.sem_post(sem);
}

int sw_plain_select(int count, fd_set *in, fd_set *out, fd_set *err, struct timeval *timeout)
{
	waits(count > 0, false);
	return turn_begins(sw_real.select(count, in, out, err, timeout));
}

int sw_plain_pselect(int count, fd_set *in, fd_set *out, fd_set *err,
		     const struct timespec *timeout, const sigset_t *mask)
{
	waits(count > 0, false);
	return turn_begins(mask_is_back(mask, sw_real.pselect(count, in, out, err, timeout, mask)));
}
