/*
 * Raw system calls that return -errno.
 *
 * They never go through a hooked symbol, never touch the program's errno and are not cancellation
 * points, so guest code and our own thread may use them at any moment.
 */
#pragma once

#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#include "preload/check.h"

#if defined(__x86_64__)
static inline long sw_sys6(long n, long a, long b, long c, long d, long e, long f)
{
	register long r10 __asm__("r10") = d;
	register long r8 __asm__("r8") = e;
	register long r9 __asm__("r9") = f;
	long ret;

	__asm__ volatile("syscall"
			 : "=a"(ret)
			 : "a"(n), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
			 : "rcx", "r11", "memory");
	return ret;
}
#elif defined(__aarch64__)
static inline long sw_sys6(long n, long a, long b, long c, long d, long e, long f)
{
	register long x8 __asm__("x8") = n;
	register long x0 __asm__("x0") = a;
	register long x1 __asm__("x1") = b;
	register long x2 __asm__("x2") = c;
	register long x3 __asm__("x3") = d;
	register long x4 __asm__("x4") = e;
	register long x5 __asm__("x5") = f;

	__asm__ volatile("svc 0"
			 : "+r"(x0)
			 : "r"(x8), "r"(x1), "r"(x2), "r"(x3), "r"(x4), "r"(x5)
			 : "memory");
	return x0;
}
#else
#error "no system call sequence for this architecture"
#endif

#define SW_SYS_6(n, a, b, c, d, e, f, ...)                                                         \
	sw_sys6(n, (long)(a), (long)(b), (long)(c), (long)(d), (long)(e), (long)(f))
/* sw_sys(NAME, up to six arguments). -ENOSYS for good once we have stood down: a filter may kill
 * for any of them, also on a thread that was in a hook when it came. */
#define sw_sys(name, ...)                                                                          \
	(SW_UNLIKELY(atomic_load_explicit(&sw_stood_down, memory_order_relaxed))                   \
		 ? -ENOSYS                                                                         \
		 : SW_SYS_6(SYS_##name, ##__VA_ARGS__, 0, 0, 0, 0, 0, 0))

static inline void *sw_sys_map(size_t size)
{
	long at = sw_sys(mmap, 0, size, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	return at < 0 && at > -4096 ? NULL : (void *)at;
}

#define SW_SECOND_NS 1000000000ull

static inline uint64_t sw_clock_ns(clockid_t clock)
{
	struct timespec t;

	clock_gettime(clock, &t); /* vDSO; cannot fail with these clocks, so errno is safe */
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* Waits while *word is `expected`, at most `timeout_ns` (relative). */
static inline long sw_sys_futex_wait(void *word, uint32_t expected, uint64_t timeout_ns)
{
	struct timespec t = {(time_t)(timeout_ns / 1000000000u), (long)(timeout_ns % 1000000000u)};

	return sw_sys(futex, word, FUTEX_WAIT_PRIVATE, expected, &t);
}

static inline void sw_sys_futex_wake(void *word)
{
	sw_sys(futex, word, FUTEX_WAKE_PRIVATE, INT32_MAX);
}

/* Copies by the kernel's answer, as far as there is memory. How many bytes, or -errno. */
static inline long sw_sys_copy_of(int tid, void *to, const void *from, size_t len)
{
	struct iovec here = {to, len}, there = {(void *)(uintptr_t)from, len};

	return sw_sys(process_vm_readv, tid, &here, 1, &there, 1, 0);
}

static inline long sw_sys_copy(void *to, const void *from, size_t len)
{
	return sw_sys_copy_of((int)sw_sys(getpid), to, from, len);
}

/* Copies what the program has handed to a call that it has not made yet. False: the kernel could
 * not read it either (or does not let us ask); a wild pointer is its to refuse. */
static inline bool sw_sys_peek(void *to, const void *from, size_t len)
{
	return sw_sys_copy(to, from, len) == (long)len;
}

/* For a bounded spin. */
static inline void sw_pause(void)
{
#if defined(__x86_64__)
	__builtin_ia32_pause();
#else
	__asm__ volatile("yield");
#endif
}
