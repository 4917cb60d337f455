/* See proc.h. */
#include "preload/proc.h"

#include <fcntl.h>
#include <string.h>

#include "preload/bytes.h"
#include "preload/sys.h"

struct entry { /* of getdents64(2) */
	uint64_t inode, offset;
	uint16_t len;
	uint8_t type;
	char name[];
};

/* Decimal, or -1. */
static int number_of(const char *name)
{
	int n = 0;

	if (!*name)
		return -1;
	for (; *name; name++) {
		if (*name < '0' || *name > '9' || n > INT32_MAX / 10 - 1)
			return -1;
		n = n * 10 + (*name - '0');
	}
	return n;
}

long sw_proc_numbers(const char *path, void (*each)(void *arg, int number, int dir), void *arg)
{
	_Alignas(8) uint8_t list[768];
	long dir = sw_sys(openat, AT_FDCWD, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC), len = dir;

	while (len >= 0 && (len = sw_sys(getdents64, dir, list, sizeof(list))) > 0) {
		for (long at = 0; at < len;) {
			const struct entry *entry = (const void *)(list + at);
			int number = number_of(entry->name);

			if (number >= 0)
				each(arg, number, (int)dir);
			at += entry->len;
		}
	}
	if (dir >= 0)
		sw_sys(close, dir);
	return len < 0 ? len : 0;
}

int sw_proc_open_task(int tid, const char *name)
{
	char path[64];
	struct sw_writer w = sw_writer(path, sizeof(path) - 1);

	sw_write(&w, SW_BYTES("/proc/self/task/"));
	sw_write_number(&w, (uint64_t)tid);
	sw_write(&w, SW_BYTES("/"));
	sw_write(&w, sw_bytes_text(name));
	path[w.len] = '\0';
	return (int)sw_sys(openat, AT_FDCWD, path, O_RDONLY | O_CLOEXEC);
}

long sw_proc_read_task(int tid, const char *name, void *ret_text, size_t size)
{
	long fd = sw_proc_open_task(tid, name), len = fd;

	if (fd >= 0) {
		len = sw_sys(read, fd, ret_text, size);
		sw_sys(close, fd);
	}
	return len;
}

const char *sw_proc_field(const char *stat, int n)
{
	const char *at = strrchr(stat, ')');

	for (int i = 2; at && i < n; i++)
		at = strchr(at + 1, ' ');
	return at ? at + 1 : NULL;
}

uint64_t sw_proc_number(const char *at)
{
	uint64_t n = 0;

	for (; *at >= '0' && *at <= '9'; at++)
		n = n * 10 + (uint64_t)(*at - '0');
	return n;
}
