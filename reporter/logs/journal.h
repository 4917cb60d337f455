/* Messages to syslog and to journald as they stand in a datagram. Pure; any bytes, any length. */
#pragma once

#include "reporter/logs/read.h"

/* "<PRI>Nov 21 20:00:00 tag[pid]: text" and like it. Sets level and logger (the tag). Returns the
 * text; all of it when it is not that. */
struct sw_bytes sw_log_read_syslog(struct sw_bytes datagram, struct sw_log_facts *ret_facts);

/* journald's native protocol: fields NAME=value, or NAME, a length and that many bytes. Returns the
 * MESSAGE; empty when there is none. */
struct sw_bytes sw_log_read_journal(struct sw_bytes datagram, struct sw_log_facts *ret_facts);
