/*
 * Inside the plug-in `grpc`: our thread on one side, C core on the other.
 *
 * C core has threads of its own, locks that a fork does not bring over, and ends the process where
 * it does not understand itself. So our thread never calls it. Two threads of the plug-in's do: the
 * driver carries out orders (dial, call, hang up), the pump waits for what comes of them and tells
 * it as news, for which our thread has a descriptor on its loop. Should C core be stuck, or give
 * up, these two are, and our thread goes on without it.
 *
 * What is said here to be of our thread never waits for C core, but for sw_core_stop.
 */
#pragma once

#include <grpc/grpc.h>
#include <pthread.h>

#include "reporter/plugin.h"

/* What the library lends us. Set once, before anything else. */
extern const struct sw_host *sw_grpc_host;

/* ---- our thread: engine.c ---- */

enum sw_core_what {
	SW_CORE_UP,	/* a line is connected, and the other side speaks HTTP/2 */
	SW_CORE_DOWN,	/* it could not be connected, or it takes no further calls */
	SW_CORE_ANSWER, /* a call has ended; each call has one */
};

struct sw_core_news {
	struct sw_core_news *next;
	enum sw_core_what what;
	unsigned line, call;
	unsigned status; /* of an answer; gRPC's */
	bool begun;	 /* something of its body was taken for sending */
	uint8_t *reply;	 /* Owned; messages as in a body, of a call that wants them */
	size_t reply_len;
	char message[512]; /* printable, cut: the other side's, or C core's reason */
};

/* Where to, and by which certificates: PEM texts, of which NULL is none. */
struct sw_core_wish {
	char target[96]; /* such as ipv4:127.0.0.1:11800 */
	char authority[SW_AUTHORITY_MAX];
	char host[SW_AUTHORITY_MAX]; /* whom the certificate must name */
	bool secure;
	char *trusted, *chain, *key; /* Owned */
};

/* Makes the driver, who makes the rest. `wake` is an eventfd, which is written to when there is
 * news. False: no thread or no memory. */
bool sw_core_start(int wake);
/* Ends all calls and threads; their news can be taken afterwards. False: it did not come to an end,
 * and what is there is left there for good. */
bool sw_core_stop(void);
/* It has been stopped. C core is not begun a second time: what it keeps for the life of a process
 * are descriptors in a table that has gone with our thread. */
bool sw_core_spent(void);
/* C core has given up: nothing more comes from it. */
bool sw_core_dead(void);
/* All that there is, oldest first. Owned by the caller: free each, and its reply. */
struct sw_core_news *sw_core_take_news(void);

/* Orders. False: no memory. `line` and `call` are numbers of the caller's choice, for the news;
 * there is one line at a time, and a call on another one is answered at once. */
bool sw_core_dial(unsigned line, struct sw_core_wish *wish); /* its texts are taken */
bool sw_core_hang_up(void);
/* The body is a run of messages, each with gRPC's prefix; it is copied. */
bool sw_core_call(unsigned line, unsigned call, const char *method, struct sw_bytes body,
		  unsigned timeout_s, bool wants_reply);

/* ---- the plug-in's threads ---- */

/* What the driver is to do. First in what is made by our thread. */
struct sw_core_order {
	struct sw_core_order *next;
	void (*run)(struct sw_core_order *order);
};

/* What a completion queue brings back. */
struct sw_core_tag {
	void (*done)(struct sw_core_tag *tag, bool ok);
};

extern grpc_completion_queue *sw_core_queue;

void sw_core_post(struct sw_core_order *order); /* our thread; taken */
void sw_core_tell(struct sw_core_news *news);	/* taken; NULL (no memory) is for nobody */
struct sw_core_news *sw_core_news_new(enum sw_core_what what, unsigned line);

/* call.c: the driver */
void sw_core_cancel_calls(void);
/* In TRANSIENT_FAILURE a call fails at once, and says why. Told as DOWN. The pump. */
void sw_core_ask_why(grpc_channel *channel, unsigned line);
/* line.c: the channel of this line, or NULL. The driver. */
grpc_channel *sw_core_line(unsigned line);
/* The driver, at the end. */
void sw_core_drop_line(void);
/* Is the line being connected? C core does not end well in the midst of that. */
bool sw_core_line_connecting(void);
/* Has C core done with all channels? It takes the pump for that. */
bool sw_core_lines_gone(void);

/* ---- threads.c ---- */

/* Threads of the plug-in that run now; any thread. */
unsigned sw_core_threads(void);
/* Waits, not for long, until the kernel has done with those that have ended. */
void sw_core_threads_settle(void);

/* ---- denied.c ---- */

/* Called by abort, on the thread that wanted to: tells our thread. */
extern void (*sw_core_gives_up)(void);

/* ---- files.c ---- */

/* Reads the files of TLS into the wish. False: `why` is written. */
bool sw_core_read_files(const struct sw_config *config, struct sw_core_wish *wish, char *ret_why,
			size_t room);
