"""Meters, logs and events as a real OAP has them: Python's gauges under the names that its dashboards
ask for, ours by the rules of examples/oap/, and made logs and events over gRPC and HTTP.
"""

import json
import time

import pytest

import made
from conftest import EXAMPLES, Bench, eventually

PVM = "meter_instance_pvm_"


@pytest.fixture(scope="module")
def measured(oap, tmp_path_factory):
    """(bench, begin): a server that reports meters every second, asked some times meanwhile."""
    bench = Bench(tmp_path_factory.mktemp("measured"), oap)
    begin = time.time() - 1
    _, port = bench.stock("measured", SW_AGENT_METER_REPORTER_PERIOD=1)
    for i in range(40):
        bench.run(["curl", "-sS", f"http://127.0.0.1:{port}/items/lamp?{i}"], agent=False)
        time.sleep(0.1)
    yield begin
    bench.close()


def one(stored, name, begin, enough=lambda value: True):
    def look():
        found = stored.readings(name, "measured", begin)
        return () in found and enough(found[()]) and found
    found = eventually(look, 60)
    assert found, (name, stored.readings(name, "measured", begin))
    return found[()]


def test_pvm(measured, stored):
    assert one(stored, PVM + "thread_active_count", measured) >= 1
    for name in "total_cpu", "total_mem", "process_cpu", "process_mem":
        assert 0 <= one(stored, f"{PVM}{name}_utilization", measured) <= 100
    for name in "gc_g0", "gc_g1", "gc_g2", "gc_time":
        assert one(stored, PVM + name, measured) >= 0
    assert one(stored, PVM + "gc_g2", measured) < 1000


def test_ours(measured, stored):
    """By our rules: what grows as increase in a minute, labels as they were sent."""
    def counts():
        found = stored.readings("meter_swagent_count", "measured", measured)
        return found.get(("segment_sent",), 0) >= 1 and found
    found = eventually(counts, 90)
    assert found and all(len(labels) == 1 for labels in found), found
    assert found[("segment_sent",)] <= 41
    waiting = eventually(lambda: stored.readings("meter_swagent_waiting", "measured", measured))
    assert ("segment",) in waiting and ("log",) in waiting
    assert one(stored, "meter_swagent_cpu_time", measured) >= 0


def test_what_only_we_see(measured, stored):
    """A few of each form: requests of an endpoint by the minute, how long they took, a gauge."""
    lamp = "/items/lamp"
    requests = eventually(lambda: stored.readings("meter_swagent_endpoint_requests", "measured", measured), 60)
    assert (lamp,) in requests and 0 < requests[(lamp,)] <= 41, requests

    def times():
        found = stored.readings("meter_swagent_endpoint_time", "measured", measured)
        return {label for labels in found for label in labels} >= {lamp, "50", "99"} and found
    assert eventually(times, 60), stored.readings("meter_swagent_endpoint_time", "measured", measured)
    assert one(stored, "meter_swagent_descriptors", measured) > 2


def test_dashboard(stored, measured):
    """An OAP takes it, and knows every metric that it shows."""
    [template] = json.loads((EXAMPLES / "oap/swagent-dashboard.json").read_text())
    added = stored.ask("""mutation ($text: String!) { addTemplate(setting: { configuration: $text }) {
        id status message } }""", text=json.dumps(template["configuration"]))["addTemplate"]
    assert added["status"], added
    kept = stored.ask("{ getAllTemplates { id configuration } }")["getAllTemplates"]
    [ours] = [json.loads(one["configuration"]) for one in kept if "swagent" in one["configuration"]]
    assert ours["name"] == "General-Instance-swagent" and ours["entity"] == "ServiceInstance"
    shown = [expression for widget in ours["children"] for expression in widget["expressions"]]
    known = {one["name"] for one in stored.ask('{ listMetrics(regex: "meter_swagent_.*") { name } }')["listMetrics"]}
    assert shown and set(shown) == known


@pytest.mark.parametrize("protocol", ["grpc", "http"])
def test_logs_and_events(bench, oap, stored, protocol):
    begin, name = time.time() - 1, f"maker-{protocol}"
    made.make(bench, name, SW_AGENT_PROTOCOL=protocol,
              SW_AGENT_COLLECTOR_BACKEND_SERVICES=getattr(oap, protocol))
    made.check_logs(stored, name, begin)
    if protocol != "http":
        made.check_meters(stored, name, begin)
    made.check_events(stored, name, begin)
