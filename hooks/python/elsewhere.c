/*
 * The context of a thread that is not the calling one.
 *
 * Nothing keeps it as it is: the thread may go on, leave the context, and its memory may become
 * something else or be unmapped. So each word is copied by the kernel, which says no instead of
 * faulting; types are compared with those that layout.c has found; and what was read means
 * something only to a caller who knows that the thread stood still.
 */
#include "hooks/python/hamt.h"
#include "hooks/python/internal.h"
#include "preload/sys.h"

static const void *word_at(const void *object, size_t offset)
{
	const void *word = NULL;

	if (!object || !sw_sys_peek(&word, (const char *)object + offset, sizeof(word)))
		return NULL;
	return word;
}

static bool is_a(const void *object, const void *type)
{
	return object && word_at(object, sw_python_at.head - sizeof(void *)) == type;
}

/* Ours alone has this variable, and its values are whole. */
static bool read_of(const void *context, struct sw_whom *ret_whom)
{
	const void *vars = word_at(context, sw_python_at.vars);
	const void *value = vars ? sw_python_hamt_find(vars, word_at) : NULL;

	return value &&
	       sw_sys_peek(ret_whom, (const char *)value + sw_python_at.bytes, sizeof(*ret_whom));
}

bool sw_python_current_of(const void *thread, struct sw_whom *ret_whom)
{
	const void *context, *prev;

	if (sw_python_state() != SW_PYTHON_READY)
		return false;
	context = word_at(thread, sw_python_at.context);
	for (int i = 0; i < SW_PYTHON_OUTER_MAX && is_a(context, sw_python_at.contexts); i++) {
		if (read_of(context, ret_whom))
			return true;
		/* Not the thread's first, which belongs to no request. */
		prev = word_at(context, sw_python_at.prev);
		if (!prev || !word_at(prev, sw_python_at.prev))
			return false;
		context = prev;
	}
	return false;
}

bool sw_python_entered_of(const void *thread)
{
	const void *context;

	if (sw_python_state() != SW_PYTHON_READY)
		return false;
	context = word_at(thread, sw_python_at.context);
	return is_a(context, sw_python_at.contexts) &&
	       is_a(word_at(context, sw_python_at.prev), sw_python_at.contexts);
}

bool sw_python_plain_of(const void *thread)
{
	return sw_python_ready() && !sw_python_greenlets() && !sw_python_entered_of(thread);
}

const void *sw_python_thread(void)
{
	if (!sw_python_found() || !sw_py.Py_IsInitialized())
		return NULL;
	return sw_py.PyGILState_GetThisThreadState();
}

bool sw_python_is_over(void)
{
	return sw_python_found() && !sw_py.Py_IsInitialized();
}
