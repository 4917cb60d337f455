/*
 * From descriptors to conversations: two directions of bytes and one parser.
 *
 * Every function is called inside the guest, with what the real call did. A conversation is held
 * by one thread at a time for less than a microsecond; who cannot get it gives it up, because
 * bytes that were not seen end all certainty. None touches errno or the program's bytes.
 */
#pragma once

#include <sys/socket.h>
#include <sys/uio.h>

#include "hooks/parser.h"
#include "preload/guard.h"

enum sw_role { SW_ROLE_SERVER, SW_ROLE_CLIENT };

enum sw_direction { SW_IN, SW_OUT };

/* A new conversation on `fd`. Starts the agent when it is the first. */
void sw_flow_accepted(struct sw_guest *g, int fd);
void sw_flow_connected(struct sw_guest *g, int fd);

/* What the number means ends now. */
void sw_flow_closed(struct sw_guest *g, int fd);
/* The number means something new already: what it meant has ended unseen (fclose, io_uring), and
 * the kernel would answer for its successor. */
void sw_flow_replaced(struct sw_guest *g, int fd);
/* Every number from..to, ours excepted. */
void sw_flow_closed_range(struct sw_guest *g, unsigned from, unsigned to);
/* `to` is a second number for `fd`, whatever it was before. */
void sw_flow_duplicated(struct sw_guest *g, int fd, int to);

/* `total` bytes passed, found at the start of the vector. total <= 0 does nothing for SW_OUT; 0
 * for SW_IN is the end of that direction. */
void sw_flow_bytes(struct sw_guest *g, int fd, enum sw_direction direction, const struct iovec *iov,
		   size_t count, ssize_t total);
/* `total` bytes passed that nobody could read. */
void sw_flow_unread(struct sw_guest *g, int fd, enum sw_direction direction, ssize_t total);
/* No more bytes will pass in this direction. */
void sw_flow_ended(struct sw_guest *g, int fd, enum sw_direction direction);

/* Something passed that could not be looked at. Any moment, also where no guest can be had. */
void sw_flow_blind(int fd);

/* The program has something to send on `fd`, perhaps later, for this Entry (0: for none). */
void sw_flow_writes(int fd, sw_ref entry);

/* The oldest unanswered request of a conversation in which we serve, or 0. */
sw_ref sw_flow_unanswered(sw_ref talk);
/* ... if the thread `tid` read the conversation's last request. */
sw_ref sw_flow_unanswered_by(sw_ref talk, int tid);

/* The other end of a socket that is followed, as numbers; false: it is not, or not known yet. Any
 * thread: nothing is held, and nothing asked of the descriptor. */
bool sw_flow_peer(int fd, struct sw_writer *w);
