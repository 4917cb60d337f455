"""Ordinary programs under LD_PRELOAD, reporting to a real OAP.

Programs are started as in tests/preloaded, with the default protocol instead of files. What the OAP
stored is asked for by GraphQL (examples/collector.py).

Environment: SW_LIB, what goes into LD_PRELOAD (default build/libswagent.so).
"""

import importlib.util
import pathlib
import sys
import time

import pytest

HERE = pathlib.Path(__file__).parent
ROOT = HERE.parent.parent
EXAMPLES = ROOT / "examples"
sys.path[:0] = [str(HERE), str(EXAMPLES), str(HERE.parent / "preloaded")]

import collector  # noqa: E402
import oap as oap_module  # noqa: E402

# That folder's conftest.py has our name, so it is loaded under another.
spec = importlib.util.spec_from_file_location("preloaded", HERE.parent / "preloaded/conftest.py")
preloaded = importlib.util.module_from_spec(spec)
spec.loader.exec_module(preloaded)

pytest_configure = preloaded.pytest_configure
free_port = preloaded.free_port
SYSTEM_PYTHON = preloaded.SYSTEM_PYTHON


class Bench(preloaded.Bench):
    """Programs that report to one OAP, by the agent's own defaults but for the address."""

    def __init__(self, tmp, oap):
        super().__init__(tmp)
        self.oap = oap

    def env(self, agent=True, name=None, env=None):
        ours = {}
        if agent:
            ours = {"SW_AGENT_PROTOCOL": "UNSET", "SW_AGENT_FILE_PATH": "UNSET",
                    "SW_AGENT_COLLECTOR_BACKEND_SERVICES": self.oap.grpc}
        return super().env(agent, name, ours | (env or {}))

    def stock(self, name="stock", **env):
        """(program, port): examples/stock.py as a service of that name."""
        port = free_port()
        argv = [SYSTEM_PYTHON, EXAMPLES / "stock.py", port]
        return self.start(argv, port, name=name, env=env), port

    def shop(self, stock_port, name="shop", workers=1, **env):
        """(program, port): examples/shop.py under gunicorn, which asks that stock."""
        port = free_port()
        argv = [sys.executable, "-m", "gunicorn", "--bind", f"127.0.0.1:{port}", "--preload",
                "--workers", workers, "--chdir", EXAMPLES, "--worker-tmp-dir", "/tmp",
                "--no-control-socket", "shop:app"]
        env |= {"STOCK_ADDRESS": f"127.0.0.1:{stock_port}"}
        return self.start(argv, port, name=name, env=env), port

    def curl(self, port, path, **options):
        """An instrumented client. Its output: the body."""
        return self.run(["curl", "-sS", "--max-time", "20", f"http://127.0.0.1:{port}{path}"],
                        name="curl", **options)


class Stored(collector.Oap):
    """What an OAP has stored, in the words of the tests."""

    def services(self):
        found = self.ask('{ listServices(layer: "GENERAL") { name normal } }')["listServices"]
        return {service["name"] for service in found if service["normal"]}

    def endpoints(self, service):
        id = self.service_id(service)
        found = id and self.ask("query ($id: ID!) { findEndpoint(serviceId: $id, limit: 50) { name } }",
                                id=id)["findEndpoint"]
        return {endpoint["name"] for endpoint in found or []}

    def instances(self, service, begin):
        """{name: attributes}, with the language among them, of instances alive since `begin`."""
        id = self.service_id(service)
        found = id and self.ask("""query ($duration: Duration!, $id: ID!) {
            listInstances(duration: $duration, serviceId: $id) {
            name language attributes { name value } } }""", id=id,
            duration=self.duration(begin, step="MINUTE"))["listInstances"]
        return {instance["name"]: {a["name"]: a["value"] for a in instance["attributes"]}
                | {"language": instance["language"]} for instance in found or []}

    def metric(self, expression, service, begin):
        """The newest value of an MQE expression for a service; None while there is none."""
        found = self.ask("""query ($text: String!, $duration: Duration!, $name: String!) {
            execExpression(expression: $text, duration: $duration,
            entity: { scope: Service, serviceName: $name, normal: true }) {
            error results { values { value } } } }""", text=expression, name=service,
            duration=self.duration(begin, step="MINUTE"))["execExpression"]
        assert not found["error"], found["error"]
        values = [value["value"] for result in found["results"] for value in result["values"]]
        return next((float(value) for value in reversed(values) if value is not None), None)

    def readings(self, expression, service, begin, instance=None):
        """{values of labels: newest value} of an MQE expression for an instance, by default the
        service's only one; the key of what has no labels is ()."""
        instance = instance or next(iter(self.instances(service, begin)), None)
        found = instance and self.ask("""query ($text: String!, $duration: Duration!, $name: String!, $instance: String!) {
            execExpression(expression: $text, duration: $duration, entity: { scope: ServiceInstance,
            serviceName: $name, serviceInstanceName: $instance, normal: true }) {
            error results { metric { labels { value } } values { value } } } }""", text=expression, name=service,
            instance=instance, duration=self.duration(begin, step="MINUTE"))["execExpression"]
        readings = {}
        for result in found["results"] if found and not found["error"] else []:
            labels = tuple(label["value"] for label in (result["metric"] or {}).get("labels") or [])
            values = [value["value"] for value in result["values"] if value["value"] is not None]
            if values:
                readings[labels] = float(values[-1])
        return readings

    def logs(self, service, begin, trace):
        """Those of a trace, as [(content, endpoint, {tag: value})]."""
        id = self.service_id(service)
        found = id and self.ask("""query ($condition: LogQueryCondition) { queryLogs(condition: $condition) {
            logs { content endpointName traceId tags { key value } } } }""", condition={
            "serviceId": id, "relatedTrace": {"traceId": trace}, "queryDuration": self.duration(begin),
            "paging": {"pageNum": 1, "pageSize": 20}})["queryLogs"]["logs"]
        return [(log["content"], log["endpointName"], {tag["key"]: tag["value"] for tag in log["tags"]})
                for log in found or []]

    def events(self, service, begin):
        """{name: (type, message, {parameter: value}, has it ended)}"""
        found = self.ask("""query ($condition: EventQueryCondition) { queryEvents(condition: $condition) {
            events { name type message parameters { key value } endTime source { service } } } }""", condition={
            "source": {"service": service}, "time": self.duration(begin),
            "paging": {"pageNum": 1, "pageSize": 20}})["queryEvents"]["events"]
        return {event["name"]: (event["type"], event["message"],
                                {one["key"]: one["value"] for one in event["parameters"] or []},
                                bool(event["endTime"])) for event in found}

    def traces(self, service, begin):
        """{trace id: spans}, newest first."""
        return {trace: self.spans(trace) for trace in self.trace_ids(begin, service)}


def eventually(look, timeout=40, pause=0.5):
    """What look() gives as soon as it is true; or, when time is up, the last it gave."""
    deadline = time.monotonic() + timeout
    while True:
        found = look()
        if found or time.monotonic() > deadline:
            return found
        time.sleep(pause)


@pytest.fixture(scope="session")
def jars():
    try:
        oap_module.tool("java")
        oap_module.fetch()
    except oap_module.Unavailable as why:
        pytest.skip("no OAP here: " + str(why).split("\n")[0])


@pytest.fixture(scope="session")
def new_oap(jars, tmp_path_factory):
    """new_oap(token=...): another OAP, started; stopped at the end of the session at the latest."""
    started = []

    def start(**options):
        log = tmp_path_factory.mktemp("oap") / "oap.log"
        started.append(oap_module.Oap(log=log, **options))
        started[-1].start()
        return started[-1]

    yield start
    for oap in started:
        oap.stop()


@pytest.fixture(scope="session")
def oap(new_oap):
    """The OAP that most tests share."""
    return new_oap()


@pytest.fixture(scope="session")
def stored(oap):
    return Stored(oap.http)


@pytest.fixture
def bench(tmp_path, oap):
    with_programs = Bench(tmp_path, oap)
    yield with_programs
    with_programs.close()
