"""What /proc says of a program's threads. They come and go while one reads: one that has ended is left out.

For tests, and for their programs, which import it by HERE: any Python 3 can.
"""

import os
import signal
import time

HERE = f"import os, sys, time; sys.path.insert(0, {os.path.dirname(os.path.abspath(__file__))!r}); import tasklist\n"


def each(pid, read):
    """For every thread what read(its folder in /proc) says."""
    found = []
    for task in os.listdir(f"/proc/{pid}/task"):
        try:
            found.append(read(f"/proc/{pid}/task/{task}"))
        except (FileNotFoundError, ProcessLookupError):
            pass
    return found


def status(folder):
    """The lines of a thread's status, by their names."""
    with open(f"{folder}/status") as lines:
        return dict(line.rstrip("\n").split(":\t", 1) for line in lines if ":\t" in line)


def status_and_descriptors(folder):
    return status(folder), len(os.listdir(f"{folder}/fd"))


def blocks_all(status):
    """Whether a thread takes no signal but those that nobody can block."""
    blocked = int(status["SigBlk"], 16)
    return all(blocked >> (s - 1) & 1 for s in range(1, 32) if s not in (signal.SIGKILL, signal.SIGSTOP))


def statuses(pid="self"):
    return each(pid, status)


def names(pid="self"):
    return sorted(found["Name"] for found in statuses(pid))


def wakes(pid):
    """How often our one thread has slept and woken."""
    [ours] = [found for found in statuses(pid) if found["Name"] == "swagent"]
    return int(ours["voluntary_ctxt_switches"])


def has(name, within=20):
    """Whether this process has a thread of that name, which may come a moment later."""
    end = time.monotonic() + within
    while name not in names() and time.monotonic() < end:
        time.sleep(0.02)
    return name in names()
