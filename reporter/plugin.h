/*
 * The contract of a plug-in: libswagent-NAME.so, a part of the reporter that carries a library with
 * it. Rows in plugins.def.
 *
 * The library is linked into the plug-in statically and hidden: no copy of the program's, older or
 * newer, meets it, and it meets none of theirs. A plug-in needs libc alone and exports one name,
 * sw_plugin. It is loaded by our thread, once, by the absolute path of the folder that our own
 * object came from, and is never unloaded. Nothing of it runs on another thread, except where a
 * library insists on threads of its own: those are made by ours, and so have our descriptor table,
 * our blocked signals, and are never observed.
 *
 * It is built with the library and shares its structs, so the two must be of the same build:
 * `version` and `agent_size` are compared before anything else is touched.
 */
#pragma once

#include <pthread.h>

#include "preload/config.h"
#include "reporter/address.h"
#include "reporter/judge.h"
#include "reporter/loop.h"
#include "reporter/reporter.h"
#include "reporter/tls.h"
#include "reporter/transport.h"

/* What the library lends to a plug-in. Constant; all functions on our thread only, but for
 * those of threads. */
struct sw_host {
	const struct sw_config *config;
	const struct sw_kind *kinds;
	__attribute__((format(printf, 2, 3))) void (*say)(enum sw_level level, const char *format,
							  ...);
	const char *(*say_error)(long error);
	void (*sent)(struct sw_agent *agent, struct sw_batch *batch, enum sw_sent outcome);
	void (*sent_partly)(struct sw_agent *agent, struct sw_batch *batch, unsigned sent,
			    unsigned lost);
	/* Around what takes a lock that a forked child would miss (reporter.h). */
	void (*delicate)(bool delicate);
	/* Every descriptor that a plug-in opens goes through these (preload/fds.h). */
	int (*fd_adopt)(int fd);
	void (*fd_close)(int fd);
	/* It was one of ours and is the program's by now: only forgotten. */
	void (*fd_lost)(int fd);
	bool (*fd_private)(void);
	uint64_t (*fd_cookie)(int fd);
	bool (*fd_same)(int fd, uint64_t cookie);
	/* On a thread that a library has made, before anything else: it is one of ours. */
	void (*thread_ours)(void);
	/* Bytes that libc puts on the stack of a thread beside what the thread itself needs. */
	size_t (*thread_room)(const pthread_attr_t *attr);
	/* Texts of keys to addresses (address.h). The resolver is the real one, around which
	 * `delicate` is the caller's. */
	int (*address_check)(const char *list);
	int (*address_nth)(const char *list, unsigned n, char ret_authority[SW_AUTHORITY_MAX],
			   char ret_host[SW_AUTHORITY_MAX], char ret_port[8]);
	int (*address_resolve)(const char *list, unsigned n, uint32_t dice,
			       struct sw_address *address, unsigned *count);
	/* Version of the CPython in this process, 312 for 3.12; 0: none. */
	unsigned (*python)(void);
	/* For the other engine of gRPC: our own, and what both make of answers. */
	const struct sw_transport *native;
	const struct sw_judge_table *judge;
	/* This transport gives up for good; at the end of this turn our own engine goes on. */
	void (*go_native)(struct sw_agent *agent);
};

struct sw_plugin {
	const char *version; /* SW_VERSION */
	size_t agent_size;   /* sizeof(struct sw_agent) */
	const char *inside;  /* the libraries and their versions, for a debug line */
	/* Called once, before any other slot. 0 or -errno. */
	int (*start)(const struct sw_host *host);
	const struct sw_transport *transport; /* what it is, one of these; the other is NULL */
	const struct sw_tls *tls;
};

/* What a plug-in defines and exports; there is none in the library itself. */
extern __attribute__((visibility("default"))) const struct sw_plugin sw_plugin;

/*
 * Loads libswagent-NAME.so, or finds it loaded. NULL: it is not there, or not of this build; the
 * reason has been said once, and what comes of it: `instead`, such as "nothing is sent".
 */
const struct sw_plugin *sw_plugin_load(const char *name, const char *instead);
