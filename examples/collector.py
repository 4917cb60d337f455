#!/usr/bin/python3
"""What a SkyWalking OAP stored, asked for by GraphQL.

    examples/collector.py reach HOST:PORT [WHAT]  does anybody listen there?
    examples/collector.py version HOST:PORT       which OAP is it?
    examples/collector.py traces HOST:PORT        its traces, as lines that tree.py prints
    examples/collector.py edges HOST:PORT         who calls whom, as its topology has it

HOST:PORT, but for `reach`, is where it answers queries, usually port 12800. Only the standard
library is needed.
"""

import argparse
import http.client
import json
import socket
import sys
import time
import urllib.error
import urllib.request
from collections import defaultdict

TRACES = """query ($condition: TraceQueryCondition!) {
  queryBasicTraces(condition: $condition) { traces { segmentId traceIds } } }"""
TRACE = """query ($id: ID!) { queryTrace(traceId: $id) { spans {
  traceId segmentId spanId parentSpanId refs { traceId parentSegmentId parentSpanId type }
  serviceCode serviceInstanceName startTime endTime endpointName type peer component isError layer
  tags { key value } } } }"""
SERVICE = "query ($name: String!) { findService(serviceName: $name) { id } }"
TOPOLOGY = """query ($duration: Duration!) { getGlobalTopology(duration: $duration) {
  nodes { id name type isReal } calls { source target detectPoints } } }"""
TRACES_MAX = 50


class Problem(Exception):
    """What to tell the user, whole."""


class Oap:
    """The query side of one OAP."""

    def __init__(self, address):
        self.address = address
        self.shift = None
        # Not by a proxy of the environment: the OAP is where the user said.
        self.opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))

    def ask(self, query, **variables):
        """The answer's `data`."""
        body = json.dumps({"query": query, "variables": variables}).encode()
        request = urllib.request.Request(f"http://{self.address}/graphql", body,
                                         {"Content-Type": "application/json"})
        try:
            with self.opener.open(request, timeout=10) as answer:
                result = json.load(answer)
            if result.get("errors"):
                raise Problem(f"{self.address} refuses a query: {result['errors'][0]['message']}")
            return result["data"]
        except urllib.error.HTTPError as error:
            raise Problem(f"{self.address} answers {error.code}, not GraphQL") from None
        except OSError as error:
            raise Problem(f"no answer from {self.address}: {reason(error)}") from None
        except (http.client.HTTPException, ValueError, KeyError, TypeError, AttributeError):
            raise Problem(f"{self.address} answers, but not GraphQL") from None

    def duration(self, begin, end=None, step="SECOND"):
        """A Duration from `begin` (a time as time.time() gives it) to now.

        An OAP reads the text of a time in its own time zone, and by its own clock.
        """
        if self.shift is None:
            info = self.ask("{ getTimeInfo { timezone currentTimestamp } }")["getTimeInfo"]
            zone = int(info["timezone"])  # as in +0530
            minutes = abs(zone) // 100 * 60 + abs(zone) % 100
            self.shift = (minutes * 60 * (1 if zone >= 0 else -1)
                          + info["currentTimestamp"] / 1000 - time.time())
        form = {"SECOND": "%Y-%m-%d %H%M%S", "MINUTE": "%Y-%m-%d %H%M"}[step]
        texts = [time.strftime(form, time.gmtime(at + self.shift))
                 for at in (begin, max(begin, time.time() + 2) if end is None else end)]
        return {"start": texts[0], "end": texts[1], "step": step}

    def service_id(self, name):
        """None: it has not heard of that service."""
        found = self.ask(SERVICE, name=name)["findService"]
        return found and found["id"]

    def trace_ids(self, begin, service=None, count=TRACES_MAX):
        """Of the traces since `begin`, newest first, without repetition."""
        condition = {"queryDuration": self.duration(begin), "traceState": "ALL",
                     "queryOrder": "BY_START_TIME", "paging": {"pageNum": 1, "pageSize": count}}
        if service:
            condition["serviceId"] = self.service_id(service)
            if condition["serviceId"] is None:
                return []
        found = self.ask(TRACES, condition=condition)["queryBasicTraces"]["traces"]
        return list(dict.fromkeys(trace for row in found for trace in row["traceIds"]))

    def spans(self, trace_id):
        return self.ask(TRACE, id=trace_id)["queryTrace"]["spans"]

    def edges(self, begin):
        """{(name of the caller, name of the called): [CLIENT, SERVER]} and the names it guessed."""
        found = self.ask(TOPOLOGY, duration=self.duration(begin, step="MINUTE"))["getGlobalTopology"]
        names = {node["id"]: node["name"] for node in found["nodes"]}
        guessed = {node["name"] for node in found["nodes"] if not node["isReal"]}
        seen = defaultdict(set)
        for call in found["calls"]:
            edge = names.get(call["source"], "?"), names.get(call["target"], "?")
            seen[edge] |= set(call["detectPoints"])
        return {edge: sorted(points) for edge, points in seen.items()}, guessed


def reason(error):
    """Why a connection failed, in words."""
    cause = getattr(error, "reason", error)
    if isinstance(cause, socket.gaierror):
        return "unknown host"
    if isinstance(cause, TimeoutError):
        return "timed out"
    return getattr(cause, "strerror", None) or str(cause)


def split(address):
    """(host, port) of HOST:PORT, where HOST may be [an IPv6 address]."""
    host, colon, port = address.rpartition(":")
    if not colon or not host or (":" in host and not host.startswith("[")):
        raise Problem(f"'{address}' has no port; give HOST:PORT")
    if not port.isascii() or not port.isdigit() or not 0 < int(port) < 65536:
        raise Problem(f"'{port}' in '{address}' is not a port; give HOST:PORT")
    return host.strip("[]"), int(port)


def reach(address, what="anything"):
    try:
        socket.create_connection(split(address), timeout=5).close()
    except OSError as error:
        raise Problem(f"cannot reach {what} at {address}: {reason(error)}") from None
    except UnicodeError:
        raise Problem(f"cannot reach {what} at {address}: not a host name") from None


def complete(spans):
    """Whether every call has the segment of who served it, and every segment its caller's."""
    known = {(span["segmentId"], span["spanId"]) for span in spans}
    calls = {(span["segmentId"], span["spanId"]) for span in spans if span["type"] == "Exit"}
    refs = {(ref["parentSegmentId"], ref["parentSpanId"]) for span in spans for ref in span["refs"]}
    return refs <= known and calls <= refs


def wait_for_traces(oap, args):
    """{trace id: spans}, once there are so many and whole, or else what there is in the end.

    An OAP stores every few seconds, each segment when it came: half a trace may be there first.
    """
    deadline = time.monotonic() + args.wait
    before = None
    while True:
        found = {trace: oap.spans(trace) for trace in oap.trace_ids(args.since, args.service)}
        enough = len(found) >= args.want
        if args.whole:
            enough = enough and all(complete(spans) for spans in found.values())
        else:  # where calls lead is not known, so: when nothing more comes
            enough = enough and found == before
        if enough or time.monotonic() > deadline:
            return found
        before = found
        time.sleep(min(1 if args.whole else 4, max(deadline - time.monotonic(), 0.1)))


def span_record(span):
    return {"spanId": span["spanId"], "parentSpanId": span["parentSpanId"],
            "startTime": span["startTime"], "endTime": span["endTime"],
            "refs": [{"parentTraceSegmentId": ref["parentSegmentId"],
                      "parentSpanId": ref["parentSpanId"]} for ref in span["refs"]],
            "operationName": span["endpointName"] or "", "peer": span["peer"] or "",
            "spanType": span["type"], "isError": bool(span["isError"]), "tags": span["tags"]}


def records(trace, spans):
    """The spans of one trace as the lines of the `file` protocol, one for each segment."""
    segments = defaultdict(list)
    for span in spans:
        segments[span["segmentId"]].append(span)
    for segment, its in segments.items():
        yield {"kind": "segment", "segment": {
            "traceId": trace, "traceSegmentId": segment, "service": its[0]["serviceCode"],
            "serviceInstance": its[0]["serviceInstanceName"],
            "spans": [span_record(span) for span in its]}}


def print_version(args):
    print(Oap(args.address).ask("{ version }")["version"])


def print_traces(args):
    for trace, spans in wait_for_traces(Oap(args.address), args).items():
        for record in records(trace, spans):
            print(json.dumps(record, separators=(",", ":")))


def wait_for_edges(oap, args):
    """Until the edges in args.edge were seen from both sides, or time is up."""
    deadline = time.monotonic() + args.wait
    while True:
        edges, guessed = oap.edges(args.since)
        lack = [edge for edge in args.edge
                if edges.get(tuple(edge.split(","))) != ["CLIENT", "SERVER"]]
        if not lack or time.monotonic() > deadline:
            return edges, guessed
        time.sleep(1)


def print_edges(args):
    edges, guessed = wait_for_edges(Oap(args.address), args)
    wanted = {name for edge in args.edge for name in edge.split(",")}
    rows = [(caller, called, points) for (caller, called), points in sorted(edges.items())
            if not wanted or (caller in wanted and called in wanted)]
    width = max((len(f"{caller} → {called}") for caller, called, _ in rows), default=0)
    for caller, called, points in rows:
        print(f"  {f'{caller} → {called}':{width}}   seen by " +
              " and ".join({"CLIENT": "the caller", "SERVER": "the called"}.get(p, p.lower())
                           for p in points)
              + ("   (by address only)" if called in guessed else ""))


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    commands = parser.add_subparsers(dest="command", required=True)
    check = commands.add_parser("reach", help="does anybody listen there?")
    check.add_argument("address", metavar="HOST:PORT")
    check.add_argument("what", nargs="?", default="anything")
    version = commands.add_parser("version", help="which OAP is it?")
    version.add_argument("address", metavar="HOST:PORT")
    traces = commands.add_parser("traces", help="traces as lines for tree.py")
    edges = commands.add_parser("edges", help="who calls whom")
    for command in traces, edges:
        command.add_argument("address", metavar="HOST:PORT")
        command.add_argument("--since", type=float, default=time.time() - 900, metavar="SECONDS",
                             help="since the epoch (default: a quarter of an hour ago)")
        command.add_argument("--wait", type=float, default=0, metavar="SECONDS",
                             help="wait at most so long for what is wanted")
    traces.add_argument("--service", metavar="NAME", help="only traces that this service is in")
    traces.add_argument("--want", type=int, default=0, metavar="N", help="wait for N traces")
    traces.add_argument("--whole", action="store_true",
                        help="wait until every call has the segment of who served it")
    edges.add_argument("--edge", action="append", default=[], metavar="A,B",
                       help="only between these, and wait until both sides saw it")
    return parser.parse_args()


COMMANDS = {"version": print_version, "traces": print_traces, "edges": print_edges}


def main():
    args = arguments()
    try:
        if args.command == "reach":
            reach(args.address, args.what)
        else:
            split(args.address)
            COMMANDS[args.command](args)
    except Problem as problem:
        sys.exit(f"collector.py: {problem}")
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
