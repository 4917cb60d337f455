"""A PostgreSQL server with an empty cluster of its own, which goes when it ends.

    postgres.py PORT

It does not run as root; there it runs as Debian's user for it, or as nobody.
"""

import os
import pwd
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path


def program(name):
    """Debian has it outside of PATH. None: not installed."""
    versions = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"),
                      key=lambda path: float(path.parts[-3]))
    return str(versions[-1]) if versions else shutil.which(name)


def other_user():
    """The words that run a command as somebody else, and who that is."""
    for name in ("postgres", "nobody"):
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        return ["setpriv", f"--reuid={entry.pw_uid}", f"--regid={entry.pw_gid}",
                "--clear-groups"], (entry.pw_uid, entry.pw_gid)
    sys.exit("nobody to run PostgreSQL as")


def serve(folder, port):
    """Until SIGTERM. Returns the exit status."""
    before = []
    if os.geteuid() == 0:
        before, owner = other_user()
        os.chown(folder, *owner)
    subprocess.run([*before, program("initdb"), "-D", f"{folder}/data", "-U", "swagent", "-A",
                    "trust", "-E", "UTF8", "--no-locale", "--no-sync"], check=True, cwd=folder)
    server = subprocess.Popen(
        [*before, program("postgres"), "-D", f"{folder}/data", "-p", port, "-k", folder,
         "-c", "listen_addresses=127.0.0.1", "-c", "fsync=off", "-c", "max_connections=200",
         "-c", "shared_buffers=16MB"], cwd=folder)
    signal.signal(signal.SIGTERM, lambda *_: server.send_signal(signal.SIGINT))  # its fast end
    return server.wait()


def main():
    folder = tempfile.mkdtemp(prefix="context-postgres-")
    try:
        sys.exit(serve(folder, sys.argv[1]))
    finally:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
