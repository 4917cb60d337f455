#!/usr/bin/env python3
"""Each rule must be able to fail.

usage: selftest.py [-v]

Gives every script a small sound tree, on which it must be content, and then the same tree broken
in one way after the other, on each of which it must complain in the expected words. A rule that
cannot fail protects nothing. Needs cc and binutils.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent

HOOKS = '''/* Every symbol. */
SW_HOOK_FD(socket, int, swtest_read, (int fd), (fd), "Bytes arriving.")
SW_HOOK_MANUAL(socket, int, swtest_exit, (int status), "The end.")
'''

COUNTERS = '''/* Sorted by identifier. */
SW_COUNTER(ALPHA, "alpha", "The first.")
SW_COUNTER(BETA,  "beta",  "The second, with (brackets) and a comma.")
'''

CONFIG = '''/* Rows are sorted by environment name. */
SW_KEY(number, one, "SW_ONE", 5, 1, 10, "A number.")
SW_KEY(text,   two, "SW_TWO", "x", 0, 4, "A text.")

SW_ALIAS("SW_UNO", "SW_ONE")
'''

# A sound tree: every rule is content with it.
SOUND = {
    "preload/config.def": CONFIG,
    "preload/counters.def": COUNTERS,
    "preload/tallies.def": 'SW_TALLY(BYTES, "Bytes.")\n',
    "preload/modules.def": 'SW_MODULE(ring, "Records.")\n',
    "preload/tags.def": 'SW_TAG(URL, "url", "A place.")\n',
    "hooks/hooks.def": HOOKS,
    "hooks/parsers.def": 'SW_PARSER(foo, "Foo.")\n',
    "hooks/python/api.def": "SW_PY(int, Py_Foo, (void))\n",
    "hooks/python/collector.def": "SW_PY(int, Py_Foo, (void))\n",
    "hooks/python/awaits.def": "SW_AWAITS(7, 72)\n",
    "hooks/python/frames.def": "SW_FRAMES(6, 8)\n",
    "hooks/python/frames_api.def": "SW_PY(char, PyFoo_Type, [])\n",
    "hooks/python/patches.def": 'SW_PATCH(foo, "_foo", "Foo", "foo", BIND, "A foo.")\n',
    "reporter/formats.def": 'SW_RECORDING_FORMAT(folded, FOLDED, ".folded", "Lines.")\n',
    "reporter/encode_folded.c": "",
    "reporter/kinds.def": 'SW_KIND(PING, "ping", "/a.B/c", 1, "It lives.")\n',
    "reporter/meters.def": 'SW_METER(UP, "up", GAUGE, "", "", "It lives.")\n',
    "reporter/meter_sources.def": 'SW_METER_SOURCE(agent, meter_active, "Us.")\n',
    "reporter/meters_agent.c": "/* asks */\n",
    "reporter/logs/layouts.def": 'SW_LAYOUT(plain, "%L: %*", "", "INFO: x", "A level.")\n',
    "reporter/loops.def": 'SW_LOOP(epoll, "Everywhere.")\n',
    "reporter/others.def": 'SW_OTHER("SW_X_", "Theirs.")\n',
    "reporter/plugins.def": 'SW_PLUGIN(bar, "libbar", "Bars.")\n',
    "reporter/plugins/bar/meson.build": "",
    "reporter/transports.def": 'SW_TRANSPORT(file, "Lines.")\n',
    "preload/bytes.h": "#pragma once\n#include <stdint.h>\n",
    "preload/ring.h": '#pragma once\n#include "preload/bytes.h"\n',
    "preload/ring.c": '#include "preload/ring.h"\n\n#include <errno.h>\n#include <stdio.h>\n\n'
                      '#include "preload/bytes.h"\n\nint sw_ring(void)\n{\n\treturn 0;\n}\n',
    "preload/exports.c": '#include "hooks/hooks.def"\n',
    "hooks/parser.h": '#pragma once\n#include "preload/bytes.h"\n',
    "hooks/flow.h": '#pragma once\n#include "hooks/parser.h"\n',
    "hooks/socket.c": '#include "hooks/flow.h"\n#include "preload/ring.h"\n',
    "hooks/parsers/foo_head.h": "#pragma once\n",
    "hooks/parsers/foo.c": '#include "hooks/parser.h"\n#include "hooks/parsers/foo_head.h"\n'
                           '#include "proto/h2.h"\n',
    "proto/h2.h": '#pragma once\n#include "preload/bytes.h"\n',
    "proto/encode.h": '#pragma once\n#include "preload/bytes.h"\n',
    "proto/encode.c": '#include "proto/encode.h"\n\n#include "proto/tracing.pb-c.h"\n',
    "reporter/loop.h": "#pragma once\n",
    "reporter/loop_epoll.c": '#include "preload/ring.h"\n#include "proto/encode.h"\n',
    "reporter/transport_file.c": "",
    "tests/preload/test_ring.c": "",
    "tests/proto/test_encode.c": "",
    "tests/parsers/foo/one.facts": "",
    "docs/reference/counters.md": "# Counters\n",
}

# The library that exports.py looks at: SOUND's hooks, and libc.
LIBRARY = '''#include <string.h>
#include <unistd.h>
#define SHOWN __attribute__((visibility("default")))
SHOWN const char *swagent_version(void) { return "0"; }
SHOWN int swtest_read(int fd) { return (int)read(fd, 0, 0); }
SHOWN int swtest_exit(int status) { return status; }
'''
LINK = ["-shared", "-fPIC", "-fvisibility=hidden", "-Wl,-z,nodelete", "-Wl,-z,now",
        "-Wl,-z,noexecstack"]

GUEST = "#include <string.h>\nvoid sw_f(void *a, void *b, unsigned long n) { memmove(a, b, n); }\n"

verbose = "-v" in sys.argv
failures = []
runs = 0


def write(root, path, text):
    path = root / path
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def compile_c(text, out, *options):
    out.parent.mkdir(parents=True, exist_ok=True)
    subprocess.run([os.environ.get("CC", "cc"), "-xc", "-", "-o", str(out), *options],
                   input=text, text=True, check=True)


def expect(label, rule, arguments, complaint):
    """complaint None: the rule must be content."""
    global runs
    runs += 1
    done = subprocess.run([sys.executable, str(HERE / rule), *map(str, arguments)],
                          capture_output=True, text=True)
    out = done.stdout + done.stderr
    sound = done.returncode == 0 if complaint is None else \
        done.returncode == 1 and complaint in done.stdout
    if verbose or not sound:
        print(f"{'ok' if sound else 'FAILED'}: {rule}: {label}")
    if not sound:
        failures.append(label)
        print(f"  wanted: {complaint or 'no complaint'}\n  status {done.returncode}:\n    " +
              out.strip().replace("\n", "\n    "))


def on_tree(label, rule, changes, complaint):
    """Runs a rule over SOUND with some files replaced; None removes one."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        for path, text in (SOUND | changes).items():
            if text is not None:
                write(root, path, text)
        expect(label, rule, [root], complaint)


def test_layers():
    def broken(label, path, text, complaint):
        on_tree(label, "layers.py", {path: text}, complaint)

    on_tree("sound", "layers.py", {}, None)
    broken("hooks to reporter", "hooks/flow.h", '#include "reporter/loop.h"\n', "hooks/ may not include reporter/")
    broken("no such header", "hooks/flow.h", '#include "hooks/nothing.h"\n', "no such file")
    broken("hooks to proto", "hooks/socket.c", '#include "proto/encode.h"\n', "hooks/ may not include proto/")
    broken("reporter to hooks", "reporter/loop_epoll.c", '#include "hooks/flow.h"\n',
           "reporter/ may not include hooks/")
    broken("preload upwards", "preload/ring.c", '#include "hooks/flow.h"\n', "preload/ may not include hooks/")
    broken("table of another half", "reporter/loop_epoll.c", '#include "hooks/parsers.def"\n',
           "reporter/ may not include hooks/")
    broken("proto to reporter", "proto/encode.c", '#include "reporter/loops.def"\n',
           "proto/ may not include reporter/")
    broken("parser to flow", "hooks/parsers/foo.c", '#include "hooks/flow.h"\n', "a parser may see only")
    broken("parser to ring", "hooks/parsers/foo.c", '#include "preload/ring.h"\n', "a parser may see only")
    broken("parser to encoder", "hooks/parsers/foo.c", '#include "proto/encode.h"\n', "a parser may see only")
    broken("generated header outside proto", "reporter/loop_epoll.c",
           '#include "proto/tracing.pb-c.h"\n', "stay inside proto")
    broken("generated header in a header", "proto/h2.h", '#include "proto/tracing.pb-c.h"\n', "stay inside proto")
    broken("not from the root", "preload/ring.c", '#include "ring.h"\n', "not written from the root")
    broken("own header late", "preload/ring.c", '#include <errno.h>\n#include "preload/ring.h"\n',
           "does not come first")
    broken("system after ours", "hooks/socket.c", '#include "hooks/flow.h"\n#include <errno.h>\n',
           "<errno.h> comes after headers of ours")
    broken("system unsorted", "hooks/socket.c", "#include <stdio.h>\n#include <errno.h>\n", "is not sorted")
    broken("ours unsorted", "hooks/socket.c", '#include "preload/ring.h"\n#include "hooks/flow.h"\n',
           "is not sorted")


def function(lines):
    return "int sw_f(void)\n{\n" + "\tsw();\n" * (lines - 2) + "}\n"


def test_functions():
    def broken(label, text, complaint):
        on_tree(label, "functions.py", {"hooks/socket.c": text}, complaint)

    on_tree("sound", "functions.py", {}, None)
    broken("70 lines", function(70), None)
    broken("71 lines", function(71), "sw_f: 71 lines")
    broken("71 lines with a reason", function(71).replace("sw();", "/* long on purpose: flat */", 1), None)
    broken("800 lines", function(60) + "\n" * 738 + "int x;\n", None)
    broken("801 lines", function(60) + "\n" * 739 + "int x;\n", "801 lines, more than 800")


def test_tables():
    def broken(label, path, text, complaint):
        on_tree(label, "tables.py", {path: text}, complaint)

    on_tree("sound", "tables.py", {}, None)
    broken("row on two lines", "preload/counters.def", COUNTERS.replace('"alpha", ', '"alpha",\n'),
           "not one macro call on one line")
    broken("condition in a table", "preload/counters.def", COUNTERS + "#if 1\n", "not one macro call")
    broken("two rows on one line", "preload/tags.def",
           'SW_TAG(A, "a", "A.") SW_TAG(B, "b", "B.")\n', "not one macro call")
    broken("unsorted", "preload/counters.def", COUNTERS.replace("ALPHA", "GAMMA"), "not sorted")
    broken("unsorted keys", "preload/config.def", CONFIG.replace('"SW_ONE", 5', '"SW_Z", 5'), "not sorted")
    broken("unknown order", "preload/counters.def", COUNTERS.replace("identifier", "colour"), "does not know")
    broken("no sentence", "preload/tags.def", 'SW_TAG(URL, "url", "A place")\n', "no sentence")
    broken("sentence is no text", "preload/tags.def", 'SW_TAG(URL, "url", 7)\n', "no sentence")
    broken("columns", "preload/counters.def", COUNTERS.replace('"beta",', '"beta", 1,'), "columns where other rows")
    broken("twice", "preload/tags.def", 'SW_TAG(A, "a", "A.")\nSW_TAG(A, "b", "B.")\n', "appears already")
    broken("alias of nothing", "preload/config.def", CONFIG.replace('"SW_UNO", "SW_ONE"', '"SW_UNO", "SW_SIX"'),
           "stands for no key")
    broken("alias is a key", "preload/config.def", CONFIG.replace('"SW_UNO"', '"SW_TWO"'), "is a key itself")
    broken("default out of range", "preload/config.def", CONFIG.replace("5, 1, 10", "50, 1, 10"), "not within")
    broken("default too long", "preload/config.def", CONFIG.replace('"x"', '"xxxxx"'), "longer than")
    broken("parser without source", "hooks/parsers/foo.c", None, "hooks/parsers/foo.c is missing")
    broken("parser without golden", "tests/parsers/foo/one.facts", None, "tests/parsers/foo is missing")
    broken("transport without source", "reporter/transport_file.c", None, "transport_file.c is missing")
    broken("loop without source", "reporter/loop_epoll.c", None, "loop_epoll.c is missing")
    broken("hook without family", "hooks/socket.c", None, "hooks/socket.c is missing")
    broken("source without test", "tests/preload/test_ring.c", None, "test_ring.c is missing")
    broken("codec without test", "tests/proto/test_encode.c", None, "test_encode.c is missing")
    broken("excused source with test", "tests/preload/test_exports.c", "", "has a test now")
    broken("unknown table", "hooks/more.def", "", "does not know")
    broken("no table", "preload/tags.def", None, "preload/tags.def is missing")


def test_exports():
    def library(label, text, options, complaint, link=LINK):
        with tempfile.TemporaryDirectory() as folder:
            root = Path(folder)
            write(root, "hooks/hooks.def", HOOKS)
            compile_c(text, root / "lib.so", *link, *options)
            expect(label, "exports.py", [root / "lib.so", root], complaint)

    library("sound", LIBRARY, [], None)
    library("missing export", LIBRARY.replace("swtest_exit", "swtest_other"), [], "not exported")
    library("extra export", LIBRARY + "SHOWN int extra;\n", [], "extra: exported, but no row")
    library("needs libm", LIBRARY, ["-Wl,--no-as-needed", "-lm"], "needs libm.so.6")
    library("undefined symbol", LIBRARY + "int other(void); int sw_f(void) { return other(); }\n",
            ["-Wl,-z,undefs"], "other: undefined")
    library("executable stack", LIBRARY, ["-Wl,-z,execstack"], "executable stack")
    library("bound late", LIBRARY, ["-Wl,-z,lazy"], "not linked with -z now")
    library("run path", LIBRARY, ["-Wl,-rpath,/nowhere"], "run path")
    library("can be unloaded", LIBRARY, [], "not linked with -z nodelete",
            [option for option in LINK if "nodelete" not in option])


def test_guest_symbols():
    def guest(label, name, text, complaint):
        with tempfile.TemporaryDirectory() as folder:
            if name:
                compile_c(text, Path(folder) / "libfloor.a.p" / name, "-c", "-O0", "-fno-builtin")
            expect(label, "guest_symbols.py", [folder], complaint)

    def calls(function):
        return f"int {function}(void *); int sw_f(void *a) {{ return {function}(a); }}\n"

    guest("sound", "preload_ring.c.o", GUEST, None)
    guest("no objects", None, "", "nothing was found")
    for name in ("malloc", "free", "printf", "pthread_mutex_lock", "read", "localtime", "__tls_get_addr"):
        guest(name, "hooks_parsers_http1.c.o", calls(name), f"{name} is not on the list")
    guest("getenv elsewhere", "preload_config.c.o", calls("getenv"), "getenv is only for agent")
    guest("getenv at load", "preload_agent.c.o", calls("getenv"), None)


def test_docs_fresh():
    def pages(label, printed, complaint):
        with tempfile.TemporaryDirectory() as folder:
            root = Path(folder)
            write(root, "docs/reference/counters.md", SOUND["docs/reference/counters.md"])
            write(root, "examples/oap/swagent.yaml", "rules\n")
            write(root, "tables", "#!/bin/sh\n" + printed)
            (root / "tables").chmod(0o755)
            expect(label, "docs_fresh.py", [root / "tables", root], complaint)

    rules = 'if [ "$1" = oap ]; then echo rules > "$2/swagent.yaml"; exit; fi\n'
    same = rules + 'echo "# Counters" > "$1/counters.md"\n'
    pages("sound", same, None)
    pages("stale rules", same.replace("echo rules", "echo others"), "swagent.yaml: stale")
    pages("no rules", same.replace("swagent.yaml", "swagent.json"), "swagent.yaml: no table gives it")
    pages("stale", same.replace("Counters", "Numbers"), "counters.md: stale")
    pages("missing", same + 'echo > "$1/hooks.md"\n', "hooks.md: missing")
    pages("left over", rules + 'echo > "$1/hooks.md"\n', "counters.md: no table gives it")


def main():
    if not shutil.which(os.environ.get("CC", "cc").split()[0]):
        print("no compiler")
        sys.exit(77)
    for test in (test_layers, test_functions, test_tables, test_exports, test_guest_symbols,
                 test_docs_fresh):
        test()
    print(f"{runs} trees, {len(failures)} failures")
    sys.exit(1 if failures else 0)


main()
