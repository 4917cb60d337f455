/*
 * An HTTP server of threads: cpool KIND PORT ORIGIN; three calls for each request.
 *
 *   pool   by workers that the first request starts, with a queue under a mutex and a condition
 *   sem    the same with a semaphore
 *   own    by a thread of its own for each request, which it joins
 */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

struct job {
	char path[64], answer[256];
	int len, done;
	struct job *next;
};

static const char *kind;
static int origin;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER, start = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t ready = PTHREAD_COND_INITIALIZER;
static sem_t jobs_there;
static struct job *jobs;
static int started;

static void call(struct job *job)
{
	struct sockaddr_in to = {AF_INET, htons(origin), {htonl(INADDR_LOOPBACK)}};
	int fd = socket(AF_INET, SOCK_STREAM, 0), got, len = 0;
	char text[2048], *body;

	connect(fd, (struct sockaddr *)&to, sizeof to);
	got = snprintf(text, sizeof text, "GET %s HTTP/1.0\r\nHost: o\r\n\r\n", job->path);
	write(fd, text, got);
	while ((got = read(fd, text + len, sizeof text - 1 - len)) > 0)
		len += got;
	close(fd);
	text[len] = 0;
	body = strstr(text, "\r\n\r\n");
	job->len = snprintf(job->answer, sizeof job->answer, "%s", body ? body + 4 : "");
}

static struct job *take(void)
{
	struct job *job, **at;

	if (kind[0] == 's')
		sem_wait(&jobs_there);
	pthread_mutex_lock(&lock);
	while (kind[0] == 'p' && !jobs)
		pthread_cond_wait(&ready, &lock);
	for (at = &jobs; (*at)->next; at = &(*at)->next)
		;
	job = *at;
	*at = NULL;
	pthread_mutex_unlock(&lock);
	return job;
}

static void *worker(void *none)
{
	for (;;) {
		struct job *job = take();

		call(job);
		__atomic_store_n(&job->done, 1, __ATOMIC_RELEASE);
	}
}

static void *alone(void *job)
{
	call(job);
	return NULL;
}

static void put(struct job *job)
{
	pthread_mutex_lock(&lock);
	job->next = jobs;
	jobs = job;
	if (kind[0] == 'p')
		pthread_cond_signal(&ready);
	pthread_mutex_unlock(&lock);
	if (kind[0] == 's')
		sem_post(&jobs_there);
}

static void start_pool(void)
{
	pthread_t thread;

	if (!started)
		usleep(100000); /* others put theirs before there is a worker */
	pthread_mutex_lock(&start);
	for (; started < 3; started++)
		pthread_create(&thread, NULL, worker, NULL);
	pthread_mutex_unlock(&start);
}

static void do_jobs(struct job *job, int count)
{
	pthread_t thread;

	for (int i = 0; i < count && kind[0] == 'o'; i++) {
		pthread_create(&thread, NULL, alone, &job[i]);
		pthread_join(thread, NULL);
	}
	for (int i = 0; i < count && kind[0] != 'o'; i++)
		put(&job[i]);
	if (kind[0] == 'o')
		return;
	start_pool();
	for (int i = 0; i < count; i++) {
		while (!__atomic_load_n(&job[i].done, __ATOMIC_ACQUIRE))
			usleep(200);
	}
}

static void answer(int fd, const char *path)
{
	struct job job[3];
	char text[2048];
	int len = 0, head;

	memset(job, 0, sizeof job);
	for (int i = 0; i < 3; i++)
		snprintf(job[i].path, sizeof job[i].path, "%s?part=%d", path, i + 1);
	do_jobs(job, 3);
	for (int i = 0; i < 3; i++)
		len += job[i].len;
	head = snprintf(text, sizeof text, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s%s%s", len,
			job[0].answer, job[1].answer, job[2].answer);
	write(fd, text, head);
}

static void *serve(void *arg)
{
	int fd = (int)(long)arg;
	char text[4096], path[40];
	ssize_t got;

	while ((got = read(fd, text, sizeof text - 1)) > 0) {
		text[got] = 0;
		if (sscanf(text, "GET %39s", path) == 1)
			answer(fd, path);
	}
	close(fd);
	return NULL;
}

int main(int argc, char **argv)
{
	struct sockaddr_in at = {AF_INET, htons(atoi(argv[2])), {htonl(INADDR_LOOPBACK)}};
	int fd = socket(AF_INET, SOCK_STREAM, 0), one = 1;
	pthread_t thread;

	kind = argv[1];
	origin = atoi(strrchr(argv[3], ':') + 1);
	sem_init(&jobs_there, 0, 0);
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
	bind(fd, (struct sockaddr *)&at, sizeof at);
	listen(fd, 64);
	for (;;) {
		int peer = accept(fd, NULL, NULL);

		if (peer >= 0)
			pthread_create(&thread, NULL, serve, (void *)(long)peer);
	}
}
