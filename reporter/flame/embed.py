#!/usr/bin/env python3
"""The page of the flame graph as C.

usage: embed.py PAGE STYLE SCRIPT... OUT

PAGE says where the style, the scripts and the recording stand. The scripts become one function, whose
names nothing else can see. Style and scripts lose comments that have lines of their own, and the blanks
in front of lines; nothing else is done to them.
"""

import sys
from pathlib import Path


def stripped(path):
    kept, comment = [], False
    for line in Path(path).read_text(encoding="utf-8").split("\n"):
        line = line.strip()
        comment = comment or line.startswith("/*")
        if line and not comment and not line.startswith("//"):
            kept.append(line)
        comment = comment and not line.endswith("*/")
    return "\n".join(kept)


def array(name, text):
    data = text.encode()
    lines = [",".join(map(str, data[i:i + 32])) for i in range(0, len(data), 32)]
    return (f"const uint8_t sw_flame_{name}[] = {{\n" + ",\n".join(lines) + "};\n"
            f"const size_t sw_flame_{name}_len = {len(data)};\n")


def main():
    page, style, *scripts, out = sys.argv[1:]
    script = '(function () {\n"use strict";\n' + "\n".join(map(stripped, scripts)) + "\n})();"
    text = stripped(page).replace("@STYLE@", stripped(style)).replace("@SCRIPT@", script)
    head, tail = text.split("@RECORDING@")
    Path(out).write_text('#include "reporter/flame.h"\n\n' + array("head", head) + array("tail", tail))


main()
