/*
 * Profile tasks: asked for, begun and ended at their times, and the stacks that come of them sent.
 * Our thread only. Where the protocol does not take them, or SW_AGENT_PROFILE_ACTIVE=false, nothing
 * is asked for.
 */
#pragma once

struct sw_agent;

/* Once a turn. Sets agent->profiles_ns, when it wants the next one. */
void sw_profiles_tick(struct sw_agent *agent);
