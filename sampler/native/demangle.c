/*
 * Names of C++, and those that Rust writes like them; see demangle.h and mangled.h. Expressions in
 * types (decltype, sizeof...) are not understood.
 */
#include "sampler/native/demangle.h"

#include <limits.h>

#include "sampler/native/mangled.h"

#define ARENA_BYTES (256u << 10)
#define DEPTH_MAX 40
#define STEPS_MAX 20000

#define T(text) SW_BYTES(text)

/* ---- reading and texts; see mangled.h ---- */

uint64_t sw_mangled_number(struct sw_mangled *m)
{
	uint64_t number = 0;
	unsigned digits = 0;

	while (sw_mangled_next(m, 0) >= '0' && sw_mangled_next(m, 0) <= '9') {
		number = number * 10 + (uint64_t)(*m->at++ - '0');
		m->bad |= ++digits > 18;
	}
	m->bad |= !digits;
	return number;
}

unsigned sw_mangled_seq(struct sw_mangled *m, unsigned base)
{
	unsigned number = 0;

	if (sw_mangled_take(m, "_"))
		return 0;
	while (!m->bad && !sw_mangled_take(m, "_")) {
		uint8_t c = sw_mangled_next(m, 0);
		unsigned digit = c >= '0' && c <= '9'	? c - 48u
				 : c >= 'A' && c <= 'Z' ? c - 'A' + 10u
							: 99;

		m->bad |= digit >= base || number > 10000;
		number = number * base + digit;
		m->at += !m->bad;
	}
	return number + 1;
}

bool sw_mangled_enter(struct sw_mangled *m)
{
	m->depth++;
	m->bad |= m->depth > DEPTH_MAX || ++m->steps > STEPS_MAX;
	return !m->bad;
}

/* In place where `a` was written last. */
struct sw_bytes sw_mangled_append(struct sw_mangled *m, struct sw_bytes a, struct sw_bytes b)
{
	bool in_place = a.len && a.at + a.len == m->arena;
	size_t need = b.len + (in_place ? 0 : a.len);

	if (!b.len)
		return a;
	if (m->bad || need > (size_t)(m->arena_end - m->arena)) {
		m->bad = true;
		return T("");
	}
	if (!in_place) {
		if (a.len)
			memcpy(m->arena, a.at, a.len);
		a.at = m->arena;
		m->arena += a.len;
	}
	memcpy(m->arena, b.at, b.len);
	m->arena += b.len;
	return sw_bytes(a.at, a.len + b.len);
}

struct sw_bytes sw_mangled_append_number(struct sw_mangled *m, struct sw_bytes a, uint64_t number)
{
	uint8_t digits[24];
	struct sw_writer w = sw_writer(digits, sizeof(digits));

	sw_write_number(&w, number);
	return sw_mangled_append(m, a, sw_written(&w));
}

struct sw_bytes sw_mangled_whole(struct sw_mangled *m, const struct sw_mangled_text *text)
{
	bool spaced = text->kind == SW_MANGLED_FUNCTION && !text->tight;

	return sw_mangled_append(m, spaced ? sw_mangled_append(m, text->left, T(" ")) : text->left,
				 text->right);
}

void sw_mangled_remember(struct sw_mangled *m, struct sw_mangled_text text, unsigned variations)
{
	text.varies = m->variations != variations;
	if (m->subs_count == SW_MANGLED_SUBS_MAX)
		m->bad = true;
	else
		m->subs[m->subs_count++] = text;
}

/* ---- parts of names ---- */

static const struct {
	char code[3];
	const char *text;
} operators[] = {
	{"aN", "&="},	     {"aS", "="},  {"aa", "&&"},      {"ad", "&"},    {"an", "&"},
	{"aw", " co_await"}, {"cl", "()"}, {"cm", ","},	      {"co", "~"},    {"dV", "/="},
	{"da", " delete[]"}, {"de", "*"},  {"dl", " delete"}, {"dv", "/"},    {"eO", "^="},
	{"eo", "^"},	     {"eq", "=="}, {"ge", ">="},      {"gt", ">"},    {"ix", "[]"},
	{"lS", "<<="},	     {"le", "<="}, {"ls", "<<"},      {"lt", "<"},    {"mI", "-="},
	{"mL", "*="},	     {"mi", "-"},  {"ml", "*"},	      {"mm", "--"},   {"na", " new[]"},
	{"ne", "!="},	     {"ng", "-"},  {"nt", "!"},	      {"nw", " new"}, {"oR", "|="},
	{"oo", "||"},	     {"or", "|"},  {"pL", "+="},      {"pl", "+"},    {"pm", "->*"},
	{"pp", "++"},	     {"ps", "+"},  {"pt", "->"},      {"qu", "?"},    {"rM", "%="},
	{"rS", ">>="},	     {"rm", "%"},  {"rs", ">>"},      {"ss", "<=>"},
};

static struct sw_bytes source_name(struct sw_mangled *m)
{
	uint64_t len = sw_mangled_number(m);
	struct sw_bytes text;

	if (m->bad || !len || len > (size_t)(m->end - m->at)) {
		m->bad = true;
		return T("");
	}
	text = sw_bytes(m->at, (size_t)len);
	m->at += len;
	return sw_bytes_starts(text, T("_GLOBAL__N_")) || sw_bytes_starts(text, T("_GLOBAL_.N.")) ||
			       sw_bytes_starts(text, T("_GLOBAL_$N$"))
		       ? T("(anonymous namespace)")
		       : text;
}

static struct sw_bytes operator_name(struct sw_mangled *m, struct sw_mangled_name *name)
{
	if (sw_mangled_take(m, "cv")) {
		unsigned used = m->params_used;
		struct sw_mangled_text type = sw_mangled_type(m);

		name->no_return = true;
		/* What it is given comes behind it. */
		m->bad |= used != m->params_used && sw_mangled_next(m, 0) == 'I';
		return sw_mangled_append(m, T("operator "), sw_mangled_whole(m, &type));
	}
	if (sw_mangled_take(m, "li"))
		return sw_mangled_append(m, T("operator\"\" "), source_name(m));
	for (unsigned i = 0; i < SW_COUNT_OF(operators); i++) {
		if (sw_mangled_take(m, operators[i].code))
			return sw_mangled_append(m, T("operator"),
						 sw_bytes_text(operators[i].text));
	}
	m->bad = true;
	return T("");
}

/* {unnamed type#1}, {lambda(int)#1}. */
static struct sw_bytes unnamed(struct sw_mangled *m)
{
	struct sw_bytes text = T("{unnamed type#");
	unsigned own_from = m->own_from;
	bool outer = m->in_lambda;

	if (sw_mangled_take(m, "l")) {
		m->in_lambda = true;
		m->own_from = m->subs_count;
		text = sw_mangled_append(m, T("{lambda"), sw_mangled_parameters(m));
		m->in_lambda = outer;
		m->own_from = own_from;
		m->bad |= !sw_mangled_take(m, "E");
		text = sw_mangled_append(m, text, T("#"));
	} else if (!sw_mangled_take(m, "t")) {
		m->bad = true;
	}
	text = sw_mangled_append_number(m, text, sw_mangled_seq(m, 10) + 1u);
	return sw_mangled_append(m, text, T("}"));
}

/* C1, D0, ...: the class's name again. */
static struct sw_bytes constructor(struct sw_mangled *m, struct sw_mangled_name *name)
{
	bool ends = *m->at++ == 'D';
	uint8_t which = sw_mangled_next(m, 0);

	m->bad |= which < '0' || which > '5' || !name->last.len;
	m->at += !m->bad;
	name->no_return = true;
	return ends ? sw_mangled_append(m, T("~"), name->last) : name->last;
}

static struct sw_bytes with_tags(struct sw_mangled *m, struct sw_bytes text)
{
	while (!m->bad && sw_mangled_take(m, "B")) {
		text = sw_mangled_append(m, text, T("[abi:"));
		text = sw_mangled_append(m, text, source_name(m));
		text = sw_mangled_append(m, text, T("]"));
	}
	return text;
}

static struct sw_bytes unqualified(struct sw_mangled *m, struct sw_mangled_name *name)
{
	uint8_t c = sw_mangled_next(m, 0), next = sw_mangled_next(m, 1);
	struct sw_bytes text;
	bool repeats = (c == 'C' || c == 'D') && next >= '0' && next <= '5';

	name->no_return = false;
	sw_mangled_take(m, "L");
	c = sw_mangled_next(m, 0);
	if (c >= '0' && c <= '9')
		text = source_name(m);
	else if (repeats)
		text = constructor(m, name);
	else if (c == 'U' && (next == 'l' || next == 't'))
		m->at++, text = unnamed(m);
	else
		text = operator_name(m, name);
	if (!repeats && c != 'U')
		name->last = text;
	return with_tags(m, text);
}

/* ---- names ---- */

static void add_part(struct sw_mangled *m, struct sw_mangled_name *name, struct sw_bytes part)
{
	if (name->text.len)
		name->text = sw_mangled_append(m, name->text, T("::"));
	name->text = sw_mangled_append(m, name->text, part);
	name->template = false;
}

static void add_arguments(struct sw_mangled *m, struct sw_mangled_name *name, bool keep)
{
	name->text = sw_mangled_arguments(m, name->text, keep);
	name->template = true;
}

/* r, V, K, and & or && of a member function. */
static struct sw_bytes member_suffix(struct sw_mangled *m)
{
	struct sw_bytes suffix = sw_mangled_qualifiers(m);

	if (sw_mangled_take(m, "R"))
		return sw_mangled_append(m, suffix, T(" &"));
	return sw_mangled_take(m, "O") ? sw_mangled_append(m, suffix, T(" &&")) : suffix;
}

static void take_substitution(struct sw_mangled *m, struct sw_mangled_name *name, bool prefix)
{
	struct sw_mangled_text text = sw_mangled_substitution(m, prefix, &name->last);

	name->text = sw_mangled_whole(m, &text);
	name->template = name->text.len && name->text.at[name->text.len - 1] == '>';
}

static struct sw_bytes last_part(struct sw_bytes text)
{
	size_t from = 0, to = text.len;
	int depth = 0;

	for (size_t i = 0; i < text.len; i++) {
		depth += text.at[i] == '<' || text.at[i] == '(';
		depth -= text.at[i] == '>' || text.at[i] == ')';
		if (!depth && text.at[i] == ':')
			from = i + 1;
	}
	for (size_t i = from; i < text.len; i++) {
		if (text.at[i] == '<' || text.at[i] == '[') {
			to = i;
			break;
		}
	}
	return sw_bytes_slice(text, from, to);
}

/* One part of what stands between N and E. False: it was no more than a prefix that has its place
 * among the substitutions already. */
static bool nested_part(struct sw_mangled *m, struct sw_mangled_name *name, bool keep)
{
	uint8_t c = sw_mangled_next(m, 0), next = sw_mangled_next(m, 1);

	if (c == 'S' && next == 't') {
		m->at += 2;
		add_part(m, name, T("std"));
		return false;
	}
	if (c == 'S') {
		m->bad |= name->text.len != 0;
		take_substitution(m, name, true);
		if (sw_mangled_next(m, 0) != 'C' && sw_mangled_next(m, 0) != 'D')
			return false;
		name->last = name->last.len ? name->last : last_part(name->text);
		return false;
	}
	if (c == 'I') {
		m->bad |= !name->text.len;
		m->at++;
		add_arguments(m, name, keep);
	} else if (c == 'T' || (c == 'D' && (next == 't' || next == 'T'))) {
		struct sw_mangled_text type = sw_mangled_type(m);

		m->bad |= name->text.len != 0;
		name->text = sw_mangled_whole(m, &type);
		name->last = last_part(name->text);
		return false;
	} else {
		add_part(m, name, unqualified(m, name));
	}
	return true;
}

static void nested_name(struct sw_mangled *m, struct sw_mangled_name *name, bool keep)
{
	unsigned variations = m->variations;
	bool remember;

	name->suffix = member_suffix(m);
	while (!m->bad && !sw_mangled_take(m, "E")) {
		remember = nested_part(m, name, keep);
		/* The whole of it is what the caller remembers, if it does. */
		if (remember && sw_mangled_next(m, 0) != 'E')
			sw_mangled_remember(m, sw_mangled_plain(name->text), variations);
	}
}

/* Of a function in a type: what it is a template of is not what this one is. */
static struct sw_bytes local_function(struct sw_mangled *m, bool keep)
{
	size_t size = m->params_count * sizeof(m->params[0]);
	struct sw_bytes before = T("");
	unsigned count = m->params_count, own_from = m->own_from;
	bool in_local = m->in_local;
	struct sw_bytes text;

	if (keep)
		return sw_mangled_encoding(m, SW_MANGLED_LOCAL);
	if (size) /* a copy in the arena, behind a byte that is nobody's end */
		before = sw_mangled_append(m, T("-"), sw_bytes(m->params, size));
	m->in_local = true;
	m->own_from = m->subs_count;
	text = sw_mangled_encoding(m, SW_MANGLED_LOCAL);
	m->in_local = in_local;
	m->own_from = own_from;
	if (size && !m->bad)
		memcpy(m->params, before.at + 1, size);
	m->params_count = count;
	return text;
}

/* Z function E name, or the text "string literal". */
static void local_name(struct sw_mangled *m, struct sw_mangled_name *name, bool keep)
{
	struct sw_mangled_name inner;

	name->text = local_function(m, keep);
	m->bad |= !sw_mangled_take(m, "E");
	if (sw_mangled_take(m, "s")) {
		add_part(m, name, T("string literal"));
	} else {
		if (sw_mangled_take(m, "d")) {
			add_part(m, name, T("{default arg#"));
			name->text =
				sw_mangled_append_number(m, name->text, sw_mangled_seq(m, 10) + 1u);
			name->text = sw_mangled_append(m, name->text, T("}"));
		}
		inner = sw_mangled_name(m, keep);
		add_part(m, name, inner.text);
		name->last = inner.last;
		name->suffix = inner.suffix;
		name->template = inner.template;
		name->no_return = inner.no_return;
	}
	/* Which of several of that name nobody shows. */
	if (sw_mangled_take(m, "__")) {
		sw_mangled_number(m);
		m->bad |= !sw_mangled_take(m, "_");
	} else if (sw_mangled_take(m, "_")) {
		sw_mangled_number(m);
	}
}

struct sw_mangled_name sw_mangled_name(struct sw_mangled *m, bool keep)
{
	struct sw_mangled_name name = {.text = T("")};
	bool known = false;

	if (sw_mangled_take(m, "N")) {
		nested_name(m, &name, keep);
		return name;
	}
	if (sw_mangled_take(m, "Z")) {
		local_name(m, &name, keep);
		return name;
	}
	if (sw_mangled_take(m, "St")) {
		name.text = T("std");
		add_part(m, &name, unqualified(m, &name));
	} else if (sw_mangled_next(m, 0) == 'S') {
		take_substitution(m, &name, false);
		known = true;
	} else {
		name.text = unqualified(m, &name);
	}
	if (sw_mangled_take(m, "I")) {
		if (!known)
			sw_mangled_remember(m, sw_mangled_plain(name.text), m->variations);
		add_arguments(m, &name, keep);
	}
	return name;
}

/* ---- whole names ---- */

static bool ends_here(const struct sw_mangled *m)
{
	uint8_t c = sw_mangled_next(m, 0);

	return c == 0 || c == 'E' || c == '.';
}

static struct sw_bytes thunk(struct sw_mangled *m, bool covariant)
{
	unsigned offsets = covariant ? 2 : 1;
	bool virtual = false;
	struct sw_bytes text;

	for (unsigned i = 0; i < offsets; i++) {
		bool of_virtual = sw_mangled_take(m, "v");

		m->bad |= !of_virtual && !sw_mangled_take(m, "h");
		virtual |= of_virtual;
		for (unsigned k = 0; k < 1u + of_virtual; k++) {
			sw_mangled_take(m, "n");
			sw_mangled_number(m);
			m->bad |= !sw_mangled_take(m, "_");
		}
	}
	text = covariant ? T("covariant return thunk to ")
	       : virtual ? T("virtual thunk to ")
			 : T("non-virtual thunk to ");
	return sw_mangled_append(m, text, sw_mangled_encoding(m, SW_MANGLED_LOCAL));
}

static struct sw_bytes special(struct sw_mangled *m)
{
	static const struct {
		const char *code, *text;
		bool type;
	} kinds[] = {
		{"TV", "vtable for ", true},
		{"TT", "VTT for ", true},
		{"TI", "typeinfo for ", true},
		{"TS", "typeinfo name for ", true},
		{"GV", "guard variable for ", false},
		{"TW", "TLS wrapper function for ", false},
		{"TH", "TLS init function for ", false},
	};

	for (unsigned i = 0; i < SW_COUNT_OF(kinds); i++) {
		struct sw_mangled_text text;

		if (!sw_mangled_take(m, kinds[i].code))
			continue;
		text = kinds[i].type ? sw_mangled_type(m)
				     : sw_mangled_plain(sw_mangled_name(m, false).text);
		return sw_mangled_append(m, sw_bytes_text(kinds[i].text),
					 sw_mangled_whole(m, &text));
	}
	if (sw_mangled_take(m, "Tc"))
		return thunk(m, true);
	if (sw_mangled_take(m, "T"))
		return thunk(m, false);
	m->bad = true;
	return T("");
}

static struct sw_bytes function(struct sw_mangled *m, struct sw_mangled_name *name, bool top)
{
	struct sw_mangled_text result = {.left = T("")};
	struct sw_bytes text;

	if (name->template && !name->no_return) {
		result = sw_mangled_type(m);
		if (result.left.len && (!result.right.len || result.kind == SW_MANGLED_FUNCTION))
			result.left = sw_mangled_append(m, result.left, T(" "));
	}
	if (!top)
		result = sw_mangled_plain(T(""));
	text = sw_mangled_append(m, result.left, name->text);
	text = sw_mangled_append(m, text, sw_mangled_parameters(m));
	text = sw_mangled_append(m, text, name->suffix);
	return sw_mangled_append(m, text, result.right);
}

struct sw_bytes sw_mangled_encoding(struct sw_mangled *m, enum sw_mangled_part part)
{
	struct sw_mangled_name name;
	struct sw_bytes text = T("");
	uint8_t c = sw_mangled_next(m, 0), next = sw_mangled_next(m, 1);

	if (sw_mangled_enter(m)) {
		if (c == 'T' || (c == 'G' && next == 'V')) {
			text = special(m);
		} else {
			name = sw_mangled_name(m, true);
			text = ends_here(m) ? sw_mangled_append(m, name.text, name.suffix)
					    : function(m, &name, part == SW_MANGLED_WHOLE);
			if (part == SW_MANGLED_NAME && c == 'N')
				text = name.text;
		}
	}
	sw_mangled_leave(m);
	return text;
}

/* ---- Rust ---- */

#define RUST_HASH 20 /* 17h, 16 digits, and E behind it */

static bool is_rust(struct sw_bytes symbol)
{
	const uint8_t *hash;

	if (symbol.len < RUST_HASH + 4 || !sw_bytes_starts(symbol, T("_ZN")))
		return false;
	hash = symbol.at + symbol.len - RUST_HASH;
	for (unsigned i = 3; i < RUST_HASH - 1; i++) {
		if (!((hash[i] >= '0' && hash[i] <= '9') || (hash[i] >= 'a' && hash[i] <= 'f')))
			return false;
	}
	return !memcmp(hash, "17h", 3) && hash[RUST_HASH - 1] == 'E';
}

/* "$LT$" and its like; how many bytes it took, 0: none. */
static size_t rust_escape(struct sw_bytes rest, struct sw_bytes *ret_text)
{
	static const char *const escapes[][2] = {
		{"$SP$", "@"},	{"$BP$", "*"},	{"$RF$", "&"},	{"$LT$", "<"},	{"$GT$", ">"},
		{"$LP$", "("},	{"$RP$", ")"},	{"$C$", ","},	{"$u20$", " "}, {"$u22$", "\""},
		{"$u27$", "'"}, {"$u2b$", "+"}, {"$u3b$", ";"}, {"$u5b$", "["}, {"$u5d$", "]"},
		{"$u7b$", "{"}, {"$u7d$", "}"}, {"$u7e$", "~"}, {"..", "::"},
	};

	for (unsigned i = 0; i < SW_COUNT_OF(escapes); i++) {
		struct sw_bytes escape = sw_bytes_text(escapes[i][0]);

		if (!sw_bytes_starts(rest, escape))
			continue;
		*ret_text = sw_bytes_text(escapes[i][1]);
		return escape.len;
	}
	return 0;
}

static struct sw_bytes rust_part(struct sw_mangled *m, struct sw_bytes text, struct sw_bytes part)
{
	struct sw_bytes escaped;

	if (sw_bytes_starts(part, T("_$")))
		part = sw_bytes_from(part, 1);
	while (part.len && !m->bad) {
		size_t taken = rust_escape(part, &escaped);

		m->bad |= !taken && part.at[0] == '$';
		text = sw_mangled_append(m, text, taken ? escaped : sw_bytes_slice(part, 0, 1));
		part = sw_bytes_from(part, taken ? taken : 1);
	}
	return text;
}

/* The path, without the hash. */
static struct sw_bytes rust(struct sw_mangled *m)
{
	struct sw_bytes text = T("");

	m->at += 3;
	m->end -= RUST_HASH;
	while (m->at < m->end && !m->bad) {
		uint64_t len = sw_mangled_number(m);

		if (m->bad || !len || len > (size_t)(m->end - m->at))
			m->bad = true;
		else if (text.len)
			text = sw_mangled_append(m, text, T("::"));
		if (!m->bad)
			text = rust_part(m, text, sw_bytes(m->at, (size_t)len));
		m->at += m->bad ? 0 : len;
	}
	return text;
}

/* ---- */

static bool is_digit(uint8_t c)
{
	return c >= '0' && c <= '9';
}

/* A part of a function that the compiler has made: ".cold", ".constprop.0". */
static struct sw_bytes with_clones(struct sw_mangled *m, struct sw_bytes text)
{
	while (m->at < m->end && !m->bad) {
		const uint8_t *from = m->at++;

		m->bad |= *from != '.';
		while (m->at < m->end && *m->at != '.')
			m->at++;
		while (is_digit(sw_mangled_next(m, 1)) && *m->at == '.') {
			m->at += 2;
			while (is_digit(sw_mangled_next(m, 0)))
				m->at++;
		}
		text = sw_mangled_append(m, text, T(" [clone "));
		text = sw_mangled_append(m, text, sw_bytes(from, (size_t)(m->at - from)));
		text = sw_mangled_append(m, text, T("]"));
	}
	return text;
}

bool sw_demangle(struct sw_bytes symbol, struct sw_bytes *ret_text)
{
	static uint8_t arena[ARENA_BYTES] __attribute__((aligned(16)));
	static struct sw_mangled m;
	struct sw_bytes text;

	if (symbol.len > SW_DEMANGLE_MAX || !sw_bytes_starts(symbol, T("_Z")))
		return false;
	m = (struct sw_mangled){.at = symbol.at,
				.end = symbol.at + symbol.len,
				.arena = arena,
				.arena_end = arena + sizeof(arena),
				.element = -1,
				.own_from = UINT_MAX,
				.pack_len = UINT_MAX};
	if (is_rust(symbol)) {
		text = rust(&m);
	} else {
		m.at += 2;
		text = with_clones(&m, sw_mangled_encoding(&m, SW_MANGLED_WHOLE));
	}
	if (m.bad || !text.len)
		return false;
	*ret_text = text;
	return true;
}
