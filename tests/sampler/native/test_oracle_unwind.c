/*
 * Our stacks against libunwind's, from the same registers and the same copy, of threads that run:
 * what GCC makes at each level of optimisation, aligned frames, callbacks from libc, assembly of
 * libc's, the vDSO, stubs, signal frames, exceptions, and CPythons.
 *
 * A stack of ours must be the oracle's, frame by frame, as far as it goes; and nearly all must go
 * to the end.
 */
#include <criterion/criterion.h>
#include <dlfcn.h>
#include <glob.h>
#include <libunwind-x86_64.h>
#include <link.h>
#include <stdio.h>
#include <stdlib.h>

#include "cases.h"
#include "caught.h"
#include "odd.h"

#define SAMPLES 200

/* ---- the oracle ---- */

struct table {
	unw_word_t pc;
	unw_dyn_info_t info;
	bool found;
};

extern int _Ux86_64_dwarf_search_unwind_table(unw_addr_space_t, unw_word_t, unw_dyn_info_t *,
					      unw_proc_info_t *, int, void *);

static void note_table(struct table *table, const struct dl_phdr_info *info, const uint8_t *header)
{
	uint32_t count;

	memcpy(&count, header + 8, sizeof(count));
	table->info.format = UNW_INFO_FORMAT_REMOTE_TABLE;
	table->info.u.rti.segbase = (unw_word_t)header;
	table->info.u.rti.table_data = (unw_word_t)header + 12;
	table->info.u.rti.table_len = count * 8 / sizeof(unw_word_t);
	table->info.u.rti.name_ptr = (unw_word_t)info->dlpi_name;
	table->found = true;
}

static int find_table(struct dl_phdr_info *info, size_t size, void *arg)
{
	struct table *table = arg;
	const uint8_t *header = NULL;
	bool within = false;

	(void)size;
	for (unsigned i = 0; i < info->dlpi_phnum; i++) {
		const ElfW(Phdr) *p = &info->dlpi_phdr[i];
		unw_word_t from = info->dlpi_addr + p->p_vaddr;

		if (p->p_type == PT_GNU_EH_FRAME)
			header = (const uint8_t *)from;
		if (p->p_type != PT_LOAD || table->pc < from || table->pc >= from + p->p_memsz)
			continue;
		within = true;
		table->info.start_ip = from;
		table->info.end_ip = from + p->p_memsz;
	}
	if (within && header)
		note_table(table, info, header);
	return within;
}

static int find_proc_info(unw_addr_space_t space, unw_word_t ip, unw_proc_info_t *ret, int need,
			  void *arg)
{
	struct table table = {.pc = ip};

	dl_iterate_phdr(find_table, &table);
	if (!table.found)
		return -UNW_ENOINFO;
	return _Ux86_64_dwarf_search_unwind_table(space, ip, &table.info, ret, need, arg);
}

static void put_unwind_info(unw_addr_space_t space, unw_proc_info_t *info, void *arg)
{
	(void)space;
	(void)info;
	(void)arg;
}

static int no_dynamic(unw_addr_space_t space, unw_word_t *ret, void *arg)
{
	(void)space;
	(void)ret;
	(void)arg;
	return -UNW_ENOINFO;
}

/* The stack is the copy; all else stands still. */
static int access_mem(unw_addr_space_t space, unw_word_t address, unw_word_t *value, int write,
		      void *arg)
{
	(void)space;
	(void)arg;
	if (write)
		return -UNW_EINVAL;
	if (address - caught.at <= caught.len - 8) {
		memcpy(value, caught.bytes + (address - caught.at), 8);
		return 0;
	}
	return sw_sys_peek(value, (void *)address, 8) ? 0 : -UNW_EINVAL;
}

static int access_reg(unw_addr_space_t space, unw_regnum_t number, unw_word_t *value, int write,
		      void *arg)
{
	(void)space;
	(void)arg;
	if (write || number < 0 || number > UNW_X86_64_RIP)
		return -UNW_EBADREG;
	*value = caught_register(number == UNW_X86_64_RIP ? REG_RIP : caught_numbers[number]);
	return 0;
}

static int no_fpreg(unw_addr_space_t space, unw_regnum_t number, unw_fpreg_t *value, int write,
		    void *arg)
{
	(void)space;
	(void)number;
	(void)value;
	(void)write;
	(void)arg;
	return -UNW_EBADREG;
}

static int no_resume(unw_addr_space_t space, unw_cursor_t *cursor, void *arg)
{
	(void)space;
	(void)cursor;
	(void)arg;
	return -UNW_EINVAL;
}

static int no_name(unw_addr_space_t space, unw_word_t ip, char *to, size_t room, unw_word_t *at,
		   void *arg)
{
	(void)space;
	(void)ip;
	(void)to;
	(void)room;
	(void)at;
	(void)arg;
	return -UNW_ENOINFO;
}

static unw_accessors_t accessors = {
	.find_proc_info = find_proc_info,
	.put_unwind_info = put_unwind_info,
	.get_dyn_info_list_addr = no_dynamic,
	.access_mem = access_mem,
	.access_reg = access_reg,
	.access_fpreg = no_fpreg,
	.resume = no_resume,
	.get_proc_name = no_name,
};

/* Its pcs; not moved. */
static unsigned ask_oracle(uint64_t pcs[SW_NATIVE_MAX])
{
	static unw_addr_space_t space;
	unw_cursor_t cursor;
	unsigned count = 0;
	unw_word_t pc;

	if (!space) {
		space = unw_create_addr_space(&accessors, 0);
		unw_set_caching_policy(space, UNW_CACHE_GLOBAL);
	}
	cr_assert_eq(unw_init_remote(&cursor, space, NULL), 0);
	do {
		if (unw_get_reg(&cursor, UNW_REG_IP, &pc) || !pc)
			break;
		pcs[count++] = pc;
	} while (count < SW_NATIVE_MAX && unw_step(&cursor) > 0);
	return count;
}

/* ---- both ---- */

struct tally {
	unsigned whole, cut, frames;
	unsigned ends[8];
};

static void compare(struct tally *tally)
{
	static uint64_t theirs[SW_NATIVE_MAX];
	static struct sw_native_stack ours;
	unsigned count = ask_oracle(theirs), same = 0;

	unwind_it(true, &ours);
	while (same < ours.count && same < count &&
	       (ours.pc[same] == theirs[same] || ours.pc[same] + 1 == theirs[same]))
		same++;
	/* Where the oracle gives up, it has no more to say. */
	if (same < ours.count && same < count) {
		for (unsigned i = 0; i < SW_MAX(ours.count, count) && i < same + 3; i++)
			fprintf(stderr, "%u ours %#lx theirs %#lx\n", i,
				i < ours.count ? ours.pc[i] : 0, i < count ? theirs[i] : 0);
		cr_assert(false, "frame %u differs, of %u and %u", same, ours.count, count);
	}
	if (!sw_native_is_cut(&ours))
		cr_assert_geq(ours.count, count, "ended before the oracle: %u, %u", ours.count,
			      count);
	tally->whole += !sw_native_is_cut(&ours);
	tally->cut += sw_native_is_cut(&ours);
	tally->ends[ours.end]++;
	tally->frames += ours.count;
}

static void check(const char *name, void (*run)(void), unsigned samples)
{
	struct tally tally = {0, 0, 0, {0}};

	worker_start(run);
	for (unsigned i = 0; i < samples; i++) {
		catch_it((long)(i * 7919 % 50000));
		cr_assert(sw_native_refresh());
		compare(&tally);
	}
	worker_stop();
	fprintf(stderr, "%s: %u whole, %u cut (", name, tally.whole, tally.cut);
	for (unsigned i = 1; i < 6; i++)
		fprintf(stderr, " %u", tally.ends[i]);
	fprintf(stderr, " ), %u frames a stack\n", tally.frames / samples);
	cr_assert_geq(tally.whole * 100, samples * 95, "%s: only %u of %u were whole", name,
		      tally.whole, samples);
}

#define CHECK(name) check(#name, name, SAMPLES)
#define CHECK_ALL(way)                                                                             \
	Test(oracle_unwind, way, .timeout = 100)                                                   \
	{                                                                                          \
		CHECK(way##_calls);                                                                \
		CHECK(way##_sorts);                                                                \
		CHECK(way##_allocas);                                                              \
		CHECK(way##_aligned);                                                              \
		CHECK(way##_copies);                                                               \
		CHECK(way##_clock);                                                                \
		CHECK(way##_stubs);                                                                \
	}

CHECK_ALL(o0)
CHECK_ALL(o1)
CHECK_ALL(o2)
CHECK_ALL(o3)
CHECK_ALL(fp)

Test(oracle_unwind, cpp, .timeout = 100)
{
	CHECK(cpp_throws);
	CHECK(cpp_lambdas);
}

/* ---- rows that are made by hand ---- */

static volatile unsigned long odd_sink;

static __attribute__((noipa)) void turns(unsigned long number)
{
	for (unsigned long i = 0; i < number; i++)
		odd_sink += i;
}

static void sp_at(void)
{
	odd_sp_at(turns, 1000);
	odd_sp_at(turns, 0);
}

#define ODD(name, number)                                                                          \
	static void name(void)                                                                     \
	{                                                                                          \
		odd_##name(turns, number);                                                         \
	}

ODD(rbx, 1000)
ODD(expression, 1000)
ODD(val_offset, 1000)
ODD(ra_in_rcx, 3000)
ODD(rax, 3000)

Test(oracle_unwind, odd, .timeout = 100)
{
	CHECK(sp_at);
	CHECK(rbx);
	CHECK(expression);
	CHECK(val_offset);
	CHECK(ra_in_rcx);
	CHECK(rax);
}

/* ---- a signal handler of the program's ---- */

static void on_signal(int number)
{
	(void)number;
	o2_calls();
}

static void in_handlers(void)
{
	o2_sorts();
	raise(SIGUSR1);
}

Test(oracle_unwind, signal_frames, .timeout = 100)
{
	signal(SIGUSR1, on_signal);
	CHECK(in_handlers);
}

/* ---- CPython ---- */

static const char work[] = "import json, re\n"
			   "def enc(o): return [int(x) for x in '1 2 3'.split()]\n"
			   "for i in range(40):\n"
			   "    json.dumps({'a': object(), 'b': [1, 2]}, default=enc)\n"
			   "    re.sub('[a-c]', lambda m: m.group().upper() * 3, 'abcabc' * 5)\n"
			   "    sorted(range(50), key=lambda x: -x)\n"
			   "    sum(x * x for x in range(100)) ** 50\n";

static int (*run_text)(const char *, void *);

static void python(void)
{
	run_text(work, NULL);
}

/* The interpreter is made on the thread that it runs on. */
static void (*initialize)(int);

static void python_first(void)
{
	if (initialize)
		initialize(0);
	initialize = NULL;
	python();
}

static void check_python(const char *path)
{
	void *library = dlopen(path, RTLD_NOW | RTLD_GLOBAL);
	char home[512];

	snprintf(home, sizeof(home), "%.*s", (int)(strstr(path, "/lib/") - path), path);
	setenv("PYTHONHOME", home, 1);
	cr_assert_not_null(library, "%s", dlerror());
	initialize = (void (*)(int))dlsym(library, "Py_InitializeEx");
	run_text = (int (*)(const char *, void *))dlsym(library, "PyRun_SimpleStringFlags");
	check(path, python_first, 2 * SAMPLES);
}

/* By its last digits; the test passes where there is none. */
static void check_version(const char *version)
{
	char pattern[64];
	glob_t found;

	snprintf(pattern, sizeof(pattern), "/root/.pyenv/versions/3.%s.*/lib/libpython3.%s*.so.1.0",
		 version, version);
	if (!glob(pattern, 0, NULL, &found))
		check_python(found.gl_pathv[0]);
	globfree(&found);
}

Test(oracle_unwind, python36, .timeout = 100)
{
	check_version("6");
}
Test(oracle_unwind, python38, .timeout = 100)
{
	check_version("8");
}
Test(oracle_unwind, python310, .timeout = 100)
{
	check_version("10");
}
Test(oracle_unwind, python311, .timeout = 100)
{
	check_version("11");
}
Test(oracle_unwind, python312, .timeout = 100)
{
	check_version("12");
}
Test(oracle_unwind, python313, .timeout = 100)
{
	check_version("13");
}
