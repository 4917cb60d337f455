"""Logs to the sockets of syslog and journald, which the test has bound: sockets.py PORT, as connected
and not."""

import logging
import logging.handlers
import socket
import struct
import sys
import urllib.request

urllib.request.urlopen(f"http://127.0.0.1:{sys.argv[1]}/first").read()

handler = logging.handlers.SysLogHandler("/dev/log")
handler.ident = "shop: "
logging.getLogger("a").addHandler(handler)
logging.getLogger("a").error("by syslog %d", 5)

journal = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
text = "two\nlines".encode()
native = b"PRIORITY=4\nSYSLOG_IDENTIFIER=shop\nMESSAGE\n" + struct.pack("<Q", len(text)) + text + b"\n"
journal.sendto(native, "/run/systemd/journal/socket")
journal.sendmsg([b"MESSAGE=in ", b"pieces\n", b"PRIORITY=3\n"], [], 0, "/run/systemd/journal/socket")
other = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
other.bind("other")
journal.sendto(b"MESSAGE=elsewhere\nPRIORITY=0\n", "other")
urllib.request.urlopen(f"http://127.0.0.1:{sys.argv[1]}/last").read()
