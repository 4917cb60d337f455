/*
 * What a program or library may define, open or change; which, says a macro.
 *
 * OWN_X    a program with its own function by a name of libc's
 * PLUGIN   a library that makes a request; OPENS opens it: opens PORT LIBRARY FLAG
 * EARLY    a library that makes requests before main and after it
 * REFUSES  a pthread_create that fails for REFUSES_MS after the program began
 * MALLOC   an allocator without locks
 * LOCALE   switches its locale between requests
 * MEMORY   maps, unmaps, protects, seals
 */
#define _GNU_SOURCE
#include <sys/syscall.h>
#include <sys/types.h>
#include <unistd.h>

#ifdef MALLOC

#include <stdint.h>
#include <string.h>

/* Never gives back, no locks; each thread has a heap, or two would meet in it. */
static char room[64][8 << 20];
static __thread int mine __attribute__((tls_model("initial-exec")));
static __thread size_t used __attribute__((tls_model("initial-exec")));
static int next;

void *malloc(size_t size)
{
	size_t *at;

	if (!mine)
		mine = __atomic_add_fetch(&next, 1, __ATOMIC_SEQ_CST);
	size = (size + 31) & ~15ul;
	if (mine >= 64 || used + size > sizeof(room[0]))
		return NULL;
	at = (size_t *)(room[mine] + used + ((16 - (uintptr_t)room[mine] % 16) % 16));
	used += size;
	at[0] = size - 16;
	return at + 2;
}

void free(void *at)
{
	(void)at;
}

void *calloc(size_t n, size_t size)
{
	void *at = malloc(n * size);

	if (at)
		memset(at, 0, n * size);
	return at;
}

void *realloc(void *old, size_t size)
{
	void *at = malloc(size);
	size_t had = old ? ((size_t *)old)[-2] : 0;

	if (at && old)
		memcpy(at, old, had < size ? had : size);
	return at;
}

void *memalign(size_t align, size_t size)
{
	uintptr_t at = (uintptr_t)malloc(size + align + 16);
	uintptr_t up = (at + align - 1) & ~(align - 1);

	if (up != at)
		((size_t *)up)[-2] = size;
	return (void *)up;
}

void *aligned_alloc(size_t align, size_t size)
{
	return memalign(align, size);
}

int posix_memalign(void **ret, size_t align, size_t size)
{
	*ret = memalign(align, size);
	return *ret ? 0 : 12;
}

#else

#ifdef OWN_EXIT
#define tgkill libc_tgkill
#endif
#include "ask.h"
#undef tgkill

#include <dlfcn.h>
#include <locale.h>
#include <sys/mman.h>

#if defined(OWN_SEND) || defined(OWN_RECV) || defined(OWN_CONNECT) || defined(OWN_CLOSE) ||       \
	defined(OWN_READ) || defined(OWN_EXIT)
#define OWN
static int own_calls;
#endif

#ifdef OWN_SEND
ssize_t send(int fd, const void *buf, size_t len, int flags)
{
	own_calls++;
	return syscall(SYS_sendto, fd, buf, len, flags, NULL, 0);
}
#endif
#ifdef OWN_RECV
ssize_t recv(int fd, void *buf, size_t len, int flags)
{
	own_calls++;
	return syscall(SYS_recvfrom, fd, buf, len, flags, NULL, NULL);
}
#endif
#ifdef OWN_CONNECT
int connect(int fd, const struct sockaddr *address, socklen_t len)
{
	own_calls++;
	return (int)syscall(SYS_connect, fd, address, len);
}
#endif
#ifdef OWN_CLOSE
int close(int fd)
{
#ifdef OWN
	own_calls++;
#endif
	return (int)syscall(SYS_close, fd);
}
#endif
#ifdef OWN_READ
ssize_t read(int fd, void *buf, size_t len)
{
	own_calls++;
	return syscall(SYS_read, fd, buf, len);
}
#endif
#ifdef OWN_EXIT
/* Another meaning and another type altogether. */
void *tgkill(void *a)
{
	own_calls++;
	return a;
}
void _exit(int status)
{
	own_calls++;
	syscall(SYS_exit_group, status);
	__builtin_unreachable();
}
#endif

#if defined(PLUGIN)

int plugin(int port)
{
	ask_port = port;
	return ask("plugin");
}

#elif defined(REFUSES)

#include <dlfcn.h>
#include <pthread.h>
#include <time.h>

static long now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

int pthread_create(pthread_t *thread, const pthread_attr_t *attr, void *(*start)(void *), void *arg)
{
	static long end;
	int (*real)(pthread_t *, const pthread_attr_t *, void *(*)(void *), void *) =
		dlsym(RTLD_NEXT, "pthread_create");

	if (!end)
		end = now_ms() + atol(getenv("REFUSES_MS"));
	return now_ms() < end ? EAGAIN : real(thread, attr, start, arg);
}

#elif defined(EARLY)

static void at_exit(void)
{
	ASK("at-exit");
}

__attribute__((constructor(101))) static void early(void)
{
	if (!getenv("EARLY_PORT"))
		return;
	ask_port = atoi(getenv("EARLY_PORT"));
	ASK("early");
	atexit(at_exit);
}

__attribute__((destructor)) static void at_last(void)
{
	int error = ask("at-last");

	if (ask_port)
		dprintf(1, "at-last: %s\n", error ? strerror(error) : "ok");
}

#elif defined(OPENS)

int main(int argc, char **argv)
{
	const char *how = argv[3];
	int flag = strcmp(how, "lazy") == 0	? RTLD_LAZY
		   : strcmp(how, "deepbind") == 0 ? RTLD_NOW | RTLD_DEEPBIND
		   : strcmp(how, "global") == 0 ? RTLD_NOW | RTLD_GLOBAL
						  : RTLD_NOW;

	(void)argc;
	ask_port = atoi(argv[1]);
	for (int i = 0; i < 3; i++) {
		void *library = strcmp(how, "namespace") == 0
					? dlmopen(i ? LM_ID_NEWLM : LM_ID_NEWLM, argv[2], RTLD_NOW)
					: dlopen(argv[2], flag);
		int (*plugin)(int) = library ? (int (*)(int))dlsym(library, "plugin") : NULL;

		if (!plugin) {
			printf("%s\n", dlerror());
			return 1;
		}
		for (int j = 0; j < 2; j++)
			printf("plugin: %s\n", plugin(ask_port) ? "failed" : "ok");
		fflush(stdout);
		dlclose(library);
	}
	ASK("last");
	return 0;
}

#elif defined(LOCALE)

int main(int argc, char **argv)
{
	(void)argc;
	ask_port = atoi(argv[1]);
	for (int i = 0; i < 3; i++) {
		setlocale(LC_ALL, "");
		printf("%.1f\n", 0.5);
		ASK("native");
		usleep(60000);
		if (i == 1)
			uselocale(newlocale(LC_ALL_MASK, "C", NULL));
		setlocale(LC_ALL, "C");
		ASK("plain");
		uselocale(LC_GLOBAL_LOCALE);
	}
	return 0;
}

#elif defined(MEMORY)

#ifndef SYS_mseal
#define SYS_mseal 462
#endif

int main(int argc, char **argv)
{
	static char *page[64];

	(void)argc;
	ask_port = atoi(argv[1]);
	for (int round = 0; round < 6; round++) {
		int sealed = 0;

		for (int i = 0; i < 64; i++)
			page[i] = mmap(NULL, 1 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		for (int i = 0; i < 64; i++) {
			page[i][0] = 1;
			madvise(page[i], 1 << 20, i % 5 == 0   ? MADV_DONTNEED
						  : i % 5 == 1 ? MADV_HUGEPAGE
						  : i % 5 == 2 ? MADV_DONTFORK
						  : i % 5 == 3 ? MADV_FREE
							       : MADV_DONTDUMP);
			mprotect(page[i], 1 << 20, i % 2 ? PROT_NONE : PROT_READ);
		}
		ASK("mapped");
		sealed = syscall(SYS_mseal, page[0], 4096, 0) == 0;
		printf("sealed %d\n", sealed);
		for (int i = sealed; i < 64; i++)
			munmap(page[i], 1 << 20);
		if (round == 3)
			printf("%d\n", mlockall(MCL_CURRENT | MCL_FUTURE) ? errno : 0);
		if (round == 4)
			munlockall();
	}
	return 0;
}

#else

int main(int argc, char **argv)
{
	(void)argc;
	ask_port = atoi(argv[1]);
	ASK("one");
	usleep(150000);
	ASK("two");
#ifdef OWN_READ
	char byte;
	read(-1, &byte, 1);
#endif
#ifdef OWN_EXIT
	tgkill(NULL);
#endif
#ifdef OWN
	printf("own calls: %d\n", own_calls > 0);
#endif
	return 0;
}

#endif
#endif
