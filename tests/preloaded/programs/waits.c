/*
 * Conditions and semaphores: each call's answer, errno and time are libc's own.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t cond = PTHREAD_COND_INITIALIZER;
static int turn, cleaned;

static struct timespec soon(clockid_t clock, long ms)
{
	struct timespec at;

	clock_gettime(clock, &at);
	at.tv_nsec += ms * 1000000;
	at.tv_sec += at.tv_nsec / 1000000000;
	at.tv_nsec %= 1000000000;
	return at;
}

static void clean(void *none)
{
	cleaned = pthread_mutex_unlock(&lock) == 0;
}

static void *waits(void *none)
{
	pthread_mutex_lock(&lock);
	pthread_cleanup_push(clean, NULL);
	while (turn != 99)
		pthread_cond_wait(&cond, &lock);
	pthread_cleanup_pop(1);
	return NULL;
}

static void *pings(void *none)
{
	for (int i = 0; i < 20000; i++) {
		pthread_mutex_lock(&lock);
		while (turn != 1)
			pthread_cond_wait(&cond, &lock);
		turn = 0;
		pthread_cond_broadcast(&cond);
		pthread_mutex_unlock(&lock);
	}
	return NULL;
}

static void conditions(void)
{
	struct timespec at = soon(CLOCK_REALTIME, 20), later = soon(CLOCK_MONOTONIC, 20), bad = {0, -1};
	pthread_condattr_t attr;
	pthread_cond_t steady;
	pthread_t thread;
	void *result;

	pthread_create(&thread, NULL, pings, NULL);
	for (int i = 0; i < 20000; i++) {
		pthread_mutex_lock(&lock);
		turn = 1;
		pthread_cond_signal(&cond);
		while (turn)
			pthread_cond_wait(&cond, &lock);
		pthread_mutex_unlock(&lock);
	}
	pthread_join(thread, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&steady, &attr);
	pthread_mutex_lock(&lock);
	errno = 77;
	printf("timed %d", pthread_cond_timedwait(&cond, &lock, &at));
	printf(" steady %d", pthread_cond_timedwait(&steady, &lock, &later));
	later = soon(CLOCK_MONOTONIC, 20);
	printf(" clock %d", pthread_cond_clockwait(&cond, &lock, CLOCK_MONOTONIC, &later));
	printf(" bad %d errno %d\n", pthread_cond_timedwait(&cond, &lock, &bad), errno);
	pthread_mutex_unlock(&lock);
	pthread_create(&thread, NULL, waits, NULL);
	usleep(20000);
	pthread_cancel(thread);
	pthread_join(thread, &result);
	printf("cancelled %d cleaned %d\n", result == PTHREAD_CANCELED, cleaned);
}

static void nothing(int signal)
{
}

static void semaphores(void)
{
	sem_t *shared = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	struct timespec at = soon(CLOCK_REALTIME, 20), bad = {0, -1};
	struct sigaction act = {.sa_handler = nothing};
	int result;

	sem_init(shared, 1, 0);
	errno = 0;
	result = sem_timedwait(shared, &at);
	printf("timed %d %d", result, errno);
	result = sem_timedwait(shared, &bad);
	printf(" bad %d %d", result, errno);
	result = sem_clockwait(shared, CLOCK_MONOTONIC, &bad);
	printf(" clock %d %d", result, errno);
	sigaction(SIGALRM, &act, NULL);
	ualarm(20000, 0);
	result = sem_wait(shared);
	printf(" interrupted %d %d\n", result, errno);
	fflush(stdout);
	if (!fork()) {
		usleep(20000);
		_exit(sem_post(shared));
	}
	errno = 77;
	result = sem_wait(shared);
	printf("shared %d %d", result, errno);
	wait(&result);
	sem_init(shared, 0, SEM_VALUE_MAX);
	errno = 0;
	result = sem_post(shared);
	printf(" child %d full %d\n", result, errno);
}

int main(void)
{
	conditions();
	semaphores();
	return 0;
}
