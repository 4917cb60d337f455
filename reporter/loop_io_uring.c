/*
 * The loop on io_uring; see loop.h.
 *
 * A watch has a slot here, and the kernel is given one poll at a time for it, which ends with its
 * first event. What is not being polled is polled by the next wait, in the same system call: that
 * looks anew, so readiness is by level as epoll's is. Whatever completes carries the number of its
 * slot and of its poll; those of a poll that was called off find nobody.
 *
 * A poll holds on to its connection as a descriptor does, and the ring's memory holds on to the
 * ring. So what is unwatched is called off at once, not by the next wait, or closing it would not
 * end it; and a child of fork gets no copy of the memory (it could even submit).
 *
 * Ours alone (SINGLE_ISSUER, Linux 6.0), in a descriptor table of our own: under a number that the
 * program can close and use again we would submit to whatever it has put there. With DEFER_TASKRUN
 * (6.1) nothing is done about an event until we ask, so our sleep is not disturbed by one, and a
 * look that finds nothing is no system call. No kernel thread polls for us, and polls need no
 * workers: the process has no thread more.
 */
#include <liburing.h>
#include <sys/epoll.h>

#include "preload/fds.h"
#include "preload/sys.h"
#include "reporter/loop.h"

#define ENTRIES 32
#define SLOTS 256
/* When the kernel is short of memory: do not ask again at once. */
#define REST_NS 1000000

struct slot {
	struct sw_watch *watch; /* Borrowed; NULL: free */
	uint32_t events;	/* asked for */
	uint32_t polled;	/* what the kernel's poll waits for; 0: there is none */
	uint32_t poll;		/* number of the last one */
	uint32_t ready;		/* what it has found, until that is told */
};

static struct {
	struct io_uring ring;
	struct slot slots[SLOTS];
	unsigned used; /* all slots from here on are free */
} uring;

/* Never 0, which is what calling off completes with. */
static uint64_t label(const struct slot *slot)
{
	return (uint64_t)slot->poll << 32 | (uint64_t)(slot - uring.slots + 1);
}

static struct slot *labelled(uint64_t word)
{
	uint64_t number = word & UINT32_MAX;
	struct slot *slot = &uring.slots[number - 1];

	return number && slot->polled && label(slot) == word ? slot : NULL;
}

static struct slot *slot_of(const struct sw_watch *watch)
{
	for (unsigned i = 0; i < uring.used; i++) {
		if (uring.slots[i].watch == watch)
			return &uring.slots[i];
	}
	return NULL;
}

static struct slot *free_slot(void)
{
	struct slot *slot = slot_of(NULL);

	if (!slot && uring.used < SLOTS)
		slot = &uring.slots[uring.used++];
	return slot;
}

/* Submits, and has the kernel do what it has put off. A filter may kill for any call once we have
 * stood down (preload/sys.h). */
static int submit(void)
{
	int done =
		atomic_load(&sw_stood_down) ? -ENOSYS : io_uring_submit_and_get_events(&uring.ring);

	return done < 0 ? done : 0;
}

/* NULL: full, and the kernel takes nothing now. */
static struct io_uring_sqe *entry(void)
{
	struct io_uring_sqe *sqe = io_uring_get_sqe(&uring.ring);

	if (sqe || submit())
		return sqe;
	return io_uring_get_sqe(&uring.ring);
}

/* Its poll's completion, which may be here already, is nobody's from now on. */
static void call_off(struct slot *slot)
{
	struct io_uring_sqe *sqe = entry();

	if (sqe) {
		io_uring_prep_poll_remove(sqe, label(slot));
		sqe->flags |= IOSQE_CQE_SKIP_SUCCESS;
		sqe->user_data = 0;
	}
	slot->polled = 0;
}

static void begin_poll(struct slot *slot)
{
	struct io_uring_sqe *sqe = entry();

	slot->ready = 0; /* old: the new poll looks itself */
	if (!sqe)
		return;
	slot->polled = slot->events;
	slot->poll++;
	io_uring_prep_poll_add(sqe, slot->watch->fd, slot->events);
	sqe->user_data = label(slot);
}

static void begin_polls(void)
{
	for (unsigned i = 0; i < uring.used; i++) {
		if (uring.slots[i].watch && !uring.slots[i].polled)
			begin_poll(&uring.slots[i]);
	}
}

/* What a poll's result means for its watch. Short of memory, or ended with nothing: the next wait
 * polls again. */
static uint32_t events_of(int result)
{
	if (result >= 0)
		return (uint32_t)result;
	return result == -ENOMEM || result == -EAGAIN || result == -ECANCELED ? 0 : EPOLLERR;
}

/* From the ring to the slots. */
static void collect(void)
{
	struct io_uring_cqe *cqe;
	unsigned head, count = 0;

	io_uring_for_each_cqe(&uring.ring, head, cqe)
	{
		struct slot *slot = labelled(cqe->user_data);

		count++;
		if (!slot)
			continue;
		slot->polled = 0;
		slot->ready = events_of(cqe->res);
	}
	io_uring_cq_advance(&uring.ring, count);
}

/* Any of them may unwatch any other one. */
static void tell(void)
{
	for (unsigned i = 0, used = uring.used; i < used; i++) {
		struct slot *slot = &uring.slots[i];
		uint32_t events = slot->ready & (slot->events | EPOLLERR | EPOLLHUP);

		slot->ready = 0;
		if (slot->watch && events)
			slot->watch->ready(slot->watch, events);
	}
}

/* ---- the slots of the contract ---- */

static int ring_open(uint32_t flags)
{
	struct io_uring_params params = {.flags = flags};

	return io_uring_queue_init_params(ENTRIES, &uring.ring, &params);
}

static int uring_open(struct sw_loop *loop)
{
	uint32_t flags = IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_TASKRUN_FLAG;
	int error;

	if (!sw_fd_private())
		return -EOPNOTSUPP;
	memset(&uring, 0, sizeof(uring)); /* perhaps a parent's */
	error = ring_open(flags | IORING_SETUP_DEFER_TASKRUN);
	if (error == -EINVAL)
		error = ring_open(flags | IORING_SETUP_COOP_TASKRUN);
	if (error)
		return error;
	error = io_uring_ring_dontfork(&uring.ring);
	if (error)
		io_uring_queue_exit(&uring.ring);
	else
		loop->fd = uring.ring.ring_fd;
	return error;
}

/* What the kernel does not take now is submitted by the next wait, which says so if it cannot. */
static void call_off_now(struct slot *slot)
{
	call_off(slot);
	submit();
}

static int unwatch(struct sw_watch *watch)
{
	struct slot *slot = slot_of(watch);

	if (!slot)
		return -ENOENT;
	slot->watch = NULL;
	slot->ready = 0;
	if (slot->polled)
		call_off_now(slot);
	return 0;
}

static int uring_watch(struct sw_loop *loop, struct sw_watch *watch, uint32_t events)
{
	struct slot *slot;

	(void)loop;
	if (!events)
		return unwatch(watch);
	slot = slot_of(watch);
	if (!slot)
		slot = free_slot();
	if (!slot)
		return -ENOSPC;
	slot->watch = watch;
	slot->events = events;
	slot->ready = 0;
	if (slot->polled && slot->polled != events)
		call_off_now(slot);
	return 0;
}

/* Submits, and waits for a completion. */
static int submit_and_wait(int64_t timeout_ns)
{
	struct __kernel_timespec t = {timeout_ns / 1000000000, timeout_ns % 1000000000};
	struct io_uring_cqe *cqe;
	int done;

	if (atomic_load(&sw_stood_down))
		return -ENOSYS;
	done = io_uring_submit_and_wait_timeout(&uring.ring, &cqe, 1, timeout_ns < 0 ? NULL : &t,
						NULL);
	return done < 0 ? done : 0;
}

/* Is there anything that the kernel must be called for? */
static bool calls(void)
{
	unsigned flags = IO_URING_READ_ONCE(*uring.ring.sq.kflags);

	return io_uring_sq_ready(&uring.ring) ||
	       (flags & (IORING_SQ_TASKRUN | IORING_SQ_CQ_OVERFLOW));
}

static int rest(int64_t timeout_ns)
{
	struct timespec t = {0, timeout_ns < 0 ? REST_NS : SW_MIN(timeout_ns, REST_NS)};

	sw_sys(nanosleep, &t, NULL);
	return 0;
}

static int uring_wait(struct sw_loop *loop, int64_t timeout_ns)
{
	int error = 0;

	(void)loop;
	collect(); /* not to be woken by what has been called off */
	begin_polls();
	if (timeout_ns != 0)
		error = submit_and_wait(timeout_ns);
	else if (calls())
		error = submit();
	if (error == -EAGAIN || error == -EBUSY || error == -ENOMEM)
		return rest(timeout_ns);
	if (error && error != -ETIME && error != -EINTR)
		return error;
	collect();
	tell();
	return 0;
}

/* The ring's own end comes later, on a thread of the kernel's; what is polled must not wait. */
static void uring_close(struct sw_loop *loop)
{
	for (unsigned i = 0; i < uring.used; i++) {
		if (uring.slots[i].polled)
			call_off(&uring.slots[i]);
	}
	if (submit() != -ENOSYS)
		io_uring_queue_exit(&uring.ring);
	memset(uring.slots, 0, sizeof(uring.slots)); /* a `tell` that this is called from ends */
	uring.used = 0;
	loop->fd = -1;
}

const struct sw_loop_backend sw_loop_io_uring = {
	.name = "io_uring",
	.open = uring_open,
	.watch = uring_watch,
	.wait = uring_wait,
	.close = uring_close,
};
