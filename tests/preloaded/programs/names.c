/*
 * A resolver for tests, to be preloaded behind us: the name "collectors" has two addresses, $FIRST_ADDRESS
 * and 127.0.0.1, in this order. All else is as it is.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <netdb.h>
#include <stdlib.h>
#include <string.h>

typedef int resolver(const char *, const char *, const struct addrinfo *, struct addrinfo **);

int getaddrinfo(const char *name, const char *service, const struct addrinfo *hints, struct addrinfo **found)
{
	resolver *real = (resolver *)dlsym(RTLD_NEXT, "getaddrinfo");
	struct addrinfo numbers = {.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV, .ai_socktype = SOCK_STREAM};
	int error;

	if (!name || strcmp(name, "collectors") || (hints && hints->ai_flags & AI_NUMERICHOST))
		return real(name, service, hints, found);
	error = real(getenv("FIRST_ADDRESS"), service, &numbers, found);
	return error ? error : real("127.0.0.1", service, &numbers, &(*found)->ai_next);
}
