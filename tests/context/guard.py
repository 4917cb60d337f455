"""Ends what a killed driver leaves behind: servers have sessions of their own.

It reads "+ID" and "-ID" of process groups that began and ended. At the end of its input, which is
the end of the driver however that came, it ends those that are left.
"""

import os
import signal
import subprocess
import sys


class Guard:
    """The driver's side."""

    def __init__(self):
        self.process = subprocess.Popen([sys.executable, __file__], stdin=subprocess.PIPE,
                                        start_new_session=True)

    def say(self, sign, group):
        os.write(self.process.stdin.fileno(), f"{sign}{group}\n".encode())

    def close(self):
        self.process.stdin.close()
        self.process.wait()


def main():
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    groups = set()
    for line in sys.stdin:
        (groups.add if line[0] == "+" else groups.discard)(int(line[1:]))
    for group in groups:
        try:
            os.killpg(group, signal.SIGKILL)
        except ProcessLookupError:
            pass


if __name__ == "__main__":
    main()
