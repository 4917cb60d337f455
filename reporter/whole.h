/*
 * A profile of the whole process by key, from its start to its end: SW_AGENT_PROFILE_OUTPUT. Our
 * thread gathers it in its own memory, and writes the file when the process ends or becomes another
 * image; a process that is killed leaves none.
 */
#pragma once

#include <stdbool.h>

struct sw_agent;

/* Once a turn. Sets agent->whole_ns, when it wants the next one. */
void sw_whole_file_tick(struct sw_agent *agent);

/* The file is not written yet. */
bool sw_whole_file_busy(void);
