/*
 * The record of a logging library that a line was made of: its level, logger and thread, where the
 * text does not say them.
 *
 * A stream of text is written to by the function of logging, or of loguru, that has the record as a
 * local variable, so the record is looked for in the frame that makes the call. Which function a
 * code object is, is found out once for each, by its name and file. Nothing is imported, no
 * code of the program's runs and nothing of it is changed: attributes are looked up in the record's
 * own dictionary, past properties and __getattr__. What is not as expected says nothing.
 */
#include "hooks/log.h"
#include "hooks/python/code.h"
#include "hooks/python/internal.h"

#define WAYS 4
#define CODE_BITS 8

enum kind {
	NONE,
	EMIT,	 /* of logging's StreamHandler: `record` */
	FLUSH,	 /* of the same: called by EMIT */
	MESSAGE, /* of loguru's sinks: `message` */
};

/* Code objects that have been looked at. */
static struct known {
	const void *code; /* NULL: free */
	uint64_t print;
	enum kind kind;
	int local; /* where the record stands */
} codes[WAYS << CODE_BITS];

static uint32_t turn;

/* ---- which function ---- */

static const struct {
	const char *name, *file, *local;
	enum kind kind;
} functions[] = {
	{"emit", "logging/__init__.py", "record", EMIT},
	{"flush", "logging/__init__.py", NULL, FLUSH},
	{"write", "loguru/_simple_sinks.py", "message", MESSAGE},
	{"write", "loguru/_file_sink.py", "message", MESSAGE},
};

/* `text` is `end`, or has it behind the character `border`. */
static bool ends(const char *text, const char *end, char border)
{
	size_t len = strlen(text), end_len = strlen(end);

	return len >= end_len && strcmp(text + len - end_len, end) == 0 &&
	       (len == end_len || text[len - end_len - 1] == border);
}

static void look_at(const struct sw_frame *frame, struct known *ret_known)
{
	struct sw_code code;

	*ret_known = (struct known){frame->code, frame->print, NONE, -1};
	if (!sw_code_read(frame, &code))
		return;
	for (size_t i = 0; i < SW_COUNT_OF(functions); i++) {
		if (!ends(code.name, functions[i].name, '.') ||
		    !ends(code.file, functions[i].file, '/'))
			continue;
		if (functions[i].local)
			ret_known->local = sw_code_local(frame, functions[i].local);
		if (!functions[i].local || ret_known->local >= 0)
			ret_known->kind = functions[i].kind;
	}
}

static const struct known *find_known(const struct sw_frame *frame)
{
	struct known *row = &codes[sw_python_row(frame->code, CODE_BITS) * WAYS], *place = NULL;

	for (int i = 0; i < WAYS; i++) {
		if (row[i].code == frame->code && row[i].print == frame->print)
			return &row[i];
		if (!place && (!row[i].code || row[i].code == frame->code))
			place = &row[i];
	}
	if (!place)
		place = &row[turn++ % WAYS];
	look_at(frame, place);
	return place;
}

/* ---- what is read of objects ---- */

static void no_error(void)
{
	sw_py.PyErr_Restore(NULL, NULL, NULL);
}

/* Names of attributes and keys, for ever. */
static sw_object *name_of(int which)
{
	static const char *const texts[] = {"levelname", "levelno", "name",
					    "level",	 "thread",  "threadName"};
	static sw_object *names[SW_COUNT_OF(texts)];

	if (!names[which])
		names[which] = sw_py.PyUnicode_InternFromString(texts[which]);
	if (!names[which])
		no_error();
	return names[which];
}

enum { LEVELNAME, LEVELNO, NAME, LEVEL, THREAD, THREADNAME };

static bool is_a(const sw_object *object, const char *type)
{
	return strcmp(sw_python_type_name(sw_python_type(object)), type) == 0;
}

/* Borrowed from the dictionary, or NULL. */
static sw_object *value_of(sw_object *dict, int which)
{
	sw_object *name = name_of(which);

	return name ? sw_py.PyDict_GetItem(dict, name) : NULL;
}

/* A view of a str or of one of a subclass, which is good as long as that is. */
static struct sw_bytes text_in(const sw_object *object)
{
	ssize_t len = 0;
	const char *text = sw_py.PyUnicode_AsUTF8AndSize((sw_object *)(uintptr_t)object, &len);

	if (!text)
		no_error();
	return sw_bytes(text, text ? (size_t)len : 0);
}

static struct sw_bytes text_of(const sw_object *object)
{
	return object && is_a(object, "str") ? text_in(object) : sw_bytes(NULL, 0);
}

static const void *type_of_int(void)
{
	static const void *type;
	sw_object *zero = type ? NULL : sw_py.PyLong_FromLong(0);

	if (zero) {
		type = sw_python_type(zero);
		sw_py.Py_DecRef(zero);
	} else if (!type) {
		no_error();
	}
	return type;
}

/* logging's numbers, in steps of ten, as syslog's. */
static uint8_t severity_of(const sw_object *number)
{
	long level;

	if (!number || sw_python_type(number) != type_of_int())
		return SW_LOG_NO_SEVERITY;
	level = sw_py.PyLong_AsLong((sw_object *)(uintptr_t)number);
	if (level == -1)
		no_error(); /* too large, perhaps */
	if (level >= 40)
		return level >= 50 ? 2 : 3;
	if (level >= 20)
		return level >= 30 ? 4 : 6;
	return level < 0 ? SW_LOG_NO_SEVERITY : 7;
}

/* Is there anything to tell? Then it is told. */
static bool tell(const struct sw_log_told *told)
{
	if (!told->level.len && told->severity == SW_LOG_NO_SEVERITY)
		return false;
	sw_log_told_begin(told);
	return true;
}

/* ---- logging ---- */

static bool tell_record(sw_object *record, struct sw_log_told *told)
{
	sw_object *dict = sw_py.PyObject_GenericGetDict(record, NULL);
	bool known;

	if (!dict) {
		no_error();
		return false;
	}
	told->level = text_of(value_of(dict, LEVELNAME));
	told->severity = severity_of(value_of(dict, LEVELNO));
	told->logger = text_of(value_of(dict, NAME));
	told->thread = text_of(value_of(dict, THREADNAME));
	known = tell(told);
	sw_py.Py_DecRef(dict);
	return known;
}

/* ---- loguru ---- */

/* An attribute in a slot of loguru's own classes, or NULL; new. */
static sw_object *slot_of(sw_object *object, const char *type, const char *name)
{
	return object && is_a(object, type) ? sw_python_attribute(object, name) : NULL;
}

static void release(sw_object *object)
{
	if (object)
		sw_py.Py_DecRef(object);
}

static bool tell_loguru(sw_object *dict, struct sw_log_told *told)
{
	sw_object *level = value_of(dict, LEVEL), *thread = value_of(dict, THREAD);
	sw_object *name = slot_of(level, "RecordLevel", "name");
	sw_object *number = slot_of(level, "RecordLevel", "no");
	sw_object *threadname = slot_of(thread, "RecordThread", "name");
	bool known;

	told->level = text_of(name);
	told->severity = severity_of(number);
	told->logger = text_of(value_of(dict, NAME));
	told->thread = text_of(threadname);
	known = tell(told);
	release(name);
	release(number);
	release(threadname);
	return known;
}

static bool tell_message(sw_object *message, struct sw_log_told *told)
{
	sw_object *dict = slot_of(message, "Message", "record");
	bool known = dict && is_a(dict, "dict") && tell_loguru(dict, told);

	release(dict);
	return known;
}

/* ---- the call ---- */

/* Frames are those of the interpreter that a thread began in. */
static bool is_at_home(void)
{
	return sw_python_ready() &&
	       sw_py.PyThreadState_Get() == sw_py.PyGILState_GetThisThreadState();
}

/* The record, borrowed from its frame, or NULL. */
static const sw_object *find_record(enum kind *ret_kind)
{
	struct sw_frame frames[2];
	const struct known *function;
	bool cut;
	unsigned count = sw_frames_mine(frames, 2, &cut), at = 0;

	if (!count)
		return NULL;
	function = find_known(&frames[0]);
	if (function->kind == FLUSH && count == 2)
		function = find_known(&frames[at = 1]);
	*ret_kind = function->kind;
	if (function->kind != EMIT && function->kind != MESSAGE)
		return NULL;
	return sw_code_value(&frames[at], function->local);
}

static bool tell_of(const sw_object *record, enum kind kind, const sw_object *text)
{
	struct sw_log_told told = {.of = record};
	sw_object *object = (sw_object *)(uintptr_t)record;

	if (kind == MESSAGE ? text != record : !is_a(text, "str"))
		return false;
	told.text = text_in(text);
	if (!told.text.len)
		return false;
	return kind == EMIT ? tell_record(object, &told) : tell_message(object, &told);
}

bool sw_python_record_begin(const sw_object *text)
{
	const sw_object *record;
	enum kind kind = NONE;

	if (!sw_log_active() || !is_at_home())
		return false;
	record = find_record(&kind);
	if (!record)
		return false;
	if (!text)
		return sw_log_told_again(record);
	sw_log_told_forget();
	return tell_of(record, kind, text);
}
