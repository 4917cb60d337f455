"""The other formats, read by readers of others or of the tests' own: what they say is what was recorded."""

import gzip
import json
import re
import shutil
import subprocess
from collections import Counter, defaultdict

import pytest
from example import lines
from made import Made
from test_flame import HOSTILE, ms, shop, small


def requests():
    """Tasks and requests; some weights of nothing."""
    made = Made(mode="off-cpu", program="requests.py")
    note = made.frame("[recv 10.0.0.5:5432]", "note", 0, "")
    for i in range(40):
        made.add(ms(i % 5), "main", "serve", note, task=f"Task-{i % 4}", segment=f"{i % 3:x}.1.2", span=i % 2, tid=100 + i % 2,
                 thread=f"w{i % 2}")
    made.add(ms(7), "main", note, tid=100, thread="w0")
    return made.end(missed=3)


def hostile():
    made = Made(program='"</script>\\')
    for i, name in enumerate(HOSTILE):
        made.add(ms(i + 1), "main", made.frame(name, ("python", "native", "await", "note")[i % 4], file=name),
                 thread=name if i % 2 else "", task=name, segment=name, tid=i)
    return made.end()


ALL = [small, shop, requests, hostile]


def text_of(name):
    """As the recording keeps it."""
    data = name if isinstance(name, bytes) else name.encode()
    if len(data) > 1024:
        data = data[:1021] + b"..."  # the tests have ASCII only there
    kept, i = "", 0
    while i < len(data):
        for length in (1, 2, 3, 4):
            try:
                kept += data[i:i + length].decode().replace("\0", "?")
                i += length
                break
            except UnicodeDecodeError:
                pass
        else:
            kept, i = kept + "?", i + 1
    return kept


@pytest.mark.parametrize("make", ALL)
def test_the_same_bytes_each_time(make, tmp_path):
    for ending in ("folded", "html", "json", "pb.gz"):
        make().write(tmp_path / f"one.{ending}", tmp_path / f"two.{ending}")
        make().write(tmp_path / f"three.{ending}")
        one = (tmp_path / f"one.{ending}").read_bytes()
        assert one == (tmp_path / f"two.{ending}").read_bytes() == (tmp_path / f"three.{ending}").read_bytes()
        assert one


# ---- collapsed stacks ----

def collapsed(frame):
    kind, line, _, function, file = frame
    file = text_of(file)
    where = f" ({file.rsplit('/', 1)[-1] if kind == 'native' else file}{f':{line}' if line else ''})" if file else ""
    return re.sub(r"[\x00-\x1f\x7f]", " ", (text_of(function) + where).replace(";", ":"))


@pytest.mark.parametrize("make", ALL)
def test_folded(make, tmp_path):
    made, expected, found = make(), Counter(), Counter()
    made.write(tmp_path / "a.folded")
    for tid, thread, _, _, _, weight, stack in made.samples:
        name = re.sub(r"[\x00-\x1f\x7f]", " ", text_of(thread).replace(";", ":")) if thread else f"thread {tid}"
        expected[";".join([name] + [collapsed(frame) for frame in stack])] += weight
    for line in (tmp_path / "a.folded").read_text("utf-8").split("\n")[:-1]:
        stack, weight = re.fullmatch(r"(.+) (\d+)", line).groups()  # as flamegraph.pl takes it
        found[stack] += int(weight)
    assert found.keys() == expected.keys()
    assert all(abs(found[stack] * 1000 - expected[stack]) <= 500 * len(made.samples) for stack in found)
    assert abs(sum(found.values()) - made.total() / 1000) <= len(found)


# ---- speedscope ----

# What https://www.speedscope.app/file-format-schema.json demands of what we write: its required
# members and their types.
SCHEMA = {
    "$schema": "https://www.speedscope.app/file-format-schema.json",
    "exporter": str, "name": str, "activeProfileIndex": int,
    "shared": {"frames": [{"name": str, "file?": str, "line?": int}]},
    "profiles": [{"type": "sampled", "name": str, "unit": "nanoseconds", "startValue": int, "endValue": int,
                  "samples": [[int]], "weights": [int]}],
}


def check(value, schema, where="$"):
    if isinstance(schema, dict):
        assert isinstance(value, dict), where
        assert value.keys() <= {name.rstrip("?") for name in schema}, where
        for name, inner in schema.items():
            if name.rstrip("?") in value:
                check(value[name.rstrip("?")], inner, f"{where}.{name}")
            else:
                assert name.endswith("?"), f"{where}.{name} is missing"
    elif isinstance(schema, list):
        assert isinstance(value, list), where
        for i, item in enumerate(value):
            check(item, schema[0], f"{where}[{i}]")
    elif isinstance(schema, type):
        assert type(value) is schema, where
    else:
        assert value == schema, where


@pytest.mark.parametrize("make", ALL)
def test_speedscope(make, tmp_path):
    made = make()
    made.write(tmp_path / "a.json")
    profile = json.loads((tmp_path / "a.json").read_text("utf-8"))
    check(profile, SCHEMA)
    frames = profile["shared"]["frames"]
    expected = defaultdict(list)  # runs of equal samples are one
    for tid, thread, task, segment, span, weight, stack in made.samples:
        same = (task, segment, span if segment else 0, stack)
        runs = expected[f"{text_of(thread)} ({tid})" if thread else f"thread ({tid})"]
        if runs and runs[-1][0] == same:
            runs[-1][1] += weight
        else:
            runs.append([same, weight])
    assert [p["name"] for p in profile["profiles"]] == list(expected)
    weights = [p["endValue"] for p in profile["profiles"]]
    assert profile["activeProfileIndex"] == weights.index(max(weights))
    for p in profile["profiles"]:
        assert len(p["samples"]) == len(p["weights"])
        assert p["startValue"] == 0 and p["endValue"] == sum(p["weights"])
        shown = [[[(frames[n]["name"], frames[n].get("line", 0)) for n in stack], weight]
                 for stack, weight in zip(p["samples"], p["weights"])]
        assert shown == [[[(text_of(frame[3]) or "?", frame[1]) for frame in same[3]], weight]
                         for same, weight in expected[p["name"]]]


# ---- pprof ----

def fields(data):
    """[(field, number or bytes)] of a message of protobuf."""
    found, at = [], 0

    def varint():
        nonlocal at
        value = shift = 0
        while True:
            byte = data[at]
            at += 1
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return value

    while at < len(data):
        tag = varint()
        if tag & 7 == 0:
            found.append((tag >> 3, varint()))
        else:
            assert tag & 7 == 2
            length = varint()
            assert at + length <= len(data)
            found.append((tag >> 3, data[at:at + length]))
            at += length
    return found


def several(message, field):
    return [value for number, value in message if number == field]


def one(message, field, default=0):
    values = several(message, field)
    assert len(values) <= 1
    return values[0] if values else default


def by_id(profile, field):
    messages = [fields(data) for data in several(profile, field)]
    found = {one(message, 1): message for message in messages}
    assert len(found) == len(messages) and 0 not in found
    return found


@pytest.mark.parametrize("make", ALL)
def test_pprof(make, tmp_path):
    made, expected, found = make(), Counter(), Counter()
    made.write(tmp_path / "a.pb.gz")
    profile = fields(gzip.decompress((tmp_path / "a.pb.gz").read_bytes()))
    strings = [data.decode() for data in several(profile, 6)]
    assert strings[0] == ""
    types = [tuple(strings[one(fields(data), i)] for i in (1, 2)) for data in several(profile, 1)]
    mode = made.lines[0].split("\t")[1].replace("-", "")
    assert types == [("samples", "count"), (mode, "nanoseconds")]
    assert tuple(strings[one(fields(one(profile, 11)), i)] for i in (1, 2)) == (mode, "nanoseconds")
    assert one(profile, 12) == 10_000_000 and strings[one(profile, 14)] == mode
    assert one(profile, 9) == 1795305600000 * 10**6
    assert "missed" in strings[several(profile, 13)[1]]
    mappings, locations, functions = by_id(profile, 3), by_id(profile, 4), by_id(profile, 5)

    def shown(location):
        line = fields(one(locations[location], 4))
        function = functions[one(line, 1)]
        mapping = one(locations[location], 2)
        library = strings[one(mappings[mapping], 5)] if mapping else ""
        return strings[one(function, 2)], strings[one(function, 4)] or library, one(line, 2)

    for data in several(profile, 2):
        sample = fields(data)
        labels = {}
        for label in map(fields, several(sample, 3)):
            key = strings[one(label, 1)]
            assert key not in labels
            labels[key] = strings[one(label, 2)] if one(label, 2) else one(label, 3)
        key = (tuple(shown(n) for n in several(sample, 1)), tuple(sorted(labels.items())))
        count, weight = several(sample, 2)
        found[key, "count"] += count
        found[key, "weight"] += weight
    for tid, thread, task, segment, span, weight, stack in made.samples:
        labels = {"tid": tid} | ({"thread": text_of(thread)} if thread else {}) | ({"task": text_of(task)} if task else {})
        labels |= {"trace_segment": text_of(segment), "span": span} if segment else {}
        key = (tuple((text_of(f[3]) or "?", text_of(f[4]), f[1]) for f in reversed(stack)), tuple(sorted(labels.items())))
        expected[key, "count"] += 1
        expected[key, "weight"] += weight
    assert found == expected


@pytest.fixture(scope="session")
def pprof():
    """Go's own reader. `go tool` may have to build it first, which it does once."""
    if not shutil.which("go"):
        pytest.skip("there is no Go")
    asked = subprocess.run(["go", "tool", "-n", "pprof"], capture_output=True, text=True, timeout=300)
    program = asked.stdout.strip()
    if asked.returncode or not shutil.which(program):
        pytest.skip(f"there is no `go tool pprof`: {asked.stderr}")

    def run(path, *options):
        done = subprocess.run([program, *options, path], capture_output=True, text=True, timeout=90,
                              env={"PATH": "/usr/bin:/bin", "HOME": str(path.parent), "PPROF_TMPDIR": str(path.parent)})
        assert done.returncode == 0, done.stderr
        return done.stdout
    return run


@pytest.mark.parametrize("make", [small, shop])
def test_go_reads_the_same_numbers(make, pprof, tmp_path):
    made = make()
    made.write(tmp_path / "a.pb.gz")
    for index, unit, count in (("samples", 1, True), ("cpu", 1_000_000, False)):
        out = pprof(tmp_path / "a.pb.gz", "-top", "-nodecount=0", "-nodefraction=0", "-edgefraction=0", "-unit=ms",
                    f"-sample_index={index}")
        rows = {m[3]: (float(m[1]), float(m[2])) for m in
                re.finditer(r"^ *([\d.]+)(?:ms)? +[\d.]+% +[\d.]+% +([\d.]+)(?:ms)? +[\d.]+%  (.+)$", out, re.M)}
        expected = made.by_function(count=count)
        assert rows.keys() == expected.keys(), out
        for name, (alone, total) in expected.items():
            assert abs(rows[name][0] - alone / unit) < 0.011 and abs(rows[name][1] - total / unit) < 0.011, name
    told = pprof(tmp_path / "a.pb.gz", "-comments")
    taken = len(made.samples)
    assert f"{taken} samples taken of" in told and "missed" in told


def test_go_takes_whatever_names_there_are(pprof, tmp_path):
    hostile().write(tmp_path / "a.pb.gz")
    assert "onerror" in pprof(tmp_path / "a.pb.gz", "-raw")
