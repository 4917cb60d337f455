/*
 * Identity of the process; see process.h.
 *
 * The mark lives alone on a page with MADV_WIPEONFORK, so that children of fork, _Fork, vfork-like
 * clones with copied memory and raw clone are all recognised by one load, without a handler.
 */
#include "preload/process.h"

#include <stdlib.h>
#include <sys/auxv.h>
#include <sys/random.h>

#include "preload/config.h"
#include "preload/counters.h"
#include "preload/guard.h"
#include "preload/lineage.h"
#include "preload/module.h"
#include "preload/sys.h"
#include "preload/tallies.h"

#define NAME_MAX_BYTES 70 /* OAP cuts names there (specification 3.1) */
#define TRACE_BIT (1ull << 63)

_Atomic bool sw_process_serves;
_Atomic bool sw_process_levels_asked;
_Atomic bool sw_process_listens;
_Atomic bool sw_process_threads;
_Atomic bool sw_process_main_left;
_Atomic int sw_process_main_status = -1;
_Atomic uint32_t sw_process_forks;
_Atomic uint32_t sw_process_births;

static _Atomic uint64_t *mark;
static long loaded_pid;
static uint64_t seed;
static _Atomic uint64_t counter;
static char service[NAME_MAX_BYTES + 1];
static char instance[NAME_MAX_BYTES + 1];
static char instance_base[NAME_MAX_BYTES + 1];

static void draw_seed(void)
{
	if (sw_sys(getrandom, &seed, sizeof(seed), GRND_NONBLOCK) != sizeof(seed))
		seed = sw_clock_ns(CLOCK_REALTIME) * 0x9e3779b97f4a7c15u ^ (uint64_t)sw_sys(getpid)
										   << 40;
}

struct sw_id sw_process_id_next(void)
{
	uint64_t n = atomic_fetch_add_explicit(&counter, 1, memory_order_relaxed);

	return (struct sw_id){seed, (n + 1) & ~TRACE_BIT};
}

struct sw_id sw_process_trace_of(struct sw_id segment)
{
	segment.low |= TRACE_BIT;
	return segment;
}

static struct sw_bytes program_name(void)
{
	struct sw_bytes path = sw_bytes_text((const char *)getauxval(AT_EXECFN));

	for (size_t i = path.len; i > 0; i--) {
		if (path.at[i - 1] == '/')
			return sw_bytes_from(path, i);
	}
	return path.len ? path : SW_BYTES("unknown");
}

/* OAP's limit may fall inside a UTF-8 character: then the whole character goes. */
static size_t whole_characters(const char *text, size_t len)
{
	size_t at = len;

	while (at && len - at < 4 && ((uint8_t)text[at - 1] & 0xc0) == 0x80)
		at--;
	if (at && ((uint8_t)text[at - 1] & 0xc0) == 0xc0) {
		uint8_t lead = (uint8_t)text[at - 1];
		size_t need = lead >= 0xf0 ? 4 : lead >= 0xe0 ? 3 : 2;

		return len - at + 1 < need ? at - 1 : len;
	}
	return len;
}

static void end_text(char *text, const struct sw_writer *w)
{
	text[w->cut ? whole_characters(text, w->len) : w->len] = 0;
}

static void make_service(void)
{
	struct sw_writer w = sw_writer(service, NAME_MAX_BYTES);

	if (sw_config.service_name[0])
		sw_write(&w, sw_bytes_text(sw_config.service_name));
	else
		sw_write(&w, program_name());
	if (sw_config.space[0]) {
		sw_write(&w, SW_BYTES("|"));
		sw_write(&w, sw_bytes_text(sw_config.space));
	}
	end_text(service, &w);
}

static void make_instance(void)
{
	struct sw_writer w = sw_writer(instance_base, NAME_MAX_BYTES);
	uint64_t random[2] = {seed, sw_clock_ns(CLOCK_REALTIME)};

	if (sw_config.instance_name[0]) {
		sw_write(&w, sw_bytes_text(sw_config.instance_name));
	} else {
		sw_sys(getrandom, random, sizeof(random), GRND_NONBLOCK);
		sw_write_hex(&w, random[0]);
		sw_write_hex(&w, random[1]);
	}
	end_text(instance_base, &w);
	memcpy(instance, instance_base, sizeof(instance));
}

const char *sw_process_service(void)
{
	return service;
}

const char *sw_process_instance(void)
{
	return instance;
}

/* Suffix replaced, not stacked, and never cut: the base gives way. */
static void set_instance(struct sw_bytes suffix)
{
	size_t keep = whole_characters(instance_base,
				       SW_MIN(strlen(instance_base), NAME_MAX_BYTES - suffix.len));

	memset(instance, 0, sizeof(instance));
	memcpy(instance, instance_base, keep);
	memcpy(instance + keep, suffix.at, suffix.len);
}

static void rename_child(void)
{
	char suffix[32];
	struct sw_writer w = sw_writer(suffix, sizeof(suffix));

	sw_write(&w, SW_BYTES("-child("));
	sw_write_number(&w, (uint64_t)sw_sys(getpid));
	sw_write(&w, SW_BYTES(")"));
	set_instance(sw_written(&w));
}

static void rename_program(void)
{
	struct sw_bytes program = program_name();
	char suffix[32];
	struct sw_writer w = sw_writer(suffix, sizeof(suffix));

	program.len = whole_characters((const char *)program.at, SW_MIN(program.len, 16));
	sw_write(&w, SW_BYTES("-exec("));
	sw_write(&w, program);
	sw_write(&w, SW_BYTES(")"));
	set_instance(sw_written(&w));
}

static void copy_text(char *text, struct sw_bytes from)
{
	struct sw_writer w = sw_writer(text, NAME_MAX_BYTES);

	sw_write(&w, from);
	end_text(text, &w);
}

/* Whoever started it has given it a name: another one than his own, which it would inherit. */
static bool is_named(struct sw_bytes of_instance, struct sw_bytes of_service)
{
	return (sw_config.service_name[0] && !sw_bytes_equal(sw_bytes_text(service), of_service)) ||
	       (sw_config.instance_name[0] &&
		!sw_bytes_equal(sw_bytes_text(instance_base), of_instance));
}

/* An image that somebody started who reports, and that serves nobody: his. After the names that the
 * configuration gives. */
static bool make_lineage(void)
{
	struct sw_bytes of_instance, of_service;

	if (atomic_load(&sw_process_listens) || !sw_lineage_of(&of_instance, &of_service) ||
	    is_named(of_instance, of_service))
		return false;
	copy_text(instance_base, of_instance);
	copy_text(service, of_service);
	rename_program();
	return true;
}

static void make_names(void)
{
	make_service();
	make_instance();
	if (make_lineage())
		return;
	sw_lineage_tell(sw_bytes_text(instance_base), sw_bytes_text(service));
}

void sw_process_note(void)
{
	loaded_pid = sw_sys(getpid);
}

static bool process_start(void)
{
	_Atomic uint64_t *page = sw_sys_map(4096);

	if (!page || sw_sys(madvise, page, 4096, MADV_WIPEONFORK))
		return false; /* before Linux 4.14 */
	draw_seed();
	make_names();
	if (sw_sys(getpid) != loaded_pid)
		rename_child(); /* of a parent that had nothing to report, and perhaps our name */
	atomic_store(page, 1);
	mark = page;
	atomic_store(&sw_process_mark, page);
	return true;
}

static void process_fork_parent(void)
{
	atomic_fetch_add(&sw_process_forks, 1);
}

static void process_fork_child(void)
{
	draw_seed();
	atomic_store(&counter, 0);
	atomic_fetch_add(&sw_process_forks, 1);
	atomic_fetch_add(&sw_process_births, 1);
	sw_guest_self.tid = 0;
	atomic_store(&sw_process_main_left, false); /* the thread that forked is main here */
	rename_child();
	sw_lineage_forked();
	sw_counters_reset();
	sw_tallies_forked();
	atomic_store(mark, 1);
}

const struct sw_module sw_module_process = {
	.name = "process",
	.start = process_start,
	.fork_parent = process_fork_parent,
	.fork_child = process_fork_child,
};
