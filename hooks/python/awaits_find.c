/*
 * Finding the set of asyncio's tasks and their types; see awaits.h. With the GIL, once, when
 * asyncio has been imported.
 */
#include "hooks/python/awaits_at.h"

struct sw_awaits_at sw_awaits_at;

static const struct sw_awaits_row rows[] = {
#define SW_AWAITS(...) {__VA_ARGS__},
#include "hooks/python/awaits.def"
#undef SW_AWAITS
};

static _Atomic bool ready;

bool sw_awaits_ready(void)
{
	return atomic_load_explicit(&ready, memory_order_acquire);
}

static bool find_row(void)
{
	for (size_t i = 0; i < SW_COUNT_OF(rows); i++) {
		if (rows[i].minor == sw_frames_at.minor) {
			sw_awaits_at.row = rows[i];
			return true;
		}
	}
	return false;
}

/* From 3.12 on tasks that were begun eagerly are in it once they are suspended. */
static const void *find_set(sw_object *module)
{
	const char *name = sw_awaits_at.row.minor >= 12 ? "_scheduled_tasks" : "_all_tasks";
	sw_object *weak = sw_python_attribute(module, name);
	sw_object *set = weak ? sw_python_attribute(weak, "data") : NULL;

	if (weak)
		sw_py.Py_DecRef(weak);
	if (!set || strcmp(sw_python_type_name(sw_python_type(set)), "set") == 0)
		return set;
	sw_py.Py_DecRef(set);
	return NULL;
}

void sw_python_find_tasks(sw_object *modules)
{
	sw_object *module = sw_py.PyDict_GetItemString(modules, "_asyncio");
	sw_object *tasks = sw_py.PyDict_GetItemString(modules, "asyncio.tasks");

	if (sw_awaits_ready() || !module || !tasks || !sw_frames_ready() || !find_row())
		return;
	if (!sw_awaits_at.tasks)
		sw_awaits_at.tasks = sw_python_attribute(module, "Task");
	if (!sw_awaits_at.futures)
		sw_awaits_at.futures = sw_python_attribute(module, "Future");
	sw_awaits_at.set = find_set(tasks);
	if (sw_awaits_at.tasks && sw_awaits_at.futures && sw_awaits_at.set)
		atomic_store_explicit(&ready, true, memory_order_release);
}
