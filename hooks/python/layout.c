/*
 * Where CPython keeps what we read; found, not known (python.h).
 *
 * We make contexts of our own, enter them, and look where their addresses appear. Each thing must
 * be found exactly once, and our walk of the HAMT is checked against the value after each of some
 * hundred insertions, which make every kind of node appear. Memory that may not be ours to read is
 * read by the kernel's answer, not by a load.
 */
#include "hooks/python/hamt.h"
#include "hooks/python/internal.h"
#include "preload/sys.h"

#define TSTATE_WORDS 64 /* the member was between 208 and 256 in 3.7 to 3.13 */
#define CONTEXT_BYTES 64
#define INSERTIONS 400

struct sw_python_layout sw_python_at;

/* Of the calling thread's own, which stands as it is. */
static const void *word_here(const void *object, size_t offset)
{
	return sw_python_word(object, offset);
}

static const sw_object *hamt_find(const sw_object *hamt)
{
	return sw_python_hamt_find(hamt, word_here);
}

bool sw_python_read(const sw_object *context, struct sw_whom *ret_whom)
{
	const sw_object *vars = sw_python_word(context, sw_python_at.vars);
	const sw_object *value = vars ? hamt_find(vars) : NULL;

	if (!value)
		return false;
	memcpy(ret_whom, (const char *)value + sw_python_at.bytes, sizeof(*ret_whom));
	return true;
}

enum sw_python_found sw_python_current(struct sw_whom *ret_whom)
{
	const sw_object *context, *prev;
	const void *thread;

	/* When it ends the states of threads go, also of those that are amid a call. */
	if (sw_python_state() != SW_PYTHON_READY || !sw_py.Py_IsInitialized())
		return SW_PYTHON_NOTHING;
	thread = sw_py.PyGILState_GetThisThreadState();
	context = thread ? sw_python_word(thread, sw_python_at.context) : NULL;
	if (!context)
		return SW_PYTHON_NOTHING;
	if (sw_python_read(context, ret_whom))
		return SW_PYTHON_HERE;
	/* Not the thread's first, which belongs to no request. */
	for (int i = 0; i < SW_PYTHON_OUTER_MAX; i++) {
		context = sw_python_word(context, sw_python_at.prev);
		prev = context ? sw_python_word(context, sw_python_at.prev) : NULL;
		if (!prev)
			break;
		if (sw_python_read(context, ret_whom))
			return SW_PYTHON_OUTER;
	}
	return SW_PYTHON_NOTHING;
}

/* ---- finding ---- */

/* The only offset below `words` at which `value` stands; 0: none, or several. */
static size_t only_offset(const void *object, const void *value, size_t words)
{
	size_t found = 0, count = 0;
	void *word;

	for (size_t at = 8; at < words * 8; at += 8) {
		if (!sw_sys_peek(&word, (const char *)object + at, sizeof(word)))
			break;
		if (word == value) {
			found = at;
			count++;
		}
	}
	return count == 1 ? found : 0;
}

static bool is_named(const sw_object *object, const char *name)
{
	char text[24] = {0};
	const void *type;
	const char *at;

	return ((uintptr_t)object & 7) == 0 &&
	       sw_sys_peek(&type, (const char *)object + sw_python_at.head - 8, sizeof(type)) &&
	       sw_sys_peek(&at, (const char *)type + sw_python_at.head + SW_PYTHON_TP_NAME,
			   sizeof(at)) &&
	       sw_sys_peek(text, at, strlen(name) + 1) && strcmp(text, name) == 0;
}

/* The member of a context that is a HAMT. */
static size_t find_vars(const sw_object *context)
{
	for (size_t at = sw_python_at.head; at < CONTEXT_BYTES; at += 8) {
		const sw_object *member = sw_python_word(context, at);

		if (member && is_named(member, "hamt"))
			return at;
	}
	return 0;
}

static size_t find_prev(const sw_object *outer)
{
	sw_object *inner = sw_py.PyContext_New();
	size_t at = 0;

	if (!inner)
		return 0;
	if (sw_py.PyContext_Enter(inner) == 0) {
		at = only_offset(inner, outer, CONTEXT_BYTES / 8);
		sw_py.PyContext_Exit(inner);
	}
	sw_py.Py_DecRef(inner);
	return at;
}

static bool put(sw_object *var, sw_object *value)
{
	sw_object *token = sw_py.PyContextVar_Set(var, value);

	if (token)
		sw_py.Py_DecRef(token);
	return token != NULL;
}

/* Notes the root's type when it is a new one. False: neither of the two that are known. */
static bool note_root(const sw_object *context)
{
	const sw_object *root =
		sw_python_word(sw_python_word(context, sw_python_at.vars), sw_python_at.head);

	if (is_named(root, "hamt_bitmap_node"))
		sw_python_at.bitmap = sw_python_type(root);
	else if (is_named(root, "hamt_array_node"))
		sw_python_at.array = sw_python_type(root);
	else
		return false;
	return true;
}

static bool found_value(const sw_object *context, const sw_object *value)
{
	return hamt_find(sw_python_word(context, sw_python_at.vars)) == value;
}

/* One more variable, and the walk is still right. They live until the context goes. Each has a name
 * of its own: by their addresses alone they may have too few different hashes. */
static bool survives_insertion(const sw_object *context, sw_object *value, int number)
{
	char name[] = {'s', 'w', (char)('a' + number / 26), (char)('a' + number % 26), 0};
	sw_object *var = sw_py.PyContextVar_New(name, NULL);
	bool ok = var && put(var, value) && note_root(context) && found_value(context, value);

	if (var)
		sw_py.Py_DecRef(var);
	return ok;
}

/* After its context a thread has how often that has changed. */
static uintptr_t version_of(const void *thread)
{
	return (uintptr_t)sw_python_word(thread, sw_python_at.context + 8);
}

/* Inside a context of our own. */
static const char *find_in(sw_object *context, sw_object *value)
{
	const void *thread = sw_py.PyThreadState_Get();
	uintptr_t version;

	sw_python_at.context = only_offset(thread, context, TSTATE_WORDS);
	if (!sw_python_at.context)
		return "the thread's context";
	version = version_of(thread);
	sw_python_at.prev = find_prev(context);
	if (!sw_python_at.prev)
		return "the context before it";
	if (version_of(thread) - version == 2) /* in and out again */
		sw_python_at.version = sw_python_at.context + 8;
	if (!put(sw_python_at.var, value) || !(sw_python_at.vars = find_vars(context)))
		return "the variables of a context";
	if (!note_root(context) || !found_value(context, value))
		return "our variable";
	for (int i = 0; i < INSERTIONS; i++) {
		if (!survives_insertion(context, value, i))
			return "our variable among others";
	}
	return sw_python_at.array ? NULL : "large contexts";
}

static size_t find_characters(const sw_object *bytes, const void *characters, size_t len)
{
	for (size_t at = sw_python_at.head; at < 64; at += 8) {
		if (memcmp((const char *)bytes + at, characters, len) == 0)
			return at;
	}
	return 0;
}

static const char *find_with(sw_object *value)
{
	sw_object *context = sw_py.PyContext_New();
	const char *missing = "a context";

	if (context && sw_py.PyContext_Enter(context) == 0) {
		missing = find_in(context, value);
		sw_py.PyContext_Exit(context);
	}
	if (context)
		sw_py.Py_DecRef(context);
	return missing;
}

/* A new context's type, if heads are 16 bytes long: then its name is where it should be. Without
 * the GIL heads are longer, and half of what is done here would need locks: not yet. */
static bool find_head(void)
{
	sw_object *context = sw_py.PyContext_New();
	bool ok;

	sw_python_at.head = 16;
	ok = context && (is_named(context, "Context") || is_named(context, "_contextvars.Context"));
	if (ok)
		sw_python_at.contexts = sw_python_type(context);
	if (context)
		sw_py.Py_DecRef(context);
	return ok;
}

/* As hamt_hash: both halves, and -1 means an error there. */
static uint32_t fold(ssize_t hash)
{
	uint32_t folded = (uint32_t)hash ^ (uint32_t)((uint64_t)hash >> 32);

	return folded == UINT32_MAX ? UINT32_MAX - 1 : folded;
}

const char *sw_python_find_layout(void)
{
	static const char text[sizeof(struct sw_whom)] = "the value of swagent...";
	const char *missing = "our variable's value";
	sw_object *value;

	if (!find_head())
		return "objects with heads of 16 bytes";
	sw_python_at.var = sw_py.PyContextVar_New("swagent", NULL);
	value = sw_py.PyBytes_FromStringAndSize(text, sizeof(text));
	sw_python_at.name_context = sw_py.PyUnicode_InternFromString("context");
	if (sw_python_at.var && value && sw_python_at.name_context) {
		sw_python_at.hash = fold(sw_py.PyObject_Hash(sw_python_at.var));
		sw_python_at.bytes = find_characters(value, text, sizeof(text));
		missing = sw_python_at.bytes ? find_with(value) : missing;
	}
	if (value)
		sw_py.Py_DecRef(value);
	return missing;
}
