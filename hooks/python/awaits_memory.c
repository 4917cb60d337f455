/*
 * The program's memory by whole pages; see awaits_at.h.
 *
 * A call of the kernel costs as much for a page as for a word, and objects of one kind lie
 * together: the coroutines of a chain take a page or two, 10,000 tasks with what says whose they
 * are some 2,000 instead of 100,000 words. Each page is one moment; another round asks for all
 * anew.
 */
#include "hooks/python/awaits_at.h"

#define PAGE_BYTES 4096u
#define PAGES 1024

static struct {
	uintptr_t at;
	uint32_t round; /* in which it was read; 0: never */
	bool there;
} pages[PAGES];

static uint8_t (*bytes)[PAGE_BYTES]; /* Owned, for ever */
static uint32_t round_now;

bool sw_awaits_anew(void)
{
	if (!bytes)
		bytes = sw_sys_map(PAGES * sizeof(*bytes));
	if (++round_now == 0) {
		memset(pages, 0, sizeof(pages));
		round_now = 1;
	}
	return bytes != NULL;
}

static const uint8_t *page_of(uintptr_t at)
{
	size_t row = at / PAGE_BYTES * 0x9e3779b97f4a7c15ull >> 54;

	at -= at % PAGE_BYTES;
	if (pages[row].at != at || pages[row].round != round_now) {
		pages[row].at = at;
		pages[row].round = round_now;
		pages[row].there = sw_sys_peek(bytes[row], (const void *)at, PAGE_BYTES);
	}
	return pages[row].there ? bytes[row] : NULL;
}

bool sw_awaits_copy(void *to, const void *from, size_t len)
{
	uintptr_t at = (uintptr_t)from;
	const uint8_t *page;
	size_t some;

	for (uint8_t *next = to; len; next += some, at += some, len -= some) {
		some = SW_MIN(len, PAGE_BYTES - at % PAGE_BYTES);
		page = at ? page_of(at) : NULL;
		if (!page)
			return false;
		memcpy(next, page + at % PAGE_BYTES, some);
	}
	return true;
}

const void *sw_awaits_word(const void *object, ptrdiff_t offset)
{
	const void *word;

	return object && sw_awaits_copy(&word, (const char *)object + offset, sizeof(word)) ? word
											    : NULL;
}
