/*
 * Patching functions of C that Python calls; patches.def has the list.
 *
 * A method of an extension type is a PyMethodDef in the data of its module, read at every call. Its
 * pointer is exchanged for a function of ours that calls the original. Name and calling convention
 * are checked before; anything unexpected leaves that one function alone. Whatever the convention,
 * arguments are pointers and sizes in the first five registers (SysV x86-64 and AAPCS64), so one
 * shape of function stands for all of them.
 */
#include "hooks/log.h"
#include "hooks/python/internal.h"
#include "preload/counters.h"
#include "preload/sys.h"

/* PyMethodDef; ml_flags as in methodobject.h */
struct method {
	const char *name;
	void *call;
	int flags;
	const char *doc;
};

enum convention {
	VARARGS = 0x1,
	KEYWORDS = 0x2,
	NOARGS = 0x4,
	ONE = 0x8,
	FASTCALL = 0x80,
	METHOD = 0x200, /* with FASTCALL: the defining class comes first */
	CONVENTIONS = VARARGS | KEYWORDS | NOARGS | ONE | FASTCALL | METHOD,
};

typedef void *(*any_call)(void *, void *, void *, void *, void *);

#define SW_PATCH(id, module, holder, name, what, doc) PATCH_##id,
enum patch_id {
#include "hooks/python/patches.def"
	PATCHES,
};
#undef SW_PATCH

static struct {
	any_call original;
	int flags;
	bool done; /* patched, or not to be */
} patch[PATCHES];

/* ---- what is done around a call ---- */

/* The first argument after self, or NULL. */
static const sw_object *first_argument(int flags, void *b, void *c, void *d)
{
	if (flags & METHOD)
		return (ssize_t)d > 0 ? *(void **)c : NULL;
	if (flags & FASTCALL)
		return (ssize_t)c > 0 ? *(void **)b : NULL;
	if (flags & ONE)
		return b;
	if (flags & VARARGS)
		return sw_py.PyTuple_Size(b) > 0 ? sw_py.PyTuple_GetItem(b, 0) : NULL;
	return NULL;
}

#define AROUND_BIND(id)                                                                            \
	struct sw_whom whom;                                                                       \
	sw_object *token = sw_python_unbound(&whom) ? sw_python_set_for_now(whom) : NULL;          \
	void *result = patch[id].original(a, b, c, d, e);                                          \
                                                                                                   \
	if (token)                                                                                 \
		sw_python_unset(token);                                                            \
	return result

#define AROUND_GIVE(id)                                                                            \
	const sw_object *item = first_argument(patch[id].flags, b, c, d);                          \
	void *result = patch[id].original(a, b, c, d, e);                                          \
                                                                                                   \
	if (item && result) /* who takes it needs the GIL first */                                 \
		sw_python_given(item);                                                             \
	return result

#define AROUND_TAKE(id)                                                                            \
	void *item = patch[id].original(a, b, c, d, e);                                            \
                                                                                                   \
	sw_python_taken(a, item);                                                                  \
	return item

#define AROUND_APPEND(id)                                                                          \
	sw_python_appended(a, first_argument(patch[id].flags, b, c, d));                           \
	return patch[id].original(a, b, c, d, e)

#define AROUND_POP(id)                                                                             \
	void *result = patch[id].original(a, b, c, d, e);                                          \
                                                                                                   \
	if (result)                                                                                \
		sw_python_popped(a, result);                                                       \
	return result

#define AROUND_MAKE(id)                                                                            \
	void *result = patch[id].original(a, b, c, d, e);                                          \
                                                                                                   \
	if (result)                                                                                \
		sw_python_lock_made(result);                                                       \
	return result

/* Before it is taken: what is asked may allocate, and then the garbage collector may run code that
 * wants the same lock. */
#define AROUND_LOCKS(id, what)                                                                     \
	what(a);                                                                                   \
	return patch[id].original(a, b, c, d, e)

#define AROUND_LOCK(id) AROUND_LOCKS(id, sw_python_locks)
#define AROUND_RLOCK(id) AROUND_LOCKS(id, sw_python_rlocks)
#define AROUND_ASKED(id) AROUND_LOCKS(id, sw_python_rlock_asked)

#define AROUND_WRITE(id)                                                                           \
	sw_python_uv_writes(a);                                                                    \
	return patch[id].original(a, b, c, d, e)

/* Programs whose lines say their level, and those that have none, pay the load. */
#define AROUND_RECORD(id, text)                                                                    \
	bool told = SW_UNLIKELY(atomic_load_explicit(&sw_process_levels_asked,                     \
						     memory_order_relaxed)) &&                     \
		    sw_python_record_begin(text);                                                  \
	void *result = patch[id].original(a, b, c, d, e);                                          \
                                                                                                   \
	if (told)                                                                                  \
		sw_log_told_end();                                                                 \
	return result

#define AROUND_TEXT(id) AROUND_RECORD(id, first_argument(patch[id].flags, b, c, d))
#define AROUND_FLUSH(id) AROUND_RECORD(id, NULL)

#define SW_PATCH(id, module, holder, name, what, doc)                                              \
	static void *around_##id(void *a, void *b, void *c, void *d, void *e)                      \
	{                                                                                          \
		AROUND_##what(PATCH_##id);                                                         \
	}
#include "hooks/python/patches.def"
#undef SW_PATCH

static const struct {
	const char *module, *holder, *name;
	any_call around;
} rows[PATCHES] = {
#define SW_PATCH(id, module, holder, name, what, doc) {module, holder, name, around_##id},
#include "hooks/python/patches.def"
#undef SW_PATCH
};

/* ---- functions ---- */

/* The PyMethodDef behind a method descriptor {head, type, name, qualname, method}, a function of C
 * or one of Cython {head, method}. */
static struct method *method_of(const sw_object *function)
{
	const char *type = sw_python_type_name(sw_python_type(function));
	bool descriptor = strcmp(type, "method_descriptor") == 0;

	if (!descriptor && strcmp(type, "builtin_function_or_method") != 0 &&
	    !strstr(type, "cython_function_or_method"))
		return NULL;
	return (struct method *)(uintptr_t)sw_python_word(function, sw_python_at.head +
									    (descriptor ? 24 : 0));
}

static bool convention_known(int flags)
{
	switch (flags & CONVENTIONS) {
	case VARARGS:
	case VARARGS | KEYWORDS:
	case NOARGS:
	case ONE:
	case FASTCALL:
	case FASTCALL | KEYWORDS:
	case METHOD | FASTCALL | KEYWORDS:
		return true;
	default:
		return false;
	}
}

/* A function of C may be found through several names: patched once. */
static bool is_ours(const void *call)
{
	for (int i = 0; i < PATCHES; i++) {
		if (call == (void *)rows[i].around)
			return true;
	}
	return false;
}

static void exchange(int id, const sw_object *function)
{
	struct method *method = method_of(function);

	if (!method || !method->name || strcmp(method->name, rows[id].name) != 0 ||
	    !convention_known(method->flags) || is_ours(method->call)) {
		sw_count(PYTHON_UNPATCHED);
		return;
	}
	patch[id].flags = method->flags & CONVENTIONS;
	patch[id].original = (any_call)method->call;
	method->call = (void *)rows[id].around;
}

sw_object *sw_python_attribute(sw_object *of, const char *name)
{
	sw_object *found = sw_py.PyObject_GetAttrString(of, name);

	if (!found)
		sw_py.PyErr_Restore(NULL, NULL, NULL);
	return found;
}

static void patch_in(int id, sw_object *module)
{
	bool in_type = rows[id].holder[0];
	sw_object *holder = in_type ? sw_python_attribute(module, rows[id].holder) : module;
	sw_object *function = holder ? sw_python_attribute(holder, rows[id].name) : NULL;

	patch[id].done = true;
	if (function) {
		exchange(id, function);
		sw_py.Py_DecRef(function);
	}
	if (holder && in_type)
		sw_py.Py_DecRef(holder);
}

/* ---- slots of types ---- */

#define SUBCLASSES_DEPTH 4

/* Classes made before inherited a copy of the slot. */
static void spread(sw_object *type, size_t member, void *from, void *to, int depth)
{
	sw_object *list = sw_py.PyObject_CallMethod(type, "__subclasses__", NULL);
	ssize_t count = list ? sw_py.PyList_Size(list) : 0;

	for (ssize_t i = 0; i < count; i++) {
		sw_object *subclass = sw_py.PyList_GetItem(list, i);
		void **slot = sw_python_slot(subclass, member);

		if (*slot == from)
			*slot = to;
		if (depth)
			spread(subclass, member, from, to, depth - 1);
	}
	if (list)
		sw_py.Py_DecRef(list);
	else
		sw_py.PyErr_Restore(NULL, NULL, NULL);
}

/* ---- asyncio's tasks: the slot that makes them ---- */

typedef int (*init_call)(sw_object *self, sw_object *arguments, sw_object *keywords);

static init_call task_init;

/*
 * create_task(..., context=Context()) where a request head has just been read: that context is the
 * request's (uvicorn --reset-contextvars). Elsewhere an empty context is what the program wants.
 * One that comes again for another request is shared by them, and says nothing of any.
 */
static void fill_given_context(sw_object *context, struct sw_whom whom)
{
	struct sw_whom had;

	if (sw_python_reading() != sw_python_context())
		return;
	if (!sw_python_read(context, &had))
		sw_python_set_in(context, whom);
	else if (had.talk != whom.talk || (had.entry && had.entry != whom.entry))
		sw_python_set_in(context, (struct sw_whom){.talk = 0});
}

static sw_object *given_context(sw_object *keywords)
{
	sw_object *context = NULL;

	if (keywords)
		context = sw_py.PyDict_GetItem(keywords, sw_python_at.name_context);
	if (!context || sw_python_type(context) != sw_python_at.contexts)
		return NULL;
	return context;
}

static int around_task_init(sw_object *self, sw_object *arguments, sw_object *keywords)
{
	struct sw_whom whom = {.talk = 0};
	sw_object *context, *token = NULL;
	int result;

	if (sw_python_current(&whom) != SW_PYTHON_NOTHING) {
		context = given_context(keywords);
		if (context)
			fill_given_context(context, whom);
		else if (sw_python_unbound(&whom))
			token = sw_python_set_for_now(whom);
	}
	result = task_init(self, arguments, keywords);
	if (token)
		sw_python_unset(token);
	return result;
}

/* `Task.__init__` holds the function a second time, {head, type, name, qualname, base, function},
 * for classes of Python that call it. That both agree is how we know the slot. */
static void patch_task(sw_object *module)
{
	sw_object *type = sw_python_attribute(module, "Task");
	sw_object *wrapper = type ? sw_python_attribute(type, "__init__") : NULL;
	void **second = wrapper ? (void **)((char *)wrapper + sw_python_at.head + 32) : NULL;
	void **slot = type ? sw_python_slot(type, SW_PYTHON_TP_INIT) : NULL;

	if (second &&
	    strcmp(sw_python_type_name(sw_python_type(wrapper)), "wrapper_descriptor") == 0 &&
	    *second == *slot && *slot) {
		task_init = (init_call)*slot;
		*slot = *second = (void *)around_task_init;
		spread(type, SW_PYTHON_TP_INIT, (void *)task_init, *slot, SUBCLASSES_DEPTH);
	} else {
		sw_python_off("how a task is made");
	}
	if (wrapper)
		sw_py.Py_DecRef(wrapper);
	if (type)
		sw_py.Py_DecRef(type);
}

/* ---- greenlets ---- */

typedef sw_object *(*new_call)(void *type, sw_object *arguments, sw_object *keywords);

static new_call greenlet_new;

bool sw_python_greenlets(void)
{
	return greenlet_new != NULL;
}

bool sw_python_in_greenlet(void)
{
	sw_object *module, *self, *parent = NULL;
	bool in = false;

	if (!sw_python_greenlets())
		return false;
	module = sw_py.PyDict_GetItemString(sw_py.PyImport_GetModuleDict(), "greenlet");
	self = module ? sw_py.PyObject_CallMethod(module, "getcurrent", NULL) : NULL;
	parent = self ? sw_python_attribute(self, "parent") : NULL;
	if (!self)
		sw_py.PyErr_Restore(NULL, NULL, NULL);
	if (parent) {
		in = !sw_python_is_none(parent);
		sw_py.Py_DecRef(parent);
	}
	if (self)
		sw_py.Py_DecRef(self);
	return in;
}

/* gevent's native threads are fed by a queue, and outlive what started them. */
static bool is_worker(const void *type)
{
	return strstr(sw_python_type_name(type), "_WorkerGreenlet") != NULL;
}

/* A greenlet begins with an empty context: it gets one that holds only whose it is. */
static void lend_context(sw_object *greenlet, struct sw_whom whom)
{
	sw_object *type, *value, *traceback, *context;

	sw_py.PyErr_Fetch(&type, &value, &traceback);
	context = sw_py.PyContext_New();
	whom.lent = SW_LENT_BIRTH;
	if (context) {
		sw_python_set_in(context, whom);
		if (sw_py.PyObject_SetAttrString(greenlet, "gr_context", context))
			sw_py.PyErr_Restore(NULL, NULL, NULL);
		sw_py.Py_DecRef(context);
	}
	sw_py.PyErr_Restore(type, value, traceback);
}

static sw_object *around_greenlet_new(void *type, sw_object *arguments, sw_object *keywords)
{
	sw_object *greenlet = greenlet_new(type, arguments, keywords);
	struct sw_whom whom;

	if (greenlet)
		sw_python_greenlet_made(greenlet);
	if (greenlet && !is_worker(type)) {
		whom = sw_context_whom(&sw_guest_self);
		if (whom.entry)
			lend_context(greenlet, whom);
	}
	return greenlet;
}

/* Before 0.4.17 all greenlets of a thread shared one context: nothing can be said there. */
static void patch_greenlet(sw_object *module)
{
	sw_object *type = sw_python_attribute(module, "greenlet");
	sw_object *contexts = type ? sw_python_attribute(type, "gr_context") : NULL;

	if (contexts) {
		void **slot = sw_python_slot(type, SW_PYTHON_TP_NEW);

		greenlet_new = (new_call)*slot;
		*slot = (void *)around_greenlet_new;
		spread(type, SW_PYTHON_TP_NEW, (void *)greenlet_new, *slot, SUBCLASSES_DEPTH);
		sw_py.Py_DecRef(contexts);
		sw_python_greenlet_type(type);
	} else if (type) {
		sw_py.Py_DecRef(type);
	}
}

/* ---- locks ---- */

static new_call lock_new, rlock_new, semaphore_new, bounded_new;

static sw_object *made(sw_object *lock)
{
	if (lock)
		sw_python_lock_made(lock);
	return lock;
}

static sw_object *around_lock_new(void *type, sw_object *arguments, sw_object *keywords)
{
	return made(lock_new(type, arguments, keywords));
}

static sw_object *around_rlock_new(void *type, sw_object *arguments, sw_object *keywords)
{
	return made(rlock_new(type, arguments, keywords));
}

static sw_object *around_semaphore_new(void *type, sw_object *arguments, sw_object *keywords)
{
	return made(semaphore_new(type, arguments, keywords));
}

static sw_object *around_bounded_new(void *type, sw_object *arguments, sw_object *keywords)
{
	return made(bounded_new(type, arguments, keywords));
}

static void patch_new(sw_object *module, const char *name, new_call *original, new_call around)
{
	sw_object *type = sw_python_attribute(module, name);
	void **slot = type ? sw_python_slot(type, SW_PYTHON_TP_NEW) : NULL;

	if (slot && *slot) {
		*original = (new_call)*slot;
		*slot = (void *)around;
		spread(type, SW_PYTHON_TP_NEW, (void *)*original, *slot, SUBCLASSES_DEPTH);
	}
	if (type)
		sw_py.Py_DecRef(type);
}

/* From 3.13 on threading.Lock is the type itself. */
static void patch_locks(sw_object *module)
{
	patch_new(module, "lock", &lock_new, around_lock_new);
	patch_new(module, "RLock", &rlock_new, around_rlock_new);
}

static void patch_semaphores(sw_object *module)
{
	patch_new(module, "Semaphore", &semaphore_new, around_semaphore_new);
	patch_new(module, "BoundedSemaphore", &bounded_new, around_bounded_new);
}

/* ---- modules ---- */

static struct {
	const char *name;
	void (*patch)(sw_object *module);
	bool done;
} slots[] = {
	{"_asyncio", patch_task, false},
	{"greenlet._greenlet", patch_greenlet, false},
	{"_thread", patch_locks, false},
	{"gevent._gevent_c_semaphore", patch_semaphores, false},
};

static void patch_modules(sw_object *modules)
{
	sw_object *module;

	for (int i = 0; i < PATCHES; i++) {
		if (!patch[i].done &&
		    (module = sw_py.PyDict_GetItemString(modules, rows[i].module)))
			patch_in(i, module);
	}
	for (size_t i = 0; i < SW_COUNT_OF(slots); i++) {
		if (!slots[i].done &&
		    (module = sw_py.PyDict_GetItemString(modules, slots[i].name))) {
			slots[i].done = true;
			slots[i].patch(module);
		}
	}
}

bool sw_python_handoffs_seen(void)
{
	for (int i = PATCH_queue_put; i <= PATCH_rlock_is_owned; i++) {
		if (patch[i].done && !patch[i].original && i != PATCH_lock_sentinel)
			return false;
	}
	return true;
}

void sw_python_patch(void)
{
	static ssize_t modules_seen;
	sw_object *modules = sw_py.PyImport_GetModuleDict();
	sw_object *type, *value, *traceback;

	if (!modules || sw_py.PyDict_Size(modules) == modules_seen)
		return;
	sw_py.PyErr_Fetch(&type, &value, &traceback);
	modules_seen = sw_py.PyDict_Size(modules);
	patch_modules(modules);
	sw_python_find_tasks(modules);
	sw_py.PyErr_Restore(type, value, traceback);
}
