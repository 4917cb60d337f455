/* Asking by signal; see signal.h. */
#include "sampler/signal.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/utsname.h>

#include "preload/config.h"
#include "preload/proc.h"
#include "preload/real.h"

#define DIRECT_WAIT_NS 1000000ull
#define SPIN_NS 15000u
/* What is not accounted for exactly: less than this is no sleep. */
#define SLEPT_NS 50000u
#define COMPUTED_NS 100000u
#define AWAKE_NS 20000000u /* for so long: it is no burst */
#define STAT_BYTES 512
#define STATUS_BYTES 512 /* the tracer is among its first lines */
#define TRACER "\nTracerPid:\t"
#define CALL_BYTES 256
#define TAKING_YIELDS 1000
#define TRACED_NS 1000000000u
#define STOPPED_NS 100000000u /* between two looks: all of us may have been stopped */

/* Linux 5.N: CONFIG_POSIX_CPU_TIMERS_TASK_WORK is there, and on. */
#if defined(__x86_64__)
#define LINUX_5_LEAST 13
#else
#define LINUX_5_LEAST 18
#endif

static struct {
	bool handler; /* ours is there, for ever */
	bool files;   /* there are shots, and descriptors of our own */
	bool on;
	bool direct;	  /* where that is safe */
	bool timers;	  /* can be set: their signals end no call */
	uint64_t tick_ns; /* the kernel's */
	long pid;	  /* while this thread lives: it leaves before a fork */
} signals;

/* Who traces the process stops at each signal, or is woken by it. */
static struct {
	int status;   /* descriptor of the first thread's /proc/self/task/TID/status */
	bool present; /* when that was read last */
	uint64_t read_ns, looked_ns;
} tracer = {.status = -1};

/* ---- whether ---- */

/* The kernel's idea of an action: its handler comes first. */
static void *current_handler(void)
{
	struct {
		void *handler;
		unsigned long rest[20];
	} action = {NULL, {0}};

	return sw_sys(rt_sigaction, SW_SHOT_SIGNAL, NULL, &action, 8) == 0 ? action.handler
									   : (void *)SIG_IGN;
}

/* Do timers of processor clocks signal on the way back to the program's code? Older kernels do it
 * wherever the tick finds the thread. */
static bool timers_wait(void)
{
	struct utsname name;
	int major = 0, minor = 0;

	if (uname(&name) || sscanf(name.release, "%d.%d", &major, &minor) != 2)
		return false;
	return major > 5 || (major == 5 && minor >= LINUX_5_LEAST);
}

/* The program has, and had, no use for it. */
static bool install(void)
{
	struct sigaction action = {.sa_sigaction = sw_shot_handler,
				   .sa_flags = SA_SIGINFO | SA_RESTART | SA_ONSTACK};

	if (atomic_load(&sw_shots_given_up))
		return false;
	if (signals.handler)
		return current_handler() == (void *)sw_shot_handler;
	if (current_handler() != (void *)SIG_DFL)
		return false;
	sigfillset(&action.sa_mask);
	signals.handler = sw_real.sigaction(SW_SHOT_SIGNAL, &action, NULL) == 0;
	return signals.handler;
}

static bool map_shots(void)
{
	if (!atomic_load(&sw_shots))
		atomic_store(&sw_shots, sw_sys_map(SW_SHOTS_MAX * sizeof(struct sw_shot)));
	return atomic_load(&sw_shots) != NULL;
}

static void close_file(int fd)
{
	if (fd >= 0)
		sw_sys(close, fd);
}

static void open_tracer(void)
{
	tracer.status = signals.files ? sw_proc_open_task((int)signals.pid, "status") : -1;
	tracer.present = false;
	tracer.read_ns = tracer.looked_ns = 0;
}

bool sw_signal_begin(bool alone)
{
	struct timespec tick;

	signals.direct = sw_config.profile_signal == SW_PROFILE_SIGNAL_DIRECT;
	if (clock_getres(CLOCK_REALTIME_COARSE, &tick))
		tick.tv_nsec = 10000000;
	signals.tick_ns = (uint64_t)tick.tv_nsec;
	signals.pid = sw_sys(getpid);
	signals.files = alone && map_shots();
	open_tracer();
	signals.timers = timers_wait();
	signals.on = signals.files && sw_config.profile_signal != SW_PROFILE_SIGNAL_OFF &&
		     (signals.direct || signals.timers) && install();
	return signals.on;
}

void sw_signal_end(void)
{
	signals.on = false;
	close_file(tracer.status);
	tracer.status = -1;
}

/* ---- one thread ---- */

/* A timer that is set on the thread's clock, and signals the thread itself. */
static int make_timer(int tid, struct sw_shot *shot)
{
	struct sigevent event = {.sigev_notify = SIGEV_THREAD_ID,
				 .sigev_signo = SW_SHOT_SIGNAL,
				 .sigev_value = {.sival_ptr = shot}};
	clockid_t clock = (clockid_t)((unsigned)~tid << 3 | 6);
	int timer;

	event._sigev_un._tid = tid;
	return sw_sys(timer_create, clock, &event, &timer) ? -1 : timer;
}

static struct sw_shot *free_shot(void)
{
	struct sw_shot *shots = atomic_load(&sw_shots);

	for (unsigned i = 0; i < SW_SHOTS_MAX; i++) {
		if (!atomic_load(&sw_shot_tids[i]))
			return &shots[i];
	}
	return NULL;
}

static void set_tid(const struct sw_shot *shot, int tid)
{
	unsigned at = (unsigned)(shot - atomic_load(&sw_shots));

	if (tid && at >= atomic_load(&sw_shots_high))
		atomic_store(&sw_shots_high, at + 1);
	atomic_store(&sw_shot_tids[at], tid);
}

/* At the first time. */
static bool prepare(struct sw_signal *s, int tid)
{
	struct sw_shot *shot = free_shot();

	s->refused = true;
	if (!shot)
		return false;
	s->call = -1;
	s->stat = sw_proc_open_task(tid, "stat");
	if (s->stat < 0)
		return false;
	s->delays = signals.direct ? sw_proc_open_task(tid, "schedstat") : -1;
	shot->timer = signals.on && signals.timers ? make_timer(tid, shot) : -1;
	atomic_store(&shot->state, SW_SHOT_IDLE);
	atomic_store(&shot->asking, false);
	set_tid(shot, tid);
	s->shot = shot;
	s->refused = false;
	return true;
}

/* The whole of a file that is open, ended in NUL. False: it is empty, or cannot be read. */
static bool read_text(int fd, char *ret_text, size_t room)
{
	long got = fd < 0 ? fd : sw_sys(pread64, fd, ret_text, room - 1, 0);

	if (got > 0)
		ret_text[got] = 0;
	return got > 0;
}

/* As of the last reading. Who comes in between stops the process, and with it us: that is seen when
 * we go on, before he has been sent much. */
static bool is_traced(uint64_t now_ns)
{
	char text[STATUS_BYTES];
	bool stopped = now_ns - tracer.looked_ns >= STOPPED_NS;
	const char *at;

	tracer.looked_ns = now_ns;
	if (!stopped && now_ns - tracer.read_ns < TRACED_NS)
		return tracer.present;
	tracer.read_ns = now_ns;
	at = read_text(tracer.status, text, sizeof(text)) ? strstr(text, TRACER) : NULL;
	tracer.present = at && at[strlen(TRACER)] != '0';
	return tracer.present;
}

bool sw_signal_usable(uint64_t now_ns)
{
	if (signals.on &&
	    (atomic_load(&sw_shots_given_up) || current_handler() != (void *)sw_shot_handler))
		signals.on = false;
	return signals.on && !is_traced(now_ns);
}

enum doing { GONE, BLOCKS, WAITS, RUNS };

/* Whether a signal would be left waiting, and else whether it runs, as far as that can be known. */
static enum doing doing_of(const struct sw_signal *s)
{
	char text[STAT_BYTES];
	const char *state, *blocked;

	if (!read_text(s->stat, text, sizeof(text)))
		return GONE;
	state = sw_proc_field(text, SW_STAT_STATE);
	blocked = sw_proc_field(text, SW_STAT_BLOCKED);
	if (!state || !blocked)
		return GONE;
	if (sw_proc_number(blocked) >> (SW_SHOT_SIGNAL - 1) & 1)
		return BLOCKS;
	return *state == 'R' ? RUNS : WAITS;
}

static bool is_running(const struct sw_signal *s)
{
	return doing_of(s) == RUNS;
}

/* ns for which it has waited for a processor, so far: the second number. */
static uint64_t delay_of(const struct sw_signal *s)
{
	char text[STAT_BYTES];
	const char *at = read_text(s->delays, text, sizeof(text)) ? strchr(text, ' ') : NULL;

	return at ? sw_proc_number(at + 1) : 0;
}

/* In the time that passed, of which it has used so much. For what it has waited for a processor a
 * file must be read, as much work as all the rest; where it has had one nearly all the time that is
 * left for later, as long as what it may have waited for meanwhile is less than a sleep. */
static bool has_slept(struct sw_signal *s, uint64_t passed_ns, uint64_t used_ns)
{
	uint64_t idle_ns = passed_ns > used_ns ? passed_ns - used_ns : 0, delay_ns, waited_ns;
	uint64_t least_ns = SLEPT_NS + passed_ns / 64;
	bool little = idle_ns <= least_ns && !s->owed_ns;

	if (little && s->gap_ns + idle_ns <= SLEPT_NS / 2) {
		s->gap_ns += idle_ns;
		return false;
	}
	delay_ns = delay_of(s);
	waited_ns = delay_ns - s->delay_ns;
	waited_ns = waited_ns > s->gap_ns ? waited_ns - s->gap_ns : 0;
	s->delay_ns = delay_ns;
	s->gap_ns = 0;
	idle_ns += s->owed_ns;
	s->owed_ns = 0;
	if (little || waited_ns + least_ns >= idle_ns)
		return false;
	s->owed_ns = idle_ns - waited_ns;
	return true;
}

/* The kernel adds what a thread waits for a processor when it gets one: until then it looks like a
 * sleep, and only if it is still missing afterwards it was one. */
static void note_sleep(struct sw_signal *s, bool before, uint64_t now_ns)
{
	if (!before)
		return;
	s->awake_ns = now_ns;
	s->owed_ns = 0;
}

/*
 * It has not slept since this was last asked, but computed or waited for a processor: then it will
 * hardly begin to sleep within the microseconds that a signal takes. And it has computed for a
 * while: else it may only be on its way out of a sleep, of which it is awake for long. `later`: it
 * has done so for so long that what is missing of its beginning does not matter.
 */
static bool computes(struct sw_signal *s, uint64_t used_ns, bool later)
{
	uint64_t now_ns = sw_clock_ns(CLOCK_MONOTONIC);
	bool slept, before = s->owed_ns;

	if (used_ns - s->used_ns < COMPUTED_NS)
		return false;
	slept = has_slept(s, now_ns - s->now_ns, used_ns - s->used_ns);
	if (slept)
		note_sleep(s, before, now_ns);
	s->now_ns = now_ns;
	s->used_ns = used_ns;
	return !slept && (!later || now_ns - s->awake_ns >= AWAKE_NS);
}

static bool send_to(int tid, struct sw_shot *shot)
{
	siginfo_t info = {.si_signo = SW_SHOT_SIGNAL, .si_code = SI_QUEUE};
	bool ok;

	info.si_value.sival_ptr = shot;
	if (!sw_shots_begin_sending(sw_clock_ns(CLOCK_MONOTONIC)))
		return false;
	ok = sw_sys(rt_tgsigqueueinfo, signals.pid, tid, SW_SHOT_SIGNAL, &info) == 0;
	sw_shots_end_sending();
	return ok;
}

/* 0: never. */
static bool set_timer(int timer, long ns)
{
	struct itimerspec in = {{0, 0}, {0, ns}};

	return sw_sys(timer_settime, timer, 0, &in, NULL) == 0;
}

/* False: the handler or the thread itself has changed it, and it stays as they left it. */
static bool change(struct sw_shot *shot, uint32_t from, uint32_t to)
{
	return atomic_compare_exchange_strong(&shot->state, &from, to);
}

/* A timer that is set already is set once more; if it had gone off before that, and the thread has
 * answered by now, in vain: nobody would take it back when it blocks the signal. */
static bool ask_now(struct sw_signal *s, int tid, enum doing least, uint32_t before)
{
	if (!change(s->shot, before, SW_SHOT_ASKING))
		return atomic_load(&s->shot->state) != SW_SHOT_IDLE;
	if (doing_of(s) >= least &&
	    (s->direct ? send_to(tid, s->shot) : set_timer(s->shot->timer, 1))) {
		if (!change(s->shot, SW_SHOT_ASKING, SW_SHOT_ASKED) && !s->direct)
			set_timer(s->shot->timer, 0);
		return true;
	}
	change(s->shot, SW_SHOT_ASKING, before == SW_SHOT_ASKED ? SW_SHOT_ASKED : SW_SHOT_IDLE);
	return false;
}

static bool ask(struct sw_signal *s, int tid, enum doing least)
{
	uint32_t before = atomic_load(&s->shot->state);
	bool sent = s->direct && before == SW_SHOT_ASKED, asked;

	if (before == SW_SHOT_TAKING)
		return true;
	if (sent)
		return is_running(s);
	atomic_store(&s->shot->asking, true);
	asked = ask_now(s, tid, least, before);
	atomic_store(&s->shot->asking, false);
	return asked;
}

/* How it is asked; false: it cannot be. While it is being asked that stays as it is. */
static bool choose(struct sw_signal *s, uint64_t used_ns, bool later)
{
	bool direct = signals.direct && computes(s, used_ns, later);

	if (atomic_load(&s->shot->state) != SW_SHOT_ASKED)
		s->direct = direct;
	return s->direct || ((later || !signals.direct) && s->shot->timer >= 0);
}

bool sw_signal_ask(struct sw_signal *s, int tid, uint64_t used_ns, uint32_t stack_max, bool later)
{
	if (s->refused || (!s->shot && !prepare(s, tid)) || !choose(s, used_ns, later))
		return false;
	if (atomic_load(&s->shot->state) != SW_SHOT_TAKING)
		s->shot->stack_max = SW_MIN(stack_max, SW_SHOT_STACK_MAX);
	return ask(s, tid, later && !s->direct ? WAITS : RUNS);
}

bool sw_signal_ask_again(struct sw_signal *s, int tid)
{
	return ask(s, tid, RUNS);
}

bool sw_signal_is_asked(const struct sw_signal *s)
{
	uint32_t state = s->shot ? atomic_load(&s->shot->state) : SW_SHOT_IDLE;

	return state == SW_SHOT_TAKING || state == SW_SHOT_ASKED;
}

bool sw_signal_waits(struct sw_signal *s, int tid)
{
	return signals.files && !s->refused && (s->shot || prepare(s, tid)) && doing_of(s) == WAITS;
}

bool sw_signal_is_pending(const struct sw_signal *s)
{
	uint32_t state = s->shot ? atomic_load(&s->shot->state) : SW_SHOT_IDLE;

	return state == SW_SHOT_TAKING || (state == SW_SHOT_ASKED && is_running(s));
}

bool sw_signal_reaches(const struct sw_signal *s)
{
	return signals.on && !tracer.present && s->shot && (signals.direct || s->shot->timer >= 0);
}

/* A thread on another processor answers sooner than we would fall asleep and be woken. */
static bool answered_at_once(unsigned asked, uint32_t since)
{
	uint64_t end_ns = sw_clock_ns(CLOCK_MONOTONIC) + SPIN_NS;

	while (atomic_load(&sw_shots_taken) - since < asked) {
		if (sw_clock_ns(CLOCK_MONOTONIC) >= end_ns)
			return false;
		sw_pause();
	}
	return true;
}

void sw_signal_wait(unsigned asked, uint32_t since, const _Atomic uint32_t *leave)
{
	uint64_t now_ns = sw_clock_ns(CLOCK_MONOTONIC), end_ns = now_ns + DIRECT_WAIT_NS;
	uint32_t seen;

	if (signals.direct && answered_at_once(asked, since))
		return;
	if (!signals.direct)
		end_ns += signals.tick_ns;
	atomic_store(&sw_shots_awaited, true);
	seen = atomic_load(&sw_shots_taken);
	while (seen - since < asked && now_ns < end_ns && !(leave && atomic_load(leave))) {
		sw_sys_futex_wait(&sw_shots_taken, seen, end_ns - now_ns);
		seen = atomic_load(&sw_shots_taken);
		now_ns = sw_clock_ns(CLOCK_MONOTONIC);
	}
	atomic_store(&sw_shots_awaited, false);
}

const struct sw_shot *sw_signal_answer(struct sw_signal *s)
{
	/* A handler is at it, and nothing else runs on its thread: microseconds, unless it has lost
	 * its processor. */
	for (int i = 0; s->shot && i < TAKING_YIELDS; i++) {
		if (atomic_load_explicit(&s->shot->state, memory_order_acquire) != SW_SHOT_TAKING)
			break;
		sw_sys(sched_yield);
	}
	return s->shot && atomic_load_explicit(&s->shot->state, memory_order_acquire) ==
				       SW_SHOT_TAKEN
		       ? s->shot
		       : NULL;
}

bool sw_signal_parse_call(const char *text, uint64_t *ret_sp, uint64_t *ret_pc)
{
	const char *end = text + strlen(text), *at = end;

	if (*text != '-' && (*text < '0' || *text > '9'))
		return false;
	for (int spaces = 0; at > text && spaces < 2;)
		spaces += *--at == ' ';
	return sscanf(at, " %" SCNx64 " %" SCNx64, ret_sp, ret_pc) == 2;
}

const struct sw_shot *sw_signal_read_waiting(struct sw_signal *s, int tid, uint32_t stack_max)
{
	char text[CALL_BYTES];

	if (!signals.files || s->refused || (!s->shot && !prepare(s, tid)) ||
	    atomic_load(&s->shot->state) == SW_SHOT_ASKED ||
	    atomic_load(&s->shot->state) == SW_SHOT_TAKING)
		return NULL;
	if (s->call < 0)
		s->call = sw_proc_open_task(tid, "syscall");
	if (!read_text(s->call, text, sizeof(text)) ||
	    !sw_signal_parse_call(text, &s->shot->sp, &s->shot->pc))
		return NULL;
	s->shot->fp = s->shot->lr = 0;
	s->shot->told = false;
	s->shot->entry = 0;
	s->shot->frames.count = 0;
	s->shot->time_ns = sw_clock_ns(CLOCK_MONOTONIC);
	s->shot->stack_max = SW_MIN(stack_max, SW_SHOT_STACK_MAX);
	sw_shot_copy_stack(s->shot);
	return s->shot;
}

void sw_signal_cancel(struct sw_signal *s)
{
	/* A signal that was sent comes, unless whoever traces the process keeps it. */
	if (!s->shot || atomic_load(&s->shot->state) != SW_SHOT_ASKED ||
	    (s->direct ? !tracer.present : s->shot->timer < 0))
		return;
	if (!s->direct)
		set_timer(s->shot->timer, 0);
	change(s->shot, SW_SHOT_ASKED, SW_SHOT_IDLE);
}

void sw_signal_drop(struct sw_signal *s)
{
	if (s->shot) {
		if (s->shot->timer >= 0)
			sw_sys(timer_delete, s->shot->timer);
		close_file(s->stat);
		close_file(s->delays);
		close_file(s->call);
		change(s->shot, SW_SHOT_ASKED, SW_SHOT_IDLE);
		sw_signal_answer(s);
		/* In the midst of it still: its place is lost. */
		if (atomic_load(&s->shot->state) != SW_SHOT_TAKING)
			set_tid(s->shot, 0);
	}
	*s = (struct sw_signal){.shot = NULL};
}
