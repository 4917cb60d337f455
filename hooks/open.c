/*
 * Files that are opened by a name: those that match SW_AGENT_LOG_REPORTER_FILES lead to a stream of
 * log from then on. A number that comes from here may have belonged to what was closed unseen.
 */
#include <errno.h>

#include "hooks/filter.h"
#include "hooks/flow.h"
#include "hooks/log.h"
#include "preload/config.h"
#include "preload/exports.h"
#include "preload/fds.h"
#include "preload/sys.h"

#define PATH_MOST 4096

static bool matches(struct sw_bytes pattern, struct sw_bytes path)
{
	size_t slash = path.len;

	if (sw_bytes_find(pattern, '/') < pattern.len)
		return sw_filter_ant(pattern, path);
	while (slash && path.at[slash - 1] != '/')
		slash--;
	return sw_filter_ant(pattern, sw_bytes_from(path, slash));
}

static bool is_log(const char *path)
{
	struct sw_bytes list = sw_bytes_text(sw_config.log_files);
	struct sw_bytes name = sw_bytes(path, strnlen(path, PATH_MOST));

	while (list.len) {
		size_t end = sw_bytes_find(list, ',');
		struct sw_bytes pattern = sw_bytes_slice(list, 0, end);

		while (pattern.len && pattern.at[0] == ' ')
			pattern = sw_bytes_from(pattern, 1);
		if (pattern.len && matches(pattern, name))
			return true;
		list = sw_bytes_from(list, end + 1);
	}
	return false;
}

static bool wants_files(void)
{
	return sw_config.log_active && sw_config.log_files[0];
}

/* `stands`: for stdout or stderr, if it has their number. */
static int opened(int fd, const char *path, int flags, bool stands)
{
	bool writes = (flags & O_ACCMODE) != O_RDONLY && wants_files();
	struct sw_guest *g;

	if (fd < 0 || (!writes && !sw_fd_known(fd) && (fd > STDERR_FILENO || !sw_log_active())) ||
	    !(g = sw_guest_enter()))
		return fd;
	sw_flow_replaced(g, fd);
	if (writes && is_log(path))
		sw_log_begin(fd, SW_LOG_FILE);
	else if (stands)
		sw_log_look(fd);
	sw_guest_leave(g);
	return fd;
}

int sw_opened(int fd, const char *path, int flags)
{
	return opened(fd, path, flags, true);
}

static FILE *opened_file(FILE *file, const char *path, const char *mode)
{
	bool reads = *mode == 'r' && !strstr(mode, "+");

	if (file && path)
		opened(file->_fileno, path, reads ? O_RDONLY : O_RDWR,
		       file == stdout || file == stderr);
	return file;
}

int sw_plain_creat(const char *path, mode_t mode)
{
	return sw_opened(sw_real.creat(path, mode), path, O_WRONLY);
}

int sw_plain_creat64(const char *path, mode_t mode)
{
	return sw_opened(sw_real.creat64(path, mode), path, O_WRONLY);
}

FILE *sw_plain_fopen(const char *path, const char *mode)
{
	return opened_file(sw_real.fopen(path, mode), path, mode);
}

FILE *sw_plain_fopen64(const char *path, const char *mode)
{
	return opened_file(sw_real.fopen64(path, mode), path, mode);
}

/* libc has closed the number past all hooks: it failed, or the stream has another. */
static FILE *reopened(FILE *file, int before, const char *path, const char *mode)
{
	struct sw_guest *g;

	if (before >= 0 && (!file || fileno(file) != before) && sw_fd_known(before) &&
	    (g = sw_guest_enter())) {
		sw_flow_replaced(g, before);
		sw_guest_leave(g);
	}
	return opened_file(file, path, mode);
}

FILE *sw_plain_freopen(const char *path, const char *mode, FILE *file)
{
	int error = errno, before = fileno(file);

	errno = error;
	return reopened(sw_real.freopen(path, mode, file), before, path, mode);
}

FILE *sw_plain_freopen64(const char *path, const char *mode, FILE *file)
{
	int error = errno, before = fileno(file);

	errno = error;
	return reopened(sw_real.freopen64(path, mode, file), before, path, mode);
}

int sw_plain___open_2(const char *path, int flags)
{
	return sw_opened(sw_real.__open_2(path, flags), path, flags);
}

int sw_plain___open64_2(const char *path, int flags)
{
	return sw_opened(sw_real.__open64_2(path, flags), path, flags);
}

int sw_plain___openat_2(int dir, const char *path, int flags)
{
	return sw_opened(sw_real.__openat_2(dir, path, flags), path, flags);
}

int sw_plain___openat64_2(int dir, const char *path, int flags)
{
	return sw_opened(sw_real.__openat64_2(dir, path, flags), path, flags);
}
