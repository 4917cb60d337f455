"""/hello of SkyWalking's own comparison: no call to anybody, a millisecond of waiting."""

import load
import peers
from common import scratch

show = load.show


def measure(lib, options):
    with scratch() as folder:
        kinds = load.plain_and_agent(lib, folder, options.protocol)
        kinds += peers.kinds(folder) if options.peers else []
        return load.summary("/hello", load.run_turns(kinds, "/hello", options), options)


def wrongs(result):
    return load.wrongs(result, per_request=(1,))


def bars(r):
    return [("QPS kept on /hello", r["qps_ratio"]["median"], ">=", 0.95, r["qps_ratio"]["median_95"]),
            ("CPU us added per request", r["cpu_us"]["more"], "<=", 6.0, r["cpu_us"]["more_95"]),
            ("/hello: RSS KB more", r["rss_kb"]["more"], "<=", 4096, r["rss_kb"]["more_95"]),
            ("/hello: threads more", r["threads"]["more"], "<=", 1, r["threads"]["more_95"]),
            ("/hello: share delivered", r["sent_segments"] / r["served"], ">=", 1, None)]
