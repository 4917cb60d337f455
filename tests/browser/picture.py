#!/usr/bin/env python3
"""Pictures of a flame graph, as a browser shows it: light and dark.

usage: picture.py PAGE OUT [WIDTH HEIGHT] [SCRIPT]    writes OUT-light.png and OUT-dark.png

SCRIPT runs in the page before: what to search, where to zoom.
"""

import sys

from browser import Browser


def main():
    page, out, *rest = sys.argv[1:]
    width, height = map(int, rest[:2] or (1280, 900))
    for name in ("light", "dark"):
        with Browser(width, height, dark=name == "dark") as browser:
            browser.open(page)
            browser.run(rest[2] if len(rest) > 2 else "")
            browser.run("return new Promise((done) => setTimeout(done, 300))")
            with open(f"{out}-{name}.png", "wb") as picture:
                picture.write(browser.picture())


main()
