/*
 * Interning, adding up, and the limit.
 *
 * Everything is in lists of plain numbers (recorded.h), found again by an open hash. A stack is
 * walked from its outermost frame down the tree of all stacks, which costs one look-up per frame
 * and no memory when it was there before. Memory is counted by what the lists have asked for; a
 * list grows by doubling as long as that fits, then by what is left.
 */
#include "reporter/recording.h"

#include <stdlib.h>

#include "proto/text.h"
#include "reporter/recorded.h"

#define LIST_FIRST 64
#define BYTES_MOST (1u << 30) /* so that no number of an entry needs more than 32 bits */

/* ---- lists ---- */

static bool grow(struct sw_recording *r, struct sw_recorded_list *list, uint32_t more, size_t size)
{
	size_t left = r->bytes_max > r->used ? r->bytes_max - r->used : 0;
	size_t want =
		SW_MAX(list->room ? list->room * 2ul : LIST_FIRST, (size_t)list->count + more);
	void *grown;

	if (list->count + (size_t)more <= list->room)
		return true;
	want = SW_MIN(want, list->room + left / size);
	if (want < (size_t)list->count + more)
		return false;
	grown = realloc(list->at, want * size);
	if (!grown)
		return false;
	r->used += (want - list->room) * size;
	list->at = grown;
	list->room = (uint32_t)want;
	return true;
}

static uint32_t hash_of(const void *at, size_t len)
{
	const uint8_t *from = at;
	uint64_t h = len, word;

	for (; len >= sizeof(word); len -= sizeof(word), from += sizeof(word)) {
		memcpy(&word, from, sizeof(word));
		h = (h ^ word) * 0x9e3779b97f4a7c15ull;
		h ^= h >> 32;
	}
	for (; len; len--)
		h = (h ^ *from++) * 0x9e3779b97f4a7c15ull;
	return (uint32_t)(h >> 32);
}

/* An entry begins with its hash, whatever else it is. */
static const void *entry_at(const struct sw_recorded_list *list, uint32_t n, size_t size)
{
	return (const uint8_t *)list->at + n * size;
}

static bool index_fits(struct sw_recording *r, struct sw_recorded_list *list, size_t size)
{
	uint32_t slots = list->slots ? list->slots * 2 : LIST_FIRST * 2;
	uint32_t *slot;

	if (list->slots / 2 > list->count)
		return true;
	if (r->used + slots * sizeof(*slot) > r->bytes_max)
		return false;
	slot = calloc(slots, sizeof(*slot));
	if (!slot)
		return false;
	for (uint32_t n = 0; n < list->count; n++) {
		uint32_t at = *(const uint32_t *)entry_at(list, n, size);

		while (slot[at & (slots - 1)])
			at++;
		slot[at & (slots - 1)] = n + 1;
	}
	free(list->slot);
	r->used += (slots - list->slots) * sizeof(*slot);
	list->slot = slot;
	list->slots = slots;
	return true;
}

/* Appends what is known to be new; room was made. */
static uint32_t append(struct sw_recorded_list *list, const void *entry, size_t size)
{
	memcpy((uint8_t *)list->at + list->count * size, entry, size);
	return list->count++;
}

static uint32_t append_found(struct sw_recorded_list *list, const void *entry, size_t size)
{
	uint32_t at = *(const uint32_t *)entry;

	while (list->slot[at & (list->slots - 1)])
		at++;
	list->slot[at & (list->slots - 1)] = list->count + 1;
	return append(list, entry, size);
}

/* The number of the entry that equals this one in its first `same` bytes, which then begin with its
 * hash; if there is none it is appended. SW_NONE: no room. */
static uint32_t intern(struct sw_recording *r, struct sw_recorded_list *list, void *entry,
		       size_t size, size_t same)
{
	uint32_t hash = hash_of((uint8_t *)entry + sizeof(hash), same - sizeof(hash));

	memcpy(entry, &hash, sizeof(hash));
	for (uint32_t at = hash; list->slots && list->slot[at & (list->slots - 1)]; at++) {
		uint32_t n = list->slot[at & (list->slots - 1)] - 1;

		if (memcmp(entry_at(list, n, size), entry, same) == 0)
			return n;
	}
	if (!index_fits(r, list, size) || !grow(r, list, 1, size))
		return SW_NONE;
	return append_found(list, entry, size);
}

/* What makes two of them equal ends with this field. */
#define UP_TO(type, field) (offsetof(type, field) + sizeof(((type *)NULL)->field))

/* ---- texts ---- */

static uint32_t intern_mended(struct sw_recording *r, struct sw_bytes text)
{
	struct sw_recorded_text entry = {.hash = hash_of(text.at, text.len),
					 .len = (uint32_t)text.len};
	struct sw_recorded_list *list = &r->texts;

	for (uint32_t at = entry.hash; list->slots && list->slot[at & (list->slots - 1)]; at++) {
		uint32_t n = list->slot[at & (list->slots - 1)] - 1;

		if (sw_bytes_equal(sw_recorded_text(r, n), text))
			return n;
	}
	if (!index_fits(r, list, sizeof(entry)) || !grow(r, list, 1, sizeof(entry)) ||
	    !grow(r, &r->bytes, entry.len, 1))
		return SW_NONE;
	entry.at = r->bytes.count;
	if (text.len)
		memcpy((uint8_t *)r->bytes.at + entry.at, text.at, text.len);
	r->bytes.count += entry.len;
	return append_found(list, &entry, sizeof(entry));
}

/* Never ends within a character, where it was one. */
static size_t cut_before(struct sw_bytes text, size_t most)
{
	size_t len = most;

	for (int i = 0; i < 3 && (text.at[len] & 0xc0) == 0x80; i++)
		len--;
	return len;
}

static uint32_t intern_text(struct sw_recording *r, struct sw_bytes text)
{
	uint8_t copy[SW_RECORDING_TEXT];
	struct sw_writer writer = sw_writer(copy, sizeof(copy));
	struct sw_bytes dots = SW_BYTES("...");

	if (text.len <= SW_RECORDING_TEXT && sw_text_is_ascii(text.at, text.len))
		return intern_mended(r, text);
	if (text.len > SW_RECORDING_TEXT) {
		sw_write(&writer,
			 sw_bytes_slice(text, 0, cut_before(text, sizeof(copy) - dots.len)));
		sw_write(&writer, dots);
	} else {
		sw_write(&writer, text);
	}
	sw_text_mend(copy, writer.len);
	return intern_mended(r, sw_written(&writer));
}

/* ---- a recording ---- */

struct sw_recording *sw_recording_new(const struct sw_recording_about *about)
{
	struct sw_recording *r = calloc(1, sizeof(*r));
	struct sw_recorded_node none = {.parent = SW_NONE, .frame = SW_NONE};

	if (!r)
		return NULL;
	r->about = *about;
	r->bytes_max = SW_MIN(about->bytes_max ? about->bytes_max : SW_RECORDING_BYTES, BYTES_MOST);
	if (intern_text(r, SW_BYTES("")) == SW_NONE ||
	    intern(r, &r->nodes, &none, sizeof(none), UP_TO(struct sw_recorded_node, frame)) ==
		    SW_NONE) {
		sw_recording_free(r);
		return NULL;
	}
	r->program = intern_text(r, about->program);
	r->program = r->program == SW_NONE ? 0 : r->program;
	r->about.program = SW_BYTES(""); /* not ours to keep */
	return r;
}

void sw_recording_free(struct sw_recording *r)
{
	struct sw_recorded_list *const lists[] = {&r->bytes,   &r->texts, &r->frames, &r->nodes,
						  &r->threads, &r->sums,  &r->moments};

	if (!r)
		return;
	for (size_t i = 0; i < SW_COUNT_OF(lists); i++) {
		free(lists[i]->at);
		free(lists[i]->slot);
	}
	free(r);
}

uint32_t sw_recording_frame(struct sw_recording *r, const struct sw_recording_frame *frame)
{
	struct sw_recorded_frame entry;

	memset(&entry, 0, sizeof(entry)); /* also what is between its fields, which are compared */
	entry.kind = frame->kind;
	entry.function = intern_text(r, frame->function);
	entry.file = intern_text(r, frame->file);
	entry.line = frame->line;
	entry.offset = frame->offset;
	if (entry.function == SW_NONE || entry.file == SW_NONE)
		return SW_NONE;
	return intern(r, &r->frames, &entry, sizeof(entry),
		      UP_TO(struct sw_recorded_frame, offset));
}

/* The node of this stack, made where it was not there; SW_NONE: no room, or no such frame. */
static uint32_t stack_of(struct sw_recording *r, const struct sw_recording_sample *sample)
{
	uint32_t node = 0;

	for (uint32_t i = 0; i < sample->frames && node != SW_NONE; i++) {
		struct sw_recorded_node entry = {
			.parent = node, .frame = sample->frame[i], .depth = i + 1};

		if (entry.frame >= r->frames.count)
			return SW_NONE;
		node = intern(r, &r->nodes, &entry, sizeof(entry),
			      UP_TO(struct sw_recorded_node, frame));
	}
	if (node != SW_NONE)
		r->depth_max = SW_MAX(r->depth_max, sample->frames);
	return node;
}

static uint32_t thread_of(struct sw_recording *r, const struct sw_recording_sample *sample)
{
	struct sw_recorded_thread entry = {.tid = sample->tid, .first = SW_NONE, .last = SW_NONE};

	entry.name = intern_text(r, sample->thread);
	if (entry.name == SW_NONE)
		return SW_NONE;
	return intern(r, &r->threads, &entry, sizeof(entry),
		      UP_TO(struct sw_recorded_thread, name));
}

static uint32_t sum_of(struct sw_recording *r, const struct sw_recording_sample *sample)
{
	struct sw_recorded_sum entry;

	memset(&entry, 0, sizeof(entry));
	entry.thread = thread_of(r, sample);
	entry.task = intern_text(r, sample->task);
	entry.segment = intern_text(r, sample->segment);
	entry.span = sample->segment.len ? sample->span : 0;
	entry.node = stack_of(r, sample);
	if (entry.thread == SW_NONE || entry.task == SW_NONE || entry.segment == SW_NONE ||
	    entry.node == SW_NONE)
		return SW_NONE;
	return intern(r, &r->sums, &entry, sizeof(entry), UP_TO(struct sw_recorded_sum, node));
}

/* Behind the thread's others, unless it goes on as the last one. False: no room. */
static bool order_moment(struct sw_recording *r, uint32_t sum, uint64_t weight_ns)
{
	struct sw_recorded_sum *s = (struct sw_recorded_sum *)r->sums.at + sum;
	struct sw_recorded_thread *thread = (struct sw_recorded_thread *)r->threads.at + s->thread;
	struct sw_recorded_moment entry = {sum, SW_NONE, weight_ns};
	struct sw_recorded_moment *last = NULL;

	if (thread->last != SW_NONE)
		last = (struct sw_recorded_moment *)r->moments.at + thread->last;
	if (last && last->sum == sum) {
		last->weight_ns += weight_ns;
	} else {
		uint32_t n = r->moments.count;

		if (r->used > r->bytes_max / 2 || !grow(r, &r->moments, 1, sizeof(entry)))
			return false;
		append(&r->moments, &entry, sizeof(entry));
		if (thread->last == SW_NONE)
			thread->first = n;
		else
			((struct sw_recorded_moment *)r->moments.at)[thread->last].next = n;
		thread->last = n;
	}
	s->ordered_ns += weight_ns;
	return true;
}

bool sw_recording_add(struct sw_recording *r, const struct sw_recording_sample *sample)
{
	uint32_t sum = sum_of(r, sample);
	struct sw_recorded_sum *s;

	if (sum == SW_NONE) {
		r->lost++;
		return false;
	}
	s = (struct sw_recorded_sum *)r->sums.at + sum;
	s->count++;
	s->weight_ns += sample->weight_ns;
	r->kept++;
	r->weight_ns += sample->weight_ns;
	if (!r->order_ended)
		r->order_ended = !order_moment(r, sum, sample->weight_ns);
	return true;
}

uint64_t sw_recording_lost(const struct sw_recording *r)
{
	return r->lost;
}

uint64_t sw_recording_kept(const struct sw_recording *r)
{
	return r->kept;
}

void sw_recording_end(struct sw_recording *r, const struct sw_recording_totals *totals)
{
	r->totals = *totals;
}

/* ---- for those who write it out ---- */

uint32_t sw_recorded_stack(const struct sw_recording *r, uint32_t node, uint32_t *ret_frame)
{
	const struct sw_recorded_node *nodes = sw_recorded_nodes(r);
	uint32_t depth = nodes[node].depth;

	for (uint32_t i = depth; i; i--, node = nodes[node].parent)
		ret_frame[i - 1] = nodes[node].frame;
	return depth;
}

const char *sw_recorded_mode(const struct sw_recording *r)
{
	static const char *const names[] = {"cpu", "wall", "off-cpu"};

	return names[r->about.mode];
}

uint64_t sw_recorded_lost(const struct sw_recording *r)
{
	return r->totals.lost + r->lost;
}

static void tell_number(struct sw_output *out, uint64_t n, const char *then)
{
	sw_output_number(out, n);
	sw_output_text(out, then);
}

/* In units of a thousand, with two digits after the point where there are any. */
static void tell_thousands(struct sw_output *out, uint64_t n, const char *unit)
{
	uint64_t part = n % 1000 / 10;

	sw_output_number(out, n / 1000);
	if (part) {
		sw_output_text(out, part < 10 ? ".0" : ".");
		sw_output_number(out, part % 10 ? part : part / 10);
	}
	sw_output_text(out, unit);
}

void sw_recorded_tell(const struct sw_recording *r, struct sw_output *out)
{
	tell_number(out, r->totals.taken, " samples taken of ");
	tell_number(out, r->totals.due, " due, ");
	tell_number(out, r->totals.missed, " missed, ");
	tell_number(out, sw_recorded_lost(r), " lost; asked for every ");
	tell_thousands(out, r->about.period_ns / 1000, " ms, over ");
	tell_thousands(out, r->totals.duration_ns / 1000000, " s");
}

static int by_thread_and_node(const void *left, const void *right)
{
	const struct sw_recorded_merged *a = left, *b = right;

	if (a->thread != b->thread)
		return a->thread < b->thread ? -1 : 1;
	return a->node < b->node ? -1 : a->node > b->node;
}

/* For each thread the first one of its name; one without a name stays alone. */
static uint32_t *first_of_name(const struct sw_recording *r)
{
	const struct sw_recorded_thread *threads = sw_recorded_threads(r);
	uint32_t *first = malloc((r->texts.count + r->threads.count) * sizeof(*first));
	uint32_t *of_name = first ? first + r->threads.count : NULL;

	if (!first)
		return NULL;
	for (uint32_t i = 0; i < r->texts.count; i++)
		of_name[i] = SW_NONE;
	for (uint32_t i = 0; i < r->threads.count; i++) {
		uint32_t name = threads[i].name;

		if (of_name[name] == SW_NONE || name == 0)
			of_name[name] = i;
		first[i] = of_name[name];
	}
	return first;
}

static uint32_t add_up(struct sw_recorded_merged *merged, uint32_t count)
{
	uint32_t kept = 0;

	for (uint32_t i = 0; i < count; i++) {
		struct sw_recorded_merged *last = kept ? &merged[kept - 1] : NULL;

		if (last && last->thread == merged[i].thread && last->node == merged[i].node) {
			last->count += merged[i].count;
			last->weight_ns += merged[i].weight_ns;
		} else {
			merged[kept++] = merged[i];
		}
	}
	return kept;
}

struct sw_recorded_merged *sw_recorded_merge(const struct sw_recording *r, bool same_name,
					     uint32_t *ret_count)
{
	const struct sw_recorded_sum *sums = sw_recorded_sums(r);
	uint32_t *first = same_name ? first_of_name(r) : NULL;
	struct sw_recorded_merged *merged = malloc((r->sums.count + 1ul) * sizeof(*merged));

	if (!merged || (same_name && !first)) {
		free(merged);
		free(first);
		return NULL;
	}
	for (uint32_t i = 0; i < r->sums.count; i++)
		merged[i] = (struct sw_recorded_merged){
			.thread = first ? first[sums[i].thread] : sums[i].thread,
			.node = sums[i].node,
			.count = sums[i].count,
			.weight_ns = sums[i].weight_ns,
		};
	free(first);
	if (r->sums.count)
		qsort(merged, r->sums.count, sizeof(*merged), by_thread_and_node);
	*ret_count = add_up(merged, r->sums.count);
	return merged;
}

/* ---- formats ---- */

static const struct {
	const char *ending;
	bool (*encode)(const struct sw_recording *recording, struct sw_output *out);
} formats[] = {
#define SW_RECORDING_FORMAT(name, id, ending, doc) {ending, sw_encode_##name},
#include "reporter/formats.def"
#undef SW_RECORDING_FORMAT
};

enum sw_recording_format sw_recording_format(const char *path)
{
	for (size_t i = 0; i < SW_COUNT_OF(formats); i++) {
		if (sw_bytes_ends(sw_bytes_text(path), sw_bytes_text(formats[i].ending)))
			return (enum sw_recording_format)i;
	}
	return SW_FORMAT_NONE;
}

bool sw_recording_write(const struct sw_recording *recording, enum sw_recording_format format,
			bool (*put)(void *arg, const void *at, size_t len), void *arg)
{
	struct sw_output out;

	if ((size_t)format >= SW_COUNT_OF(formats))
		return false;
	sw_output_init(&out, put, arg);
	if (!formats[format].encode(recording, &out))
		return false;
	sw_output_flush(&out);
	return !out.failed;
}
