"""The environment as programs have it: what is said of it, by whom and how often, and that it knows all
that the Python agent knows. What values do is the tests' of each feature."""

import inspect
import re

import pytest
import skywalking.config

from conftest import ROOT


def curl(origin):
    return ["curl", "-sS", "--max-time", "10", f"http://127.0.0.1:{origin.port}/x"]


def said(bench, argv, **env):
    """What we say in a run, without the head of each line."""
    result = bench.run(argv, name="config", env=env)
    assert result.rc == 0
    lines = [re.fullmatch(rb"swagent\[\d+\]: (.*)", line) for line in result.err.splitlines()]
    return [line[1].decode() for line in lines]


def test_a_misspelt_name(bench, origin):
    lines = said(bench, curl(origin), SW_AGENT_COLLECTOR_BACKEND_SERVICE="10.0.0.1:11800", SW_AGNET_NAME="shop")
    assert lines == ["warning: SW_AGENT_COLLECTOR_BACKEND_SERVICE is not known; did you mean "
                     "SW_AGENT_COLLECTOR_BACKEND_SERVICES?",
                     "warning: SW_AGNET_NAME is not known; did you mean SW_AGENT_NAME?"]


def test_a_name_that_is_like_none(bench, origin):
    assert said(bench, curl(origin), SW_FAVOURITE_COLOUR="s3cret") == ["warning: SW_FAVOURITE_COLOUR is not known"]


def test_names_of_others(bench, origin):
    """The Java agent's, families, and what only begins alike."""
    assert said(bench, curl(origin), SW_AGENT_KEEP_TRACING="true", SW_KAFKA_REPORTER_CONFIG_acks="all",
                SW_PLUGIN_JEDIS_TRACE_REDIS_PARAMETERS="true", SW_STORAGE="elasticsearch", SWIFT_HOME="/x",
                SWAGENT_NAME="x", sw_agent_name="x", MY_SW_AGENT_NAMES="x") == []


def test_many(bench, origin):
    lines = said(bench, curl(origin), **{f"SW_X_{i}": "x" for i in range(50)})
    assert len(lines) == 33 and lines[-1] == "warning: 18 more names that begin with SW_ were too many to look at"


@pytest.mark.parametrize("argv", [["true"], ["bash", "-c", "echo a | cat"]])
def test_programs_without_network_are_not_bothered(bench, argv):
    assert said(bench, argv, SW_AGENT_NAMES="x") == []


def test_who_is_switched_off_says_nothing(bench, origin):
    assert said(bench, curl(origin), SW_AGENT_NAMES="x", SW_AGENT_ENABLE="false", SW_AGENT_LOGGING_LEVEL="x") == []
    assert said(bench, curl(origin), SW_AGENT_NAMES="x", SW_AGENT_LOGGING_LEVEL="OFF") == []


def test_once_for_all_children(bench, origin):
    script = ("import os, time, urllib.request\n"
              f"def ask(): urllib.request.urlopen('http://127.0.0.1:{origin.port}/x').read()\n"
              "ask(); time.sleep(0.3)\n"
              "for _ in range(3):\n"
              "    child = os.fork()\n"
              "    if child == 0: ask(); time.sleep(0.2); os._exit(0)\n"
              "    os.waitpid(child, 0)\n")
    assert len(said(bench, ["/usr/bin/python3", "-c", script], SW_AGENT_NAMES="x")) == 1


def python_keys():
    """{name: (type, default)} of what the Python agent reads."""
    pattern = r"^\w+(?:: (\w+))?[^\n]*?=[^\n]*?\n?\s*[^\n]*?os\.getenv\(\s*'(SW_\w+)'(?:, '([^']*)')?"
    source = inspect.getsource(skywalking.config)
    source = re.sub(r"^#.*\n", "", source[source.index("MUST PRECEDE"):], flags=re.M)  # no examples
    found = {m[2]: (m[1], m[3] or "") for m in re.finditer(pattern, source, re.M)}
    assert set(found) == set(re.findall(r"getenv\(\s*'(SW_\w+)'", source)) and len(found) > 50
    return found


@pytest.mark.parametrize("flag", ["true", "False"])
def test_every_key_of_the_python_agent(bench, origin, flag):
    keys = python_keys()
    if "SW_KAFKA_BOOTSTRAP_SERVERS" not in (ROOT / "preload" / "config.def").read_text():
        keys = {name: key for name, key in keys.items() if not name.startswith("SW_KAFKA_")}
    values = {name: flag if kind == "bool" else default for name, (kind, default) in keys.items()}
    del values["SW_AGENT_PROTOCOL"], values["SW_AGENT_COLLECTOR_BACKEND_SERVICES"], values["SW_AGENT_NAME"]
    values |= {"SW_AGENT_SW_PYTHON_CLI_DEBUG_ENABLED": "False", "SW_AGENT_FORCE_TLS": "false"}
    assert said(bench, curl(origin), **values) == []
    bench.segments(1)
