"""So many requests, twice, each on a connection of its own: steady.py PORT COUNT PAUSE LAST_PAUSE

Says what it got, on both of its outputs, and ends with status 7.
"""

import socket
import sys
import time

port, count, pauses = int(sys.argv[1]), int(sys.argv[2]), map(float, sys.argv[3:5])

for turn, pause in enumerate(pauses):
    for number in range(count):
        with socket.create_connection(("127.0.0.1", port)) as to:
            to.sendall(b"GET /%d/%d HTTP/1.1\r\nHost: origin\r\nConnection: close\r\n\r\n" % (turn, number))
            answer = b""
            while got := to.recv(4096):
                answer += got
        print(turn, number, answer.split()[1].decode(), len(answer.partition(b"\r\n\r\n")[2]))
    sys.stderr.write(f"turn {turn}\n")
    time.sleep(pause)
sys.exit(7)
