/*
 * Breaks an agent from inside: breaks PORT HOW. Makes requests, finds a record of ours that waits in a
 * ring, or an injection, by what it says, and writes nonsense into it. Then goes on with requests.
 * Knows struct sw_record (preload/record.h): size and kind, 8 bytes before all else.
 *
 * size      records that are longer than their ring
 * zero      records without a size
 * short     records that are too short to be a span
 * none      breaks nothing
 *
 * Prints the same whatever it met; says on descriptor 9, if that is open, how many it broke.
 */
#include "ask.h"

#include <stdint.h>

#define RECORD_MAX 4096
#define SPAN 1

static int broken;
static const char *how;

struct record {
	uint32_t size, kind;
};

static bool is_record(const struct record *record, const char *text)
{
	return record->kind == SPAN && record->size > 64 && record->size <= RECORD_MAX &&
	       record->size % 8 == 0 && (const char *)record + record->size > text;
}

/* The head lies before the text, on a multiple of 8. */
static void damage(char *text, char *begin)
{
	struct record *record = (void *)((uintptr_t)text & ~7ul);

	for (int i = 0; i < 32 && (char *)record > begin; i++) {
		record--;
		if (!is_record(record, text))
			continue;
		record->size = how[0] == 's' && how[1] == 'i' ? 0x7ffffff8 : how[0] == 'z' ? 0 : 8;
		broken++;
		return;
	}
}

/* Private anonymous memory that is neither a heap nor a stack, and large: pools and rings. */
static void search(const char *what)
{
	char line[512], *begin, *end, access[5];
	FILE *maps = fopen("/proc/self/maps", "r");
	size_t len = strlen(what);
	unsigned long inode;
	int at;

	while (fgets(line, sizeof(line), maps)) {
		if (sscanf(line, "%p-%p %4s %*s %*s %lu %n", (void **)&begin, (void **)&end, access,
			   &inode, &at) != 4)
			continue;
		if (inode || line[at] == '[' || strncmp(access, "rw-p", 4) || end - begin < 65536)
			continue;
		for (char *hit = begin; (hit = memmem(hit, (size_t)(end - hit), what, len)); hit += len)
			damage(hit, begin);
	}
	fclose(maps);
}

int main(int argc, char **argv)
{
	char path[64];
	int failed = 0;

	(void)argc;
	ask_port = atoi(argv[1]);
	how = argv[2];
	ASK("before");
	usleep(200000);
	for (int i = 0; i < 10; i++) {
		snprintf(path, sizeof(path), "%s-me-%d", "break", i);
		failed += ask(path) != 0;
		if (how[0] != 'n')
			search(path);
		usleep(30000);
	}
	usleep(200000);
	printf("%d failed\n", failed);
	ASK("after");
	ASK("after-that");
	dprintf(9, "%d\n", broken);
	return 3;
}
