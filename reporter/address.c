/* Addresses of collectors; see address.h. */
#include "reporter/address.h"

#include <errno.h>
#include <netdb.h>

#include "preload/real.h"
#include "preload/sys.h"

static struct sw_bytes trim(struct sw_bytes text)
{
	while (text.len && (text.at[0] == ' ' || text.at[0] == '\t'))
		text = sw_bytes_from(text, 1);
	while (text.len && (text.at[text.len - 1] == ' ' || text.at[text.len - 1] == '\t'))
		text.len--;
	return text;
}

static bool nth(const char *list, unsigned n, struct sw_bytes *ret_part)
{
	struct sw_bytes rest = sw_bytes_text(list);

	for (;; n--) {
		size_t comma = sw_bytes_find(rest, ',');

		if (n == 0) {
			*ret_part = trim(sw_bytes_slice(rest, 0, comma));
			return true;
		}
		if (comma == rest.len)
			return false;
		rest = sw_bytes_from(rest, comma + 1);
	}
}

static bool is_port(struct sw_bytes text)
{
	unsigned n = 0;

	if (text.len == 0 || text.len > 5)
		return false;
	for (size_t i = 0; i < text.len; i++) {
		if (text.at[i] < '0' || text.at[i] > '9')
			return false;
		n = n * 10 + (unsigned)(text.at[i] - '0');
	}
	return n > 0 && n < 65536;
}

/* Without brackets a host has no colon, so that "::1" is no host "::" with a port 1. */
static bool is_host(struct sw_bytes text, bool bracketed)
{
	if (text.len == 0)
		return false;
	for (size_t i = 0; i < text.len; i++) {
		uint8_t c = text.at[i];

		if (c <= ' ' || c > '~' || c == '/' || c == '[' || c == ']' || c == '@' ||
		    (c == ':' && !bracketed))
			return false;
	}
	return true;
}

static void copy(struct sw_bytes text, char *ret_text)
{
	memcpy(ret_text, text.at, text.len);
	ret_text[text.len] = '\0';
}

int sw_address_nth(const char *list, unsigned n, char ret_authority[SW_AUTHORITY_MAX],
		   char ret_host[SW_AUTHORITY_MAX], char ret_port[8])
{
	struct sw_bytes part, host, port;
	size_t colon;
	bool bracketed;

	if (!nth(list, n, &part))
		return 0;
	for (colon = part.len; colon && part.at[colon - 1] != ':'; colon--)
		;
	host = sw_bytes_slice(part, 0, colon ? colon - 1 : 0);
	port = sw_bytes_from(part, colon);
	bracketed = host.len > 2 && host.at[0] == '[' && host.at[host.len - 1] == ']';
	if (bracketed)
		host = sw_bytes_slice(host, 1, host.len - 1);
	if (part.len >= SW_AUTHORITY_MAX || !is_host(host, bracketed) || !is_port(port))
		return -EINVAL;
	copy(part, ret_authority);
	copy(host, ret_host);
	copy(port, ret_port);
	return 1;
}

int sw_address_check(const char *list)
{
	char authority[SW_AUTHORITY_MAX], host[SW_AUTHORITY_MAX], port[8];
	int got, count = 0;

	while ((got = sw_address_nth(list, (unsigned)count, authority, host, port)) > 0)
		count++;
	return got < 0 ? got : count;
}

void sw_address_authority(const char *list, unsigned n, char ret_authority[SW_AUTHORITY_MAX])
{
	char host[SW_AUTHORITY_MAX], port[8];

	if (sw_address_nth(list, n, ret_authority, host, port) <= 0)
		ret_authority[0] = '\0';
}

/* How many of the first have the family of the very first. */
static unsigned alike(const struct sw_address *address, unsigned count)
{
	unsigned n = 1;

	while (n < count && address[n].at.ss_family == address[0].at.ss_family)
		n++;
	return n;
}

/* Where an address stands among others, as `dice` fell. */
static uint64_t place(const struct sw_address *address, uint32_t dice)
{
	const struct sockaddr_in *v4 = (const void *)&address->at;
	const struct sockaddr_in6 *v6 = (const void *)&address->at;
	uint64_t word[2] = {v4->sin_addr.s_addr, 0};

	if (address->at.ss_family == AF_INET6)
		memcpy(word, &v6->sin6_addr, sizeof(word));
	word[0] = (word[0] ^ (uint64_t)dice << 32) * 0x9e3779b97f4a7c15ull;
	word[0] = (word[0] ^ word[0] >> 29 ^ word[1]) * 0xbf58476d1ce4e5b9ull;
	word[0] = (word[0] ^ word[0] >> 32) * 0x94d049bb133111ebull;
	return word[0] ^ word[0] >> 31;
}

static void put_in_order(struct sw_address *address, unsigned count, uint32_t dice)
{
	for (unsigned i = 1; i < count; i++) {
		struct sw_address one = address[i];
		unsigned at = i;

		for (; at && place(&address[at - 1], dice) > place(&one, dice); at--)
			address[at] = address[at - 1];
		address[at] = one;
	}
}

void sw_address_shuffle(struct sw_address *address, unsigned count, uint32_t dice)
{
	while (count) {
		unsigned some = alike(address, count);

		put_in_order(address, some, dice);
		address += some;
		count -= some;
	}
}

int sw_address_resolve(const char *list, unsigned n, uint32_t dice, struct sw_address *address,
		       unsigned *count)
{
	char authority[SW_AUTHORITY_MAX], host[SW_AUTHORITY_MAX], port[8];
	struct addrinfo hints = {.ai_socktype = SOCK_STREAM,
				 .ai_flags = AI_NUMERICSERV | AI_NUMERICHOST};
	struct addrinfo *found = NULL;
	unsigned before = *count;
	int error;

	if (sw_address_nth(list, n, authority, host, port) <= 0)
		return EAI_NONAME;
	error = sw_real.getaddrinfo(host, port, &hints, &found);
	if (error) {
		hints.ai_flags = AI_NUMERICSERV | AI_ADDRCONFIG;
		error = sw_real.getaddrinfo(host, port, &hints, &found);
	}
	if (error)
		return error;
	for (struct addrinfo *a = found; a && *count < SW_ADDRESSES_MAX; a = a->ai_next) {
		struct sw_address *one = &address[*count];

		if (a->ai_addrlen > sizeof(one->at))
			continue;
		memcpy(&one->at, a->ai_addr, a->ai_addrlen);
		one->len = a->ai_addrlen;
		one->host = n;
		*count += 1;
	}
	freeaddrinfo(found);
	sw_address_shuffle(&address[before], *count - before, dice);
	return 0;
}
