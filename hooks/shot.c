/* Shots on the thread that is shot; see shot.h. */
#include "hooks/shot.h"

#include <sys/auxv.h>
#include <ucontext.h>

#include "hooks/context.h"
#include "preload/exports.h"

/* How long the program waits for what is under way, 20 ms at most: some us for a signal that is
 * just being sent, a tick of the kernel's for answers, after which the sampler takes back what it
 * has asked. */
#define PAUSES_MAX 100
#define PAUSE_NS 200000

/* What the handler needs of a stack, at most 3.2 KiB, and what the kernel puts there before. */
#define HANDLER_BYTES 4096
#define FRAME_BYTES 3584 /* where the kernel does not say */
/* In a mask that is an int. */
#define IN_MASK (1 << (SW_SHOT_SIGNAL - 1))
#ifndef AT_MINSIGSTKSZ
#define AT_MINSIGSTKSZ 51
#endif

struct sw_shot *_Atomic sw_shots;
_Atomic int sw_shot_tids[SW_SHOTS_MAX];
_Atomic unsigned sw_shots_high;
_Atomic uint32_t sw_shots_taken;
_Atomic bool sw_shots_awaited, sw_shots_given_up;

/* Pairs: who sends stores `sending` and then looks whether it may; who holds stores that it may not
 * and then looks who sends. */
static _Atomic bool sending;
static _Atomic uint64_t held_end_ns;

void sw_shots_look_up(void)
{
	atomic_fetch_add(&sw_shots_taken, 1);
	if (atomic_load(&sw_shots_awaited))
		sw_sys_futex_wake(&sw_shots_taken);
}

/* ---- who may send ---- */

void sw_shots_hold(void)
{
	struct timespec pause = {0, PAUSE_NS};

	atomic_store(&held_end_ns, sw_clock_ns(CLOCK_MONOTONIC) + SW_SHOT_HELD_NS);
	for (int i = 0; i < PAUSES_MAX && atomic_load(&sending); i++)
		sw_sys(nanosleep, &pause, NULL);
	sw_sys(getpid); /* what was sent to this thread reaches it here at the latest */
}

bool sw_shots_begin_sending(uint64_t now_ns)
{
	atomic_store(&sending, true);
	if (now_ns >= atomic_load(&held_end_ns))
		return true;
	atomic_store(&sending, false);
	return false;
}

void sw_shots_end_sending(void)
{
	atomic_store(&sending, false);
}

void sw_shots_forked(void)
{
	atomic_store(&sending, false);
	atomic_store(&held_end_ns, 0);
	memset(sw_shot_tids, 0, sizeof(sw_shot_tids));
	atomic_store(&sw_shots_high, 0);
}

/* ---- what is written down ---- */

#if defined(__x86_64__)
static void read_registers(struct sw_shot *shot, const ucontext_t *context)
{
	static const uint8_t by_number[] = {REG_RAX, REG_RDX, REG_RCX, REG_RBX, REG_RSI, REG_RDI,
					    REG_RBP, REG_RSP, REG_R8,  REG_R9,	REG_R10, REG_R11,
					    REG_R12, REG_R13, REG_R14, REG_R15};
	const greg_t *registers = context->uc_mcontext.gregs;

	for (unsigned i = 0; i < SW_COUNT_OF(by_number); i++)
		shot->registers[i] = (uint64_t)registers[by_number[i]];
	shot->pc = (uint64_t)registers[REG_RIP];
	shot->sp = (uint64_t)registers[REG_RSP];
	shot->fp = (uint64_t)registers[REG_RBP];
	shot->lr = (uint64_t)registers[REG_R10];
}
#elif defined(__aarch64__)
static void read_registers(struct sw_shot *shot, const ucontext_t *context)
{
	memcpy(shot->registers, context->uc_mcontext.regs, 31 * sizeof(shot->registers[0]));
	shot->registers[31] = context->uc_mcontext.sp;
	shot->pc = context->uc_mcontext.pc;
	shot->sp = context->uc_mcontext.sp;
	shot->fp = context->uc_mcontext.regs[29];
	shot->lr = context->uc_mcontext.regs[30];
}
#endif

/* By the kernel's answer, which ends where the stack does. The number of any thread stands for its
 * process, and this one is known. */
void sw_shot_copy_stack(struct sw_shot *shot)
{
	long got = 0;

	if (shot->stack_max)
		got = sw_sys_copy_of(sw_guest_tid(&sw_guest_self), shot->stack,
				     (void *)(uintptr_t)shot->sp, shot->stack_max);
	shot->stack_len = got > 0 ? (uint32_t)got : 0;
}

static void take(struct sw_shot *shot, const ucontext_t *context)
{
	shot->time_ns = sw_clock_ns(CLOCK_MONOTONIC);
	read_registers(shot, context);
	shot->entry = sw_context_request(&sw_guest_self);
	shot->told = sw_frames_interrupted(shot->pc, &shot->frames, &shot->spare);
	sw_shot_copy_stack(shot);
	shot->spent_ns = (uint32_t)(sw_clock_ns(CLOCK_MONOTONIC) - shot->time_ns);
}

/* ---- the handler ---- */

/* From ASKED, or while it is being asked still. */
static bool begin_taking(struct sw_shot *shot)
{
	uint32_t asked = SW_SHOT_ASKED, asking = SW_SHOT_ASKING;

	return atomic_compare_exchange_strong(&shot->state, &asked, SW_SHOT_TAKING) ||
	       atomic_compare_exchange_strong(&shot->state, &asking, SW_SHOT_TAKING);
}

/* A timer's, or one that we sent ourselves; whoever else sends it has no address of ours. */
static struct sw_shot *shot_of(const siginfo_t *info)
{
	struct sw_shot *shots = atomic_load(&sw_shots), *shot = info->si_value.sival_ptr;

	if ((info->si_code != SI_TIMER && info->si_code != SI_QUEUE) || !shots || shot < shots ||
	    shot >= shots + SW_SHOTS_MAX)
		return NULL;
	return shot;
}

/* What it would do without us: the default is to end. It is blocked until we return. */
static void pass_on(int signal)
{
	struct {
		void (*handler)(int);
		unsigned long rest[20];
	} action = {SIG_DFL, {0}};

	SW_SYS_6(SYS_rt_sigaction, signal, &action, NULL, 8, 0, 0);
	SW_SYS_6(SYS_tgkill, SW_SYS_6(SYS_getpid, 0, 0, 0, 0, 0, 0),
		 SW_SYS_6(SYS_gettid, 0, 0, 0, 0, 0, 0), signal, 0, 0, 0);
}

/* Of a thread that has made itself a small stack for handlers where nobody could see it. */
static bool has_room(const ucontext_t *context)
{
	uintptr_t here = (uintptr_t)__builtin_frame_address(0),
		  from = (uintptr_t)context->uc_stack.ss_sp;

	return here - from >= context->uc_stack.ss_size || here - from >= HANDLER_BYTES;
}

void sw_shot_handler(int signal, siginfo_t *info, void *context)
{
	struct sw_shot *shot = shot_of(info);

	if (!shot) {
		pass_on(signal);
		return;
	}
	/* One that was asked for long ago may be there only now, when its place is another's. */
	if (sw_guest_hidden() || !has_room(context) ||
	    atomic_load(&sw_shot_tids[shot - atomic_load(&sw_shots)]) !=
		    sw_guest_tid(&sw_guest_self) ||
	    !begin_taking(shot))
		return;
	take(shot, context);
	atomic_store_explicit(&shot->state, SW_SHOT_TAKEN, memory_order_release);
	sw_shots_look_up();
}

/* ---- a thread blocks the signal ---- */

static struct sw_shot *own_shot(void)
{
	int tid = sw_guest_tid(&sw_guest_self);
	unsigned high = atomic_load(&sw_shots_high);

	for (unsigned i = 0; i < high; i++) {
		if (atomic_load_explicit(&sw_shot_tids[i], memory_order_relaxed) == tid)
			return &atomic_load(&sw_shots)[i];
	}
	return NULL;
}

/* What was sent before it was taken back waits on this thread. One of somebody else's goes there
 * again. */
static void take_pending(void)
{
	struct timespec at_once = {0, 0};
	uint64_t only = 1ull << (SW_SHOT_SIGNAL - 1);
	siginfo_t info;
	long self = sw_sys(getpid), tid = sw_guest_tid(&sw_guest_self);

	if (sw_sys(rt_sigtimedwait, &only, &info, &at_once, sizeof(only)) == SW_SHOT_SIGNAL &&
	    !shot_of(&info))
		sw_sys(rt_tgsigqueueinfo, self, tid, SW_SHOT_SIGNAL, &info);
}

static void take_back(void)
{
	struct itimerspec never = {{0, 0}, {0, 0}};
	struct timespec pause = {0, PAUSE_NS};
	struct sw_shot *shot = own_shot();
	uint32_t asked = SW_SHOT_ASKED;

	if (!shot)
		return;
	for (int i = 0; i < PAUSES_MAX && atomic_load(&shot->asking); i++)
		sw_sys(nanosleep, &pause, NULL);
	if (atomic_compare_exchange_strong(&shot->state, &asked, SW_SHOT_IDLE) && shot->timer >= 0)
		sw_sys(timer_settime, shot->timer, 0, &never, NULL);
	take_pending(); /* also where the sampler has just taken it back itself */
}

static bool has_signal(const sigset_t *set)
{
	uint64_t first; /* what the kernel looks at: a bit for each */

	memcpy(&first, set, sizeof(first));
	return first >> (SW_SHOT_SIGNAL - 1) & 1;
}

static bool blocks(int how, const sigset_t *set)
{
	return set && how != SIG_UNBLOCK && has_signal(set);
}

/* The signal is blocked by now. */
static void after_block(void)
{
	int saved = errno;

	if (!atomic_load(&sw_shots) || sw_guest_hidden())
		return;
	take_back();
	errno = saved;
}

int sw_plain_sigprocmask(int how, const sigset_t *set, sigset_t *old)
{
	int result = sw_real.sigprocmask(how, set, old);

	if (result == 0 && blocks(how, set))
		after_block();
	return result;
}

int sw_plain_pthread_sigmask(int how, const sigset_t *set, sigset_t *old)
{
	int result = sw_real.pthread_sigmask(how, set, old);

	if (result == 0 && blocks(how, set))
		after_block();
	return result;
}

int sw_plain_sigblock(int mask)
{
	int result = sw_real.sigblock(mask);

	if (mask & IN_MASK)
		after_block();
	return result;
}

int sw_plain_sigsetmask(int mask)
{
	int result = sw_real.sigsetmask(mask);

	if (mask & IN_MASK)
		after_block();
	return result;
}

int sw_plain_sighold(int number)
{
	int result = sw_real.sighold(number);

	if (number == SW_SHOT_SIGNAL)
		after_block();
	return result;
}

/* ---- a thread waits with another mask ---- */

static bool is_blocked(void)
{
	uint64_t mask = 0;

	sw_sys(rt_sigprocmask, SIG_BLOCK, NULL, &mask, sizeof(mask));
	return mask >> (SW_SHOT_SIGNAL - 1) & 1;
}

void sw_shot_unmasked(void)
{
	if (atomic_load(&sw_shots) && !sw_guest_hidden() && own_shot() && is_blocked())
		after_block();
}

static struct timespec rest_of(const struct timespec *timeout, uint64_t begin_ns)
{
	uint64_t all_ns = (uint64_t)timeout->tv_sec * SW_SECOND_NS + (uint64_t)timeout->tv_nsec;
	uint64_t passed_ns = sw_clock_ns(CLOCK_MONOTONIC) - begin_ns;
	uint64_t rest_ns = all_ns > passed_ns ? all_ns - passed_ns : 0;

	return (struct timespec){(time_t)(rest_ns / SW_SECOND_NS), (long)(rest_ns % SW_SECOND_NS)};
}

/* A profile may begin in the midst of it. */
static int wait_for_others(const sigset_t *set, siginfo_t *info, const struct timespec *timeout)
{
	uint64_t begin_ns = sw_clock_ns(CLOCK_MONOTONIC);
	const struct timespec *until = timeout;
	struct timespec rest;
	siginfo_t own, *got = info ? info : &own;
	int result;

	while ((result = sw_real.sigtimedwait(set, got, until)) == SW_SHOT_SIGNAL && shot_of(got)) {
		if (!timeout)
			continue;
		rest = rest_of(timeout, begin_ns);
		until = &rest;
	}
	sw_shot_unmasked();
	return result;
}

int sw_plain_sigtimedwait(const sigset_t *set, siginfo_t *info, const struct timespec *timeout)
{
	if (sw_guest_hidden())
		return sw_real.sigtimedwait(set, info, timeout);
	return wait_for_others(set, info, timeout);
}

int sw_plain_sigwaitinfo(const sigset_t *set, siginfo_t *info)
{
	if (sw_guest_hidden())
		return sw_real.sigwaitinfo(set, info);
	return wait_for_others(set, info, NULL);
}

/* As libc does it. */
int sw_plain_sigwait(const sigset_t *set, int *number)
{
	siginfo_t info;
	int result;

	if (sw_guest_hidden())
		return sw_real.sigwait(set, number);
	while ((result = wait_for_others(set, &info, NULL)) < 0 && errno == EINTR)
		;
	if (result < 0)
		return errno;
	*number = result;
	return 0;
}

int sw_plain_sigsuspend(const sigset_t *mask)
{
	int result = sw_real.sigsuspend(mask);

	sw_shot_unmasked();
	return result;
}

/* ---- the program's own use of the signal ---- */

static bool under_way(void)
{
	struct sw_shot *shots = atomic_load(&sw_shots);

	for (unsigned i = 0; i < atomic_load(&sw_shots_high); i++) {
		uint32_t state = atomic_load(&shots[i].state);

		if (atomic_load(&sw_shot_tids[i]) &&
		    (atomic_load(&shots[i].asking) ||
		     (state != SW_SHOT_IDLE && state != SW_SHOT_TAKEN)))
			return true;
	}
	return false;
}

static void give_up(void)
{
	struct timespec pause = {0, PAUSE_NS};

	atomic_store(&sw_shots_given_up, true);
	for (int i = 0; i < PAUSES_MAX && under_way(); i++)
		sw_sys(nanosleep, &pause, NULL);
}

/* Not even of what comes before the handler, and the kernel would end the program. */
static bool is_narrow(const stack_t *stack)
{
	unsigned long frame = getauxval(AT_MINSIGSTKSZ);

	return !(stack->ss_flags & SS_DISABLE) &&
	       stack->ss_size < HANDLER_BYTES + (frame ? frame : FRAME_BYTES);
}

int sw_plain_sigaltstack(const stack_t *stack, stack_t *old)
{
	if (stack && !sw_guest_hidden() && is_narrow(stack))
		give_up();
	return sw_real.sigaltstack(stack, old);
}

static bool concerns(int number)
{
	return number == SW_SHOT_SIGNAL && atomic_load(&sw_shots) && !sw_guest_hidden();
}

int sw_plain_sigaction(int number, const struct sigaction *action, struct sigaction *old)
{
	int result;

	if (!concerns(number))
		return sw_real.sigaction(number, action, old);
	if (action)
		give_up();
	result = sw_real.sigaction(number, action, old);
	if (result == 0 && old && old->sa_sigaction == sw_shot_handler)
		*old = (struct sigaction){.sa_handler = SIG_DFL};
	return result;
}

sighandler_t sw_plain_signal(int number, sighandler_t handler)
{
	sighandler_t old;

	if (!concerns(number))
		return sw_real.signal(number, handler);
	give_up();
	old = sw_real.signal(number, handler);
	return (void (*)(void))old == (void (*)(void))sw_shot_handler ? SIG_DFL : old;
}
