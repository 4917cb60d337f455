/*
 * JSON lines in a file: {"kind":K,K:{…}}, without any server.
 *
 * One write(2) per batch to a descriptor with O_APPEND, so that children that share the path do
 * not cut each other's lines. The file is private (0600) and never reached through a symbolic
 * link. A batch that the disk took only in part is taken back, so that no half line stays.
 */
#include <sys/stat.h>

#include "preload/config.h"
#include "preload/fds.h"
#include "preload/sys.h"
#include "reporter/reporter.h"
#include "reporter/say.h"

static int file = -1;
static struct stat opened; /* what it was: a program may close it unseen and get its number */

static void file_frame(struct sw_batch *batch, struct sw_bytes message)
{
	struct sw_bytes name = sw_bytes_text(sw_kinds[batch->kind].name);

	sw_buffer_add(&batch->bytes, SW_BYTES("{\"kind\":\""));
	sw_buffer_add(&batch->bytes, name);
	sw_buffer_add(&batch->bytes, SW_BYTES("\",\""));
	sw_buffer_add(&batch->bytes, name);
	sw_buffer_add(&batch->bytes, SW_BYTES("\":"));
	sw_buffer_add(&batch->bytes, message);
	sw_buffer_add(&batch->bytes, SW_BYTES("}\n"));
}

/* "%p" becomes the process id. False: too long. */
static bool expand(const char *path, char *ret_path, size_t room)
{
	struct sw_writer w = sw_writer(ret_path, room - 1);

	for (; *path; path++) {
		if (path[0] == '%' && path[1] == 'p') {
			sw_write_number(&w, (uint64_t)sw_sys(getpid));
			path++;
		} else {
			sw_write(&w, sw_bytes(path, 1));
		}
	}
	ret_path[w.len] = 0;
	return !w.cut;
}

static int file_open(struct sw_agent *agent)
{
	char path[4096];
	long fd;

	(void)agent;
	if (!expand(sw_config.file_path, path, sizeof(path)))
		return -ENAMETOOLONG;
	fd = sw_sys(openat, AT_FDCWD, path,
		    O_WRONLY | O_CREAT | O_APPEND | O_NOFOLLOW | O_CLOEXEC | O_NOCTTY, 0600);
	if (fd < 0) {
		sw_say(SW_LEVEL_WARNING, "cannot write %s: %s; nothing is recorded", path,
		       fd == -ELOOP ? "it is a symbolic link" : sw_say_error(fd));
		return (int)fd;
	}
	file = sw_fd_adopt((int)fd);
	if (file >= 0)
		sw_sys(fstat, file, &opened);
	return file < 0 ? file : 0;
}

/* Takes back the `wrote` bytes of half a batch, when they are still the end of the file. */
static void take_back(off_t before, size_t wrote)
{
	struct stat now;

	if (sw_sys(fstat, file, &now) == 0 && S_ISREG(now.st_mode) &&
	    now.st_size == before + (off_t)wrote)
		sw_sys(ftruncate, file, before);
}

static enum sw_sent file_send(struct sw_agent *agent, struct sw_batch *batch)
{
	static bool said;
	struct stat start = {0};
	size_t done = 0;
	long wrote = 0;

	(void)agent;
	wrote = sw_sys(fstat, file, &start);
	if (wrote == 0 && (start.st_dev != opened.st_dev || start.st_ino != opened.st_ino))
		wrote = -EBADF;
	while (done < batch->bytes.len && wrote >= 0) {
		wrote = sw_sys(write, file, batch->bytes.at + done, batch->bytes.len - done);
		if (wrote == -EINTR)
			wrote = 0;
		done += wrote > 0 ? (size_t)wrote : 0;
	}
	if (wrote >= 0)
		return SW_SENT;
	if (wrote != -EBADF)
		take_back(start.st_size, done);
	if (!said)
		sw_say(SW_LEVEL_WARNING, "cannot write to the file: %s; records are dropped",
		       sw_say_error(wrote));
	said = true;
	return SW_SENT_NEVER;
}

static void file_forked(void)
{
	sw_fd_close_ours(file);
	file = -1;
}

static void file_pause(struct sw_agent *agent)
{
	(void)agent;
	file_forked();
}

static void file_moved(int from, int to)
{
	if (file == from)
		file = to;
}

const struct sw_transport sw_transport_file = {
	.name = "file",
	.format = SW_FORMAT_JSON,
	.frame = file_frame,
	.open = file_open,
	.send = file_send,
	.moved = file_moved,
	.pause = file_pause,
	.forked = file_forked,
};
