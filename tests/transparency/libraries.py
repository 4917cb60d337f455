"""The tests of libraries that do many things at once: every test, without us and with us.

They hold event loops, greenlets and servers to account, down to reference counts and the order of
callbacks. The libraries are wheels of the package index, as in production; their tests come from
the source archives of the same versions. All of it is kept in build/.
"""

import re
import subprocess
import tarfile

import modules
from common import HERE, ROOT, matches, say

NAME = "libraries"
VENV = ROOT / "build" / "venv-libraries"
PYTHON = VENV / "bin" / "python"
SOURCES = ROOT / "build" / "libraries"
REQUIREMENTS = HERE / "requirements.txt"


class Library:
    """`tests` is where they are: in the source archive, or in the installed package (with a dot).
    `without` is a pattern of modules that are left out."""

    def __init__(self, name, tests, runner, without):
        self.name, self.tests, self.runner = name, tests, runner
        self.without = re.compile(without)
        self.version = pinned(name)

    @property
    def title(self):
        return f"{self.name} {self.version}"

    @property
    def installed(self):
        return "." in self.tests

    def folder(self):
        if self.installed:
            packages = next((VENV / "lib").glob("python*")) / "site-packages"
            return packages / self.tests.replace(".", "/")
        return SOURCES / f"{self.name}-{self.version}" / self.tests

    def files(self):
        """What the tests need of the archive: themselves, how to run, and what they look for."""
        return f"{self.tests}/", "pytest.ini", "README.rst"

    def modules(self):
        names = sorted(path.stem for path in self.folder().glob("test_*.py"))
        return [name for name in names if not self.without.search(name)]

    def unit(self, module):
        argv, env = self.runner(self, module)
        return modules.Unit(NAME, self.title, module, argv, env)


def pinned(name):
    return re.search(rf"(?m)^{name}==(\S+)$", REQUIREMENTS.read_text())[1]


# ---- how a module runs ----


def by_unittest(library, module):
    """A module without test cases is a script: only its end and its complaints are compared."""
    env = {} if library.installed else {"PYTHONPATH": str(library.folder().parent)}
    file = library.folder() / f"{module}.py"
    if "TestCase" not in file.read_text():
        return [PYTHON, file], env
    return [PYTHON, HERE / "recorder.py", modules.OUTCOMES, "run",
            f"{library.tests}.{module}"], env


def by_pytest(library, module):
    return [PYTHON, HERE / "recorder_pytest.py", modules.OUTCOMES,
            library.folder() / f"{module}.py"], {}


LIBRARIES = [
    # sourcecode: its authors' linters
    Library("uvloop", "tests", by_unittest, r"sourcecode"),
    # autobahn: Docker; benchmarks: for another runner
    Library("aiohttp", "tests", by_pytest, r"autobahn|benchmarks"),
    Library("greenlet", "greenlet.tests", by_unittest, r"^$"),
    # Its core. Not: CPython's own tests, patched; walks through its own files; name resolution by
    # other packages, and of names in the internet; loops that look for leaks, for many minutes.
    Library("gevent", "gevent.tests", by_unittest,
            r"___monkey_patching|all__|doctests|examples?(_|$)|execmodules|greenness|ares|resolver|"
            r"socket_dns|memleak|refcount"),
]


# ---- what they need ----


def carried_out(command):
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError((done.stderr.strip().split("\n") or ["?"])[-1])


def prepared():
    """Raises RuntimeError with the reason when something is not to be had."""
    carried_out([ROOT / ".ci" / "venv", VENV, REQUIREMENTS])
    for library in LIBRARIES:
        if not library.folder().is_dir():
            unpack(library, archive_of(library))


def archive_of(library):
    """pip builds an archive's description with what that asks for: this can take minutes."""
    wanted = SOURCES / f"{library.name}-{library.version}.tar.gz"
    if not wanted.exists():
        say(f"downloads the source archive of {library.title}")
        carried_out([PYTHON, "-m", "pip", "download", "-q", "--disable-pip-version-check",
                     "--no-input", "--no-deps", "--no-binary", ":all:", "-d", SOURCES,
                     f"{library.name}=={library.version}"])
    return wanted


def unpack(library, archive):
    """Not the library itself: that is the wheel. Plain files only, and none elsewhere."""
    wanted = tuple(f"{library.name}-{library.version}/{name}" for name in library.files())
    with tarfile.open(archive) as file:
        file.extractall(SOURCES, [one for one in file.getmembers() if one.isfile()
                                  and one.name.startswith(wanted) and ".." not in one.name])


# ---- the suite ----


def units(options):
    """([modules.Unit], [what is missing])."""
    if options.quick:
        return [], ["not in the quick part"]
    try:
        prepared()
    except RuntimeError as error:
        return [], [str(error)]
    found = [library.unit(module) for library in LIBRARIES for module in library.modules()]
    return [unit for unit in found if matches(options.only, str(unit))], []


def names(options):
    found, missing = units(options)
    return [str(unit) for unit in found], missing


def run(stage, options):
    """([Case], [what was skipped and why])."""
    found, missing = units(options)
    if not found:
        return [], missing
    idle = modules.compared(found, stage, options, options.limit)
    print(modules.show("libraries' tests", found, lambda unit: unit.title))
    return [case for unit in found for case in unit.cases], missing + idle
