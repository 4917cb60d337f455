/* Ringing the bell of a process whose agent sleeps (reporter/bell.h). */
#include <dirent.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "reporter/bell.h"
#include "reporter/cli/cli.h"

/* Counts up and wakes, whatever file it turns out to be: what is not as long as ours is left alone.
 */
static void ring(int fd)
{
	_Atomic uint32_t *word;
	struct stat about;

	if (fstat(fd, &about) || about.st_size != SW_BELL_BYTES)
		return;
	word = mmap(NULL, SW_BELL_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (word == MAP_FAILED)
		return;
	atomic_fetch_add(word, 1);
	syscall(SYS_futex, word, FUTEX_WAKE, INT32_MAX, NULL, NULL, 0);
	munmap(word, SW_BELL_BYTES);
}

static bool is_bell(int dir, const char *name)
{
	char target[64];
	ssize_t len = readlinkat(dir, name, target, sizeof(target) - 1);

	return len >= (ssize_t)strlen(SW_BELL_LINK) &&
	       memcmp(target, SW_BELL_LINK, strlen(SW_BELL_LINK)) == 0;
}

/* Of one thread's open files. */
static void ring_thread(const char *path)
{
	DIR *files = opendir(path);
	const struct dirent *entry;
	int fd;

	while (files && (entry = readdir(files))) {
		if (!is_bell(dirfd(files), entry->d_name))
			continue;
		fd = openat(dirfd(files), entry->d_name, O_RDWR | O_CLOEXEC);
		if (fd < 0)
			continue;
		ring(fd);
		close(fd);
	}
	if (files)
		closedir(files);
}

/* Ours are called so; of others' the files are not gone through, which may be many. */
static bool is_agents(const char *path)
{
	char name[16] = {0};
	FILE *file = fopen(path, "re");
	bool ours = file && fgets(name, sizeof(name), file) && strcmp(name, "swagent\n") == 0;

	if (file)
		fclose(file);
	return ours;
}

void sw_cli_ring(pid_t pid)
{
	char path[64];
	const struct dirent *entry;
	DIR *threads;

	snprintf(path, sizeof(path), "/proc/%d/task", (int)pid);
	threads = opendir(path);
	while (threads && (entry = readdir(threads))) {
		snprintf(path, sizeof(path), "/proc/%d/task/%.16s/comm", (int)pid, entry->d_name);
		if (!is_agents(path))
			continue;
		snprintf(path, sizeof(path), "/proc/%d/task/%.16s/fd", (int)pid, entry->d_name);
		ring_thread(path);
	}
	if (threads)
		closedir(threads);
}
