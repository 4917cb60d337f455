/*
 * Whose image this one follows: a program that another one, which reports, has started by exec.
 *
 * Such a program is no instance of its own, or subprocess.run(["curl", ...]) would register one per
 * call: it keeps its ancestor's service and is `<instance>-exec(<program>)`, unless it listens.
 * What it must know for that stands in the environment that exec is given, and is taken out again
 * when the new image is loaded, before the program can look. An environment from which the program
 * has removed our LD_PRELOAD is left as it is.
 */
#pragma once

#include "preload/bytes.h"

/* Longest instance and service together. */
#define SW_LINEAGE_MAX 160

/* In the constructor: takes our entry out of `environment`, if there is one. */
void sw_lineage_load(char **environment);

/* Who the ancestor was. False: nobody, or somebody that does not report. Borrowed, static. */
bool sw_lineage_of(struct sw_bytes *ret_instance, struct sw_bytes *ret_service);

/* From now on programs that this one starts are told of it. */
void sw_lineage_tell(struct sw_bytes instance, struct sw_bytes service);

/* Entries of an environment that need no slot. */
#define SW_LINEAGE_FEW 96

/* An environment for one exec or spawn; of the caller's stack, for a vfork child shares our memory
 * and never gives anything back. */
struct sw_lineage_env {
	char *const *environment;
	unsigned slot;		       /* index + 1 of what must be given back; 0: nothing */
	char *few[SW_LINEAGE_FEW + 1]; /* the list, if it is short */
};

/* `environment` with our entry, or as it is. Any thread, also in a vfork child: nothing but a lock
 * of its own is written, and one whose holder no longer exists is taken over. */
void sw_lineage_env(char *const *environment, struct sw_lineage_env *ret_env);
/* The exec has failed, or the spawn is done. Keeps errno. True: it was told more than its
 * environment, which may have been too much (E2BIG). */
bool sw_lineage_done(const struct sw_lineage_env *env);

/* In the child of a fork: the holders are the parent's. */
void sw_lineage_forked(void);
