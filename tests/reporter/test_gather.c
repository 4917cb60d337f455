/* From the sampler's records to a recording, whatever the records are. */
#include <criterion/criterion.h>
#include <stdlib.h>

#include "reporter/gather.h"

static struct sw_recording *recording;
static struct sw_gather *gather;

static _Alignas(8) uint8_t bytes[4096];

static void begin(void)
{
	struct sw_recording_about about = {
		.mode = SW_RECORDING_CPU, .pid = 1, .period_ns = 10000000};

	recording = sw_recording_new(&about);
	gather = sw_gather_new(recording);
	cr_assert(recording && gather);
}

static bool tell(uint32_t id, const char *function, const char *file)
{
	struct sw_profiled_frame *f = (void *)bytes;
	size_t a = strlen(function), b = strlen(file);

	*f = (struct sw_profiled_frame){
		{(uint32_t)(sizeof(*f) + a + b + 7) & ~7u, SW_PROFILED_FRAME},
		.id = id,
		.line = 3,
		.function_len = (uint16_t)a,
		.file_len = (uint16_t)b};
	memcpy(f + 1, function, a);
	memcpy((char *)(f + 1) + a, file, b);
	return sw_gather_take(gather, &f->head);
}

static bool sample(uint32_t count, const uint32_t *id, uint32_t frames, uint64_t weight_ns)
{
	struct sw_profiled_sample *s = (void *)bytes;

	*s = (struct sw_profiled_sample){
		{(uint32_t)(sizeof(*s) + frames * 4 + 7) & ~7u, SW_PROFILED_SAMPLE},
		.tid = 5,
		.weight_ns = weight_ns,
		.count = count,
		.frames = frames};
	memcpy(s + 1, id, frames * 4);
	return sw_gather_take(gather, &s->head);
}

static bool name(const char *text)
{
	struct sw_profiled_thread *t = (void *)bytes;

	*t = (struct sw_profiled_thread){
		{(uint32_t)(sizeof(*t) + strlen(text) + 7) & ~7u, SW_PROFILED_THREAD},
		.tid = 5,
		.name_len = (uint32_t)strlen(text)};
	memcpy(t + 1, text, strlen(text));
	return sw_gather_take(gather, &t->head);
}

static char written[4096];
static size_t written_len;

static bool put(void *arg, const void *at, size_t len)
{
	(void)arg;
	cr_assert(written_len + len < sizeof(written));
	memcpy(written + written_len, at, len);
	written_len += len;
	return true;
}

Test(gather, samples_come_out_with_names)
{
	struct sw_recording_totals totals = {.duration_ns = 1, .due = 3, .taken = 3};

	begin();
	cr_assert(tell(1, "main", "a.py") && tell(2, "work", "b.py") && name("worker"));
	cr_assert(sample(1, (uint32_t[]){1, 2}, 2, 4000) && sample(2, (uint32_t[]){1, 2}, 2, 5000));
	cr_assert_eq(sw_gather_taken(gather), 3);
	cr_assert_eq(sw_gather_lost(gather), 0);
	sw_recording_end(recording, &totals);
	cr_assert(sw_recording_write(recording, SW_FORMAT_FOLDED, put, NULL));
	cr_assert(strncmp(written, "worker", 6) == 0, "%s", written);
	cr_assert(strstr(written, "main") < strstr(written, "work (b.py"), "%s", written);
	cr_assert(strstr(written, " 9\n"), "%s", written);
}

Test(gather, numbers_that_nobody_told_are_lost)
{
	begin();
	cr_assert(sample(4, (uint32_t[]){1, 9}, 2, 1000));
	cr_assert_eq(sw_gather_lost(gather), 4);
	cr_assert(tell(1, "main", ""));
	sw_gather_restart(gather, 0);
	cr_assert(sample(1, (uint32_t[]){1}, 1, 1000));
	cr_assert_eq(sw_gather_lost(gather), 5);
	cr_assert_eq(sw_gather_taken(gather), 0);
}

Test(gather, a_number_too_large_is_no_memory)
{
	begin();
	cr_assert(tell(UINT32_MAX, "main", "") && tell(1u << 30, "main", ""));
	cr_assert(sample(1, (uint32_t[]){UINT32_MAX}, 1, 1000));
	cr_assert_eq(sw_gather_lost(gather), 1);
}

/* Every record, cut at every byte, and with every word of it something else. */
Test(gather, broken_records_are_refused)
{
	static const uint32_t odd[] = {0, 1, 7, 0x7fffffff, 0x80000000, 0xffffffff, 0xffff};
	struct sw_profiled *record = (void *)bytes;

	begin();
	for (unsigned kind = 0; kind < 5; kind++) {
		for (size_t word = 0; word < 16; word++) {
			for (size_t i = 0; i < SW_COUNT_OF(odd); i++) {
				cr_assert(tell(1, "main", "a.py"));
				sample(1, (uint32_t[]){1}, 1, 1000);
				((uint32_t *)bytes)[word] = odd[i];
				record->kind = kind;
				record->size = 72;
				sw_gather_take(gather, record);
			}
		}
		for (uint32_t size = 8; size < 80; size += 8) {
			uint8_t *exact = malloc(size); /* for the sanitizer */

			memset(exact, 0xff, size);
			*(struct sw_profiled *)exact = (struct sw_profiled){size, kind};
			cr_assert_not(sw_gather_take(gather, (struct sw_profiled *)exact) &&
				      kind == SW_PROFILED_FILLER);
			free(exact);
		}
	}
}
