/* Profiles by key; see whole.h. */
#include "reporter/whole.h"

#include <stdio.h>

#include "preload/config.h"
#include "preload/fds.h"
#include "preload/proc.h"
#include "preload/profile.h"
#include "preload/sys.h"
#include "reporter/gather.h"
#include "reporter/meters.h"
#include "reporter/reporter.h"
#include "reporter/say.h"

#define OFTEN_NS 100000000ull
#define SOON_NS 2000000ull
#define PATH_BYTES 4096
#define IMAGES_MAX 1000
#define TICK_NS 10000000 /* of /proc; USER_HZ is 100 on all that we run on */
#define WRITE_BYTES 65536

static struct {
	uint32_t births;
	bool off; /* there is no key, or what it asks for cannot be had */
	char path[PATH_BYTES];
	enum sw_recording_format format;
	struct sw_recording *recording; /* Owned, for ever */
	struct sw_gather *gather;	/* likewise */
	uint32_t profile;		/* its number; 0: none */
	bool ending;
	uint64_t start_ns;
	struct sw_recording_totals before; /* of profiles that an exec has ended in vain */
} whole;

/* ---- its path ---- */

/* What is relative is so to where the process began. */
static void write_folder(struct sw_writer *w, const char *path)
{
	char here[PATH_BYTES] = {0};

	if (path[0] == '/' || sw_sys(getcwd, here, sizeof(here)) <= 0)
		return;
	sw_write(w, sw_bytes_text(here));
	sw_write(w, SW_BYTES("/"));
}

/* Where the ending of the last part begins, for the number of the process to go before. */
static size_t ending_at(struct sw_bytes path)
{
	size_t at = path.len, slash = 0;

	for (size_t i = 0; i < path.len; i++)
		slash = path.at[i] == '/' ? i + 1 : slash;
	if (sw_bytes_ends(path, SW_BYTES(".pb.gz")))
		return path.len - 6;
	while (at > slash && path.at[at - 1] != '.')
		at--;
	return at > slash + 1 ? at - 1 : path.len;
}

/* What stands for %p. */
static void write_process(struct sw_writer *w, unsigned image)
{
	sw_write_number(w, (uint64_t)sw_sys(getpid));
	if (image > 1) {
		sw_write(w, SW_BYTES("-"));
		sw_write_number(w, image);
	}
}

static bool write_path(unsigned image)
{
	struct sw_bytes path = sw_bytes_text(sw_config.profile_output);
	struct sw_writer w = sw_writer(whole.path, sizeof(whole.path) - 1);
	bool numbered = strstr(sw_config.profile_output, "%p") != NULL;
	size_t cut = ending_at(path);

	write_folder(&w, sw_config.profile_output);
	for (size_t i = 0; i <= path.len; i++) {
		if (!numbered && i == cut) {
			sw_write(&w, SW_BYTES("-"));
			write_process(&w, image);
		}
		if (i + 1 < path.len && path.at[i] == '%' && path.at[i + 1] == 'p') {
			write_process(&w, image);
			i++;
		} else if (i < path.len) {
			sw_write(&w, sw_bytes(path.at + i, 1));
		}
	}
	whole.path[w.len] = '\0';
	return !w.cut;
}

/* When this process began, of which an exec makes no other; INT64_MAX: unknown. */
static int64_t born_ns(void)
{
	int64_t since_boot_ns = (int64_t)sw_clock_ns(CLOCK_BOOTTIME);
	char text[1024] = {0};
	const char *at = sw_meters_read("/proc/self/stat", text, sizeof(text) - 1) > 0
				 ? sw_proc_field(text, SW_STAT_BEGAN)
				 : NULL;

	if (!at)
		return INT64_MAX;
	return (int64_t)sw_clock_ns(CLOCK_REALTIME) - since_boot_ns +
	       (int64_t)sw_proc_number(at) * TICK_NS;
}

/* Written since this process began, under its number: by the image that this one has replaced. */
static bool is_taken(void)
{
	struct stat there;

	return sw_sys(newfstatat, AT_FDCWD, whole.path, &there, AT_SYMLINK_NOFOLLOW) == 0 &&
	       there.st_mtim.tv_sec * (int64_t)SW_SECOND_NS + there.st_mtim.tv_nsec >= born_ns();
}

static bool make_path(void)
{
	unsigned image = 1;
	bool ok;

	while ((ok = write_path(image)) && image < IMAGES_MAX && is_taken())
		image++;
	return ok;
}

/* ---- beginning ---- */

static size_t read_program(char *text, size_t room)
{
	long fd = sw_sys(openat, AT_FDCWD, "/proc/self/cmdline", O_RDONLY | O_CLOEXEC), len;

	if (fd < 0)
		return 0;
	len = sw_sys(read, fd, text, room);
	sw_sys(close, fd);
	for (long i = 0; i < len; i++)
		text[i] = text[i] ? text[i] : ' ';
	while (len > 0 && text[len - 1] == ' ')
		len--;
	return len > 0 ? (size_t)len : 0;
}

static uint64_t period_ns(void)
{
	return SW_SECOND_NS / sw_config.profile_hz;
}

static bool make_recording(void)
{
	char program[1024];
	struct sw_recording_about about = {
		.mode = (enum sw_recording_mode)sw_config.profile_mode,
		.pid = (int)sw_sys(getpid),
		.program = sw_bytes(program, read_program(program, sizeof(program))),
		.start_ms = (int64_t)(sw_clock_ns(CLOCK_REALTIME) / 1000000u),
		.period_ns = period_ns(),
	};

	whole.recording = sw_recording_new(&about);
	whole.gather = whole.recording ? sw_gather_new(whole.recording) : NULL;
	whole.start_ns = sw_clock_ns(CLOCK_MONOTONIC);
	return whole.gather != NULL;
}

static bool prepare(void)
{
	whole.format = sw_recording_format(sw_config.profile_output);
	if (whole.format == SW_FORMAT_NONE) {
		sw_say(SW_LEVEL_WARNING,
		       "SW_AGENT_PROFILE_OUTPUT=%s ends in none of .html, .json, .pb.gz, .folded; "
		       "nothing is profiled",
		       sw_config.profile_output);
		return false;
	}
	return make_path() && make_recording();
}

static void begin(void)
{
	if (!whole.recording && !prepare()) {
		whole.off = true;
		return;
	}
	if (atomic_load(&sw_profile_whole_current))
		return; /* somebody has asked for one in the meantime */
	whole.profile =
		sw_profile_whole_begin((enum sw_profile_mode)sw_config.profile_mode, period_ns());
	if (whole.profile)
		sw_gather_restart(whole.gather, sw_profile_whole()->start_ns - whole.start_ns);
}

/* ---- the file ---- */

struct file {
	long fd; /* or -errno */
	size_t len;
	uint8_t bytes[WRITE_BYTES];
};

static bool write_out(struct file *f)
{
	size_t done = 0;
	long wrote = f->fd;

	while (done < f->len && wrote >= 0) {
		wrote = sw_sys(write, f->fd, f->bytes + done, f->len - done);
		if (wrote == -EINTR)
			wrote = 0;
		done += wrote > 0 ? (size_t)wrote : 0;
	}
	f->len = 0;
	if (wrote < 0 && f->fd >= 0) {
		sw_sys(close, f->fd);
		f->fd = wrote;
	}
	return f->fd >= 0;
}

static bool put(void *arg, const void *at, size_t len)
{
	struct file *f = arg;

	while (len) {
		size_t n = SW_MIN(len, sizeof(f->bytes) - f->len);

		memcpy(f->bytes + f->len, at, n);
		f->len += n;
		at = (const uint8_t *)at + n;
		len -= n;
		if (f->len == sizeof(f->bytes) && !write_out(f))
			return false;
	}
	return f->fd >= 0;
}

/* Under another name first: a file that is there is a whole one. */
static long write_file(void)
{
	static struct file f;
	char other[PATH_BYTES + 8];
	long error;

	snprintf(other, sizeof(other), "%s.part", whole.path);
	f.len = 0;
	/* What is there already is somebody's, and may be a link to what is precious. */
	sw_sys(unlinkat, AT_FDCWD, other, 0);
	f.fd = sw_sys(openat, AT_FDCWD, other, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (f.fd < 0)
		return f.fd;
	if (!sw_recording_write(whole.recording, whole.format, put, &f) && f.fd >= 0) {
		sw_sys(close, f.fd);
		f.fd = -ENOMEM;
	}
	if (f.fd < 0 || !write_out(&f)) {
		sw_sys(unlinkat, AT_FDCWD, other, 0);
		return f.fd;
	}
	sw_sys(close, f.fd);
	error = sw_sys(renameat2, AT_FDCWD, other, AT_FDCWD, whole.path, 0);
	if (error < 0)
		sw_sys(unlinkat, AT_FDCWD, other, 0);
	return error;
}

static void add_totals(void)
{
	const struct sw_profile_counts *c = &sw_profile_counts;

	whole.before.due += atomic_load(&c->due);
	whole.before.taken += atomic_load(&c->taken) + atomic_load(&c->lost);
	whole.before.missed += atomic_load(&c->missed);
	whole.before.lost += atomic_load(&c->lost);
	whole.before.duration_ns = sw_clock_ns(CLOCK_MONOTONIC) - whole.start_ns;
}

/* A program that lived for less than a tick leaves no file: most that a shell starts are such. */
static void finish(void)
{
	long error;

	add_totals();
	sw_recording_end(whole.recording, &whole.before);
	if (!whole.before.taken)
		return;
	error = write_file();
	if (error < 0)
		sw_say(SW_LEVEL_WARNING, "cannot write the profile %s: %s", whole.path,
		       sw_say_error(error));
}

static void drain(void)
{
	const struct sw_profiled *record;

	while ((record = sw_profiled_oldest())) {
		sw_gather_take(whole.gather, record);
		sw_profiled_release(record);
	}
}

/* ---- */

/* What the parent had is left where it is: its thread may have been in the midst of changing or
 * freeing it. */
static void notice_birth(void)
{
	uint32_t births = atomic_load(&sw_process_births);

	if (births == whole.births)
		return;
	memset(&whole, 0, sizeof(whole));
	whole.births = births;
}

static void end_if_over(void)
{
	if (!sw_profile_whole_over(whole.profile))
		return;
	drain();
	finish();
	whole.profile = 0;
	whole.ending = false;
}

void sw_whole_file_tick(struct sw_agent *a)
{
	notice_birth();
	a->whole_ns = UINT64_MAX;
	if (!sw_config.profile_output[0] || whole.off)
		return;
	if (!whole.profile && !a->ending)
		begin();
	if (!whole.profile)
		return;
	drain();
	if (a->ending && !whole.ending) {
		sw_profile_whole_end();
		whole.ending = true;
	}
	if (whole.ending)
		end_if_over();
	a->whole_ns = a->now_ns + (whole.ending ? SOON_NS : OFTEN_NS);
}

bool sw_whole_file_busy(void)
{
	return whole.profile != 0;
}
