"""/logged: as /hello, and each request writes a line of some 120 bytes by CPython's logging, which is sent.

Both sides write the line; with the agent it is captured, read and sent beside the segment, and the
process's meters are sent every second. The lines go to a file, which is captured by its name in the
way that stdout is, so that they are not mixed with what the server says.
"""

from pathlib import Path

import load
from common import scratch

show = load.show


def measure(lib, options):
    with scratch() as folder:
        kinds = load.plain_and_agent(lib, folder, options.protocol)
        env = {"BENCH_LINES": str(Path(folder) / "shop.lines"), "SW_AGENT_LOG_REPORTER_FILES": "*.lines",
               "SW_AGENT_LOG_REPORTER_RATE": "100000", "SW_AGENT_METER_REPORTER_PERIOD": "1"}
        return load.summary("/logged", load.run_turns(kinds, "/logged", options, env), options)


def wrongs(result):
    """Segments are never given up for lines; most of what else arrives are lines."""
    found = load.wrongs(result, per_request=(1,))
    if result["sent_others"] < 0.9 * result["served"]:
        found.append(f"/logged: {result['served']} lines written, {result['sent_others']} other records arrived")
    return found


def bars(r):
    return [("QPS kept on /logged, meters on", r["qps_ratio"]["median"], ">=", 0.95, r["qps_ratio"]["median_95"]),
            ("/logged: other records for each request", r["sent_others"] / r["served"], ">=", 0.99, None)]
