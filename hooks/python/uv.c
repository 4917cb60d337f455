/*
 * uvloop: its libuv reads and accepts without the GIL, and calls back with it.
 *
 * loop.so calls its own libuv through its PLT, so these are ours first, in every build of Python.
 * A read callback runs Python code in the context of its stream: what was read is written into
 * that context before. Streams of one server share one context object, that of the server; a new
 * connection gets a copy, as asyncio gives it one. Writes may be queued until the loop turns, when
 * no context says whose they are: the connection is told at once.
 *
 * Another program's libuv is passed through.
 */
#include <dlfcn.h>
#include <errno.h>

#include "hooks/flow.h"
#include "hooks/python/internal.h"
#include "preload/exports.h"
#include "preload/sys.h"

enum uv_symbol { UV_READ_START, UV_LISTEN, UV_ACCEPT, UV_FILENO, UV_SYMBOLS };

static const char *const names[UV_SYMBOLS] = {"uv_read_start", "uv_listen", "uv_accept",
					      "uv_fileno"};

#define LIBRARIES 4
#define CALLBACKS 4

typedef void (*read_call)(void *stream, ssize_t len, const void *buf);

__thread struct sw_whom sw_python_fresh;

/* The libuv of each object that has called: of its own, or of the program's. */
static struct {
	const void *_Atomic caller; /* base address */
	void *symbol[UV_SYMBOLS];
} libraries[LIBRARIES];

/* ---- the real functions ---- */

static void resolve(void *symbol[UV_SYMBOLS], const char *path)
{
	void *object = NULL;

	for (int i = 0; i < UV_SYMBOLS; i++) {
		symbol[i] = dlsym(RTLD_NEXT, names[i]);
		if (!symbol[i] && !object)
			object = dlopen(path, RTLD_LAZY | RTLD_NOLOAD);
		if (!symbol[i] && object)
			symbol[i] = dlsym(object, names[i]);
	}
	if (object)
		dlclose(object);
}

/* NULL: cannot be, since somebody called it. */
static void *real_uv(enum uv_symbol which, const void *caller)
{
	void *symbol[UV_SYMBOLS];
	Dl_info info;

	if (!dladdr(caller, &info))
		return dlsym(RTLD_NEXT, names[which]);
	for (int i = 0; i < LIBRARIES; i++) {
		if (atomic_load(&libraries[i].caller) == info.dli_fbase)
			return libraries[i].symbol[which];
	}
	resolve(symbol, info.dli_fname);
	for (int i = 0; i < LIBRARIES; i++) {
		if (atomic_load(&libraries[i].caller))
			continue;
		/* Two threads may write at once: the same, or one of them is looked up again. */
		memcpy(libraries[i].symbol, symbol, sizeof(symbol));
		atomic_store(&libraries[i].caller, info.dli_fbase);
		break;
	}
	return symbol[which];
}

static int (*fileno_of)(const void *handle, int *ret_fd);

/* ---- objects of uvloop ---- */

static bool is_uvloop(const sw_object *object)
{
	return object && strncmp(sw_python_type_name(sw_python_type(object)), "uvloop.", 7) == 0;
}

static int visit(sw_object *object, void *found)
{
	if (object && !*(sw_object **)found && sw_python_type(object) == sw_python_at.contexts)
		*(sw_object **)found = object;
	return 0;
}

/* The context that an object holds, as its own tp_traverse tells; NULL: none. */
static sw_object *context_of(const sw_object *object)
{
	int (*traverse)(const sw_object *, int (*)(sw_object *, void *), void *) =
		*sw_python_slot(sw_python_type(object), SW_PYTHON_TP_TRAVERSE);
	sw_object *found = NULL;

	if (traverse)
		traverse(object, visit, &found);
	return found;
}

/* ---- reading ---- */

static read_call _Atomic callbacks[CALLBACKS];

/* Runs the callback with the request in the stream's context, or in the current one for as long
 * as it runs (uvloop 0.14 has no other). */
static void read_for(int which, void *stream, ssize_t len, const void *buf)
{
	struct sw_whom whom = sw_python_fresh;
	sw_object *context, *token = NULL;

	sw_python_fresh = (struct sw_whom){.talk = 0};
	if (sw_python_prepare() && is_uvloop(*(sw_object **)stream)) {
		context = context_of(*(sw_object **)stream);
		if (context) {
			sw_python_set_in(context, whom);
			sw_python_note_reading(context);
		} else {
			token = sw_python_set_for_now(whom);
		}
	}
	callbacks[which](stream, len, buf);
	if (token)
		sw_python_unset(token);
}

static void around_read(int which, void *stream, ssize_t len, const void *buf)
{
	int gil;

	if (len <= 0 || !sw_python_fresh.entry || sw_python_state() == SW_PYTHON_OFF) {
		callbacks[which](stream, len, buf);
		return;
	}
	gil = sw_py.PyGILState_Ensure(); /* the callback takes it in any case */
	read_for(which, stream, len, buf);
	sw_py.PyGILState_Release(gil);
}

#define AROUND_READ(i)                                                                             \
	static void around_read_##i(void *stream, ssize_t len, const void *buf)                    \
	{                                                                                          \
		around_read(i, stream, len, buf);                                                  \
	}
AROUND_READ(0)
AROUND_READ(1)
AROUND_READ(2)
AROUND_READ(3)

static const read_call around_reads[CALLBACKS] = {around_read_0, around_read_1, around_read_2,
						  around_read_3};

/* uvloop has two callbacks; a fifth passes as it is. */
static read_call wrapped(read_call call)
{
	for (int i = 0; i < CALLBACKS; i++) {
		read_call known = NULL;

		if (atomic_compare_exchange_strong(&callbacks[i], &known, call) || known == call)
			return around_reads[i];
	}
	return call;
}

static bool python_calls(void)
{
	return !sw_guest_hidden() && atomic_load(&sw_armed) && sw_python_state() != SW_PYTHON_OFF &&
	       sw_python_found() && sw_py.Py_IsInitialized() &&
	       sw_py.PyGILState_GetThisThreadState();
}

typedef int (*read_start_call)(void *stream, void *allocate, read_call call);

SW_EXPORT int uv_read_start(void *stream, void *allocate, read_call call);
int uv_read_start(void *stream, void *allocate, read_call call)
{
	const void *caller = __builtin_return_address(0);
	read_start_call real = (read_start_call)real_uv(UV_READ_START, caller);

	if (!real)
		return -ENOSYS;
	if (python_calls()) {
		fileno_of = (int (*)(const void *, int *))real_uv(UV_FILENO, caller);
		call = wrapped(call);
	}
	return real(stream, allocate, call);
}

/* ---- accepting ---- */

/* Exchanges the shared context in `stream` for a copy that knows the connection. The member is the
 * only one with that value. */
static void give_own_context(sw_object *stream, sw_object *shared, struct sw_whom whom)
{
	size_t size = (size_t)*sw_python_slot(sw_python_type(stream), SW_PYTHON_TP_BASICSIZE);
	void **member = NULL;
	sw_object *own;

	for (size_t at = sw_python_at.head; at + sizeof(void *) <= size; at += sizeof(void *)) {
		if (sw_python_word(stream, at) != shared)
			continue;
		if (member)
			return;
		member = (void **)((char *)stream + at);
	}
	own = member ? sw_py.PyContext_Copy(shared) : NULL;
	if (!own) {
		sw_py.PyErr_Restore(NULL, NULL, NULL);
		return;
	}
	sw_python_set_in(own, whom);
	*member = own;
	sw_py.Py_DecRef(shared);
}

static void accepted(sw_object *server, sw_object *stream)
{
	struct sw_whom whom = {.talk = sw_python_fresh.talk};
	sw_object *context;

	if (!whom.talk || !sw_python_prepare() || !is_uvloop(server) || !is_uvloop(stream))
		return;
	context = context_of(stream);
	if (context && context == context_of(server))
		give_own_context(stream, context, whom);
}

/*
 * uvloop 0.14 keeps no contexts: what it makes in the callback of a listener copies the current
 * one. There is one callback; whoever has another keeps it.
 */
typedef void (*connection_call)(void *server, int status);

static connection_call _Atomic on_connection;

static void around_connection(void *server, int status)
{
	struct sw_whom whom = {.talk = sw_python_fresh.talk};
	sw_object *token = NULL;
	int gil;

	if (status || !whom.talk || sw_python_state() == SW_PYTHON_OFF) {
		on_connection(server, status);
		return;
	}
	gil = sw_py.PyGILState_Ensure();
	if (sw_python_prepare() && is_uvloop(*(sw_object **)server) &&
	    !context_of(*(sw_object **)server))
		token = sw_python_set_for_now(whom);
	on_connection(server, status);
	if (token)
		sw_python_unset(token);
	sw_py.PyGILState_Release(gil);
}

typedef int (*listen_call)(void *server, int backlog, connection_call call);

SW_EXPORT int uv_listen(void *server, int backlog, connection_call call);
int uv_listen(void *server, int backlog, connection_call call)
{
	listen_call real = (listen_call)real_uv(UV_LISTEN, __builtin_return_address(0));
	connection_call known = NULL;

	if (!real)
		return -ENOSYS;
	if (python_calls() &&
	    (atomic_compare_exchange_strong(&on_connection, &known, call) || known == call))
		call = around_connection;
	return real(server, backlog, call);
}

typedef int (*accept_call)(void *server, void *client);

SW_EXPORT int uv_accept(void *server, void *client);
int uv_accept(void *server, void *client)
{
	accept_call real = (accept_call)real_uv(UV_ACCEPT, __builtin_return_address(0));
	int result = real ? real(server, client) : -ENOSYS;

	if (result == 0 && python_calls() && sw_py.PyGILState_Check())
		accepted(*(sw_object **)server, *(sw_object **)client);
	return result;
}

/* ---- writing ---- */

/* UVHandle: { head, vtable, handle }, and handle->data is the object again. */
void sw_python_uv_writes(const sw_object *stream)
{
	const void *handle = sw_python_word(stream, sw_python_at.head + 8);
	int fd;

	if (handle && fileno_of && sw_python_word(handle, 0) == stream &&
	    fileno_of(handle, &fd) == 0)
		sw_flow_writes(fd, sw_context_whom(&sw_guest_self).entry);
}
