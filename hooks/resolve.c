/*
 * Names that the program looked up, by address: the peer of a call whose request names none.
 *
 * A small table, last writer wins. A slot that another thread is writing is skipped, not waited
 * for. Also the texts of addresses.
 */
#include <errno.h>
#include <netdb.h>
#include <stdatomic.h>
#include <sys/un.h>

#include "hooks/talk.h"
#include "preload/exports.h"
#include "preload/sys.h"
#include "preload/tallies.h"

#define SLOTS 256
#define NAME_BYTES 100

struct slot {
	_Atomic uint32_t busy;
	uint8_t family;
	uint8_t len;
	uint8_t address[16];
	char name[NAME_BYTES];
};

static struct slot slots[SLOTS];

static size_t address_len(int family)
{
	return family == AF_INET ? 4 : family == AF_INET6 ? 16 : 0;
}

static struct slot *slot_of(int family, const uint8_t *address)
{
	uint32_t h = 2166136261u;

	for (size_t i = 0; i < address_len(family); i++)
		h = (h ^ address[i]) * 16777619u;
	return &slots[h % SLOTS];
}

static bool try_take(struct slot *slot)
{
	uint32_t free = 0;

	return atomic_compare_exchange_strong(&slot->busy, &free, 1);
}

static void note(int family, const void *address, struct sw_bytes name)
{
	struct slot *slot = slot_of(family, address);

	if (!address_len(family) || name.len == 0 || name.len > NAME_BYTES || !try_take(slot))
		return;
	slot->family = (uint8_t)family;
	slot->len = (uint8_t)name.len;
	memcpy(slot->address, address, address_len(family));
	memcpy(slot->name, name.at, name.len);
	atomic_store(&slot->busy, 0);
}

static bool write_name(int family, const uint8_t *address, struct sw_writer *w)
{
	struct slot *slot = slot_of(family, address);
	bool found;

	if (!address_len(family) || !try_take(slot))
		return false;
	found = slot->len && slot->family == family &&
		memcmp(slot->address, address, address_len(family)) == 0;
	if (found)
		sw_write(w, sw_bytes(slot->name, slot->len));
	atomic_store(&slot->busy, 0);
	return found;
}

static void note_list(const struct addrinfo *list, const char *name)
{
	for (int i = 0; list && i < 16; i++, list = list->ai_next) {
		if (list->ai_family == AF_INET)
			note(AF_INET, &((struct sockaddr_in *)list->ai_addr)->sin_addr,
			     sw_bytes_text(name));
		else if (list->ai_family == AF_INET6)
			note(AF_INET6, &((struct sockaddr_in6 *)list->ai_addr)->sin6_addr,
			     sw_bytes_text(name));
	}
}

static void note_host(const struct hostent *host, const char *name)
{
	for (int i = 0; host && host->h_addr_list && host->h_addr_list[i] && i < 16; i++)
		note(host->h_addrtype, host->h_addr_list[i], sw_bytes_text(name));
}

/* A lookup that began then is over. */
static void tally(struct sw_guest *g, uint64_t began_ns, bool answered)
{
	uint64_t ns = sw_clock_ns(CLOCK_MONOTONIC) - began_ns;

	sw_tally_add(g, SW_TALLY_LOOKUPS, 1);
	sw_tally_add(g, SW_TALLY_LOOKUP_NS, ns);
	if (!answered)
		sw_tally_add(g, SW_TALLY_LOOKUPS_FAILED, 1);
	sw_tally_most(&sw_lookup_longest_ns, ns);
}

int sw_hook_getaddrinfo(struct sw_guest *g, const char *node, const char *service,
			const struct addrinfo *hints, struct addrinfo **result)
{
	uint64_t began_ns = sw_clock_ns(CLOCK_MONOTONIC);
	int status = sw_call(g, getaddrinfo, node, service, hints, result);

	if (node)
		tally(g, began_ns, status == 0);
	if (status == 0 && node && result)
		note_list(*result, node);
	return status;
}

struct hostent *sw_hook_gethostbyname(struct sw_guest *g, const char *name)
{
	uint64_t began_ns = sw_clock_ns(CLOCK_MONOTONIC);
	struct hostent *host = sw_call(g, gethostbyname, name);

	tally(g, began_ns, host);
	note_host(host, name);
	return host;
}

struct hostent *sw_hook_gethostbyname2(struct sw_guest *g, const char *name, int family)
{
	uint64_t began_ns = sw_clock_ns(CLOCK_MONOTONIC);
	struct hostent *host = sw_call(g, gethostbyname2, name, family);

	tally(g, began_ns, host);
	note_host(host, name);
	return host;
}

int sw_hook_gethostbyname_r(struct sw_guest *g, const char *name, struct hostent *ret, char *buf,
			    size_t len, struct hostent **result, int *error)
{
	uint64_t began_ns = sw_clock_ns(CLOCK_MONOTONIC);
	int status = sw_call(g, gethostbyname_r, name, ret, buf, len, result, error);

	if (status != ERANGE) /* it will be asked again with more room */
		tally(g, began_ns, status == 0 && result && *result);
	if (status == 0 && result)
		note_host(*result, name);
	return status;
}

int sw_hook_gethostbyname2_r(struct sw_guest *g, const char *name, int family, struct hostent *ret,
			     char *buf, size_t len, struct hostent **result, int *error)
{
	uint64_t began_ns = sw_clock_ns(CLOCK_MONOTONIC);
	int status = sw_call(g, gethostbyname2_r, name, family, ret, buf, len, result, error);

	if (status != ERANGE) /* it will be asked again with more room */
		tally(g, began_ns, status == 0 && result && *result);
	if (status == 0 && result)
		note_host(*result, name);
	return status;
}

/* ---- texts ---- */

static void write_hextet(struct sw_writer *w, unsigned value)
{
	char text[4];
	int n = 0;

	do {
		text[n++] = "0123456789abcdef"[value & 15];
		value >>= 4;
	} while (value);
	while (n--)
		sw_write(w, sw_bytes(&text[n], 1));
}

/* Zero runs are shortened as RFC 5952 wants: the longest one of at least two. */
static void write_v6(struct sw_writer *w, const uint8_t *a)
{
	int best = -1, best_len = 1;

	for (int i = 0; i < 8; i++) {
		int n = 0;

		while (i + n < 8 && !a[(i + n) * 2] && !a[(i + n) * 2 + 1])
			n++;
		if (n > best_len) {
			best = i;
			best_len = n;
		}
	}
	for (int i = 0; i < 8; i++) {
		if (i == best) {
			sw_write(w, SW_BYTES("::"));
			i += best_len - 1;
			continue;
		}
		if (i && i != best + best_len)
			sw_write(w, SW_BYTES(":"));
		write_hextet(w, (unsigned)(a[i * 2] << 8 | a[i * 2 + 1]));
	}
}

/* Every Entry has one: digits without a loop, and one write. */
static void write_v4(struct sw_writer *w, const uint8_t *a)
{
	uint8_t text[16];
	size_t len = 0;

	for (int i = 0; i < 4; i++) {
		if (a[i] >= 100)
			text[len++] = (uint8_t)('0' + a[i] / 100);
		if (a[i] >= 10)
			text[len++] = (uint8_t)('0' + a[i] / 10 % 10);
		text[len++] = (uint8_t)('0' + a[i] % 10);
		text[len++] = '.';
	}
	sw_write(w, sw_bytes(text, len - 1));
}

static const uint8_t v4_mapped[12] = {[10] = 0xff, [11] = 0xff};

static void write_address(struct sw_writer *w, int family, const uint8_t *a)
{
	if (family == AF_INET) {
		write_v4(w, a);
	} else if (memcmp(a, v4_mapped, sizeof(v4_mapped)) == 0) {
		write_v4(w, a + 12);
	} else {
		sw_write(w, SW_BYTES("["));
		write_v6(w, a);
		sw_write(w, SW_BYTES("]"));
	}
}

/* The path of a UNIX socket: where it listens for the server, where it connected for the client. */
static void write_unix(struct sw_writer *w, int fd, bool other_end)
{
	struct sockaddr_un addr = {.sun_family = AF_UNIX};
	socklen_t len = sizeof(addr);
	struct sw_bytes path;

	if ((other_end ? sw_sys(getpeername, fd, &addr, &len)
		       : sw_sys(getsockname, fd, &addr, &len)))
		len = 0;
	sw_write(w, SW_BYTES("unix:"));
	if (len <= offsetof(struct sockaddr_un, sun_path))
		return;
	path = sw_bytes(addr.sun_path,
			SW_MIN(len, sizeof(addr)) - offsetof(struct sockaddr_un, sun_path));
	if (path.at[0] == 0) { /* abstract: shown as tools show it */
		sw_write(w, SW_BYTES("@"));
		path = sw_bytes_from(path, 1);
	}
	sw_write(w, sw_bytes_slice(path, 0, sw_bytes_find(path, 0)));
}

static struct sw_bytes with_port(uint16_t port, struct sw_writer *w)
{
	sw_write(w, SW_BYTES(":"));
	sw_write_number(w, port);
	return sw_written(w);
}

/* A connection has many requests. */
static struct sw_bytes kept_peer(struct sw_talk *talk, struct sw_bytes text)
{
	if (text.len <= sizeof(talk->peer)) {
		memcpy(talk->peer, text.at, text.len);
		talk->peer_len = (uint8_t)text.len;
	}
	return text;
}

struct sw_bytes sw_talk_peer(int fd, struct sw_talk *talk, struct sw_writer *w)
{
	if (talk->peer_len)
		return sw_bytes(talk->peer, talk->peer_len);
	sw_talk_find_address(fd, talk);
	if (talk->family == AF_UNIX) {
		write_unix(w, fd, talk->role == SW_ROLE_CLIENT);
		return sw_written(w);
	}
	if (!address_len(talk->family))
		return sw_written(w);
	write_address(w, talk->family, talk->address);
	return kept_peer(talk, with_port(talk->port, w));
}

struct sw_bytes sw_talk_called(int fd, struct sw_talk *talk, struct sw_bytes named,
			       struct sw_writer *w)
{
	sw_talk_find_address(fd, talk);
	if (named.len && talk->family != AF_UNIX)
		return named;
	if (!address_len(talk->family) || !write_name(talk->family, talk->address, w))
		return sw_talk_peer(fd, talk, w);
	return with_port(talk->port, w);
}
