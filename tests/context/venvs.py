"""Python environments of the programs under test: build/venv-context-TAG, one per interpreter.

requirements/GROUP.txt says what a server needs; requirements/pins-3.X.txt, written by
`run --freeze`, which versions. A group NAME==VERSION is a package itself. What is
there is not installed again.
"""

import fcntl
import json
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
SYSTEM = "/usr/bin/python3"
ASK = ("import json, platform, sys; print(json.dumps({'version': sys.version_info[:2], "
       "'full': platform.python_version()}))")


class Unavailable(Exception):
    """A package does not exist for this interpreter, or cannot be had."""


class Interpreter:
    def __init__(self, path):
        self.path = str(path)
        told = json.loads(subprocess.run([self.path, "-c", ASK], check=True, text=True,
                                         capture_output=True).stdout)
        self.version = tuple(told["version"])
        self.system = self.path == SYSTEM
        self.tag = "system" if self.system else told["full"]
        self.name = f"debian-{told['full']}" if self.system else told["full"]
        self.failed = {}

    def folder(self, extra=""):
        base = "venv-context" if self.system else f"venv-context-{self.tag}"
        return ROOT / "build" / (base + extra)

    def venv(self, groups, extra=""):
        """The environment with these groups of packages in it. Returns its folder."""
        folder = self.folder(extra)
        folder.parent.mkdir(exist_ok=True)
        with open(f"{folder}.lock", "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not (folder / "bin" / "pip").exists():
                self.call([self.path, "-m", "venv", "--clear", str(folder)])
            for group in groups:
                self.install(folder, group, extra)
        return folder

    def install(self, folder, group, extra):
        wanted = HERE / "requirements" / f"{group}.txt"
        stamp = folder / f"context-{group}.stamp"
        pins = self.pins()
        text = group if "==" in group else wanted.read_text()
        text += pins.read_text() if pins.exists() and not extra else ""
        if stamp.exists() and stamp.read_text() == text:
            return
        if (folder, group) in self.failed:
            raise Unavailable(self.failed[folder, group])
        argv = [str(folder / "bin" / "python"), "-m", "pip", "install", "-q", "--no-input",
                "--disable-pip-version-check", "--prefer-binary",
                *([group] if "==" in group else ["-r", str(wanted)])]
        if pins.exists() and not extra:
            argv += ["-c", str(pins)]
        print(f"installs {group} into {folder.name}", file=sys.stderr, flush=True)
        try:
            self.call(argv)
        except Unavailable as error:
            self.failed[folder, group] = str(error)
            raise
        stamp.write_text(text)

    @staticmethod
    def call(argv):
        done = subprocess.run(["nice", "-n", "19", *argv], stdin=subprocess.DEVNULL, text=True,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=900)
        if done.returncode:
            raise Unavailable(" ".join(done.stdout.split()[-60:]))

    def pins(self):
        return HERE / "requirements" / "pins-{}.{}.txt".format(*self.version)

    def freeze(self):
        """Writes down which versions are installed."""
        done = subprocess.run([str(self.folder() / "bin" / "python"), "-m", "pip", "freeze",
                               "--disable-pip-version-check"], capture_output=True, text=True)
        pins = self.pins()
        pins.write_text("# Written by tests/context/run --freeze.\n" + done.stdout)
        return pins


def found():
    """Those of this machine."""
    everywhere = sorted(Path.home().glob(".pyenv/versions/3.*/bin/python"),
                        key=lambda path: [int(n) for n in path.parts[-3].split(".")])
    every = [Interpreter(path) for path in (*everywhere, SYSTEM) if Path(path).exists()]
    return [interpreter for interpreter in every if interpreter.version >= (3, 7)]
