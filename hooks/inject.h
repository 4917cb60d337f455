/*
 * Our lines in the program's requests.
 *
 * The lines go in before the last CRLF of a head, and everything leaves in one sendmsg with the
 * program's flags. The program's own last bytes always go last: after a partial write the program
 * retries its own bytes, and what is left of ours goes first.
 */
#pragma once

#include "hooks/flow.h"

/* What the program wants to send. */
struct sw_outgoing {
	const struct iovec *iov; /* Borrowed from the program */
	size_t count;
	int flags;
	bool plain;	  /* no address, no control data */
	const void *name; /* where it goes, if the call says so; Borrowed, unread */
	socklen_t name_len;
};

/*
 * Sends with our lines when every condition holds (design: "we inject only when all hold"). True:
 * the bytes have been sent and accounted, *ret_result is what the program gets (errno set). False:
 * nothing was done; the caller makes the program's own call and reports it to the flow.
 */
bool sw_inject_send(struct sw_guest *g, int fd, const struct sw_outgoing *out, ssize_t *ret_result);

/* The program's own call failed: what was begun for a head of which nothing went is undone. */
void sw_inject_failed(struct sw_guest *g, int fd);
