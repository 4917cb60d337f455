"""Interpreters that have greenlet and gevent: Debian's, the tests' own, and those of pyenv, each with versions of its
own in build/greenlets/, where this puts them when it is run as a program (tests/run). What is there is left as it is."""

import os
import pathlib
import subprocess
import sys

ROOT = pathlib.Path(__file__).parent.parent.parent
BUILD = pathlib.Path(os.environ.get("SW_BUILD", ROOT / "build"))
PYENV = pathlib.Path.home() / ".pyenv" / "versions"
# Each CPython, and every generation of greenlet.
WANTED = {
    "3.7": ("greenlet==1.1.3.post0", "gevent==21.12.0"),
    "3.8": ("greenlet==2.0.2", "gevent==22.10.2"),
    "3.9": ("greenlet==3.0.3", "gevent==24.2.1"),
    "3.10": ("greenlet==3.2.5", "gevent==25.9.1"),
    "3.11": ("greenlet==3.1.1", "gevent==24.11.1"),
    "3.12": ("greenlet==3.0.3", "gevent==24.2.1"),
    "3.13": ("greenlet==3.5.6", "gevent==26.9.0"),
}


def has(python, module):
    return subprocess.run([python, "-c", "import " + module], capture_output=True).returncode == 0


def found(module):
    every = ["/usr/bin/python3", *(BUILD / "greenlets" / version / "bin" / "python" for version in WANTED), sys.executable]
    return [pathlib.Path(python) for python in every if os.path.exists(python) and has(python, module)]


def install(version, packages):
    folder = BUILD / "greenlets" / version
    of_pyenv = sorted(PYENV.glob(version + ".*/bin/python"))
    if not of_pyenv or (folder / "bin").exists() and has(folder / "bin" / "python", "gevent"):
        return 0
    print(f"installs {' '.join(packages)} for {version}", flush=True)
    site = folder / "lib" / f"python{version}" / "site-packages"
    for argv in (["-m", "venv", "--clear", "--without-pip", folder],
                 ["-m", "pip", "install", "-q", "--no-input", "--disable-pip-version-check", "--no-warn-script-location",
                  "--only-binary", ":all:", "--target", site, *packages]):
        if subprocess.run([of_pyenv[-1], *argv], stdin=subprocess.DEVNULL,
                          env=os.environ | {"PIP_ROOT_USER_ACTION": "ignore"}).returncode:
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(max(install(*row) for row in WANTED.items()))
