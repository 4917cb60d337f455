/*
 * Names of C++ and Rust. Wanted texts are those of libstdc++'s __cxa_demangle; where ours is to be
 * another, or none, it says so.
 */
#include "sampler/native/demangle.h"

#include <criterion/criterion.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

static const char *const names[][2] = {
	{"_Z1fv", "f()"},
	{"_ZL5localiPKc", "local(int, char const*)"},
	{"_ZN3foo3barEv", "foo::bar()"},
	{"_ZNK3foo3barERKS_", "foo::bar(foo const&) const"},
	{"_ZNKR3foo3barEv", "foo::bar() const &"},
	{"_ZN3fooC2Ei", "foo::foo(int)"},
	{"_ZN3fooD0Ev", "foo::~foo()"},
	{"_ZN12_GLOBAL__N_13runEv", "(anonymous namespace)::run()"},
	{"_ZN4shop5OrderplERKS0_", "shop::Order::operator+(shop::Order const&)"},
	{"_ZN4shop5OrderclEv", "shop::Order::operator()()"},
	{"_ZN4shop5OrderixEm", "shop::Order::operator[](unsigned long)"},
	{"_ZlsIiERSoS0_T_", "std::ostream& operator<< <int>(std::ostream&, int)"},
	{"_ZN4shop5OrdercvbEv", "shop::Order::operator bool()"},
	{"_Zli2kmy", "operator\"\" km(unsigned long long)"},
	{"_ZN3foonwEm", "foo::operator new(unsigned long)"},
	{"_ZStssIiEDaT_S0_", "auto std::operator<=><int>(int, int)"},
	{"_ZNSt6vectorIiSaIiEE9push_backERKi",
	 "std::vector<int, std::allocator<int> >::push_back(int const&)"},
	{"_ZNSsC1Ev",
	 "std::basic_string<char, std::char_traits<char>, std::allocator<char> >::basic_string()"},
	{"_Z3mapISt3mapISsiSt4lessISsESaISt4pairIKSsiEEEEvT_",
	 "void map<std::map<std::string, int, std::less<std::string>, "
	 "std::allocator<std::pair<std::string const, int> > > >(std::map<std::string, int, "
	 "std::less<std::string>, std::allocator<std::pair<std::string const, int> > >)"},
	{"_Z4callPFivE", "call(int (*)())"},
	{"_Z4callPFPFvvEiE", "call(void (*(*)(int))())"},
	{"_Z4callM3fooKFivE", "call(int (foo::*)() const)"},
	{"_Z4callM3fooi", "call(int foo::*)"},
	{"_Z4callRA5_KcPA2_A3_i", "call(char const (&) [5], int (*) [2][3])"},
	{"_Z1fIJidEEvDpRKT_", "void f<int, double>(int const&, double const&)"},
	{"_Z1fIJEEvDpT_", "void f<>()"},
	{"_Z1fILb1ELi42ELln3ELj7EEvv", "void f<true, 42, -3l, 7u>()"},
	{"_Z1fIRiEvOT_", "void f<int&>(int&)"},
	{"_Z1fI1AIiEEvNT_4typeE", "void f<A<int> >(A<int>::type)"},
	{"_ZZ4mainENKUliE0_clEi", "main::{lambda(int)#2}::operator()(int) const"},
	{"_ZZN1A1fEvE1x_0", "A::f()::x"},
	{"_ZNKSt8functionIFviEEclEi", "std::function<void (int)>::operator()(int) const"},
	{"_ZN1AB5cxx111fB3nowEv", "A[abi:cxx11]::f[abi:now]()"},
	{"_ZThn16_N1A1fEv", "non-virtual thunk to A::f()"},
	{"_ZTv0_n24_N1A1fEv", "virtual thunk to A::f()"},
	{"_ZTVN1A1BE", "vtable for A::B"},
	{"_ZGVZ1fvE1x", "guard variable for f()::x"},
	{"_Z1fv.constprop.0.cold", "f() [clone .constprop.0] [clone .cold]"},
	{"_Z1fDv4_f", NULL},
	{"_ZNKSt4hashIDnEclEDn",
	 "std::hash<decltype(nullptr)>::operator()(decltype(nullptr)) const"},
	{"_Z1fIiEDTcl1gfp_EET_", NULL},		       /* an expression */
	{"_ZN1AcvT_I1BEEv", NULL},		       /* T_ comes before what it is */
	{"_Z1gIZ1fIbET_jS0_EUlvE_bEET0_S0_S2_", NULL}, /* S0_ is another T_ here than there */
	/* Rust. */
	{"_ZN4core3fmt9Formatter3pad17h0123456789abcdefE", "core::fmt::Formatter::pad"},
	{"_ZN63_$LT$alloc..vec..Vec$LT$T$GT$$u20$as$u20$core..fmt..Debug$GT$"
	 "3fmt17h0123456789abcdefE",
	 NULL}, /* its length is another */
	{"_ZN61_$LT$alloc..vec..Vec$LT$T$GT$$u20$as$u20$core..fmt..Debug$GT$"
	 "3fmt17h0123456789abcdefE",
	 "<alloc::vec::Vec<T> as core::fmt::Debug>::fmt"},
	{"_ZN4main28_$u7b$$u7b$closure$u7d$$u7d$17h0123456789abcdefE", "main::{{closure}}"},
	{"_ZN4main5$odd$17h0123456789abcdefE", NULL},
	/* Others. */
	{"main", NULL},
	{"", NULL},
	{"_Z", NULL},
	{"_Zzz", NULL},
	{"_RNvC7mycrate3foo", NULL},
};

Test(demangle, names)
{
	struct sw_bytes text;

	for (unsigned i = 0; i < SW_COUNT_OF(names); i++) {
		bool understood = sw_demangle(sw_bytes_text(names[i][0]), &text);

		cr_assert_eq(understood, names[i][1] != NULL, "%s: %.*s", names[i][0],
			     understood ? (int)text.len : 0, (const char *)text.at);
		if (understood)
			cr_assert(sw_bytes_equal(text, sw_bytes_text(names[i][1])), "%s: %.*s",
				  names[i][0], (int)text.len, (const char *)text.at);
	}
}

/* ---- hostile names ---- */

/* Cut everywhere, each from memory that ends there; and each byte another. */
Test(demangle, names_that_are_broken)
{
	struct sw_bytes text;

	for (unsigned i = 0; i < SW_COUNT_OF(names); i++) {
		size_t len = strlen(names[i][0]);
		char *copy = strdup(names[i][0]);

		for (size_t k = 0; k < len; k++) {
			char *part = malloc(k + 1);

			memcpy(part, copy, k);
			sw_demangle(sw_bytes(part, k), &text);
			free(part);
			for (int c = 0; c < 256; c++) {
				copy[k] = (char)c;
				sw_demangle(sw_bytes(copy, len), &text);
			}
			copy[k] = names[i][0][k];
		}
		free(copy);
	}
}

static struct sw_bytes repeated(const char *begin, const char *part, unsigned times,
				const char *end)
{
	static char name[5000];
	size_t len = strlen(begin), part_len = strlen(part);

	memcpy(name, begin, len);
	for (unsigned i = 0; i < times && len + part_len + strlen(end) < sizeof(name); i++) {
		memcpy(name + len, part, part_len);
		len += part_len;
	}
	memcpy(name + len, end, strlen(end));
	return sw_bytes(name, len + strlen(end));
}

/* Each type is the one before twice: 2^40 of them. */
static struct sw_bytes doubled(void)
{
	static char name[2000];
	size_t len = (size_t)snprintf(name, sizeof(name), "_Z1f1AIiiE");

	for (unsigned i = 0; i < 35; i++) {
		int which = i < 10 ? '0' + (int)i : 'A' + (int)i - 10;

		len += (size_t)snprintf(name + len, sizeof(name) - len, "S_IS%c_S%c_E", which,
					which);
	}
	return sw_bytes(name, len);
}

static const char *const parts[] = {"P",     "R",	"K",	  "F",	  "A1_",    "M1A",
				    "1AI",   "N1AI",	"Z1fv",	  "DpT_", "J",	    "X",
				    "Ul",    "cv",	"N",	  "I",	  "T_",	    "S_",
				    "PFivE", "1AILi1E", "ZN1AIi", "DpDp", "FvDpT_", "IJDpT_"};

static void *be_hostile(void *arg)
{
	static const char *const begins[] = {"_Z1f", "_ZN", "_Z1fI", "_Z1fIJiiiiiiiiEEvDp",
					     "_Z",   "_ZZ", "_ZTI"};
	struct sw_bytes text;

	for (unsigned i = 0; i < SW_COUNT_OF(begins) * SW_COUNT_OF(parts); i++) {
		const char *part = parts[i / SW_COUNT_OF(begins)];
		const char *begin = begins[i % SW_COUNT_OF(begins)];

		for (unsigned times = 1; times < 4000; times = times * 3 + 1)
			sw_demangle(repeated(begin, part, times, "iEEEEEE"), &text);
	}
	cr_assert_not(sw_demangle(doubled(), &text));
	cr_assert_not(sw_demangle(repeated("_Z1f", "P", 3000, "i"), &text), "too deep");
	cr_assert(sw_demangle(repeated("_Z1f", "P", 20, "i"), &text));
	cr_assert_not(sw_demangle(repeated("_Z1f", "i", 4500, ""), &text), "too long");
	return arg;
}

/* On half of the stack that the sampler has. AddressSanitizer makes frames larger, some tenfold. */
#if defined(__SANITIZE_ADDRESS__)
#define STACK_BYTES (1u << 20)
#else
#define STACK_BYTES (64u << 10)
#endif

Test(demangle, hostile_names_need_little_time_and_stack, .timeout = 60)
{
	pthread_attr_t attr;
	pthread_t thread;

	pthread_attr_init(&attr);
	cr_assert_eq(pthread_attr_setstacksize(&attr, STACK_BYTES), 0);
	cr_assert_eq(pthread_create(&thread, &attr, be_hostile, NULL), 0);
	pthread_join(thread, NULL);
}
