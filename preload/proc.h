/* Reading /proc by bare system calls: any thread, no allocation, errno is left alone. */
#pragma once

#include <stddef.h>
#include <stdint.h>

/* Calls `each` for every entry of the folder whose name is a number; `dir` is the open folder.
 * 0, or -errno: it cannot be listed. */
long sw_proc_numbers(const char *path, void (*each)(void *arg, int number, int dir), void *arg);

/* Opens /proc/self/task/TID/NAME. The descriptor, which has a number in the calling thread's table,
 * or -errno. */
int sw_proc_open_task(int tid, const char *name);

/* What is in it, up to `size` bytes, all at once. How many, or -errno. */
long sw_proc_read_task(int tid, const char *name, void *ret_text, size_t size);

/* Fields of a stat, as proc(5) counts them. */
enum { SW_STAT_STATE = 3, SW_STAT_BEGAN = 22, SW_STAT_BLOCKED = 32 };

/* Where the n-th field of a stat begins, from the third on: the second is a name, in which anything
 * may stand. NULL: there are not so many. */
const char *sw_proc_field(const char *stat, int n);

/* The decimal number that begins there; 0: none does. */
uint64_t sw_proc_number(const char *at);
