/* Reading /proc by bare system calls: any thread, no allocation, errno is left alone. */
#pragma once

#include <stddef.h>

/* Calls `each` for every entry of the folder whose name is a number; `dir` is the open folder.
 * 0, or -errno: it cannot be listed. */
long sw_proc_numbers(const char *path, void (*each)(void *arg, int number, int dir), void *arg);

/* Opens /proc/self/task/TID/NAME. The descriptor, which has a number in the calling thread's table,
 * or -errno. */
int sw_proc_open_task(int tid, const char *name);

/* What is in it, up to `size` bytes, all at once. How many, or -errno. */
long sw_proc_read_task(int tid, const char *name, void *ret_text, size_t size);

/* Where the n-th field of a stat begins, as proc(5) counts them, from the third on: the second is a
 * name, in which anything may stand. NULL: there are not so many. */
const char *sw_proc_field(const char *stat, int n);
