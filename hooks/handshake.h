/* Handshakes of the program's connections, counted (preload/tallies.def). */
#pragma once

#include "hooks/talk.h"

/* The talk is held. False: nothing more is to be learnt of it. */
bool sw_handshake(struct sw_guest *g, int fd, struct sw_talk *talk, enum sw_handshake what);
