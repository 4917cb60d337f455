"""jail.py FOLDER WORK LIB|- PROGRAM ARG...: runs a program where it meets nobody else.

Own processes (all end with it, pids repeat), own network (loopback only, every port is free), own
/run, and FOLDER under the fixed name WORK, so that paths are the same without and with us. Where
namespaces are not allowed, WORK is a link, and the rest is as it is.
"""

import ctypes
import fcntl
import os
import signal
import socket
import struct
import sys

NEWNS, NEWUTS, NEWIPC, NEWPID, NEWNET = 0x20000, 0x4000000, 0x8000000, 0x20000000, 0x40000000
MS_REC_PRIVATE, MS_BIND, MS_NOSUID = 0x44000, 0x1000, 2
PR_SET_PDEATHSIG = 1

libc = ctypes.CDLL(None, use_errno=True)


def mount(source, target, kind=None, flags=0, data=None):
    words = [w.encode() if w else None for w in (source, target, kind)]
    if libc.mount(*words, ctypes.c_ulong(flags), data):
        raise OSError(ctypes.get_errno(), f"mount {target}")


def loopback_up():
    with socket.socket() as any_socket:
        fcntl.ioctl(any_socket, 0x8914, struct.pack("16sh14x", b"lo", 0x49))  # SIOCSIFFLAGS


def ping_allowed():
    """A new network starts without what Debian allows."""
    try:
        with open("/proc/sys/net/ipv4/ping_group_range", "w") as file:
            file.write("0 2147483647")
    except OSError:
        pass


def furnish(folder, work):
    mount(None, "/", None, MS_REC_PRIVATE)
    mount("proc", "/proc", "proc")
    mount("run", "/run", "tmpfs", MS_NOSUID)
    for name in "lock", "sshd", "user":
        os.mkdir(f"/run/{name}")
    os.chmod("/run/lock", 0o1777)
    os.makedirs(work, exist_ok=True)
    mount(folder, work, None, MS_BIND)
    loopback_up()
    ping_allowed()
    socket.sethostname("transparency")


def without_namespaces(folder, work):
    if os.path.lexists(work):
        os.unlink(work)
    os.symlink(folder, work)


def become(work, lib, argv):
    """Gives the program the signals and descriptors that a shell would."""
    for number in range(1, signal.NSIG):
        if number not in (signal.SIGKILL, signal.SIGSTOP, 32, 33):
            signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    os.umask(0o022)
    os.setsid()
    os.chdir(f"{work}/work")
    os.closerange(3, 1024)
    if lib != "-":
        os.environ["LD_PRELOAD"] = lib
    try:
        os.execvp(argv[0], argv)
    except OSError as error:
        os.write(2, f"{argv[0]}: {error}\n".encode())
        os._exit(127)


def first_process(program):
    """Reaps what is left to it, and ends, with all the rest, when the program does."""
    while True:
        pid, status = os.wait()
        if pid == program:
            os._exit(128 - os.waitstatus_to_exitcode(status) if os.WIFSIGNALED(status)
                     else os.WEXITSTATUS(status))


def main(folder, work, lib, *argv):
    libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    jailed = not libc.unshare(NEWNS | NEWUTS | NEWIPC | NEWPID | NEWNET)
    child = os.fork()
    if child:
        os._exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) & 255)
    libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    (furnish if jailed else without_namespaces)(folder, work)
    program = os.fork()
    if program == 0:
        become(work, lib, argv)
    first_process(program)


main(*sys.argv[1:])
