/*
 * Who we are, for the collector: properties once and with every n-th heartbeat, keep-alive between
 * (specification 3.5, 3.6).
 */
#include <arpa/inet.h>
#include <dlfcn.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <netinet/in.h>
#include <stdio.h>
#include <sys/utsname.h>

#include "preload/config.h"
#include "preload/sys.h"
#include "preload/turns.h"
#include "proto/object.h"
#include "reporter/reporter.h"
#include "reporter/say.h"

#define PROPERTIES_MAX 64
#define ADDRESSES_MAX 8

/* CPython exports it, or its libpython does. The text is static; no GIL is needed. */
static const char *python_version(void)
{
	const char *(*version)(void);

	sw_reporter_delicate(true);
	version = (const char *(*)(void))dlsym(RTLD_DEFAULT, "Py_GetVersion");
	sw_reporter_delicate(false);
	return version ? version() : NULL;
}

unsigned sw_management_python(void)
{
	const char *text = python_version();
	unsigned number[2] = {0, 0};

	for (int i = 0; text && i < 2; i++, text++) {
		for (; *text >= '0' && *text <= '9'; text++)
			number[i] = number[i] * 10 + (unsigned)(*text - '0');
	}
	return number[0] * 100 + SW_MIN(number[1], 99u);
}

static bool is_ours(const struct ifaddrs *one, bool loopback)
{
	return one->ifa_addr && one->ifa_addr->sa_family == AF_INET &&
	       !(one->ifa_flags & IFF_LOOPBACK) == !loopback;
}

/* One property for each address: the collector gathers them. Loopback counts where it is all. */
static size_t list_addresses(struct sw_property *property)
{
	static char text[ADDRESSES_MAX][INET_ADDRSTRLEN];
	struct ifaddrs *list = NULL;
	size_t n = 0;

	if (getifaddrs(&list))
		return 0;
	for (int loopback = 0; loopback <= 1 && n == 0; loopback++) {
		for (struct ifaddrs *one = list; one && n < ADDRESSES_MAX; one = one->ifa_next) {
			const struct sockaddr_in *in = (const void *)one->ifa_addr;

			if (!is_ours(one, loopback) ||
			    !inet_ntop(AF_INET, &in->sin_addr, text[n], sizeof(text[n])))
				continue;
			property[n] = (struct sw_property){"ipv4", text[n]};
			n++;
		}
	}
	freeifaddrs(list);
	return n;
}

static size_t list_properties(struct sw_property *property)
{
	static struct utsname host;
	static char pid[24], version[32];
	const char *python = python_version();
	size_t n = 0;

	uname(&host);
	snprintf(pid, sizeof(pid), "%ld", sw_sys(getpid));
	property[n++] = (struct sw_property){"language", python ? "python" : "c"};
	property[n++] = (struct sw_property){"OS Name", host.sysname};
	property[n++] = (struct sw_property){"Process No.", pid};
	property[n++] = (struct sw_property){"hostname", host.nodename};
	n += list_addresses(property + n);
	if (python) {
		snprintf(version, sizeof(version), "%.*s", (int)strcspn(python, " "), python);
		property[n++] = (struct sw_property){"python_implementation", "CPython"};
		property[n++] = (struct sw_property){"python_version", version};
	}
	if (sw_config.space[0])
		property[n++] = (struct sw_property){"namespace", sw_config.space};
	return n;
}

/* Those of the key, after ours. `store` keeps their texts. */
static size_t list_extra(struct sw_property *property, size_t room, struct sw_buffer *store)
{
	static bool said;
	const char *at, *end;
	size_t n = 0;

	if (!sw_config.instance_properties[0])
		return 0;
	if (!sw_json_object(sw_bytes_text(sw_config.instance_properties), store)) {
		if (!said)
			sw_say(SW_LEVEL_WARNING, "SW_AGENT_INSTANCE_PROPERTIES_JSON is not a flat "
						 "JSON object; it is ignored");
		said = true;
		return 0;
	}
	end = (const char *)store->at + store->len;
	for (at = (const char *)store->at; at < end && n < room; n++) {
		property[n].key = at;
		property[n].value = at + strlen(at) + 1;
		at = property[n].value + strlen(property[n].value) + 1;
	}
	return n;
}

static void add_properties(struct sw_agent *agent)
{
	struct sw_property property[PROPERTIES_MAX];
	struct sw_buffer store = {NULL, 0, 0, false};
	size_t count = list_properties(property);

	count += list_extra(property + count, PROPERTIES_MAX - count, &store);
	agent->message.len = 0;
	if (sw_encode_properties(agent->encoder, agent->transport->format, &agent->sender, property,
				 count, &agent->message))
		sw_reporter_add(agent, SW_BATCH_PROPERTIES);
	sw_buffer_free(&store);
}

static void add_ping(struct sw_agent *agent)
{
	agent->message.len = 0;
	if (sw_encode_ping(agent->encoder, agent->transport->format, &agent->sender,
			   &agent->message))
		sw_reporter_add(agent, SW_BATCH_PING);
}

/* A collector that is away misses a heartbeat, it need not get all of them later. */
static bool waits(const struct sw_agent *agent, enum sw_batch_kind kind)
{
	return agent->queue.messages[kind] > 0;
}

void sw_management_tick(struct sw_agent *agent)
{
	if (!sw_reporter_is_due(agent, agent->heartbeat_ns, sw_config.heartbeat_s * SW_SECOND_NS))
		return;
	if (agent->heartbeats % sw_config.properties_factor == 0 &&
	    !waits(agent, SW_BATCH_PROPERTIES))
		add_properties(agent);
	else if (!waits(agent, SW_BATCH_PROPERTIES) && !waits(agent, SW_BATCH_PING))
		add_ping(agent);
	sw_turns_sweep(); /* also where no meters are made, which do it each period */
	agent->heartbeats++;
	agent->heartbeat_ns = agent->now_ns + sw_config.heartbeat_s * SW_SECOND_NS;
}
