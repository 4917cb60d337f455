"""One scenario of the suite `programs`."""

from dataclasses import dataclass

# What many rows need. A rule is (pattern, replacement), over stdout, stderr and files, by line.
PIDS = (r"\b\d{2,7}\b", "PID")
HEX = (r"0x[0-9a-fA-F]+", "0x")
DATES = (r"\d{4}-\d\d-\d\d[ T]\d\d:\d\d:\d\d([.,]\d+)?", "DATE")
CLOCK = (r"\b\d\d:\d\d:\d\d([.,]\d+)?\b", "CLOCK")
SECONDS = (r"\b\d+([.,]\d+)? ?(s|ms|us|sec|secs|seconds)\b", "SECONDS")
HTTP_DATE = (r"\b\w{3}, \d\d \w{3} \d{4} \d\d:\d\d:\d\d GMT", "DATE")


@dataclass
class Row:
    """script is Bash, run after helpers.sh in an empty folder, with $PORT, $PORT1 and $PORT2 free.
    packages: Debian's, space separated. rules: what changes by itself, normalised. loose: files
    (patterns, from the folder above) whose contents are not compared; forget: not even their
    presence. quick: also with --quick, so needs nothing that tests/run does not install."""

    name: str
    packages: str
    script: str
    rules: tuple = ()
    loose: tuple = ()
    forget: tuple = ()
    quick: bool = False
    timeout: int = 60
