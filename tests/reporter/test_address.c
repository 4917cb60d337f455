/* Addresses of collectors, as users write them. */
#include "reporter/address.h"

#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <netinet/in.h>

static char authority[SW_AUTHORITY_MAX], host[SW_AUTHORITY_MAX], port[8];

Test(address, one_and_many)
{
	cr_assert_eq(sw_address_check("127.0.0.1:11800"), 1);
	cr_assert_eq(sw_address_check("a:1,b:2, c.example:65535 "), 3);
	cr_assert_eq(sw_address_nth("a:1,\tb:2", 1, authority, host, port), 1);
	cr_assert_str_eq(authority, "b:2");
	cr_assert_str_eq(host, "b");
	cr_assert_str_eq(port, "2");
	cr_assert_eq(sw_address_nth("a:1", 1, authority, host, port), 0);
}

Test(address, ipv6_stands_in_brackets)
{
	cr_assert_eq(sw_address_nth("[::1]:11800", 0, authority, host, port), 1);
	cr_assert_str_eq(authority, "[::1]:11800");
	cr_assert_str_eq(host, "::1");
	cr_assert_lt(sw_address_check("::1:11800"), 0);
	cr_assert_lt(sw_address_check("[::1]"), 0);
	cr_assert_lt(sw_address_check("[]:1"), 0);
}

Test(address, what_is_no_address)
{
	static const char *const bad[] = {"",	      "foo",	    "foo:",	  ":1",
					  "foo:bar",  "foo:0",	    "foo:65536",  "foo:-1",
					  "a:1,,b:2", "a:1,",	    "http://a:1", "a b:1",
					  "a:1:2",    "foo:123456", "user@a:1",	  "a\n:1"};

	for (size_t i = 0; i < SW_COUNT_OF(bad); i++)
		cr_assert_lt(sw_address_check(bad[i]), 0, "%s", bad[i]);
}

Test(address, a_name_too_long)
{
	char name[400];

	memset(name, 'a', sizeof(name));
	memcpy(name + 390, ":11800", 7);
	cr_assert_lt(sw_address_check(name), 0);
}

Test(address, numbers_are_resolved_at_once)
{
	struct sw_address address[SW_ADDRESSES_MAX];
	const struct sockaddr_in *in = (const void *)&address[0].at;
	const struct sockaddr_in6 *in6 = (const void *)&address[1].at;
	unsigned count = 0;

	cr_assert_eq(sw_address_resolve("127.0.0.1:80,[::1]:81", 0, 0, address, &count), 0);
	cr_assert_eq(count, 1);
	cr_assert_eq(in->sin_family, AF_INET);
	cr_assert_eq(ntohs(in->sin_port), 80);
	cr_assert_eq(sw_address_resolve("127.0.0.1:80,[::1]:81", 1, 0, address, &count), 0);
	cr_assert_eq(count, 2);
	cr_assert_eq(in6->sin6_family, AF_INET6);
	cr_assert_eq(address[1].host, 1);
	count = SW_ADDRESSES_MAX;
	cr_assert_eq(sw_address_resolve("127.0.0.1:80", 0, 0, address, &count), 0);
	cr_assert_eq(count, SW_ADDRESSES_MAX);
}

Test(address, a_name_that_nobody_knows)
{
	struct sw_address address[SW_ADDRESSES_MAX];
	unsigned count = 0;

	cr_assert_neq(sw_address_resolve("no-such-host.invalid:80", 0, 0, address, &count), 0);
	cr_assert_eq(count, 0);
}

/* Six addresses of two families; `len` tells them apart. */
static void make_six(struct sw_address *address)
{
	static const sa_family_t families[] = {AF_INET6, AF_INET6, AF_INET6,
					       AF_INET,	 AF_INET,  AF_INET6};

	memset(address, 0, 6 * sizeof(*address));
	for (unsigned i = 0; i < 6; i++) {
		address[i].at.ss_family = families[i];
		((struct sockaddr_in *)&address[i].at)->sin_addr.s_addr = i;
		if (families[i] == AF_INET6)
			((struct sockaddr_in6 *)&address[i].at)->sin6_addr.s6_addr[15] = (uint8_t)i;
		address[i].len = i;
	}
}

Test(address, those_of_one_name_are_shuffled)
{
	struct sw_address address[6];
	unsigned first[3] = {0}, fourth[2] = {0}, orders = 0;

	for (uint32_t dice = 0; dice < 6000; dice++) {
		unsigned seen = 0;

		make_six(address);
		sw_address_shuffle(address, 6, dice * 2654435761u);
		for (unsigned i = 0; i < 6; i++)
			seen |= 1u << address[i].len;
		cr_assert_eq(seen, 63);
		cr_assert_eq(address[5].len, 5, "a family that comes again stays where it is");
		cr_assert_lt(address[0].len, 3);
		cr_assert(address[3].len == 3 || address[3].len == 4);
		first[address[0].len]++;
		fourth[address[3].len - 3]++;
		orders |= 1u << (address[0].len * 3 + address[1].len);
	}
	for (int i = 0; i < 3; i++)
		cr_assert(first[i] > 1800 && first[i] < 2200, "%d: %u", i, first[i]);
	cr_assert(fourth[0] > 2800 && fourth[0] < 3200, "%u", fourth[0]);
	cr_assert_eq(__builtin_popcount(orders), 6, "all orders of three");
}

Test(address, the_same_order_again)
{
	struct sw_address one[6], other[6], kept;

	for (uint32_t dice = 0; dice < 100; dice++) {
		make_six(one);
		make_six(other);
		kept = other[0];
		other[0] = other[2];
		other[2] = kept;
		sw_address_shuffle(one, 6, dice);
		sw_address_shuffle(other, 6, dice);
		for (unsigned i = 0; i < 6; i++)
			cr_assert_eq(one[i].len, other[i].len, "whatever the resolver's order");
	}
}

Test(address, nothing_to_shuffle)
{
	struct sw_address address[6];

	make_six(address);
	sw_address_shuffle(address, 0, 1);
	sw_address_shuffle(address, 1, 1);
	cr_assert_eq(address[0].len, 0);
}
