/* Where records go whose plug-in is not there: nowhere. It never opens, so it is offered none, and
 * they are dropped and counted. */
#include <errno.h>

#include "reporter/reporter.h"

static void nowhere_frame(struct sw_batch *batch, struct sw_bytes message)
{
	sw_buffer_add(&batch->bytes, message);
}

/* Who looked for the plug-in has said why. */
static int nowhere_open(struct sw_agent *agent)
{
	(void)agent;
	return -ENOENT;
}

static void nowhere_pause(struct sw_agent *agent)
{
	(void)agent;
}

static void nowhere_forked(void)
{
}

const struct sw_transport sw_transport_nowhere = {
	.name = "nowhere",
	.format = SW_FORMAT_PROTOBUF,
	.frame = nowhere_frame,
	.open = nowhere_open,
	.pause = nowhere_pause,
	.forked = nowhere_forked,
};
