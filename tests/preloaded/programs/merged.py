"""What native_probe.c makes of this interpreter's stacks, against what is known of its calls.

usage: merged.py PROBE KIND

Prints "ok N" with how many stacks were looked at.
"""

import ctypes
import json
import re
import sys
import threading

probe = ctypes.CDLL(sys.argv[1])
SAMPLES = 600
WHOLE, LEAVES, PYTHON = range(3)
leave = False


def burn(n):
    return sum([x * x for x in range(n)])


def enc(o):
    return [burn(7), str(burn(9))]


def by(x):
    return -x + burn(2)


def letters(match):
    return match.group().upper() * burn(3)


def squares(n):
    for x in range(n):
        yield x * burn(2)


def raises(n):
    if n == 0:
        raise ValueError(burn(2))
    raises(n - 1)


def work():
    json.dumps({"a": object(), "b": [object()] * 3}, default=enc)
    sorted(range(30), key=by)
    re.sub("[a-c]", letters, "abcabc" * 5)
    sum(squares(20))
    try:
        raises(5)
    except ValueError:
        pass


def deep(n):
    return max([n], key=lambda x: deep(n - 1)) if n else [work() for _ in range(300)]


def in_greenlets():
    """Each is started by another function than the one that goes on with it, from other depths."""
    import greenlet

    def serves():
        while True:
            work()
            greenlet.getcurrent().parent.switch()

    def starts(n):
        if n:
            return starts(n - 1)
        new = greenlet.greenlet(serves)
        return max([new], key=lambda g: g.switch() or 0)

    running = [starts(n) for n in (0, 1, 5)]
    for _ in range(20):
        for one in running:
            one.switch()


def look(kind, seen):
    """On another thread, until there is enough."""
    global leave
    room = ctypes.create_string_buffer(1 << 18)
    for _ in range(SAMPLES):
        how = probe.probe_look(room, len(room))
        seen.append((how & 15, how & 16, [line.split(" ", 2) for line in room.value.decode().splitlines()]))
    leave = True


def last(name):
    return name.rpartition(".")[2]


def between(frames, inner, outer):
    """What stands outside each frame of `inner` up to the next of Python's, which is one of `outer`."""
    for i, frame in enumerate(frames):
        if frame[0] != "P" or last(frame[1]) != inner:
            continue
        natives = []
        for other in frames[i + 1:]:
            if other[0] == "P":
                assert last(other[1]) in outer, frames
                break
            natives.append(other)
        yield natives


def check_whole(seen, version):
    # In a switch from one greenlet to another there are no frames of Python's for a moment.
    whole = [frames for how, _, frames in seen if how == WHOLE and any(f[0] == "P" for f in frames)]
    assert len(whole) >= 0.9 * len(seen), [(how, cut) for how, cut, _ in seen]
    met = {"enc": 0, "by": 0, "letters": 0}
    for frames in whole:
        names = [last(f[1]) for f in frames if f[0] == "P"]
        assert "serves" in names or names[-1] == "<module>", frames
        # Below a greenlet's first function stands what started it, which it was not called by.
        assert "serves" not in names or names[-1] == "serves", frames
        for inner, outer, symbol in (("enc", ["iterencode"], "encoder"), ("by", ["work"], "sort"),
                                     ("letters", ["sub"], "pattern_sub")):
            for natives in between(frames, inner, outer):
                met[inner] += 1
                assert natives, (inner, frames)
                assert any(symbol in f[2] or not f[2] for f in natives), frames
        if version >= (3, 11):
            for natives in between(frames, "burn", ["enc", "by", "letters", "squares", "raises"]):
                assert not natives, frames
    assert all(met.values()), met


def run(kind):
    seen = []
    assert probe.probe_begin() == 1
    thread = threading.Thread(target=look, args=(kind, seen))
    thread.start()
    while not leave:
        if kind == "deep":
            deep(150)
        elif kind == "greenlets":
            in_greenlets()
        else:
            work()
    thread.join()
    return seen


def main():
    kind = sys.argv[2]
    sys.setrecursionlimit(5000)
    sys.setswitchinterval(0.001)  # who looks needs the GIL each time
    seen = run(kind)
    sizes = (ctypes.c_uint64 * 2)()
    probe.probe_eval(sizes)
    print("interpreter", sizes[0], "apart", sizes[1], file=sys.stderr)
    for how in (WHOLE, LEAVES, PYTHON):
        print(how, sum(h == how for h, _, _ in seen), "cut", sum(h == how and c > 0 for h, c, _ in seen),
              file=sys.stderr)
    print("\n".join(" ".join(f) for f in seen[-1][2]), file=sys.stderr)
    probe.probe_speed.restype = ctypes.c_double
    count = ctypes.c_int()
    ns = probe.probe_speed(1000, ctypes.byref(count))
    print("%.0f ns for %d frames" % (ns, count.value), file=sys.stderr)
    if kind in ("whole", "greenlets"):
        check_whole(seen, sys.version_info)
    else:
        assert all(frames for _, _, frames in seen)
        assert not any(how == PYTHON for how, _, _ in seen), [how for how, _, _ in seen]
    print("ok", len(seen))


main()
