"""The bytes on the wire: what arrives, less our two lines, is what the program sent.

The lines stand before the final CRLF of a head, once, or the head is as the program sent it. Every
condition under which we inject, and every one under which we must not, has its case here.
"""

import json

import pytest

import reader
from conftest import LIB
from origin import Origin, plain_answer, without_lines

GET = "GET /a HTTP/1.1\r\nHost: h:80\r\nAccept: */*\r\n\r\n"
BARE = "GET /bare HTTP/1.1\r\n\r\n"
BIG = "GET /big HTTP/1.1\r\nHost: h:80\r\nCookie: " + "c" * 7000 + "\r\n\r\n"
POST = "POST /p HTTP/1.1\r\nHost: h:80\r\nContent-Length: 12\r\n\r\nGET / HTTP/1"
CHUNKED = ("POST /c HTTP/1.1\r\nHost: h:80\r\nTransfer-Encoding: chunked\r\n\r\n"
           "5\r\nhello\r\n6;x=y\r\n world\r\n0\r\n\r\n")
OLD = "GET /old HTTP/1.0\r\nHost: h:80\r\n\r\n"
ABSOLUTE = "GET http://user:secret@h:81/abs?q=1 HTTP/1.1\r\nHost: h:81\r\n\r\n"
MESSAGES = {"get": GET, "bare": BARE, "big": BIG, "post": POST, "chunked": CHUNKED, "old": OLD,
            "absolute": ABSOLUTE}

MSG_OOB, MSG_MORE, MSG_NOSIGNAL, MSG_DONTWAIT = 0x1, 0x8000, 0x4000, 0x40
MSG_ZEROCOPY, MSG_FASTOPEN = 0x4000000, 0x20000000


def conversation(bench, program, origin, connections, env=None, **options):
    """Runs the plan without and with us. Returns (sent, arrived) of the connections: what arrived
    without us is what was sent."""
    plan = json.dumps({"where": origin.where, "connections": connections, **options}).encode()
    argv = program("sender.py")
    without = bench.run(argv, agent=False, env=env, input=plan)
    sent = origin.taken(len(connections))
    with_us = bench.run(argv, name="sender", env=env, input=plan)
    arrived = origin.taken(len(connections))
    with_us.same(without)
    assert with_us.rc == 0, with_us
    return sent, arrived


def injected(sent, arrived):
    """[[(sw8, correlation)]] of the connections, after the comparison."""
    found = []
    for before, after in zip(sent, arrived):
        rest, lines = without_lines(after)
        assert rest == before
        found.append(lines)
    return found


WAYS = {
    "send": lambda m: [["send", m]],
    "send-nosignal": lambda m: [["send", m, MSG_NOSIGNAL]],
    "send-dontwait": lambda m: [["send", m, MSG_DONTWAIT]],
    "sendall": lambda m: [["sendall", m]],
    "write": lambda m: [["write", m]],
    "sendmsg": lambda m: [["sendmsg", m, 10 ** 6]],
    "sendmsg-pieces": lambda m: [["sendmsg", m, 9]],
    "writev": lambda m: [["writev", m, 10 ** 6]],
    "writev-pieces": lambda m: [["writev", m, 13]],
    "syscall-write": lambda m: [["syscall-write", m]],
    "more": lambda m: [["send", m[:20], MSG_MORE], ["send", m[20:]]],
    "more-all": lambda m: [["send", m[:-1], MSG_MORE], ["send", m[-1:]]],
    "byte-by-byte": lambda m: [["dribble", m, 1]],
    "seven-by-seven": lambda m: [["dribble", m, 7]],
    "two": lambda m: [["send", m[:-2]], ["send", m[-2:]]],
    "nonblocking": lambda m: [["push", m]],
    "dup": lambda m: [["dup", m]],
}


def wires(way, message):
    return [*WAYS[way](MESSAGES[message]), ["read", 1]]


# Ways that put a boundary into the final CRLF: our lines' place has passed when we learn of it.
TOO_LATE = {"byte-by-byte": MESSAGES, "more-all": {"get", "bare", "big", "old", "absolute"}}


@pytest.mark.parametrize("way", WAYS)
def test_every_way_to_send(bench, program, origin, way):
    pieces = way in ("byte-by-byte", "dup", "sendmsg-pieces", "writev-pieces")
    names = [name for name in MESSAGES if not (name == "big" and pieces)]
    sent, arrived = conversation(bench, program, origin, [wires(way, name) for name in names])
    lines = dict(zip(names, injected(sent, arrived)))
    segments = bench.segments(len(names))
    late = {name for name in names if name in TOO_LATE.get(way, ()) or
            way == "seven-by-seven" and (MESSAGES[name].index("\r\n\r\n") + 3) % 7 == 0}
    assert {name: len(of_one) for name, of_one in lines.items()} == \
        {name: int(name not in late) for name in names}
    by_id = {s.traceSegmentId: s for s in segments}
    for sw8, correlation in sum(lines.values(), []):
        carried = reader.parse_carrier(sw8)
        segment = by_id[carried.segment]
        assert (carried.flag, carried.trace, carried.span, carried.service, carried.instance) == \
            ("1", segment.traceId, 0, "sender", segment.serviceInstance)
        assert carried.endpoint == segment.spans[0].operationName
        assert carried.address == segment.spans[0].peer
        assert correlation == ""


def test_keep_alive(bench, program, origin):
    messages = [GET, POST, BARE, CHUNKED, GET]
    steps = [step for m in messages for step in (["send", m], ["read", 1])]
    [lines] = injected(*conversation(bench, program, origin, [steps]))
    assert len(lines) == 5 and len(set(lines)) == 5
    bench.segments(5)


def test_body_apart_from_head(bench, program, origin, tmp_path):
    file = tmp_path / "body"
    file.write_bytes(b"POST / HTTP/1.1\r\n\r\n" * 5000)
    head = f"POST /f HTTP/1.1\r\nHost: h:80\r\nContent-Length: {file.stat().st_size}\r\n\r\n"
    [lines] = injected(*conversation(bench, program, origin, [
        [["send", head], ["sendfile", str(file)], ["read", 1], ["send", GET], ["read", 1]]]))
    assert len(lines) == 2
    bench.segments(2)


def test_expect_continue(bench, program, origin):
    head = "POST /e HTTP/1.1\r\nHost: h:80\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n"
    connection = [["send", head], ["sleep", 0.1], ["send", "abc"], ["sleep", 0.1]]
    [lines] = injected(*conversation(bench, program, origin, [connection]))
    assert len(lines) == 1
    bench.segments(1)


@pytest.mark.parametrize("cut", range(1, 6))
def test_pipelined_in_pieces(bench, program, origin, cut):
    text = GET + POST + BARE + CHUNKED + GET
    size = (len(text) // cut) - 3
    connection = [["dribble", text, size], ["read", 5]]
    [lines] = injected(*conversation(bench, program, origin, [connection]))
    assert 1 <= len(lines) <= 5
    bench.segments(5)


# ---- a kernel that takes only a part ----


@pytest.fixture(scope="session")
def stingy(tmp_path_factory, compiled):
    import subprocess
    from conftest import HERE
    path = tmp_path_factory.mktemp("stingy") / "stingy.so"
    subprocess.run(["gcc", "-O1", "-shared", "-fPIC", "-o", path, HERE / "programs" / "stingy.c"],
                   check=True)
    return path


@pytest.mark.parametrize("busy", [False, True], ids=["", "busy"])
@pytest.mark.parametrize("bytes_taken", [1, 2, 3, 10, 61, 100, 150, 200, 250, 300])
def test_partial_writes(bench, program, origin, stingy, bytes_taken, busy):
    """Behind the agent's calls the kernel takes `bytes_taken` at a time; when it takes only of ours
    the program must be told so that it tries again."""
    messages = [GET, POST, CHUNKED, BARE]
    # A waiter for edges is told once: an EAGAIN that is not the kernel's own makes it sleep on.
    ways = ["push", "push-writev", "sendall"] + ([] if busy else ["push-edge"])
    connections = [[step for m in messages for step in ([way, m], ["read", 1])] for way in ways]
    plan = json.dumps({"where": origin.where, "connections": connections}).encode()
    settings = {"STINGY": bytes_taken} | ({"STINGY_BUSY": 1} if busy else {})
    argv = program("sender.py")
    without = bench.run(argv, agent=False, env=settings | {"LD_PRELOAD": stingy}, input=plan)
    sent = origin.taken(len(ways))
    with_us = bench.run(argv, name="sender", input=plan,
                        env=settings | {"LD_PRELOAD": f"{LIB}:{stingy}"})
    arrived = origin.taken(len(ways))
    with_us.same(without)
    assert [len(lines) for lines in injected(sent, arrived)] == [len(messages)] * len(ways)
    bench.segments(len(messages) * len(ways))


@pytest.mark.parametrize("unix", [False, True], ids=["tcp", "unix"])
@pytest.mark.parametrize("way", ["push", "push-writev", "push-edge"])
def test_full_buffers(bench, program, ports, tmp_path, way, unix):
    """The smallest buffers that the kernel gives, and a peer that reads late: real EAGAINs."""
    post = ("POST /%d HTTP/1.1\r\nHost: h:80\r\nContent-Length: 20000\r\nCookie: " + "c" * 3000 +
            "\r\n\r\n" + "b" * 20000)
    where = str(tmp_path / "origin") if unix else ports()
    with Origin(where, receive_buffer=2048) as origin:
        import time
        origin.first = lambda peer: time.sleep(0.2)
        connection = [step for i in range(12) for step in ([way, post % i],)]
        [lines] = injected(*conversation(bench, program, origin, [connection + [["read", 12]]],
                                         buffer=2048))
    assert len(lines) == 12
    bench.segments(12)


# ---- when we must keep out ----


def post(extra, body=""):
    return f"POST /x HTTP/1.1\r\nHost: h:80\r\n{extra}\r\n{body}"


# What another agent, or nothing that we understand, sends: never a byte of ours.
LEFT_ALONE = {
    "connect": [["send", "CONNECT h:80 HTTP/1.1\r\nHost: h:80\r\n\r\n"]],
    "http2": [["send", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"]],
    "http-1.2": [["send", "GET / HTTP/1.2\r\nHost: h\r\n\r\n"]],
    "http-0.9": [["send", "GET /\r\n"]],
    "no-version": [["send", "GET / HTTP/1.1 \r\nHost: h\r\n\r\n"]],
    "redis": [["send", "*1\r\n$4\r\nPING\r\n"]],
    "bare-lf": [["send", "GET / HTTP/1.1\nHost: h\n\n"]],
    "bare-lf-inside": [["send", "GET / HTTP/1.1\r\nHost: h\nX: y\r\n\r\n"]],
    "nul": [["send", "GET / HTTP/1.1\r\nHost: h\r\nX: a\0b\r\n\r\n"]],
    "oob": [["send", GET, MSG_OOB]],
    "zerocopy": [["send", GET, MSG_ZEROCOPY]],
    "other-agent": [["send", GET[:-2] + f"sw8: {reader.carrier()}\r\nsw8-correlation: \r\n\r\n"]],
    "other-agent-case": [["send", GET[:-2] + f"SW8:{reader.carrier()}\r\n\r\n"]],
    "over-budget": [["send", GET[:-2] + "C: " + "c" * 7900 + "\r\n\r\n"]],
    "not-at-start": [["send", "\r\n"], ["send", GET]],
    "twice-empty": [["send", "\r\n\r\n" + GET]],
}


@pytest.mark.parametrize("case", LEFT_ALONE)
def test_left_alone(bench, program, origin, case):
    origin.answer = lambda request: None
    sent, arrived = conversation(bench, program, origin, [LEFT_ALONE[case] + [["sleep", 0.05]]])
    assert arrived == sent


# The framing of the first message is not certain: the second must be left alone. The first may
# carry our lines.
UNCERTAIN = {
    "two-lengths": post("Content-Length: 3\r\nContent-Length: 3\r\n", "abc"),
    "list-of-lengths": post("Content-Length: 3, 3\r\n", "abc"),
    "length-and-chunked": post("Content-Length: 3\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n"),
    "chunked-twice": post("Transfer-Encoding: chunked, chunked\r\n", "0\r\n\r\n"),
    "chunked-not-last": post("Transfer-Encoding: chunked, gzip\r\n", "0\r\n\r\n"),
    "gzip": post("Transfer-Encoding: gzip\r\n", "abc"),
    "negative-length": post("Content-Length: -3\r\n", "abc"),
    "plus-length": post("Content-Length: +3\r\n", "abc"),
    "hex-length": post("Content-Length: 0x3\r\n", "abc"),
    "blank-before-colon": post("Content-Length : 3\r\n", "abc"),
    "obs-fold": post("Content-Length:\r\n 3\r\n", "abc"),
    "obs-fold-te": post("Transfer-Encoding:\r\n chunked\r\n", "0\r\n\r\n"),
    "bad-chunk": post("Transfer-Encoding: chunked\r\n", "zz\r\n\r\n"),
    "bare-lf-chunk": post("Transfer-Encoding: chunked\r\n", "0\n\n"),
}


@pytest.mark.parametrize("case", UNCERTAIN)
def test_uncertain_framing(bench, program, origin, case):
    origin.answer = lambda request: None
    origin.talk = lambda peer, data: swallow(peer, data)
    connection = [["send", UNCERTAIN[case]], ["sleep", 0.05], ["send", GET], ["sleep", 0.05]]
    [sent], [arrived] = conversation(bench, program, origin, [connection])
    assert arrived.endswith(GET.encode()), "lines in a head whose beginning is not certain"
    assert without_lines(arrived)[0] == sent


def swallow(peer, data):
    while got := peer.recv(65536):
        data.extend(got)


def test_second_head_in_one_call_is_left_alone(bench, program, origin):
    [lines] = injected(*conversation(bench, program, origin, [[["send", GET + BARE], ["read", 2]]]))
    assert len(lines) == 1
    bench.segments(2)


def test_upgraded_connection_is_left_alone(bench, program, origin):
    origin.answer = lambda request: (
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: Upgrade\r\n"
        b"Content-Length: 0\r\n\r\n" if request.path == b"/up" else plain_answer(request))
    head = "GET /up HTTP/1.1\r\nHost: h:80\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n"
    [sent], [arrived] = conversation(bench, program, origin, [
        [["send", head], ["read", 1], ["send", GET], ["read", 1]]])
    rest, lines = without_lines(arrived)
    assert rest == sent and len(lines) == 1 and arrived.endswith(GET.encode())
    [segment] = bench.segments(1)
    assert reader.tags(segment.spans[0])["http.status_code"] == "101"


def test_fast_open_is_left_alone(bench, program, origin):
    sent, arrived = conversation(bench, program, origin, [[["sendto", GET, MSG_FASTOPEN],
                                                           ["read", 1]]], fastopen=True)
    assert arrived == sent


def test_control_data_is_left_alone(bench, program, tmp_path):
    with Origin(str(tmp_path / "origin")) as origin:
        sent, arrived = conversation(bench, program, origin, [[["sendmsg-rights", GET],
                                                               ["read", 1]]])
        assert arrived == sent
        [lines] = injected(*conversation(bench, program, origin, [[["send", GET], ["read", 1]]]))
        assert len(lines) == 1


def test_unknown_socket_is_left_alone(bench, program, origin):
    """One that we did not see connect: inherited, made by a raw call, or not a connection."""
    without = bench.run(program("strange_sockets.py", origin.where), agent=False)
    sent = origin.taken(3)
    with_us = bench.run(program("strange_sockets.py", origin.where))
    arrived = origin.taken(3)
    with_us.same(without)
    assert with_us.rc == 0, with_us
    assert sorted(arrived) == sorted(sent)
    assert len(bench.segments()) <= 1  # of the number that had belonged to a connection


@pytest.mark.parametrize("rule, count", [("h", 0), ("h:80", 0), ("h:81", 1), ("x,*.h", 1),
                                         ("x, h ", 0), ("", 1)])
def test_peers_that_get_no_lines(bench, program, origin, rule, count):
    """Their calls are traced all the same."""
    [lines] = injected(*conversation(bench, program, origin, [[["send", GET], ["read", 1]]],
                                     env={"SW_AGENT_INJECT_IGNORE_PEERS": rule}))
    assert len(lines) == count
    bench.segments(1)


def test_head_budget(bench, program, origin):
    [lines] = injected(*conversation(bench, program, origin, [[["send", GET], ["read", 1]]],
                                     env={"SW_AGENT_HEAD_MAX_LENGTH": 100}))
    assert lines == []
    bench.segments(1)
