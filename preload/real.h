/*
 * The next definition of every hooked symbol.
 *
 * Each pointer starts at a stub that resolves all of them and calls again, so a call that comes
 * before our constructor (another library's) is served too. Resolved once, at load.
 */
#pragma once

#include <netdb.h>
#include <poll.h>
#include <printf.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <spawn.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <time.h>

#undef fwrite_unlocked /* a macro of libc's headers */

struct sw_real {
#define SW_HOOK_FD(family, type, name, params, args, doc) type(*name) params;
#define SW_HOOK(family, type, name, params, args, doc) type(*name) params;
#define SW_HOOK_PLAIN(family, type, name, params, args, doc) type(*name) params;
#define SW_HOOK_MANUAL(family, type, name, params, doc) type(*name) params;
#define SW_HOOK_FOREIGN(family, type, name, params, doc)
#include "hooks/hooks.def"
#undef SW_HOOK_FD
#undef SW_HOOK
#undef SW_HOOK_PLAIN
#undef SW_HOOK_MANUAL
#undef SW_HOOK_FOREIGN
};

extern struct sw_real sw_real;

/* Idempotent; from the constructor, or from the first hooked call if that comes earlier. A symbol
 * that this libc lacks becomes a function that fails with ENOSYS. */
void sw_real_resolve(void);
