/*
 * Types, template arguments and substitutions in names of C++; see mangled.h.
 */
#include <limits.h>

#include "sampler/native/mangled.h"

#define T(text) SW_BYTES(text)

static struct sw_bytes append(struct sw_mangled *m, struct sw_bytes a, const char *b)
{
	return sw_mangled_append(m, a, sw_bytes_text(b));
}

static bool ends_with(struct sw_bytes text, const char *end)
{
	return sw_bytes_ends(text, sw_bytes_text(end));
}

/* ---- what has been said before ---- */

static const struct {
	char code;
	const char *text, *whole, *last;
} shorts[] = {
	{'a', "std::allocator", "std::allocator", "allocator"},
	{'b', "std::basic_string", "std::basic_string", "basic_string"},
	{'s', "std::string",
	 "std::basic_string<char, std::char_traits<char>, std::allocator<char> >", "basic_string"},
	{'i', "std::istream", "std::basic_istream<char, std::char_traits<char> >", "basic_istream"},
	{'o', "std::ostream", "std::basic_ostream<char, std::char_traits<char> >", "basic_ostream"},
	{'d', "std::iostream", "std::basic_iostream<char, std::char_traits<char> >",
	 "basic_iostream"},
};

/* prefix: of a name in parts, where the whole ones stand before a constructor. */
struct sw_mangled_text sw_mangled_substitution(struct sw_mangled *m, bool prefix,
					       struct sw_bytes *ret_last)
{
	uint8_t c = sw_mangled_next(m, 1);
	unsigned which;

	m->at++;
	*ret_last = T("");
	for (unsigned i = 0; i < SW_COUNT_OF(shorts); i++) {
		uint8_t next = sw_mangled_next(m, 1);

		if (c != (uint8_t)shorts[i].code)
			continue;
		m->at++;
		*ret_last = sw_bytes_text(shorts[i].last);
		return sw_mangled_plain(sw_bytes_text(
			prefix && (next == 'C' || next == 'D') ? shorts[i].whole : shorts[i].text));
	}
	which = sw_mangled_seq(m, 36);
	if (m->bad || which >= m->subs_count) {
		m->bad = true;
		return sw_mangled_plain(T(""));
	}
	/* What it is was decided when it was read, where T_ was something else. */
	m->bad |= m->subs[which].varies && which < m->own_from;
	return m->subs[which];
}

/* ---- parameters of templates ---- */

static struct sw_mangled_text element_of(struct sw_mangled *m, const struct sw_mangled_text *pack)
{
	struct sw_mangled_text text = sw_mangled_plain(T(""));

	m->bad |= m->element < 0 || (m->pack_len != UINT_MAX && m->pack_len != pack->count);
	m->pack_len = pack->count;
	if (!m->bad && m->element < pack->count)
		text = m->elements[pack->first + (unsigned)m->element];
	m->variations++;
	return text;
}

static struct sw_mangled_text parameter(struct sw_mangled *m)
{
	unsigned which = (m->at++, sw_mangled_seq(m, 10));

	m->params_used++;
	m->variations += m->in_lambda || m->in_local;
	if (m->in_lambda)
		return sw_mangled_plain(sw_mangled_append_number(m, T("auto:"), which + 1u));
	if (m->bad || which >= m->params_count) {
		m->bad = true;
		return sw_mangled_plain(T(""));
	}
	if (m->params[which].kind == SW_MANGLED_PACK)
		return element_of(m, &m->params[which]);
	return m->params[which];
}

/* The pattern once for each element of the packs in it. */
static struct sw_mangled_text expansion(struct sw_mangled *m)
{
	const uint8_t *from = m->at;
	unsigned subs = m->subs_count, own_from = m->own_from, len;
	struct sw_mangled_text text, all = sw_mangled_plain(T(""));

	m->bad |= m->element >= 0; /* one in another */
	m->pack_len = UINT_MAX;
	m->element = 0;
	m->own_from = subs;
	text = sw_mangled_type(m);
	len = m->pack_len;
	m->bad |= len == UINT_MAX;
	for (m->element = 0; !m->bad && m->element < (int)len; m->element++) {
		m->at = from;
		m->subs_count = subs;
		text = sw_mangled_type(m);
		if (m->element)
			all.left = append(m, all.left, ", ");
		all.left = sw_mangled_append(m, all.left, sw_mangled_whole(m, &text));
	}
	m->element = -1;
	m->own_from = own_from;
	return all;
}

/* ---- literals ---- */

static struct sw_bytes integer(struct sw_mangled *m, struct sw_bytes text, const char *suffix)
{
	if (sw_mangled_take(m, "n"))
		text = append(m, text, "-");
	while (sw_mangled_next(m, 0) >= '0' && sw_mangled_next(m, 0) <= '9')
		text = sw_mangled_append(m, text, sw_bytes(m->at++, 1));
	return append(m, text, suffix);
}

static struct sw_bytes literal(struct sw_mangled *m)
{
	static const char *const suffixes[] = {"i", "",	  "j", "u",  "l", "l",
					       "m", "ul", "x", "ll", "y", "ull"};
	struct sw_mangled_text type;
	struct sw_bytes text;

	if (sw_mangled_take(m, "_Z"))
		return sw_mangled_encoding(m, SW_MANGLED_LOCAL);
	if (sw_mangled_take(m, "b0"))
		return T("false");
	if (sw_mangled_take(m, "b1"))
		return T("true");
	for (unsigned i = 0; i < SW_COUNT_OF(suffixes); i += 2) {
		if (sw_mangled_take(m, suffixes[i]))
			return integer(m, T(""), suffixes[i + 1]);
	}
	m->bad |= sw_mangled_next(m, 0) == 'f' || sw_mangled_next(m, 0) == 'd';
	type = sw_mangled_type(m);
	text = sw_mangled_append(m, T("("), sw_mangled_whole(m, &type));
	return integer(m, append(m, text, ")"), "");
}

/* ---- template arguments ---- */

#define BORROWED (SW_MANGLED_PARAMS_MAX * sizeof(struct sw_mangled_text))

/* Room for SW_MANGLED_PARAMS_MAX texts at the arena's end: there may be many at once, and the stack
 * is short. The last one is given back first. */
static struct sw_mangled_text *borrow(struct sw_mangled *m)
{
	m->bad |= (size_t)(m->arena_end - m->arena) < BORROWED;
	if (!m->bad)
		m->arena_end -= BORROWED;
	return (struct sw_mangled_text *)(void *)m->arena_end;
}

/* Once a name is bad nothing more is written. */
static void give_back(struct sw_mangled *m)
{
	if (!m->bad)
		m->arena_end += BORROWED;
}

static struct sw_mangled_text pack(struct sw_mangled *m);

/* Those two that are frequent: a parameter, and the address of a function. */
static struct sw_mangled_text expression(struct sw_mangled *m)
{
	struct sw_mangled_text text = sw_mangled_plain(T(""));

	if (sw_mangled_next(m, 0) == 'T') {
		text = parameter(m);
	} else if (sw_mangled_take(m, "adL_Z")) {
		text.left = sw_mangled_append(m, T("&"), sw_mangled_encoding(m, SW_MANGLED_NAME));
		m->bad |= !sw_mangled_take(m, "E");
	} else {
		m->bad = true;
	}
	m->bad |= !sw_mangled_take(m, "E");
	return text;
}

static struct sw_mangled_text argument(struct sw_mangled *m)
{
	struct sw_bytes text;

	if (sw_mangled_take(m, "J"))
		return pack(m);
	if (sw_mangled_take(m, "X"))
		return expression(m);
	if (!sw_mangled_take(m, "L"))
		return sw_mangled_type(m);
	text = literal(m);
	m->bad |= !sw_mangled_take(m, "E");
	return sw_mangled_plain(text);
}

/* Its elements lie one behind another, so those of a pack in it are taken first. */
static struct sw_mangled_text pack(struct sw_mangled *m)
{
	struct sw_mangled_text *elements = borrow(m),
			       all = {.left = T(""), .kind = SW_MANGLED_PACK};

	while (!m->bad && !sw_mangled_take(m, "E")) {
		struct sw_mangled_text one = argument(m);

		m->bad |= all.count == SW_MANGLED_PARAMS_MAX || one.kind == SW_MANGLED_PACK;
		if (m->bad)
			break;
		if (all.count)
			all.left = append(m, all.left, ", ");
		all.left = sw_mangled_append(m, all.left, sw_mangled_whole(m, &one));
		elements[all.count++] = one;
	}
	m->bad |= m->elements_count + all.count > SW_MANGLED_ELEMENTS_MAX;
	if (!m->bad) {
		all.first = (uint8_t)m->elements_count;
		memcpy(m->elements + m->elements_count, elements, all.count * sizeof(elements[0]));
		m->elements_count += all.count;
	}
	give_back(m);
	return all;
}

static struct sw_bytes add_argument(struct sw_mangled *m, struct sw_bytes name, bool first,
				    const struct sw_mangled_text *one)
{
	struct sw_bytes text = sw_mangled_whole(m, one);

	if (!text.len)
		return name;
	return sw_mangled_append(m, first ? name : append(m, name, ", "), text);
}

/* Those that are kept take the place of earlier ones when all are there: they may refer to them. */
struct sw_bytes sw_mangled_arguments(struct sw_mangled *m, struct sw_bytes name, bool keep)
{
	struct sw_mangled_text *kept = borrow(m);
	unsigned count = 0;
	size_t empty;

	name = append(m, name, ends_with(name, "<") ? " <" : "<");
	empty = name.len;
	while (!m->bad && !sw_mangled_take(m, "E")) {
		struct sw_mangled_text one = argument(m);

		m->bad |= count == SW_MANGLED_PARAMS_MAX;
		if (!m->bad)
			kept[count++] = one;
		name = add_argument(m, name, name.len == empty, &one);
	}
	if (keep && !m->bad) {
		memcpy(m->params, kept, count * sizeof(kept[0]));
		m->params_count = count;
	}
	give_back(m);
	return append(m, name, ends_with(name, ">") ? " >" : ">");
}

/* ---- types ---- */

struct sw_bytes sw_mangled_qualifiers(struct sw_mangled *m)
{
	bool restricted = sw_mangled_take(m, "r"), changing = sw_mangled_take(m, "V"),
	     constant = sw_mangled_take(m, "K");
	struct sw_bytes text = constant ? T(" const") : T("");

	if (changing)
		text = append(m, text, " volatile");
	return restricted ? append(m, text, " restrict") : text;
}

static struct sw_mangled_text qualified(struct sw_mangled *m, struct sw_bytes qualifiers,
					struct sw_mangled_text type)
{
	struct sw_bytes *to = &type.left;

	if (type.kind == SW_MANGLED_FUNCTION && type.qualifiers_right)
		to = &type.right;
	if (!sw_bytes_ends(*to, qualifiers))
		*to = sw_mangled_append(m, *to, qualifiers);
	return type;
}

/* "*", "&", "&&", or "A::*" of a type. */
static struct sw_mangled_text pointer(struct sw_mangled *m, struct sw_mangled_text type,
				      struct sw_bytes mark)
{
	bool reference = mark.at[0] == '&';

	if (reference && type.kind == SW_MANGLED_PLAIN && ends_with(type.left, "&")) {
		if (mark.len == 1 && ends_with(type.left, "&&"))
			type.left.len--;
		return type;
	}
	if (type.kind == SW_MANGLED_FUNCTION) {
		type.left = append(m, type.left, type.tight ? "(" : " (");
		type.tight = false;
		type.right = sw_mangled_append(m, type.right.at[0] == '[' ? T(") ") : T(")"),
					       type.right);
		type.kind = SW_MANGLED_PLAIN;
	} else if (mark.at[0] != '*' && mark.at[0] != '&') {
		type.left = append(m, type.left, " ");
	}
	type.left = sw_mangled_append(m, type.left, mark);
	return type;
}

struct sw_bytes sw_mangled_parameters(struct sw_mangled *m)
{
	struct sw_bytes text = T("(");
	bool first = true;

	if (sw_mangled_take(m, "v"))
		return T("()");
	text = append(m, T(""), "(");
	while (!m->bad && sw_mangled_next(m, 0) && sw_mangled_next(m, 0) != 'E' &&
	       sw_mangled_next(m, 0) != '.') {
		struct sw_mangled_text type;

		if ((sw_mangled_next(m, 0) == 'R' || sw_mangled_next(m, 0) == 'O') &&
		    sw_mangled_next(m, 1) == 'E')
			break;
		type = sw_mangled_type(m);
		text = add_argument(m, text, first, &type);
		first &= text.len == 1;
	}
	return append(m, text, ")");
}

static struct sw_mangled_text function_type(struct sw_mangled *m)
{
	struct sw_mangled_text type, result;

	sw_mangled_take(m, "Y");
	result = sw_mangled_type(m);
	type = result;
	type.kind = SW_MANGLED_FUNCTION;
	type.qualifiers_right = true;
	type.tight = result.right.len > 0;
	type.right = sw_mangled_parameters(m);
	if (sw_mangled_take(m, "R"))
		type.right = append(m, type.right, " &");
	else if (sw_mangled_take(m, "O"))
		type.right = append(m, type.right, " &&");
	m->bad |= !sw_mangled_take(m, "E");
	type.right = sw_mangled_append(m, type.right, result.right);
	return type;
}

static struct sw_mangled_text array_type(struct sw_mangled *m)
{
	struct sw_mangled_text type;
	struct sw_bytes bound = append(m, T(""), "[");

	if (sw_mangled_next(m, 0) == 'T')
		bound = sw_mangled_append(m, bound, parameter(m).left);
	while (sw_mangled_next(m, 0) >= '0' && sw_mangled_next(m, 0) <= '9')
		bound = sw_mangled_append(m, bound, sw_bytes(m->at++, 1));
	bound = append(m, bound, "]");
	m->bad |= !sw_mangled_take(m, "_");
	type = sw_mangled_type(m);
	type.kind = SW_MANGLED_FUNCTION;
	type.qualifiers_right = type.tight = false;
	type.right = sw_mangled_append(m, bound, type.right);
	return type;
}

static struct sw_mangled_text member_pointer(struct sw_mangled *m)
{
	struct sw_mangled_text class = sw_mangled_type(m), type = sw_mangled_type(m);
	struct sw_bytes mark = append(m, sw_mangled_whole(m, &class), "::*");

	return pointer(m, type, mark);
}

static const struct {
	char code[3];
	const char *text;
} builtins[] = {
	{"v", "void"},
	{"w", "wchar_t"},
	{"b", "bool"},
	{"c", "char"},
	{"a", "signed char"},
	{"h", "unsigned char"},
	{"s", "short"},
	{"t", "unsigned short"},
	{"i", "int"},
	{"j", "unsigned int"},
	{"l", "long"},
	{"m", "unsigned long"},
	{"x", "long long"},
	{"y", "unsigned long long"},
	{"n", "__int128"},
	{"o", "unsigned __int128"},
	{"f", "float"},
	{"d", "double"},
	{"e", "long double"},
	{"g", "__float128"},
	{"z", "..."},
	{"Di", "char32_t"},
	{"Ds", "char16_t"},
	{"Du", "char8_t"},
	{"Dn", "decltype(nullptr)"},
	{"Da", "auto"},
	{"Dc", "decltype(auto)"},
	{"Dh", "half"},
};

static bool builtin(struct sw_mangled *m, struct sw_bytes *ret_text)
{
	for (unsigned i = 0; i < SW_COUNT_OF(builtins); i++) {
		if (sw_mangled_take(m, builtins[i].code)) {
			*ret_text = sw_bytes_text(builtins[i].text);
			return true;
		}
	}
	return false;
}

/* T_, and what a template template parameter is given. */
static struct sw_mangled_text parameter_type(struct sw_mangled *m)
{
	unsigned variations = m->variations;
	struct sw_mangled_text type = parameter(m);

	if (sw_mangled_next(m, 0) != 'I')
		return type;
	sw_mangled_remember(m, type, variations);
	m->at++;
	type.left = sw_mangled_arguments(m, sw_mangled_whole(m, &type), false);
	type.right = T("");
	type.kind = SW_MANGLED_PLAIN;
	return type;
}

static struct sw_mangled_text named_type(struct sw_mangled *m)
{
	struct sw_mangled_name name = sw_mangled_name(m, false);

	return sw_mangled_plain(sw_mangled_append(m, name.text, name.suffix));
}

/* A substitution that is the whole type is not remembered again. */
static struct sw_mangled_text of_substitution(struct sw_mangled *m, bool *ret_known)
{
	struct sw_mangled_text type;
	struct sw_bytes last;

	if (sw_mangled_next(m, 1) == 't')
		return named_type(m);
	type = sw_mangled_substitution(m, false, &last);
	*ret_known = sw_mangled_next(m, 0) != 'I';
	if (*ret_known)
		return type;
	m->at++;
	type.left = sw_mangled_arguments(m, sw_mangled_whole(m, &type), false);
	type.right = T("");
	return type;
}

static struct sw_mangled_text by_letter(struct sw_mangled *m, bool *ret_known)
{
	struct sw_bytes qualifiers;
	struct sw_mangled_text type;

	switch (sw_mangled_next(m, 0)) {
	case 'r':
	case 'V':
	case 'K':
		qualifiers = sw_mangled_qualifiers(m);
		/* A function's are a part of it. */
		type = sw_mangled_take(m, "F") ? function_type(m) : sw_mangled_type(m);
		return qualified(m, qualifiers, type);
	case 'P':
		m->at++;
		return pointer(m, sw_mangled_type(m), T("*"));
	case 'R':
		m->at++;
		return pointer(m, sw_mangled_type(m), T("&"));
	case 'O':
		m->at++;
		return pointer(m, sw_mangled_type(m), T("&&"));
	case 'F':
		m->at++;
		return function_type(m);
	case 'A':
		m->at++;
		return array_type(m);
	case 'M':
		m->at++;
		return member_pointer(m);
	case 'T':
		return parameter_type(m);
	case 'S':
		return of_substitution(m, ret_known);
	case 'D':
		m->bad |= sw_mangled_next(m, 1) != 'p'; /* decltype, vectors */
		m->at += 2 * !m->bad;
		return m->bad ? sw_mangled_plain(T("")) : expansion(m);
	default:
		return named_type(m);
	}
}

struct sw_mangled_text sw_mangled_type(struct sw_mangled *m)
{
	struct sw_mangled_text type = sw_mangled_plain(T(""));
	unsigned variations = m->variations;
	bool known = false;

	if (sw_mangled_enter(m) && !builtin(m, &type.left)) {
		type = by_letter(m, &known);
		if (!known)
			sw_mangled_remember(m, type, variations);
	}
	sw_mangled_leave(m);
	return type;
}
