#!/usr/bin/env python3
"""What the built plug-ins show and need.

usage: plugins.py PLUGIN...

A plug-in needs libc, libm and the loader, nothing else, also no name that may be there or not: it
could be the program's. It exports sw_plugin and nothing else; it stays where it is, is bound when it
is loaded, takes nothing of the few bytes for thread-local variables that the loader keeps for late
objects, and has no executable stack and no text relocations.
"""

import re
import subprocess
import sys
from pathlib import Path

from rulekit import finish

LIBC = re.compile(r"lib[cm]\.so\.6|ld-linux-[a-z0-9_-]+\.so\.[12]")
FLAGS = {"not linked with -z now": r"\(FLAGS(?:_1)?\).*\bNOW\b|\(BIND_NOW\)",
         "not linked with -z nodelete": r"\(FLAGS_1\).*\bNODELETE\b"}
FORBIDDEN = {"has text relocations": r"\(TEXTREL\)", "has a run path": r"\((?:RPATH|RUNPATH)\)",
             "has a soname": r"\(SONAME\)",
             "has thread-local variables at fixed places": r"\(FLAGS\).*\bSTATIC_TLS\b"}
# What the compiler's own beginnings and ends of objects ask for.
# And hooks of zstd's that no library defines.
OPEN = {"_ITM_deregisterTMCloneTable", "_ITM_registerTMCloneTable", "__gmon_start__", "__cxa_finalize",
        *[f"ZSTD_trace_{what}_{when}" for what in ("compress", "decompress") for when in ("begin", "end")]}


def output(*command):
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def check(plugin):
    dynamic = output("readelf", "-dW", plugin)
    complaints = [f"needs {name}" for name in re.findall(r"\(NEEDED\).*\[(.*)\]", dynamic)
                  if not LIBC.fullmatch(name)]
    complaints += [said for said, pattern in FLAGS.items() if not re.search(pattern, dynamic)]
    complaints += [said for said, pattern in FORBIDDEN.items() if re.search(pattern, dynamic)]
    shown = {line.split()[-1].split("@")[0] for line in
             output("nm", "-D", "--defined-only", plugin).splitlines()}
    complaints += [f"exports {', '.join(sorted(shown)) or 'nothing'}"] if shown != {"sw_plugin"} else []
    wanted = {line.split()[-1] for line in output("nm", "-D", "--undefined-only", plugin).splitlines()}
    loose = {name for name in wanted if "@" not in name} - OPEN
    complaints += [f"takes {', '.join(sorted(loose))} from whoever has it"] if loose else []
    stack = [line for line in output("readelf", "-lW", plugin).splitlines() if "GNU_STACK" in line]
    if not stack or "E" in stack[0].split()[-2]:
        complaints.append("has an executable stack")
    return [f"{Path(plugin).name}: {complaint}" for complaint in complaints]


def main():
    plugins = sys.argv[1:]
    finish([complaint for plugin in plugins for complaint in check(plugin)], len(plugins))


main()
