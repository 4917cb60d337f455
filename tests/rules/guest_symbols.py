#!/usr/bin/env python3
"""What the guest half takes from libc: an allow-list over nm -u of its object files.

usage: guest_symbols.py BUILD

A hook may run in any thread at any moment, in a signal handler, on a stack of 16 KiB, before main
and after exit. So nothing here may allocate, lock, use stdio, the locale or thread-local storage
made on demand. Everything that is not listed is refused; each listed name says why it is safe.
"""

import re
import subprocess
import sys
from pathlib import Path

from rulekit import finish

PURE = "computes from its arguments"
OPTIMISED = "the compiler may write it for a loop or a copy"
FORTIFIED = "the checked form of a pure function"
LOAD = "only from the constructor, before any hook is armed"

# name: (the objects that may use it, or None for all; the reason)
ALLOWED = {
    "pthread_setcancelstate": (("guard",), "sets a word of the thread; in shelter, outside the guest"),
    "pthread_setcanceltype": (("guard",), "the same"),
    "memcpy": (None, PURE),
    "memmove": (None, PURE),
    "memset": (None, OPTIMISED),
    "memcmp": (None, PURE),
    "memchr": (None, PURE),
    "bcmp": (None, OPTIMISED),
    "strlen": (None, PURE),
    "strcmp": (None, PURE),
    "strncmp": (None, PURE),
    "strnlen": (None, PURE),
    "strchr": (None, PURE),
    "strrchr": (None, PURE),
    "strstr": (None, PURE),
    "__memcpy_chk": (None, FORTIFIED),
    "__memmove_chk": (None, FORTIFIED),
    "__memset_chk": (None, FORTIFIED),
    "__stack_chk_fail": (None, "only called when memory is already broken"),
    "__errno_location": (None, "the address of this thread's errno; a register plus an offset"),
    "ntohs": (None, PURE + "; a macro unless built without optimisation"),
    "clock_gettime": (None, "vDSO; async-signal-safe by POSIX"),
    "pthread_self": (("python_frames_find",), "the address of this thread's own block"),
    "getauxval": (("agent", "process", "shot"), "reads what the kernel handed over; no lock"),
    "strcspn": (("agent",), LOAD),
    "getenv": (("agent",), LOAD),
    "environ": (("agent", "process"), "read at load, and by an exec that is given none"),
    "stdout": (("exports_variadic", "stdio", "open"), "the FILE that the program's own call is for"),
    "stderr": (("stdio", "open"), "the FILE that the program's own call is for"),
    "vsnprintf": (("stdio", "syslog"), "once more what the program has just formatted by the same code, "
                  "on the same thread: what it may do now it did then"),
    "strerror_r": (("stdio",), "what perror has just called"),
    "fileno": (("open",), "a load; of the stream that freopen is about to lock"),
    "setlogmask": (("syslog",), "a load; with 0 it changes nothing"),
    "dlsym": (("real", "agent", "ours", "python_api", "python_uv"),
              "resolving, once; allocates only for the text of an error"),
    "dladdr": (("python_current", "python_uv"), "who calls: reads the loader's lists"),
    "dladdr1": (("python_gil", "python_frames_find"), "the size of a symbol, once: reads the loader's lists"),
    "dl_iterate_phdr": (("python_api",), "reads the loader's lists, once per process that serves"),
    "dlopen": (("python_uv",), "a handle of what is loaded already, once per object that calls"),
    "dlclose": (("python_uv",), "of that handle"),
}

# CPython's API by weak references: called through api.def's table, or with the GIL, or never.
PYTHON = ("python_api", "python_collector"), "hooks/python/api.def, collector.def, frames_api.def"
PYTHON_NAME = re.compile(r"_?Py[A-Z_]\w+")

# Instrumented builds. Plain ones have none of these.
SANITIZER = re.compile(r"__(asan|ubsan|tsan|lsan|sanitizer|sanitizer_cov|gcov|llvm)_\w+|__gcov\w*")

# Symbols of the linker, not of libc.
LINKER = {"_GLOBAL_OFFSET_TABLE_", "_DYNAMIC"}

# The archives of meson.build that make up the guest half.
ARCHIVES = ("libfloor.a.p", "libload.a.p", "libhooks.a.p")


def run_nm(option, path):
    out = subprocess.run(["nm", option, str(path)], check=True, capture_output=True, text=True)
    return {line.split()[-1] for line in out.stdout.splitlines() if line.strip()}


def short_name(path):
    """preload_agent.c.o or hooks_parsers_http1.c.o -> agent, http1"""
    match = re.fullmatch(r"(?:preload|hooks|hooks_parsers)_(\w+)\.[cS]\.o", path.name)
    return match.group(1) if match else None


def main():
    build = Path(sys.argv[1])
    objects = [p for archive in ARCHIVES for p in sorted((build / archive).glob("*.o")) if short_name(p)]
    complaints = []
    for path in objects:
        name = short_name(path)
        for symbol in sorted(run_nm("--undefined-only", path)):
            if symbol.startswith("sw_") or symbol in LINKER or SANITIZER.fullmatch(symbol):
                continue
            only = PYTHON if PYTHON_NAME.match(symbol) else ALLOWED.get(symbol)
            if only is None:
                complaints.append(f"{path.name}: {symbol} is not on the list")
            elif only[0] and name not in only[0]:
                complaints.append(f"{path.name}: {symbol} is only for {', '.join(only[0])}")
    finish(complaints, len(objects))


main()
