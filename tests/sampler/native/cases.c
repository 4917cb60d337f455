/* See cases.h. WAY is what this compilation is called. */
#include "cases.h"

#include <alloca.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define NAME_(way, name) way##_##name
#define NAME__(way, name) NAME_(way, name)
#define NAME(name) NAME__(WAY, name)
#define APART __attribute__((noinline, noclone))

static volatile unsigned sink;

static APART unsigned calls(unsigned depth, unsigned a, unsigned b, unsigned c)
{
	volatile char room[40];

	room[depth % 40] = (char)a;
	if (!depth)
		return a ^ b ^ c;
	return calls(depth - 1, b + (unsigned)room[depth % 40], c, a) +
	       (depth % 7 == 0 ? calls(depth / 2, a, b, c) : 1);
}

void NAME(calls)(void)
{
	sink += calls(20, 1, 2, sink);
}

static APART int compare(const void *a, const void *b)
{
	int x = *(const int *)a, y = *(const int *)b;

	return (x > y) - (x < y);
}

void NAME(sorts)(void)
{
	int numbers[200];

	for (unsigned i = 0; i < 200; i++)
		numbers[i] = (int)((i * 2654435761u + sink) % 1000);
	qsort(numbers, 200, sizeof(numbers[0]), compare);
	sink += (unsigned)numbers[7];
}

static APART unsigned allocas(unsigned depth, size_t size)
{
	volatile char *room = alloca(size);

	room[size - 1] = (char)depth;
	return depth ? allocas(depth - 1, size + 17) + (unsigned)room[size - 1] : sink;
}

void NAME(allocas)(void)
{
	sink += allocas(12, 33);
}

/* Aligned locals and arguments on the stack: the frame is found by a register of its own. */
static APART unsigned aligned(unsigned depth, unsigned a, unsigned b, unsigned c, unsigned d,
			      unsigned e, unsigned f, unsigned g, unsigned h)
{
	volatile char room[64] __attribute__((aligned(64)));
	volatile char *more = alloca(g % 64 + 1);

	room[depth] = (char)a;
	more[0] = (char)h;
	return depth ? aligned(depth - 1, b, c, d, e, f, g, h, a + (unsigned)room[depth]) +
			       (unsigned)more[0]
		     : a + h;
}

void NAME(aligned)(void)
{
	sink += aligned(8, 1, 2, 3, 4, 5, 6, 7, sink);
}

static char from[100000], to[100000];

void NAME(copies)(void)
{
	memcpy(to, from, sizeof(to));
	memset(from, (int)sink, 5000);
	sink += (unsigned)strlen(to) + (memcmp(from, to, 5000) > 0);
	sink += memchr(to, 1, sizeof(to)) != NULL;
}

void NAME(clock)(void)
{
	struct timespec t;

	for (unsigned i = 0; i < 100; i++) {
		clock_gettime(CLOCK_MONOTONIC, &t);
		sink += (unsigned)t.tv_nsec;
	}
}

/* Short functions of another library, through stubs. */
void NAME(stubs)(void)
{
	for (unsigned i = 0; i < 100; i++)
		sink += (unsigned)abs((int)sink) + (unsigned)labs((long)sink) + (unsigned)atoi("7");
}
