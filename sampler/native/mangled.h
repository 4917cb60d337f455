/*
 * A mangled C++ name while it is read (Itanium C++ ABI section 5.1). For demangle.c, which reads
 * names, and demangle_types.c, which reads types.
 *
 * There is no tree: what is read is text at once, in an arena that ends. That bounds the time, too:
 * a name that refers to itself again and again is longer, not slower. What does not fit, and what
 * is not understood, is `bad`, and the name stays as it is.
 */
#pragma once

#include "preload/bytes.h"

#define SW_MANGLED_SUBS_MAX 128
#define SW_MANGLED_PARAMS_MAX 32
#define SW_MANGLED_ELEMENTS_MAX 64

enum sw_mangled_kind {
	SW_MANGLED_PLAIN,
	SW_MANGLED_FUNCTION, /* or an array: a pointer to it needs parentheses */
	SW_MANGLED_PACK,     /* a template's argument pack: elements from `first` on, `count` */
};

/* A type's text stands on both sides of what is declared: "void (*" and ")(int)". */
struct sw_mangled_text {
	struct sw_bytes left, right; /* Borrowed from the arena, or constant */
	uint8_t kind;		     /* enum sw_mangled_kind */
	bool varies; /* by the element of a pack; or its T_ is a lambda's or another function's */
	bool tight;  /* FUNCTION: its result is a pointer to one */
	bool qualifiers_right; /* FUNCTION: an array's qualifiers stand left, a function's right */
	uint8_t first, count;
};

struct sw_mangled {
	const uint8_t *at, *end;
	uint8_t *arena, *arena_end;
	struct sw_mangled_text subs[SW_MANGLED_SUBS_MAX];
	unsigned subs_count;
	unsigned own_from; /* those from here on were read for this element, or in this lambda */
	/* Arguments of the template whose function this is. */
	struct sw_mangled_text params[SW_MANGLED_PARAMS_MAX];
	unsigned params_count;
	struct sw_mangled_text elements[SW_MANGLED_ELEMENTS_MAX];
	unsigned elements_count;
	int element;	   /* of the pack that is being expanded; -1: none is */
	unsigned pack_len; /* of the packs met in an expansion; UINT_MAX: none */
	bool in_local;	   /* T_ is of a function in a type */
	bool in_lambda;	   /* parameters of templates are those of a generic lambda */
	unsigned params_used, variations; /* so far: how often T_ was met, and what varies */
	unsigned depth, steps;
	bool bad;
};

/* ---- reading ---- */

static inline uint8_t sw_mangled_next(const struct sw_mangled *m, unsigned n)
{
	return (size_t)(m->end - m->at) > n ? m->at[n] : 0;
}

/* Takes these letters if they come next. */
static inline bool sw_mangled_take(struct sw_mangled *m, const char *letters)
{
	size_t len = strlen(letters);

	if ((size_t)(m->end - m->at) < len || memcmp(m->at, letters, len) != 0)
		return false;
	m->at += len;
	return true;
}

uint64_t sw_mangled_number(struct sw_mangled *m);
/* "_" is 0, "0_" is 1, ... in that base (10 or 36). */
unsigned sw_mangled_seq(struct sw_mangled *m, unsigned base);

/* False, and bad: too deep or too much. Each is followed by a leave. */
bool sw_mangled_enter(struct sw_mangled *m);
static inline void sw_mangled_leave(struct sw_mangled *m)
{
	m->depth--;
}

/* ---- texts ---- */

struct sw_bytes sw_mangled_append(struct sw_mangled *m, struct sw_bytes a, struct sw_bytes b);
struct sw_bytes sw_mangled_append_number(struct sw_mangled *m, struct sw_bytes a, uint64_t number);
struct sw_bytes sw_mangled_whole(struct sw_mangled *m, const struct sw_mangled_text *text);
static inline struct sw_mangled_text sw_mangled_plain(struct sw_bytes text)
{
	return (struct sw_mangled_text){.left = text, .right = {NULL, 0}};
}
/* For S_, ...; variations: when it began. */
void sw_mangled_remember(struct sw_mangled *m, struct sw_mangled_text text, unsigned variations);

/* ---- what is read ---- */

struct sw_mangled_text sw_mangled_type(struct sw_mangled *m);
/* "(int, char)", up to E, or a suffix, or the end; a function's. */
struct sw_bytes sw_mangled_parameters(struct sw_mangled *m);
/* "<int, char>", from behind I on. keep: for T_. */
struct sw_bytes sw_mangled_arguments(struct sw_mangled *m, struct sw_bytes name, bool keep);
/* r, V, K. */
struct sw_bytes sw_mangled_qualifiers(struct sw_mangled *m);

/* What a name is, beside its text. */
struct sw_mangled_name {
	struct sw_bytes text;
	struct sw_bytes last;	  /* its last part, which a constructor repeats */
	struct sw_bytes suffix;	  /* " const &": of a member function */
	bool template, no_return; /* ends with arguments; has no return type in spite of that */
};

struct sw_mangled_name sw_mangled_name(struct sw_mangled *m, bool keep);
/* How much of it is shown. */
enum sw_mangled_part {
	SW_MANGLED_WHOLE,
	SW_MANGLED_LOCAL, /* without the type of its result */
	SW_MANGLED_NAME,  /* and where it has several parts without parameters */
};

/* From behind Z or _Z on. */
struct sw_bytes sw_mangled_encoding(struct sw_mangled *m, enum sw_mangled_part part);
/* S_, S0_, ..., and St, Ss, ... (text, and `last`). */
struct sw_mangled_text sw_mangled_substitution(struct sw_mangled *m, bool prefix,
					       struct sw_bytes *ret_last);
