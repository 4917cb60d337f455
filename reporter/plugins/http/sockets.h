/*
 * The sockets that curl works with: opened, watched and closed for it, so that each is one of ours
 * (preload/fds.h) from its first moment to its last. Our thread only, but for `moved`.
 */
#pragma once

#include "reporter/plugins/http/http.h"

/* Called on an event of one of them; events as epoll's. */
typedef void sw_sockets_ready(int fd, uint32_t events);

/* `patience_ms`: how long the other side may leave data without an acknowledgement. */
void sw_sockets_start(struct sw_loop *loop, sw_sockets_ready *ready, unsigned patience_ms);

/* A socket that does not block, or -1. */
int sw_sockets_open(int family, int type, int protocol);
void sw_sockets_close(int fd);
/* events 0: not any more. */
void sw_sockets_watch(int fd, uint32_t events);

/*
 * Is it still ours? Where we share the program's table it may have been closed unseen, and its
 * number be a file of the program's by now.
 */
bool sw_sockets_ours(int fd);

/* Is something to be written to any of them as soon as it can be? */
bool sw_sockets_writing(void);

/* On a thread of the program: `from` is the program's now; what has the number `to` is closed. */
void sw_sockets_moved(int from, int to);
/* In the child of a fork: closes all silently and forgets them. */
void sw_sockets_forget(void);
