/*
 * Watching CPython's garbage collector, by a function of ours in gc.callbacks.
 *
 * What matters of it is how long it held the program up, which no counter of CPython's tells, and
 * memory cannot be asked for: only before and after each collection is there a moment to look at
 * the clock. A callback costs a collection about a microsecond (docs/metrics.md), a collection of
 * the youngest generation takes ten and more. It is put there by a pending call, once, by the
 * first period of a process that lives so long: a short program has none. It needs no layout of
 * CPython's, so it is the same for all versions, also for those without contexts or GIL.
 *
 * All of it with the GIL, or on one thread at a time where there is none.
 */
#include <errno.h>
#include <sys/types.h>

#include "preload/garbage.h"
#include "preload/sys.h"

typedef void object; /* PyObject */

/* Weak, as in api.c. */
#define SW_PY(type, name, params) extern type name params __attribute__((weak));
#include "hooks/python/collector.def"
#undef SW_PY

#define METH_VARARGS 1
#define PYTHON_API_VERSION 1013

static uint64_t began_ns;

static void note(object *phase, object *info)
{
	const char *name = phase ? PyUnicode_AsUTF8(phase) : NULL;
	uint64_t now = sw_clock_ns(CLOCK_MONOTONIC);
	object *generation;

	if (name && strcmp(name, "start") == 0) {
		began_ns = now;
	} else if (name && info && began_ns &&
		   (generation = PyDict_GetItemString(info, "generation"))) {
		sw_garbage_ran((uint64_t)PyLong_AsLong(generation), now - began_ns);
		began_ns = 0;
	}
}

/* "start" or "stop", and a dict with the generation. What is not so is not counted. Returns some
 * object, at which nobody looks. */
static object *ran(object *self, object *args)
{
	object *type, *value, *traceback;

	(void)self;
	PyErr_Fetch(&type, &value, &traceback);
	note(PyTuple_GetItem(args, 0), PyTuple_GetItem(args, 1));
	PyErr_Restore(type, value, traceback);
	Py_IncRef(args);
	return args;
}

/* PyMethodDef, which lives as long as the function. */
static struct {
	const char *name;
	object *(*call)(object *self, object *args);
	int flags;
	const char *doc;
} method = {"swagent", ran, METH_VARARGS, "Notes how long collections take."};

/* Collections before it was watched. */
static void take_runs(object *gc)
{
	object *stats = PyObject_CallMethod(gc, "get_stats", NULL);
	ssize_t count = stats ? PyList_Size(stats) : 0;

	for (ssize_t i = 0; i < count && i < SW_GENERATIONS; i++) {
		object *one = PyList_GetItem(stats, i);
		object *runs = one ? PyDict_GetItemString(one, "collections") : NULL;
		long n = runs ? PyLong_AsLong(runs) : -1;

		if (n > 0)
			atomic_store(&sw_garbage.runs[i], (uint64_t)n);
	}
	if (stats)
		Py_DecRef(stats);
}

static bool append_to(object *gc)
{
	object *callbacks = PyObject_GetAttrString(gc, "callbacks");
	object *ours = callbacks ? PyCFunction_NewEx(&method, NULL, NULL) : NULL;
	bool done = ours && PyList_Append(callbacks, ours) == 0;

	if (ours)
		Py_DecRef(ours);
	if (callbacks)
		Py_DecRef(callbacks);
	return done;
}

/* As of 3.10 the module is made of a definition. */
static object *make_of(object *definition)
{
	object *sys_spec = PySys_GetObject("__spec__");
	object *gc = sys_spec ? PyModule_FromDefAndSpec2(definition, sys_spec, PYTHON_API_VERSION)
			      : NULL;

	if (gc && PyModule_ExecDef(gc, definition) != 0) {
		Py_DecRef(gc);
		gc = NULL;
	}
	return gc;
}

/* A module of our own. To import it would add to sys.modules, which the program may be walking, and
 * call its finders and hooks. The list of callbacks is the interpreter's, whichever module shows
 * it. Owned by the caller. */
static object *make_gc(void)
{
	object *made = PyInit_gc();
	object *callbacks = made ? PyObject_GetAttrString(made, "callbacks") : NULL;

	if (callbacks) {
		Py_DecRef(callbacks);
		return made;
	}
	PyErr_Restore(NULL, NULL, NULL); /* a definition has none, and is nobody's to release */
	return made ? make_of(made) : NULL;
}

static void watch(void)
{
	object *type, *value, *traceback, *gc;

	PyErr_Fetch(&type, &value, &traceback);
	gc = make_gc();
	if (gc) {
		take_runs(gc);
		if (append_to(gc))
			atomic_store(&sw_garbage.known, 1);
		Py_DecRef(gc);
	}
	PyErr_Restore(type, value, traceback);
}

static bool complete(void)
{
	bool there = true;

#define SW_PY(type, name, params) there = there && name;
#include "hooks/python/collector.def"
#undef SW_PY
	return there;
}

int sw_garbage_watch(void *none)
{
	int error = errno;

	(void)none;
	if (complete() && !atomic_load(&sw_garbage.known))
		watch();
	errno = error;
	return 0; /* no exception */
}
