/*
 * Signatures of the hook bodies, made from the rows. A body whose signature differs from its row
 * does not compile; a row without a body does not link.
 */
#pragma once

#include "preload/guard.h"
#include "preload/real.h"

#define SW_EXPORT __attribute__((visibility("default")))
#define SW_UNPACK(...) __VA_ARGS__

#define SW_HOOK_FD(family, type, name, params, args, doc)                                          \
	type sw_hook_##name(struct sw_guest *g, SW_UNPACK params);
#define SW_HOOK SW_HOOK_FD
#define SW_HOOK_PLAIN(family, type, name, params, args, doc) type sw_plain_##name params;
#define SW_HOOK_MANUAL(family, type, name, params, doc)
#define SW_HOOK_FOREIGN(family, type, name, params, doc)
#include "hooks/hooks.def"
#undef SW_HOOK_FD
#undef SW_HOOK
#undef SW_HOOK_PLAIN
#undef SW_HOOK_MANUAL
#undef SW_HOOK_FOREIGN

/*
 * Around every hook of a known descriptor: notes the conversation that it leads to before the real
 * call, because the number may be another's when the call returns. A handler's hooks come between
 * and put back what they found.
 */
struct sw_call_note {
	int fd;
	sw_ref talk;
};

struct sw_call_note sw_call_begin(struct sw_guest *g, int fd);
static inline void sw_call_end(struct sw_guest *g, struct sw_call_note outer)
{
	g->call_fd = outer.fd;
	g->call = outer.talk;
}

/* A call on a known descriptor could not enter the guest: a handler inside one of our sections.
 * What it carries is not seen, so the conversation is given up. Async-signal-safe. */
void sw_refused(int fd);

/* For syscall(2): numbers that would touch what is ours are made by the hooks of their names. True:
 * *ret_result is syscall's. */
bool sw_raw_instead(long number, const long *arg, long *ret_result);

/* For syscall(2): a descriptor that comes, goes or carries bytes by number. sw_raw_send true: the
 * bytes went with ours, *ret_result is syscall's; else the call is made and `result` is its. */
bool sw_raw_forks(long number, const long *arg);
void sw_raw_before(struct sw_guest *g, long number, const long *arg);
bool sw_raw_send(struct sw_guest *g, long number, const long *arg, long *ret_result);
void sw_raw_after(struct sw_guest *g, long number, const long *arg, long result);

/* A seccomp filter is about to be installed; and whether it was. */
bool sw_seal_begin(void);
void sw_seal_end(bool prepared, bool sealed);

/* pthread_create, called by the code at `caller`. */
int sw_thread_create(const void *caller, pthread_t *thread, const pthread_attr_t *attr,
		     void *(*start)(void *), void *arg);

/* clone(2) and its like, by flags: prepare, and in parent and child what follows. */
bool sw_clone_forks(unsigned long flags);
bool sw_clone_begin(void);
void sw_clone_end(bool prepared, bool child);

/* fcntl(F_DUPFD and F_DUPFD_CLOEXEC): `to` is a second number for `fd`. */
void sw_duplicated(struct sw_guest *g, int fd, int to);

/* The process is about to end or to take another image: hand out what is left, bounded. Keeps
 * errno. Nothing happens in vfork children and threads of ours. */
void sw_leaving_exit(void);
void sw_leaving_bare(void);
void sw_leaving_now(void);
void sw_leaving_exec(void);

/* The printf family with its arguments as a list; flag < 0: without the fortify check. */
int sw_stdio_vfprintf(FILE *file, int flag, const char *format, va_list list);
int sw_stdio_vdprintf(int fd, int flag, const char *format, va_list list);
void sw_stdio_vsyslog(int priority, int flag, const char *format, va_list list);

/* A descriptor was opened by name. */
int sw_opened(int fd, const char *path, int flags);
