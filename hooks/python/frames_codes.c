/*
 * What tells the code objects of many frames from others at the same addresses, read by the
 * kernel's answers: first of the code objects, then of their names, each for many at once, because
 * a question costs more than what it copies.
 */
#include "hooks/python/frames_at.h"

/* Pieces of one size, from anywhere, one after the other. */
static bool read_pieces(struct iovec *from, unsigned count, void *to, size_t size)
{
	struct iovec here = {to, count * size};
	long self = sw_sys(getpid);

	return sw_sys(process_vm_readv, self, &here, 1, from, count, 0) == (long)here.iov_len;
}

static bool ask_for_names(struct iovec *from, unsigned count, const char *codes, size_t size)
{
	for (unsigned i = 0; i < count; i++) {
		const char *code = codes + i * size,
			   *name = sw_frames_word(code, sw_frames_at.name);

		if (sw_frames_word(code, SW_PY_TYPE) != (const void *)sw_frames_api.PyCode_Type)
			return false;
		from[i] = (struct iovec){(void *)(uintptr_t)(name + SW_PY_STR_HASH), 8};
	}
	return true;
}

static bool read_batch(struct sw_frame *frames, const uint8_t *which, unsigned count, char *spare)
{
	size_t size = sw_frames_code_bytes();
	uint64_t *hashes = (uint64_t *)(spare + SW_FRAMES_BATCH * SW_FRAMES_CODE);
	struct iovec from[SW_FRAMES_BATCH];

	for (unsigned i = 0; i < count; i++)
		from[i] = (struct iovec){(void *)(uintptr_t)frames[which[i]].code, size};
	if (!read_pieces(from, count, spare, size) || !ask_for_names(from, count, spare, size) ||
	    !read_pieces(from, count, hashes, 8))
		return false;
	for (unsigned i = 0; i < count; i++)
		frames[which[i]].print = sw_frames_print_of(spare + i * size, hashes[i]);
	return true;
}

bool sw_frames_read_codes(struct sw_frame *frames, unsigned count, struct sw_frame *spare)
{
	uint8_t which[SW_FRAMES_BATCH];
	unsigned some = 0;

	_Static_assert(SW_FRAMES_MAX <= 256, "which[] has a byte for each");
	for (unsigned i = 0; i < count; i++) {
		if (frames[i].print)
			continue;
		if (frames[i].at < -2 || !frames[i].code || ((uintptr_t)frames[i].code & 7))
			return false;
		which[some++] = (uint8_t)i;
		if (some == SW_FRAMES_BATCH && !read_batch(frames, which, some, (char *)spare))
			return false;
		some %= SW_FRAMES_BATCH;
	}
	return !some || read_batch(frames, which, some, (char *)spare);
}
