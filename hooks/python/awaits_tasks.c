/*
 * Which tasks a request has; see awaits.h.
 *
 * All tasks of the process are walked: the table of the set, a weak reference, the task, its
 * context, the variables of that. What was read is only a hint, as the program goes on meanwhile:
 * whoever uses a task asks it anew.
 */
#include "hooks/flow.h"
#include "hooks/python/awaits_at.h"
#include "hooks/python/hamt.h"
#include "preload/counters.h"

#define SLOTS_MAX (1u << 17) /* of the set's table: 50,000 tasks and more */
#define REQUESTS 64
#define TRIES 3
#define FIRSTS 2
/* Of the time one part in so many is spent by walks: of a processor's, as one that has to wait for
 * it costs nobody anything. */
#define SHARE 50

static struct sw_awaits_request requests[REQUESTS];
static unsigned count;
static uint64_t next_ns; /* of the next walk */

void sw_awaits_clear(void)
{
	count = 0;
	next_ns = 0;
}

/* ---- a task ---- */

static const void *word_at(const void *object, size_t offset)
{
	return sw_awaits_word(object, (ptrdiff_t)offset);
}

static bool read_whom(const void *context, struct sw_whom *ret_whom)
{
	const void *vars;
	const char *value;

	if (!context || sw_awaits_word(context, SW_PY_TYPE) != sw_python_at.contexts)
		return false;
	vars = word_at(context, sw_python_at.vars);
	value = vars ? sw_python_hamt_find(vars, word_at) : NULL;
	return value && sw_awaits_copy(ret_whom, value + sw_python_at.bytes, sizeof(*ret_whom));
}

static sw_ref entry_of(const struct sw_whom *whom)
{
	return whom->entry ? whom->entry : sw_flow_unanswered(whom->talk);
}

sw_ref sw_awaits_entry_in(const void *context)
{
	struct sw_whom whom;

	return read_whom(context, &whom) ? entry_of(&whom) : 0;
}

/* False: it is no pending task, or of nobody. */
static bool whom_of(const void *task, struct sw_whom *ret_whom, sw_ref *ret_entry)
{
	if (!sw_awaits_is_task(task) || !sw_awaits_is_pending(task) ||
	    !read_whom(sw_awaits_word(task, sw_awaits_at.row.context), ret_whom))
		return false;
	*ret_entry = entry_of(ret_whom);
	return *ret_entry != 0;
}

/* "Task-12", or 12, which is written when somebody asks. */
static uint64_t number_of(const void *task)
{
	const void *name =
		sw_awaits_at.row.name >= 0 ? sw_awaits_word(task, sw_awaits_at.row.name) : NULL;
	char text[16] = {0};
	uint64_t number = 0;
	size_t len;

	if (!name)
		return UINT64_MAX;
	if (sw_awaits_word(name, SW_PY_TYPE) == (void *)sw_frames_api.PyUnicode_Type) {
		len = (size_t)sw_awaits_word(name, SW_PY_SIZE);
		if (len < 6 || len >= sizeof(text) ||
		    !sw_awaits_copy(text, (const char *)name + sw_frames_at.ascii, len) ||
		    memcmp(text, "Task-", 5) != 0)
			return UINT64_MAX;
		for (size_t i = 5; i < len; i++) {
			if (text[i] < '0' || text[i] > '9')
				return UINT64_MAX;
			number = number * 10 + (uint64_t)(text[i] - '0');
		}
		return number;
	}
	if (sw_awaits_at.row.minor < 12 ||
	    sw_awaits_word(name, SW_PY_TYPE) != (void *)sw_frames_api.PyLong_Type ||
	    (uintptr_t)sw_awaits_word(name, 16) >> 3 != 1)
		return UINT64_MAX;
	return (uint32_t)(uintptr_t)sw_awaits_word(name, 24);
}

bool sw_awaits_still(const struct sw_awaits_task *one, sw_ref entry)
{
	struct sw_whom whom;
	sw_ref has;

	return whom_of(one->task, &whom, &has) && has == entry &&
	       number_of(one->task) == one->number;
}

/* ---- all of them ---- */

static struct sw_awaits_request *find(sw_ref entry)
{
	for (unsigned i = 0; i < count; i++) {
		if (requests[i].entry == entry)
			return &requests[i];
	}
	return NULL;
}

static struct sw_awaits_request *request_of(sw_ref entry)
{
	struct sw_awaits_request *request = find(entry);

	if (!request && count < REQUESTS) {
		request = &requests[count++];
		request->entry = entry;
		request->count = 0;
	}
	return request;
}

static bool has(const struct sw_awaits_request *request, const void *task)
{
	for (uint32_t i = 0; i < request->count; i++) {
		if (request->at[i].task == task)
			return true;
	}
	return false;
}

/* Those made first are kept, in this order. */
static void insert(struct sw_awaits_request *request, struct sw_awaits_task task)
{
	uint32_t at = request->count;

	if (has(request, task.task))
		return;
	while (at && request->at[at - 1].number > task.number)
		at--;
	if (at == SW_AWAITS_EACH)
		return;
	if (request->count < SW_AWAITS_EACH)
		request->count++;
	memmove(&request->at[at + 1], &request->at[at],
		(request->count - 1 - at) * sizeof(request->at[0]));
	request->at[at] = task;
}

static void look_at(const void *task, bool (*wanted)(sw_ref entry))
{
	struct sw_awaits_request *request;
	struct sw_whom whom;
	sw_ref entry;

	if (!whom_of(task, &whom, &entry) || !wanted(entry))
		return;
	request = request_of(entry);
	if (request)
		insert(request, (struct sw_awaits_task){task, number_of(task), whom.entry != 0});
}

struct table {
	const void *at;
	size_t mask;
};

static struct table table_now(void)
{
	return (struct table){sw_awaits_word(sw_awaits_at.set, SW_PY_SET_TABLE),
			      (size_t)sw_awaits_word(sw_awaits_at.set, SW_PY_SET_MASK)};
}

/* It has an entry of a key and a hash for each slot; the keys are weak references. */
static void walk(struct table table, bool (*wanted)(sw_ref entry))
{
	const void *key;

	count = 0;
	if (table.mask >= SLOTS_MAX) {
		sw_count(PROFILE_TASKS);
		table.mask = SLOTS_MAX - 1;
	}
	for (size_t i = 0; table.at && i <= table.mask; i++) {
		key = sw_awaits_word(table.at, (ptrdiff_t)i * 16);
		if (key)
			look_at(sw_awaits_word(key, SW_PY_WRAPPED), wanted);
	}
}

/* Again if there is another table afterwards: then some may have been missed. It may have been
 * another in between; so a request's first tasks that were there before are looked at once more. */
static void walk_whole(bool (*wanted)(sw_ref entry))
{
	static const void *firsts[REQUESTS * FIRSTS];
	struct table table, after;
	unsigned known = 0;

	for (unsigned i = 0; i < count; i++) {
		for (uint32_t j = 0; j < requests[i].count && j < FIRSTS; j++)
			firsts[known++] = requests[i].at[j].task;
	}
	for (int i = 0; i < TRIES && sw_awaits_anew(); i++) {
		table = table_now();
		walk(table, wanted);
		sw_awaits_anew();
		after = table_now();
		if (after.at == table.at && after.mask == table.mask)
			break;
	}
	for (unsigned i = 0; i < known; i++)
		look_at(firsts[i], wanted);
}

const struct sw_awaits_request *sw_awaits_tasks(sw_ref entry, bool (*wanted)(sw_ref entry))
{
	uint64_t now_ns = sw_clock_ns(CLOCK_MONOTONIC), used_ns;

	if (now_ns >= next_ns) {
		used_ns = sw_clock_ns(CLOCK_THREAD_CPUTIME_ID);
		walk_whole(wanted);
		used_ns = sw_clock_ns(CLOCK_THREAD_CPUTIME_ID) - used_ns;
		next_ns = now_ns + used_ns * SHARE;
	}
	return find(entry);
}
