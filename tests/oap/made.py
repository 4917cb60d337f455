"""What a real OAP keeps of the records of tests/proto/made.h, which libswagent_made.so queues once
(tests/reporter/made.c)."""

import pathlib
import shutil

import pytest

from conftest import eventually, preloaded

MADE = preloaded.BUILD / "tests/libswagent_made.so"


def make(bench, name, **env):
    """A client named so, that lives long enough for its records to leave; they carry its name."""
    if not MADE.exists():
        pytest.skip("tests/libswagent_made.so is not built")
    folder = bench.tmp / "made"
    folder.mkdir()
    shutil.copy(MADE, folder)
    for plugin in pathlib.Path(preloaded.LIB.split(":")[0]).parent.glob("libswagent-*.so"):
        (folder / plugin.name).symlink_to(plugin.resolve())
    env |= {"LD_PRELOAD": folder / MADE.name, "MADE": 1, "SW_AGENT_EXIT_FLUSH_TIMEOUT": 10000}
    _, port = bench.stock("made-for")
    result = bench.run(["curl", "-sS", f"http://127.0.0.1:{port}/items/lamp"], name=name, env=env)
    assert result.rc == 0
    return result


def check_logs(stored, name, begin):
    [log] = eventually(lambda: stored.logs(name, begin, "made-trace")) or [None]
    assert log == ("a line €\nand its second", "/users", {"level": "WARNING", "logger": "café ?"})


def check_meters(stored, name, begin):
    """Of the three forms: a value, one with labels, and percentiles of a histogram."""
    single = eventually(lambda: stored.readings("meter_made_single", name, begin), 60)
    assert single and single[()] in (12, 13)  # kept as a whole number
    labelled = eventually(lambda: stored.readings("meter_made_labelled", name, begin), 60)
    assert labelled and [sorted(labels) for labels in labelled] == [['1', '?"']], labelled
    percentiles = eventually(lambda: stored.readings("meter_made_histogram", name, begin), 60)
    assert percentiles and {label for labels in percentiles for label in labels} >= {"50", "99"}, percentiles


def check_events(stored, name, begin):
    found = eventually(lambda: len(stored.events(name, begin)) == 2 and stored.events(name, begin))
    assert found == {
        "LoopBlocked": ("Error", "a loop was blocked", {"thread": "main", "ms": "300?"}, True),
        "Start": ("Normal", "", {}, False)}
