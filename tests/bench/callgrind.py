"""Instructions executed, counted by callgrind: the same program gives the same number."""

import re
from pathlib import Path

from common import Failed, output_of


def instructions(command, env, folder):
    """(of the first thread, of all other threads) of a whole run."""
    out = Path(folder) / "callgrind.out"
    for old in Path(folder).glob("callgrind.out*"):
        old.unlink()
    output_of(["valgrind", "-q", "--tool=callgrind", "--separate-threads=yes",
               f"--callgrind-out-file={out}", *command], env=env)
    totals = {}
    for file in Path(folder).glob("callgrind.out-*"):
        found = re.search(rb"^totals: (\d+)$", file.read_bytes(), re.M)
        totals[int(file.name.rsplit("-", 1)[1])] = int(found.group(1)) if found else 0
    if not totals.get(1):
        raise Failed("callgrind wrote no totals")
    return totals.pop(1), sum(totals.values())
