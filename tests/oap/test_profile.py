"""A whole cycle of trace profiling with a real OAP: a task is made, the program takes it, requests are
profiled, and what OAP makes of the stacks names the function that burns."""

import time

from conftest import ROOT, SYSTEM_PYTHON, eventually, free_port

PROGRAM = ROOT / "tests/preloaded/programs/profiled.py"
PATH = "/a/1500"


def create(stored, service):
    made = stored.ask("""mutation ($task: ProfileTaskCreationRequest!) {
        createProfileTask(creationRequest: $task) { errorReason id } }""", task={
            "serviceId": service, "endpointName": PATH, "duration": 1, "minDurationThreshold": 0,
            "dumpPeriod": 10, "maxSamplingCount": 5})["createProfileTask"]
    assert not made["errorReason"], made
    return made["id"]


def steps(stored, service, task):
    """What instances have said of the task."""
    found = stored.ask("""query ($id: ID!, $path: String!) { getProfileTaskList(serviceId: $id, endpointName: $path) {
        id logs { operationType } } }""", id=service, path=PATH)["getProfileTaskList"]
    return [log["operationType"] for one in found if one["id"] == task for log in one["logs"]]


def segments(stored, task):
    found = stored.ask("""query ($id: ID!) { getProfileTaskSegments(taskID: $id) {
        spans { segmentId startTime endTime profiled } } }""", id=task)["getProfileTaskSegments"]
    return [one["spans"][0] for one in found if one["spans"] and one["spans"][0]["profiled"]]


def analyse(stored, span):
    return stored.ask("""query ($queries: [SegmentProfileAnalyzeQuery!]!) {
        getSegmentsProfileAnalyze(queries: $queries) { tip trees {
        elements { codeSignature duration durationChildExcluded count } } } }""", queries=[{
            "segmentId": span["segmentId"], "timeRange": {"start": span["startTime"], "end": span["endTime"]}}])[
                "getSegmentsProfileAnalyze"]


def test_cycle(bench, stored):
    port = free_port()
    program = bench.start([SYSTEM_PYTHON, PROGRAM, "threads", port], port, name="profiled",
                          env={"SW_AGENT_COLLECTOR_GET_PROFILE_TASK_INTERVAL": 1})
    ask = ["curl", "-sS", f"http://127.0.0.1:{port}{PATH}"]
    bench.run(ask, agent=False)
    service = eventually(lambda: stored.service_id("profiled"))
    task = create(stored, service)
    begin = time.time()
    assert eventually(lambda: "NOTIFIED" in steps(stored, service, task)), steps(stored, service, task)
    for _ in range(2):
        assert bench.run(ask, agent=False).out == b"done\n"
    found = eventually(lambda: len(segments(stored, task)) == 2 and segments(stored, task))
    assert found, segments(stored, task)
    for span in found:
        analysed = eventually(lambda: (lambda a: a["trees"] and a)(analyse(stored, span)))
        assert analysed and not analysed["tip"], analysed
        elements = [e for tree in analysed["trees"] for e in tree["elements"]]
        burning = [e for e in elements if ".burn_a: " in e["codeSignature"]]
        assert sum(e["count"] for e in burning) >= 50
        assert sum(e["duration"] for e in burning) >= 1000, elements
        assert not any("burn_b" in e["codeSignature"] for e in elements)
    assert eventually(lambda: "EXECUTION_FINISHED" in steps(stored, service, task), 90 - (time.time() - begin))
    assert bench.stop(program) in (0, 128 + 15, -15)
