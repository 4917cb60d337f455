/* What the kernel knows of a conversation's socket; see talk.h. */
#include "hooks/talk.h"

#include <linux/tcp.h>
#include <sys/ioctl.h>

#include "preload/sys.h"

/* Asked from the kernel, not read from the program's call: that memory may not be readable. */
void sw_talk_find_address(int fd, struct sw_talk *talk)
{
	union {
		struct sockaddr_in in;
		struct sockaddr_in6 in6;
	} addr = {.in = {.sin_family = AF_UNSPEC}};
	socklen_t len = sizeof(addr);

	if (talk->family != AF_UNSPEC || sw_sys(getpeername, fd, &addr, &len))
		return;
	talk->family = (uint8_t)addr.in.sin_family;
	if (talk->family == AF_INET) {
		talk->port = ntohs(addr.in.sin_port);
		memcpy(talk->address, &addr.in.sin_addr, 4);
	} else if (talk->family == AF_INET6) {
		talk->port = ntohs(addr.in6.sin6_port);
		memcpy(talk->address, &addr.in6.sin6_addr, 16);
	}
}

/*
 * Did everything that passed on this socket pass through us? stdio on a descriptor, io_uring and
 * raw system calls are unseen; the kernel's own counts tell (TCP alone; Linux 4.19).
 */
bool sw_talk_saw_all(int fd, const struct sw_talk *talk)
{
	struct tcp_info info = {0};
	socklen_t len = sizeof(info);
	int unread = 0;

	if (sw_sys(getsockopt, fd, IPPROTO_TCP, TCP_INFO, &info, &len) != 0 ||
	    len < offsetof(struct tcp_info, tcpi_bytes_retrans) + sizeof(uint64_t) ||
	    sw_sys(ioctl, fd, FIONREAD, &unread) != 0)
		return false;
	/* the other end's FIN counts as a byte received */
	return info.tcpi_bytes_sent - info.tcpi_bytes_retrans <= talk->passed[SW_OUT] &&
	       info.tcpi_bytes_received <= talk->passed[SW_IN] + (uint64_t)unread + 1;
}
