/* What a thread that stands still waits for. The sampler's thread only, with a descriptor table of
 * its own. */
#pragma once

/* Some us. "[recvfrom 10.0.0.5:5432]", "[epoll_wait]", "[futex]"; constant text, at most some
 * hundred different ones. `running` when it runs after all; "[waiting]" when it cannot be told. */
const char *sw_waits_of(int tid, const char *running);
