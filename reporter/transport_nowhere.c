/* Where records go whose plug-in is not there: nowhere. It never opens, so they are dropped and
 * counted. */
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

static enum sw_sent nowhere_send(struct sw_agent *agent, struct sw_batch *batch)
{
	(void)agent, (void)batch;
	return SW_SENT_NEVER;
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
	.send = nowhere_send,
	.pause = nowhere_pause,
	.forked = nowhere_forked,
};
