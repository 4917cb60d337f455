/*
 * What a request waits for in a suspended greenlet; see awaits.h.
 *
 * greenlet keeps no list of greenlets, so the one that reads the head of a request that is profiled
 * is noted there. It leads to the frame that it was switched away in, and to its context: both are
 * found among its members by their types, of each of which there must be one. That is so from
 * greenlet 1.0 to 3.5, whose members lie in the object, or from 2.0 on in another that it points
 * to. One that runs has neither.
 *
 * Readings that agree prove nothing here: a greenlet that takes turns at full speed uses the same
 * frames at the same places again and again, so that a piece of now and a piece of a moment later
 * make the same stack that never was three times over (6 in 78,754 of a storm). But greenlet counts
 * its switches, in the version of the thread's context, before any frame can change: a stack is
 * believed if that stood still from before it was read until after. Each is asked for by a call of
 * the kernel, which takes longer than any processor keeps a store to itself. A thread that is
 * stopped amid a switch has taken the context out of the one that is to run, or has not put the
 * frame into the one that ran.
 */
#include "hooks/profile.h"
#include "hooks/python/awaits_at.h"
#include "preload/counters.h"

#define TRIES 16
#define INNER 32	/* PyGreenlet.pimpl, from 2.0 on, of objects that are this small: */
#define INNER_SIZE 64	/* or smaller */
#define FIRST 16	/* bytes that are looked through, from here */
#define MEMBERS 160	/* to here */
#define FRAME_INSIDE 24 /* PyFrameObject.f_frame, from 3.11 on */

/* Of the request in the slot of that number. Written with the GIL. */
static struct note {
	_Atomic sw_ref entry; /* 0: none */
	const void *_Atomic greenlet;
	const void *_Atomic thread; /* its state of CPython */
	_Atomic int tid;
} notes[SW_PROFILE_SLOTS];

static const void *_Atomic type; /* greenlet.greenlet; owned, for ever */

/* Where a greenlet has them; 0: not known yet. The sampler's. */
struct places {
	ptrdiff_t context, frame;
};
static struct places places;

void sw_python_greenlet_type(const sw_object *greenlets)
{
	atomic_store(&type, greenlets);
}

/* ---- noting ---- */

static struct note *slot_of(sw_ref entry)
{
	for (unsigned i = 0; i < SW_PROFILE_SLOTS; i++) {
		if (atomic_load(&sw_profile_slots[i].state) == entry)
			return &notes[i];
	}
	return NULL;
}

void sw_python_greenlet_serves(sw_ref entry)
{
	struct note *one = atomic_load(&type) ? slot_of(entry) : NULL;
	sw_object *module, *self;

	if (!one)
		return;
	module = sw_py.PyDict_GetItemString(sw_py.PyImport_GetModuleDict(), "greenlet");
	self = module ? sw_py.PyObject_CallMethod(module, "getcurrent", NULL) : NULL;
	if (!self) {
		sw_py.PyErr_Restore(NULL, NULL, NULL);
		return;
	}
	atomic_store(&one->entry, 0);
	atomic_store(&one->greenlet, self);
	atomic_store(&one->thread, sw_py.PyThreadState_Get());
	atomic_store(&one->tid, (int)sw_sys(gettid));
	atomic_store(&one->entry, entry);
	sw_py.Py_DecRef(self);
}

void sw_python_greenlet_made(const sw_object *greenlet)
{
	if (!atomic_load_explicit(&sw_profile_current, memory_order_relaxed))
		return;
	for (unsigned i = 0; i < SW_PROFILE_SLOTS; i++) {
		if (atomic_load_explicit(&notes[i].greenlet, memory_order_relaxed) == greenlet)
			atomic_store(&notes[i].entry, 0);
	}
}

/* ---- reading ---- */

/* What is read, and of whom. */
struct reading {
	sw_ref entry;
	const struct note *note;
	const void *greenlet;
	const char *thread;
	int tid;
	struct places at;
	struct sw_awaits *now;
};

static bool open_reading(sw_ref entry, struct reading *ret_reading)
{
	static struct sw_awaits buffer;
	const struct note *note = slot_of(entry);

	if (!note || !sw_python_at.version || atomic_load(&note->entry) != entry)
		return false;
	*ret_reading = (struct reading){.entry = entry,
					.note = note,
					.greenlet = atomic_load(&note->greenlet),
					.thread = atomic_load(&note->thread),
					.tid = atomic_load(&note->tid),
					.now = &buffer};
	return atomic_load(&note->entry) == entry;
}

/* Its thread is there, and it is no other greenlet that was made where it was. */
static bool is_still(const struct reading *r)
{
	return sw_frames_tid(r->thread) == r->tid && atomic_load(&r->note->entry) == r->entry &&
	       atomic_load(&r->note->greenlet) == r->greenlet;
}

/* Other than after any switch of the thread's. */
static bool version(const struct reading *r, const void **ret_version)
{
	return sw_frames_peek_word(r->thread, (int)sw_python_at.version, ret_version);
}

static bool is_at(const void *body, ptrdiff_t at, const void *wanted)
{
	const void *word = sw_awaits_word(body, at);

	return word && (uintptr_t)word % 8 == 0 && sw_awaits_word(word, SW_PY_TYPE) == wanted;
}

/* The member of that type at *at; while that is 0, the only one that there is. NULL: none. */
static const void *member(const void *body, const void *wanted, ptrdiff_t *at)
{
	ptrdiff_t found = 0;
	unsigned count = 0;

	for (ptrdiff_t next = FIRST; !*at && next < MEMBERS; next += 8) {
		if (is_at(body, next, wanted)) {
			found = next;
			count++;
		}
	}
	if (count == 1)
		*at = found;
	return *at && is_at(body, *at, wanted) ? sw_awaits_word(body, *at) : NULL;
}

static const void *body_of(const void *greenlet)
{
	const void *of = atomic_load(&type);
	size_t size = (size_t)sw_awaits_word(of, SW_PY_TYPE_SIZE);

	if (!of || !sw_awaits_is_a(greenlet, of))
		return NULL;
	return size <= INNER_SIZE ? sw_awaits_word(greenlet, INNER) : greenlet;
}

/* Innermost first, as they are linked. Where calls went through C, frames of 3.12 and later are
 * linked past the C stack, which greenlet copies away, only once it is suspended: a border in the
 * chain means that it is not. */
static bool walk(const void *frame, struct sw_frames *ret_frames)
{
	char body[SW_FRAMES_BODY];
	uint32_t count = 0;

	for (; frame && count < SW_FRAMES_MAX; count++) {
		if (!sw_awaits_copy(body, frame, sw_frames_body_bytes()) ||
		    sw_frames_is_border(body))
			return false;
		sw_frames_take(body, frame, &ret_frames->at[count]);
		frame = sw_frames_word(body, sw_frames_at.previous);
	}
	ret_frames->count = count;
	ret_frames->cut = frame != NULL;
	return count > 0;
}

static bool read_frames(struct reading *r)
{
	static struct sw_frame spare[SW_FRAMES_SPARE];
	const void *body = body_of(r->greenlet);
	const void *context = body ? member(body, sw_python_at.contexts, &r->at.context) : NULL,
		   *frame;

	if (!context || sw_awaits_entry_in(context) != r->entry)
		return false;
	frame = member(body, (void *)sw_frames_api.PyFrame_Type, &r->at.frame);
	if (frame && sw_frames_at.minor >= 11)
		frame = sw_awaits_word(frame, FRAME_INSIDE);
	return frame && walk(frame, &r->now->frames) &&
	       sw_frames_read_codes(r->now->frames.at, r->now->frames.count, spare);
}

/* *ret_moved: it did not stand still. */
static bool read_once(struct reading *r, bool *ret_moved)
{
	const void *before, *after;
	bool ok;

	r->at = places;
	if (!version(r, &before) || !sw_awaits_anew())
		return false;
	ok = read_frames(r);
	if (!version(r, &after))
		return false;
	*ret_moved |= before != after;
	return ok && before == after && is_still(r);
}

const struct sw_awaits *sw_awaits_greenlet(sw_ref entry)
{
	struct reading r;
	bool moved = false;

	if (!open_reading(entry, &r))
		return NULL;
	for (int i = 0; i < TRIES; i++) {
		if (!read_once(&r, &moved))
			continue;
		places = r.at;
		memcpy(r.now->on, "greenlet.switch", sizeof("greenlet.switch"));
		r.now->count = 1;
		r.now->tasks[0] = r.greenlet;
		return r.now;
	}
	if (moved)
		sw_count(PROFILE_MISSED);
	return NULL;
}
