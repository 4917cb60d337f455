"""/buy: each request makes a call to a second service, with aiohttp.

The second service (tests/bench/stock.c) runs on core 1, beside wrk and the sink. On core 0 it would
take CPU from the application, which is short of it, and the agent's share of that core would look
smaller than it is. Core 1 must have time left for this to be fair: its use is among the figures.
"""

from pathlib import Path

import load
import peers
from common import Failed, compiled, ended, free_port, scratch, start, wait_for_port

show = load.show


class Stock:
    """The second service."""

    def __init__(self, folder):
        self.port = free_port()
        self.process = start([compiled("stock", folder), self.port, Path(folder) / "stock.counts"], cpu=1)
        if not wait_for_port(self.process, self.port):
            raise Failed("the second service does not come up")
        self.env = {"BENCH_STOCK": f"http://127.0.0.1:{self.port}/stock?item=7"}


def measure(lib, options):
    with scratch() as folder:
        stock = Stock(folder)
        kinds = load.plain_and_agent(lib, folder, options.protocol)
        kinds += peers.kinds(folder) if options.peers else []
        turns = load.run_turns(kinds, "/buy", options, stock.env)
        ended(stock.process)
        return load.summary("/buy", turns, options)


def wrongs(result):
    """The call is in its request's segment, or one of its own."""
    return load.wrongs(result, per_request=(1, 2))


def bars(r):
    return [("QPS kept on /buy", r["qps_ratio"]["median"], ">=", 0.95, r["qps_ratio"]["median_95"])]
