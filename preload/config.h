/*
 * The configuration, read once from the environment when the library is loaded.
 *
 * Constant afterwards, so any thread may read it. Texts are copies: the program may change its
 * environment later. What was wrong with a value is kept and said by the reporter once, so that a
 * process that does nothing of interest stays silent.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "preload/bytes.h"

enum sw_level {
	SW_LEVEL_DEBUG,
	SW_LEVEL_INFO,
	SW_LEVEL_WARNING,
	SW_LEVEL_ERROR,
	SW_LEVEL_CRITICAL,
	SW_LEVEL_OFF,
};

enum sw_protocol {
	SW_PROTOCOL_GRPC,
	SW_PROTOCOL_HTTP,
	SW_PROTOCOL_KAFKA,
	SW_PROTOCOL_FILE,
};

enum sw_grpc_engine {
	SW_GRPC_ENGINE_NATIVE,
	SW_GRPC_ENGINE_CORE,
};

enum sw_control {
	SW_CONTROL_ON,
	SW_CONTROL_OFF,
	SW_CONTROL_START,
};

/* Of profiles of the whole process (preload/profile.h). */
enum sw_profile_mode {
	SW_PROFILE_CPU,	    /* threads that ran, by the processor time that they used */
	SW_PROFILE_WALL,    /* all threads, by the time that passed */
	SW_PROFILE_OFF_CPU, /* all threads, by the time in which they did not run, and why */
	SW_PROFILE_MODES
};

/* And then the rows of reporter/loops.def. */
enum sw_loop_choice {
	SW_LOOP_AUTO,
	SW_LOOP_EPOLL,
	SW_LOOP_IO_URING,
};

enum sw_profile_signal {
	SW_PROFILE_SIGNAL_TIMER,
	SW_PROFILE_SIGNAL_DIRECT,
	SW_PROFILE_SIGNAL_OFF,
};

/* Types of a row. text is NUL terminated, never NULL. */
#define SW_KEY_FIELD_flag(field) bool field;
#define SW_KEY_FIELD_number(field) uint64_t field;
#define SW_KEY_FIELD_text(field) const char *field;
#define SW_KEY_FIELD_choice(field) int field;
/* The entries NAME=VALUE one after the other, each NUL terminated, an empty one last; NAME is what
 * follows the common beginning. In the order of the environment, also what is there twice. */
#define SW_KEY_FIELD_family(field) const char *field;

struct sw_config {
#define SW_ALIAS(alias, env)
#define SW_KEY(type, field, env, value, least, most, doc) SW_KEY_FIELD_##type(field)
#include "preload/config.def"
#undef SW_KEY
#undef SW_ALIAS
};

extern struct sw_config sw_config;

/* TLS to the collector? Naming an authority asks for it, as in the Python agent. */
static inline bool sw_config_wants_tls(const struct sw_config *config)
{
	return config->force_tls || config->tls_ca[0];
}

/* A value that was refused, for the one warning. */
struct sw_config_complaint {
	const char *env;   /* name of the variable */
	const char *value; /* as given, cut at 64 bytes; texts are not shown, they may be secrets */
	const char *want;  /* what it should have been */
};

/* Was the key of this field of sw_config in the environment? Also when its value was no good. */
bool sw_config_given(const void *field);

/*
 * Reads every key from `environment` (a NULL-terminated list like environ) into *ret_config.
 * Texts that differ from the defaults are copied into a static store; what does not fit there is
 * a complaint. Called from the constructor, before any thread of ours.
 */
void sw_config_read(char *const *environment, struct sw_config *ret_config);

/* The i-th complaint of the last read, or NULL after the last one. */
const struct sw_config_complaint *sw_config_complaint(unsigned i);

/* Names kept for sw_config_unknown, and what is kept of each. */
#define SW_CONFIG_UNKNOWN_MAX 32
#define SW_CONFIG_UNKNOWN_CUT 80

/*
 * The i-th name of the last read's environment that begins with SW_ and is that of no key, or NULL
 * after the last one that was kept. Whose it may be else, reporter/unknown.h knows.
 */
const char *sw_config_unknown(unsigned i);
/* How many there were; one that was not kept counts each time that it comes. */
unsigned sw_config_unknown_count(void);
