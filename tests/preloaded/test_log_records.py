"""Level, logger and thread of lines that CPython's logging and loguru write, where the text says none of it:
exact, or not at all. Each line says itself what is to be known of it (programs/records.py)."""

import re

import pytest

from conftest import SYSTEM_PYTHON
from test_logs import VENV, logs, tags, text
from test_python import others

ENV = {"SW_AGENT_LOG_REPORTER_LEVEL": "debug", "SW_AGENT_LOG_REPORTER_RATE": "0",
       "SW_AGENT_LOG_REPORTER_FILES": "*.log*", "PYTHONHASHSEED": "0", "PYTHONIOENCODING": "utf-8"}
PYTHONS = [SYSTEM_PYTHON, *others()]
WAYS = ["basic", "out", "files", "queued", "threads", "odd", "replaced", "traced", "json", "late", "signals",
        "forks"]


def brief(python):
    return "system" if python == SYSTEM_PYTHON else python.parent.parent.name


def told(log):
    """As the line has it: "level logger thread"."""
    has = tags(log)
    return tuple(has.get(name, "-") for name in ("level", "logger", "thread"))


def expected(line):
    """(level, logger, thread) by the text, or None: it says nothing of itself."""
    match = re.search(r"~?(Level [0-9.]+|[A-Za-z]+|-) (\S+) (\S+): ", line)
    return match and (match[1].upper(), match[2], match[3])


def check(found, least, all_told=True):
    """All that was told is right. Returns how many lines had a level."""
    levelled = 0
    for log in found:
        line = text(log)
        want = expected(line)
        if want is None or '"level": "INFO"' in line:
            continue
        levelled += want[0] != "-"
        has = told(log)
        if not all_told and has == ("-", "-", "-"):
            continue
        assert has[:2] == want[:2], (line[:200], has)
        assert has[2] == want[2] or want[0] == "-" and has[2] == "-", (line[:200], has)
    assert levelled >= least, [(text(m)[:100], told(m)) for m in found]
    return levelled


def said(bench, python, *ways):
    """The program without and with us: the same bytes."""
    argv = [python, bench.program, *ways]
    if "signals" in ways:  # as many as there are
        result = bench.run(argv, env=ENV)
    elif "threads" in ways:  # in any order
        without, result = bench.run(argv, agent=False, env=ENV), bench.run(argv, env=ENV)
        assert (without.rc, sorted(without.err.split(b"\n"))) == (result.rc, sorted(result.err.split(b"\n")))
    else:
        result = bench.both(argv, env=ENV)
    assert result.rc == 0, result
    return result, logs(bench)


@pytest.fixture(params=PYTHONS, ids=brief)
def python(request, bench, program):
    bench.program = program("records.py")[1]
    return request.param


COUNTS = {"basic": 7, "out": 7, "files": 14, "queued": 7, "threads": 400, "odd": 12, "replaced": 1, "traced": 1,
          "json": 1, "late": 0, "signals": 300, "forks": 6}


@pytest.mark.parametrize("way", WAYS)
def test_what_the_record_says(bench, python, way):
    result, found = said(bench, python, way)
    lines = [line for line in (result.out + result.err).decode("utf-8", "replace").splitlines() if line]
    if way == "signals":
        assert any("inner" in line for line in lines)
        # Where one has entered the other's buffers a line may be of both.
        found = [m for m in found if text(m).count("MainThread") == 1]
    elif way != "forks":
        assert len(found) >= len(lines) - 1
    if way == "threads":
        assert len([m for m in found if " of.threads " in text(m)]) == 400
    if way == "json":
        assert {told(m)[0] for m in found if "its own level" in text(m)} == {"INFO"}
    check(found, COUNTS[way], all_told=way != "signals")  # a handler's bytes may leave with others'


def test_loguru(bench, program):
    pytest.importorskip("loguru")
    bench.program = program("records.py")[1]
    _, found = said(bench, VENV, "loguru")
    check(found, 24)


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_without_buffers(bench, program, unbuffered):
    result = bench.both([*program("records.py"), "basic", "out", "files", "odd"], env=ENV | {"PYTHONUNBUFFERED": unbuffered})
    assert result.rc == 0
    check(logs(bench), 38)


def test_the_filter_goes_by_it(bench, program):
    """The least level that is sent: of lines on stdout, which without a record would count as info."""
    bench.both([*program("records.py"), "out"], env=ENV | {"SW_AGENT_LOG_REPORTER_LEVEL": "warning"})
    found = logs(bench)
    assert [told(m)[0] for m in found] == ["WARNING", "ERROR", "CRITICAL", "LEVEL 35", "ERROR"]


def test_programs_whose_text_says_it_are_not_asked(bench, program):
    """No line without a level: nothing is looked for, so what the text does not say stays unsaid."""
    script = bench.tmp / "says.py"
    source = open(program("records.py")[1]).read()
    source = re.sub(r"    print\(\"- - -: this tells.*\n", "", source).replace('print("- - -: end", flush=True)\n', "")
    script.write_text(source.replace('"%(message)s"', '"%(levelname)s:%(name)s:%(message)s"'))
    bench.both([SYSTEM_PYTHON, script, "out"], env=ENV)
    found = logs(bench)
    assert len(found) == 7 and all("thread" not in tags(m) for m in found)
