/* Whose image this one follows; see lineage.h. */
#include "preload/lineage.h"

#include <stdatomic.h>

#include "preload/sys.h"

#define NAME "SW_AGENT_EXEC_OF="
#define NAME_LEN (sizeof(NAME) - 1)
/* Between instance and service: no name that a person chose has it. */
#define BETWEEN '\t'
/* Execs at once that can be told; and entries of an environment. Beyond these an environment goes
 * as it is, and the new image takes itself for an instance. */
#define SLOTS 16
#define ENTRIES_MAX 1022
#define TRIED_AT_ONCE 16

static char inherited[SW_LINEAGE_MAX];
static char told[NAME_LEN + SW_LINEAGE_MAX];
static _Atomic bool telling;

static struct {
	_Atomic uint64_t held; /* owner << 32 | id of the thread that holds it; 0: free */
	char *list[ENTRIES_MAX + 2];
} slots[SLOTS];

/* Which thread of this memory it is: a vfork child is the one that made it. */
static __thread uint32_t own __attribute__((tls_model("initial-exec")));

static bool is_ours(const char *entry)
{
	return strncmp(entry, NAME, NAME_LEN) == 0;
}

/* Two names and what stands between them, once: two more would be other names. */
static bool is_whole(struct sw_bytes value)
{
	size_t between = sw_bytes_find(value, BETWEEN);
	struct sw_bytes service = sw_bytes_from(value, between + 1);

	return between && service.len && sw_bytes_find(service, BETWEEN) == service.len;
}

static void keep(const char *value)
{
	size_t len = strnlen(value, sizeof(inherited));

	if (len >= sizeof(inherited) || !is_whole(sw_bytes(value, len)))
		return;
	memcpy(inherited, value, len + 1);
	memcpy(told, NAME, NAME_LEN);
	memcpy(told + NAME_LEN, value, len + 1);
	atomic_store(&telling, true);
}

void sw_lineage_load(char **environment)
{
	char **to = environment;

	for (char **from = environment; from && *from; from++) {
		if (is_ours(*from))
			keep(*from + NAME_LEN);
		else
			*to++ = *from;
	}
	if (to)
		*to = NULL;
}

bool sw_lineage_of(struct sw_bytes *ret_instance, struct sw_bytes *ret_service)
{
	struct sw_bytes all = sw_bytes_text(inherited);
	size_t between = sw_bytes_find(all, BETWEEN);

	if (between == all.len)
		return false;
	*ret_instance = sw_bytes_slice(all, 0, between);
	*ret_service = sw_bytes_from(all, between + 1);
	return true;
}

void sw_lineage_tell(struct sw_bytes instance, struct sw_bytes service)
{
	struct sw_writer w = sw_writer(told, sizeof(told) - 1);

	atomic_store(&telling, false);
	sw_write(&w, SW_BYTES(NAME));
	sw_write(&w, instance);
	sw_write(&w, sw_bytes("\t", 1));
	sw_write(&w, service);
	told[w.len] = '\0';
	atomic_store(&telling, !w.cut && is_whole(sw_bytes_from(sw_written(&w), NAME_LEN)));
}

/* Does LD_PRELOAD bring us into the new image? Without us nobody would take our entry out. */
static bool brings_us(const char *entry)
{
	struct sw_bytes ours = SW_BYTES("libswagent.so"), list;

	if (strncmp(entry, "LD_PRELOAD=", 11) != 0)
		return false;
	for (list = sw_bytes_text(entry + 11); list.len;) {
		size_t len = 0;

		while (len < list.len && list.at[len] != ':' && list.at[len] != ' ')
			len++;
		if (sw_bytes_ends(sw_bytes_slice(list, 0, len), ours))
			return true;
		list = sw_bytes_from(list, len + 1);
	}
	return false;
}

/* A byte of each entry, some entries to a call. */
static bool are_readable(char *const *list, size_t count)
{
	struct iovec there[TRIED_AT_ONCE], here;
	char first[TRIED_AT_ONCE];
	long self = sw_sys(getpid);

	for (size_t at = 0; at < count; at += here.iov_len) {
		here = (struct iovec){first, SW_MIN(count - at, TRIED_AT_ONCE)};
		for (size_t i = 0; i < here.iov_len; i++)
			there[i] = (struct iovec){list[at + i], 1};
		if (sw_sys(process_vm_readv, self, &here, 1, there, here.iov_len, 0) !=
		    (long)here.iov_len)
			return false;
	}
	return true;
}

/*
 * Copies an environment that the kernel has not read yet: the list in pieces that end with a page,
 * and a byte of each entry, so that a wild pointer is the kernel's to refuse. Its number of
 * entries; 0: not to be had, or more than `room`.
 */
static size_t copy(char *const *environment, char **list, size_t room)
{
	for (size_t count = 0; count < room;) {
		size_t left =
			(SW_PAGE - (uintptr_t)(environment + count) % SW_PAGE) / sizeof(*list);
		size_t more = SW_MIN(left ? left : 1, room - count);

		if (!sw_sys_peek(list + count, environment + count, more * sizeof(*list)))
			return 0;
		for (size_t end = count + more; count < end; count++) {
			if (!list[count])
				return are_readable(list, count) ? count : 0;
		}
	}
	return 0;
}

/* Does our entry belong among them? */
static bool worth_telling(char *const *list, size_t count)
{
	bool with_us = false;

	for (size_t i = 0; i < count; i++) {
		with_us |= brings_us(list[i]);
		if (is_ours(list[i]))
			return false; /* the program passes on what it found: not by us */
	}
	return with_us;
}

static uint32_t owner(void)
{
	static _Atomic uint32_t last;

	if (!own)
		own = atomic_fetch_add(&last, 1) + 1;
	return own;
}

/*
 * Who held it exists no more; or was another vfork child of this very thread, which goes on only
 * once that has its image. Neither this one, which a handler may have interrupted, nor the one
 * whose child this is, in whose handler it may have been made.
 */
static bool is_left(uint64_t held, uint64_t ours)
{
	int holder = (int)(uint32_t)held;

	if (!held || sw_sys(kill, holder, 0) == -ESRCH)
		return true;
	return held >> 32 == ours >> 32 && held != ours && sw_sys(getppid) != holder;
}

static unsigned take_slot(void)
{
	uint64_t ours = (uint64_t)owner() << 32 | (uint32_t)sw_sys(gettid);

	for (unsigned i = 0; i < SLOTS; i++) {
		uint64_t held = atomic_load(&slots[i].held);

		if (is_left(held, ours) &&
		    atomic_compare_exchange_strong(&slots[i].held, &held, ours))
			return i + 1;
	}
	return 0;
}

static bool tell(char **list, size_t count)
{
	if (!count || !worth_telling(list, count))
		return false;
	list[count] = told;
	list[count + 1] = NULL;
	return true;
}

void sw_lineage_env(char *const *environment, struct sw_lineage_env *ret_env)
{
	char **list = ret_env->few;
	size_t count;

	ret_env->environment = environment;
	ret_env->slot = 0;
	if (!environment || !atomic_load(&telling))
		return;
	count = copy(environment, list, SW_LINEAGE_FEW);
	if (!count) {
		ret_env->slot = take_slot();
		if (!ret_env->slot)
			return;
		list = slots[ret_env->slot - 1].list;
		count = copy(environment, list, ENTRIES_MAX + 1);
	}
	if (tell(list, count)) {
		ret_env->environment = list;
		return;
	}
	sw_lineage_done(ret_env);
	ret_env->slot = 0; /* from now on perhaps another thread's */
}

bool sw_lineage_done(const struct sw_lineage_env *env)
{
	if (env->slot)
		atomic_store(&slots[env->slot - 1].held, 0);
	return env->slot || env->environment == env->few;
}

void sw_lineage_forked(void)
{
	for (unsigned i = 0; i < SLOTS; i++)
		atomic_store(&slots[i].held, 0);
}
