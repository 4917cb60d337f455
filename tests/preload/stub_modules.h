/*
 * Stands in for preload/agent.c, whose walk over the modules exists only in the loaded library.
 * Included once, by the test of a file that calls the walker.
 */
#pragma once

#include "preload/module.h"

static unsigned modules_kicked, modules_forked;
/* What a test wants to happen in the walk. */
static void (*on_kick)(void);
static void (*on_forked)(void);

void sw_modules_kick(void)
{
	modules_kicked++;
	if (on_kick)
		on_kick();
}

void sw_modules_left(struct sw_guest *g)
{
	(void)g;
}

void sw_modules_forked(void)
{
	modules_forked++;
	if (on_forked)
		on_forked();
}
