/* Finding and loading plug-ins; see plugin.h. */
#include "reporter/plugin.h"

#include <dlfcn.h>
#include <stdio.h>

#include "preload/config.h"
#include "preload/fds.h"
#include "preload/guard.h"
#include "preload/ours.h"
#include "preload/sys.h"
#include "reporter/say.h"

static void fd_lost(int fd)
{
	sw_fd_clear(fd, SW_FD_OURS);
}

static const struct sw_host host = {
	.config = &sw_config,
	.kinds = sw_kinds,
	.say = sw_say,
	.say_error = sw_say_error,
	.sent = sw_reporter_sent,
	.sent_partly = sw_reporter_sent_partly,
	.delicate = sw_reporter_delicate,
	.fd_adopt = sw_fd_adopt,
	.fd_close = sw_fd_close_ours,
	.fd_lost = fd_lost,
	.fd_private = sw_fd_private,
	.fd_cookie = sw_fd_cookie,
	.fd_same = sw_fd_same,
	.thread_ours = sw_guest_mark_ours,
	.thread_room = sw_ours_thread_room,
	.address_check = sw_address_check,
	.address_nth = sw_address_nth,
	.address_resolve = sw_address_resolve,
	.python = sw_management_python,
	.native = &sw_transport_grpc,
	.judge = &sw_judge_table,
	.go_native = sw_reporter_go_native,
};

enum slot_state { SLOT_UNTRIED, SLOT_LOADING, SLOT_TRIED };

/* Kept across fork: what is loaded is there in the child, too. */
static struct slot {
	const char *name;
	enum slot_state state;
	const struct sw_plugin *plugin;
} slots[] = {
#define SW_PLUGIN(name, inside, doc) {#name, SLOT_UNTRIED, NULL},
#include "reporter/plugins.def"
#undef SW_PLUGIN
	{NULL, SLOT_UNTRIED, NULL},
};

/* Beside our own object, by its absolute path: no search path of the program's leads us astray. */
static bool path_of(const char *name, char *ret_path, size_t room)
{
	char own[4096];
	Dl_info info;
	char *slash;
	int len;

	if (!dladdr(&host, &info) || !realpath(info.dli_fname, own))
		return false;
	slash = strrchr(own, '/');
	if (!slash)
		return false;
	*slash = 0;
	len = snprintf(ret_path, room, "%s/libswagent-%s.so", own, name);
	return len > 0 && (size_t)len < room;
}

static const struct sw_plugin *refuse(const char *name, const char *why, const char *instead)
{
	sw_say(SW_LEVEL_WARNING, "the plug-in `%s` cannot be used: %s; %s", name, why, instead);
	return NULL;
}

static const struct sw_plugin *load(const char *name, const char *instead)
{
	const struct sw_plugin *plugin;
	char path[4200];
	void *object;

	if (!path_of(name, path, sizeof(path)))
		return refuse(name, "our own path is not known", instead);
	object = dlopen(path, RTLD_NOW | RTLD_LOCAL);
	if (!object)
		return refuse(name, dlerror(), instead);
	plugin = dlsym(object, "sw_plugin");
	if (!plugin || strcmp(plugin->version, SW_VERSION) != 0 ||
	    plugin->agent_size != sizeof(struct sw_agent))
		return refuse(name, "it is of another build", instead);
	if (plugin->start(&host))
		return refuse(name, "it does not start", instead);
	sw_say(SW_LEVEL_DEBUG, "%s: %s", path, plugin->inside);
	return plugin;
}

/* The last one, which has no name, is for a plug-in without a row: it will not be found. */
static struct slot *slot_of(const char *name)
{
	struct slot *slot = slots;

	while (slot->name && strcmp(slot->name, name) != 0)
		slot++;
	return slot;
}

const struct sw_plugin *sw_plugin_load(const char *name, const char *instead)
{
	struct slot *slot = slot_of(name);

	if (slot->state == SLOT_TRIED)
		return slot->plugin;
	if (slot->state ==
	    SLOT_LOADING) { /* in the parent, when it forked: half of it may be there */
		slot->state = SLOT_TRIED;
		return refuse(name, "the process forked while it was loaded", instead);
	}
	slot->state = SLOT_LOADING;
	sw_reporter_loading(true);
	slot->plugin = load(name, instead);
	sw_reporter_loading(false);
	slot->state = SLOT_TRIED;
	return slot->plugin;
}
