/*
 * Reading a chain of awaits; see awaits.h.
 *
 * A task has a coroutine. A coroutine that is suspended has what it awaits on top of its frame's
 * stack: another one, an iterator of a future, or something that wraps one of those. What does not
 * stand still is met with three readings that must agree, as for threads (frames.c): a suspended
 * chain changes only by running, and what is freed and used again in the meantime would have to be
 * used alike three times over.
 */
#include "hooks/python/awaits_at.h"

#define TRIES 8
#define LINKS_MAX 4096 /* of a chain; torn ones may be rings */
#define YIELD_FROM 72  /* the instruction, 3.6 to 3.10 */
#define PENDING 0
#define VALUES 24 /* attributes of an object that are looked at */
#define BASES_MAX 8
#define CALLBACKS_MAX 8
#define CELLS_MAX 16

/* Of a frame, before 3.11. */
#define STACK_BOTTOM 64
#define STACK_TOP 72   /* up to 3.9 */
#define STACK_DEPTH 80 /* 3.10 */
#define STATE 108      /* likewise */
/* From 3.11 on. */
#define DEPTH 64
#define LOCALS 72

struct reading {
	struct sw_awaits *now;
	const struct sw_awaits *known; /* the reading before, or NULL */
	const struct sw_awaits_request *others;
	unsigned links; /* read */
};

bool sw_awaits_is_a(const void *object, const void *wanted)
{
	const void *type = sw_awaits_word(object, SW_PY_TYPE);

	for (int i = 0; type && i < BASES_MAX; i++) {
		if (type == wanted)
			return true;
		type = sw_awaits_word(type, SW_PY_TYPE_BASE);
	}
	return false;
}

bool sw_awaits_is_task(const void *object)
{
	return sw_awaits_is_a(object, sw_awaits_at.tasks);
}

bool sw_awaits_is_pending(const void *future)
{
	int state;

	return sw_awaits_copy(&state, (const char *)future + sw_awaits_at.row.state,
			      sizeof(state)) &&
	       state == PENDING;
}

static bool is_coroutine(const void *type)
{
	return type == (void *)sw_frames_api.PyCoro_Type ||
	       type == (void *)sw_frames_api.PyGen_Type ||
	       type == (void *)sw_frames_api.PyAsyncGen_Type;
}

/* ---- one coroutine ---- */

struct link {
	struct sw_frame frame;
	const void *top;  /* of its stack */
	bool begun, says; /* whether it awaits that; else its instruction tells */
	bool awaits;
};

/* What follows the instruction at which it is suspended: YIELD_FROM; from 3.11 on RESUME, whose
 * argument says what there was. */
static bool instruction_awaits(const struct sw_frame *frame, bool *ret_awaits)
{
	const char *code = frame->code;
	uint8_t next[2];

	if (sw_frames_at.minor >= 11)
		code += sw_frames_at.instructions;
	else
		code = (const char *)sw_awaits_word(code, sw_frames_at.instructions) + SW_PY_BYTES;
	if (!sw_awaits_copy(next, code + frame->at + 2, sizeof(next)))
		return false;
	*ret_awaits = sw_frames_at.minor >= 11 ? (next[1] & 3) >= 2 : next[0] == YIELD_FROM;
	return true;
}

/* Up to 3.9 a frame that runs has no top; 3.10 says it, and keeps a depth. */
static bool open_apart(const void *frame, struct link *ret_link)
{
	const char *bottom = sw_awaits_word(frame, STACK_BOTTOM), *top;
	int8_t state;
	int depth;

	if (sw_frames_at.minor <= 9) {
		top = sw_awaits_word(frame, STACK_TOP);
		if (!top || top < bottom)
			return false;
	} else {
		if (!sw_awaits_copy(&state, (const char *)frame + STATE, sizeof(state)) ||
		    state >= 0 ||
		    !sw_awaits_copy(&depth, (const char *)frame + STACK_DEPTH, sizeof(depth)) ||
		    depth < 0)
			return false;
		top = bottom + 8 * (size_t)depth;
	}
	ret_link->top = top > bottom ? sw_awaits_word(top, -8) : NULL;
	ret_link->begun = ret_link->frame.at >= 0;
	ret_link->says = false;
	return true;
}

/* -1 was: suspended; 3.13: suspended in an await. The lowest: not begun. */
static bool open_inside(const void *coroutine, const void *frame, struct link *ret_link)
{
	int8_t state;
	int depth;

	if (!sw_awaits_copy(&state, (const char *)coroutine + sw_awaits_at.row.runs,
			    sizeof(state)) ||
	    state >= 0 || !sw_awaits_copy(&depth, (const char *)frame + DEPTH, sizeof(depth)))
		return false;
	ret_link->begun = state != (sw_frames_at.minor >= 13 ? -3 : -2);
	ret_link->says = sw_frames_at.minor >= 13;
	ret_link->awaits = state == -1;
	ret_link->top =
		depth > 0 ? sw_awaits_word(frame, LOCALS + 8 * ((ptrdiff_t)depth - 1)) : NULL;
	return true;
}

static const struct sw_frame *known_frame(const struct reading *r)
{
	uint32_t at = r->now->frames.count;

	return r->known && at < r->known->frames.count && at < SW_FRAMES_MAX
		       ? &r->known->frames.at[at]
		       : NULL;
}

static bool read_frame(const void *frame, const struct sw_frame *known, struct sw_frame *ret_frame)
{
	char body[SW_FRAMES_BODY];

	return sw_awaits_copy(body, frame, sw_frames_body_bytes()) &&
	       sw_frames_one(frame, body, known, ret_frame);
}

/* False: it runs, has ended, or is none. *ret_awaited NULL: it awaits nothing. */
static bool open_link(const struct reading *r, const void *coroutine, struct sw_frame *ret_frame,
		      const void **ret_awaited)
{
	bool inside = sw_frames_at.minor >= 11;
	const void *frame = inside ? (const char *)coroutine + sw_awaits_at.row.frame
				   : sw_awaits_word(coroutine, sw_awaits_at.row.frame);
	struct link link = {.top = NULL};

	if (!frame || !read_frame(frame, known_frame(r), &link.frame) ||
	    !(inside ? open_inside(coroutine, frame, &link) : open_apart(frame, &link)))
		return false;
	if (!link.begun)
		link.awaits = false;
	else if (!link.says && !instruction_awaits(&link.frame, &link.awaits))
		return false;
	*ret_frame = link.frame;
	*ret_awaited = link.awaits ? link.top : NULL;
	return !link.awaits || link.top;
}

/* ---- what must end before a future of nobody's ---- */

static bool is_of(const void *object, const void *type)
{
	return sw_awaits_word(object, SW_PY_TYPE) == type;
}

static bool type_name(const void *object, char *ret_name)
{
	const char *name = sw_awaits_word(sw_awaits_word(object, SW_PY_TYPE), SW_PY_TYPE_NAME);

	memset(ret_name, 0, SW_AWAITS_ON_MAX);
	if (!name)
		return false;
	for (size_t at = 0; at + 8 < SW_AWAITS_ON_MAX; at += 8) {
		if (!sw_awaits_copy(ret_name + at, name + at, 8)) {
			/* Near the end of what there is. */
			for (size_t i = at; i < at + 8; i++) {
				if (!sw_awaits_copy(ret_name + i, name + i, 1) || !ret_name[i])
					break;
			}
		}
		if (memchr(ret_name + at, 0, 8))
			break;
	}
	return ret_name[0] != 0;
}

static bool is_named(const void *object, const char *name)
{
	char has[SW_AWAITS_ON_MAX];

	return type_name(object, has) && strcmp(has, name) == 0;
}

/* Of a tuple's items, or what their cells hold. */
static bool holds(const void *tuple, const void *wanted)
{
	const void *item;

	if (!is_of(tuple, (void *)sw_frames_api.PyTuple_Type))
		return false;
	for (size_t i = 0; i < CELLS_MAX && i < (size_t)sw_awaits_word(tuple, SW_PY_SIZE); i++) {
		item = sw_awaits_word(tuple, SW_PY_ITEMS + 8 * (ptrdiff_t)i);
		if (item && is_of(item, (void *)sw_frames_api.PyCell_Type))
			item = sw_awaits_word(item, SW_PY_CELL);
		if (item == wanted)
			return true;
	}
	return false;
}

/* Its closure is one of the tuples that a function has. */
static bool closes_over(const void *function, const void *wanted)
{
	for (size_t at = 16; at <= 72; at += 8) {
		const void *member = sw_awaits_word(function, at);

		if (member && holds(member, wanted))
			return true;
	}
	return false;
}

/* An attribute of an object whose attributes are not in a dict, as they mostly are from 3.11 on,
 * where task groups are. */
static bool has_attribute(const void *object, const void *wanted)
{
	const void *values[VALUES];
	const char *at = NULL;

	if (sw_frames_at.minor == 11)
		at = sw_awaits_word(object, -32);
	else if (sw_frames_at.minor == 12)
		at = (const char *)sw_awaits_word(object, -24) + 1;
	else if (sw_frames_at.minor == 13)
		at = (const char *)object + 8 +
		     (size_t)sw_awaits_word(sw_awaits_word(object, SW_PY_TYPE), SW_PY_TYPE_SIZE);
	for (unsigned count = VALUES; at && count >= 6; count -= 6) {
		if (!sw_awaits_copy(values, at, count * sizeof(values[0])))
			continue;
		for (unsigned i = 0; i < count; i++) {
			if (values[i] == wanted)
				return true;
		}
		break;
	}
	return false;
}

/* What this callback of a task's does can end `future`. */
static bool leads_to(const void *callback, const void *future)
{
	if (is_of(callback, (void *)sw_frames_api.PyFunction_Type))
		return closes_over(callback, future);
	if (is_of(callback, (void *)sw_frames_api.PyMethod_Type))
		return has_attribute(sw_awaits_word(callback, 24), future);
	return is_named(callback, "functools.partial") &&
	       holds(sw_awaits_word(callback, 24), future);
}

static bool ends(const void *task, const void *future)
{
	const void *callback = sw_awaits_word(task, SW_PY_FUTURE_CALLBACK);
	const void *list = sw_awaits_word(task, SW_PY_FUTURE_CALLBACKS);
	const void *items = sw_awaits_word(list, SW_PY_LIST_ITEMS);
	size_t count = items ? (size_t)sw_awaits_word(list, SW_PY_SIZE) : 0;

	if (callback && leads_to(callback, future))
		return true;
	for (size_t i = 0; i < count && i < CALLBACKS_MAX; i++) {
		callback = sw_awaits_word(sw_awaits_word(items, 8 * (ptrdiff_t)i), SW_PY_ITEMS);
		if (callback && leads_to(callback, future))
			return true;
	}
	return false;
}

static bool passed(const struct sw_awaits *awaits, const void *task)
{
	for (uint32_t i = 0; i < awaits->count; i++) {
		if (awaits->tasks[i] == task)
			return true;
	}
	return false;
}

static const void *task_before(const struct reading *r, const void *future)
{
	for (uint32_t i = 0; r->others && i < r->others->count; i++) {
		const void *task = r->others->at[i].task;

		if (!passed(r->now, task) && sw_awaits_is_task(task) &&
		    sw_awaits_is_pending(task) && ends(task, future))
			return task;
	}
	return NULL;
}

/* ---- the chain ---- */

/* Outermost first, in a ring, until it is turned around. */
static bool add(struct reading *r, const struct sw_frame *frame)
{
	struct sw_frames *frames = &r->now->frames;

	frames->at[frames->count++ % SW_FRAMES_MAX] = *frame;
	return frames->count < LINKS_MAX;
}

/* A future, by what iterates over it. The task to go on with, or NULL with `on` written. */
static const void *through_future(struct reading *r, const void *future)
{
	const void *task = NULL;

	if (!sw_awaits_is_a(future, sw_awaits_at.futures)) {
		type_name(future, r->now->on);
		return NULL;
	}
	if (!sw_awaits_is_pending(future))
		return NULL; /* its turn comes */
	task = sw_awaits_is_task(future) ? future : task_before(r, future);
	if (!task)
		type_name(future, r->now->on);
	return task;
}

/* What awaits something for another does it by its first member. */
static bool is_wrapper(const char *name)
{
	return strcmp(name, "coroutine_wrapper") == 0 ||
	       strcmp(name, "async_generator_asend") == 0 ||
	       strcmp(name, "async_generator_athrow") == 0 || strcmp(name, "anext_awaitable") == 0;
}

/* About to go on: what it is sent has been put on its stack, which a thread that lost its processor
 * there may leave so for long. */
static bool is_sent(const char *name)
{
	return strcmp(name, "NoneType") == 0;
}

/* From a task's coroutine inwards. *ret_task: the next task, NULL: the end. */
static bool go_through(struct reading *r, const void *object, const void **ret_task)
{
	struct sw_frame frame;

	*ret_task = NULL;
	while (object) {
		if (++r->links > LINKS_MAX)
			return false;
		if (is_coroutine(sw_awaits_word(object, SW_PY_TYPE))) {
			if (!open_link(r, object, &frame, &object) || !add(r, &frame))
				return false;
			continue;
		}
		if (!type_name(object, r->now->on) || is_sent(r->now->on))
			return false;
		if (is_wrapper(r->now->on)) {
			object = sw_awaits_word(object, SW_PY_WRAPPED);
			r->now->on[0] = 0;
			if (!object)
				return false;
		} else if (strcmp(r->now->on, "_asyncio.FutureIter") == 0 ||
			   strcmp(r->now->on, "FutureIter") == 0) {
			r->now->on[0] = 0;
			*ret_task = through_future(r, sw_awaits_word(object, SW_PY_WRAPPED));
			return true;
		} else {
			return true;
		}
	}
	return true;
}

static bool read_once(struct reading *r, const void *task)
{
	r->links = 0;
	r->now->frames.count = r->now->count = 0;
	r->now->on[0] = 0;
	while (task) {
		if (r->now->count == SW_AWAITS_TASKS || passed(r->now, task) ||
		    !sw_awaits_is_task(task) || !sw_awaits_is_pending(task))
			return false;
		r->now->tasks[r->now->count++] = task;
		if (!go_through(r, sw_awaits_word(task, sw_awaits_at.row.coro), &task))
			return false;
	}
	return r->now->frames.count;
}

static bool agree(const struct sw_awaits *a, const struct sw_awaits *b)
{
	uint32_t kept = SW_MIN(a->frames.count, (uint32_t)SW_FRAMES_MAX);

	if (a->frames.count != b->frames.count || a->count != b->count ||
	    strcmp(a->on, b->on) != 0 ||
	    memcmp(a->tasks, b->tasks, a->count * sizeof(a->tasks[0])) != 0)
		return false;
	for (uint32_t i = 0; i < kept; i++) {
		const struct sw_frame *x = &a->frames.at[i], *y = &b->frames.at[i];

		if (x->frame != y->frame || x->code != y->code || x->print != y->print ||
		    x->at != y->at)
			return false;
	}
	return true;
}

static void reverse(struct sw_frame *at, uint32_t count)
{
	for (uint32_t i = 0; i < count / 2; i++) {
		struct sw_frame swapped = at[i];

		at[i] = at[count - 1 - i];
		at[count - 1 - i] = swapped;
	}
}

/* Innermost first, out of the ring. */
static void turn_around(struct sw_frames *frames)
{
	uint32_t begin = frames->count % SW_FRAMES_MAX;

	frames->cut = frames->count > SW_FRAMES_MAX;
	frames->count = SW_MIN(frames->count, (uint32_t)SW_FRAMES_MAX);
	if (begin == frames->count)
		begin = 0;
	reverse(frames->at, begin);
	reverse(frames->at + begin, frames->count - begin);
}

const struct sw_awaits *sw_awaits_chain(const void *task, const struct sw_awaits_request *others)
{
	static struct sw_awaits buffers[2];
	struct reading r = {.others = others};
	unsigned equal = 0;

	for (int i = 0; i < TRIES && equal < 2; i++) {
		r.now = &buffers[i % 2];
		if (!sw_awaits_anew() || !read_once(&r, task)) {
			r.known = NULL;
			equal = 0;
			continue;
		}
		equal = r.known && agree(r.now, r.known) ? equal + 1 : 0;
		r.known = r.now;
	}
	if (equal < 2)
		return NULL;
	turn_around(&r.now->frames);
	return r.now;
}
