#!/usr/bin/env python3
"""Turns the golden conversations into seeds for tests/fuzz/fuzz_parser.c.

usage: seeds.py DEST

Writes DEST/PARSER/CASE for each tests/parsers/PARSER/CASE.bytes; both formats are explained where
they are read: tests/parsers/README.md and tests/fuzz/fuzz_parser.c. And DEST/CODEC/CASE, examples
of the RFCs for tests/fuzz/fuzz_CODEC.c, where their format is explained. What
longer runs have found, tests/fuzz/corpus/NAME.txt, one in base64 a line, comes as DEST/NAME/kept-N.
"""

import base64
import pathlib
import re
import struct
import sys
import zlib

HERE = pathlib.Path(__file__).resolve().parent
PARSERS, CORPUS = HERE.parent / "parsers", HERE / "corpus"
ESCAPE = re.compile(rb"\\(x[0-9a-fA-F]{2}|[rnt0\\])")
NAMED = {b"r": b"\r", b"n": b"\n", b"t": b"\t", b"0": b"\0", b"\\": b"\\"}
TURN, SKIP, FINISH, LITERAL = b"\xff\x00", b"\xff\x01", b"\xff\x02", b"\xff\xff"
# What decides the cuts; its lowest bit says whether sniff() is asked first.
CUTS = b"\x01\x02\x03\x04"

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
FRAMES = """
000000 04 00 00000000  00000c 04 00 00000000 0001 00000000 0005 00004000  000000 04 01 00000000
000003 01 04 00000001 828684  00000b 01 2d 00000003 02 80000001 10 828684 0000
000001 01 01 00000005 82  000001 09 00 00000005 86  000001 09 04 00000005 84
000003 00 00 00000001 616263  000007 00 09 00000001 03 616263 000000  000000 00 01 00000003
000005 02 00 00000001 0000000010  000004 03 00 00000001 00000008
000007 05 04 00000001 00000002 828684  000008 06 00 00000000 6162636465666768
00000b 07 00 00000000 00000007 0000000b 616263  000004 08 00 00000000 00000001
000003 0a ff 00000001 616263
"""
BLOCKS = (
    "8286 8441 0f77 7777 2e65 7861 6d70 6c65 2e63 6f6d", "8286 84be 5808 6e6f 2d63 6163 6865",
    "8287 85bf 4088 25a8 49e9 5ba9 7d7f 8925 a849 e95b b8e8 b4bf",
    "3fe1 0148 0233 3032 5808 7072 6976 6174 6531 0008 7061 7373 776f 7264 0673 6563 7265 74", "20 82",
)
CARRIER = b"1-dHJhY2U=-c2VnbWVudA==-3-c2VydmljZQ==-aW5zdGFuY2U=-L2lu-cGVlcjo4MA=="
ENTRIES = (b"LD_PRELOAD=/x/libswagent.so", b"SW_AGENT_NAME=shop", b"SW_AGENT_INSTANCE_NAME=one",
           b"SW_AGENT_EXEC_OF=one\ttwo", b"SW_AGENT_PROTOCOL=file", b"SW_AGENT_NAME", b"", b"=",
           b"SW_KAFKA_REPORTER_CONFIG_=1", b"SW_METER_ACTIVE=no", b"SW_METER_ACTIVE=none")
TEXTS_OF_KEYS = (b"\0a:1,[::1]:11800, b.c:65535", b"\2/a*/**/b?*.js\0/a/x/bc.js",
                 b'\1{"a":"b\\n\\u00e9\\ud83d\\ude00","c":1.5e3,"d":true,"e":null}',
                 b"\3.js, *.x.y ,/p/**,GET\0/a.js")
TEXTS = "f1e3 c2e5 f23a 6ba0 ab90 f4ff", "d07a be94 1054 d444 a820 0595 040b 8166 e082 a62d 1bff", "fffffffb"


LAYOUTS = pathlib.Path(__file__).parents[2] / "reporter/logs/layouts.def"
LOG_LINES = (
    r'{"level":"error","ts":1714979289.5,"a":[1,{"b":null}],"c":"\u0041","record":{"level":{"name":"INFO"}}}',
    r'time=2024-05-06T07:08:09.123+02:00 level=warn logger=a msg="b c"',
    r"<28>May  6 07:08:09 shop[12]: low",
    r"PRIORITY=4\nSYSLOG_IDENTIFIER=shop\nMESSAGE\n\x05\0\0\0\0\0\0\0a\nb c\nCODE_LINE=1\n",
)
LOG_WRITES = (
    [(0, b"one\0two"), (1, b"other\0"), (0x20, b" and a half\0")],
    [(0, b"ERROR:a:b\0Traceback (most recent call last):\0  File x\0ValueError: y\0"), (0x20, b"\0"),
     (0, b"During handling of the above exception, another exception occurred:\0\0"),
     (0, b"Traceback (most recent call last):\0"), (2, b"\tat a.b(c)\0Caused by: d\0")],
    [(0, b"x" * 200), (0x10, b"y" * 200), (0, b"\rz\x1b[1mw\0")],
)


MANGLED = """
_ZNK3foo3barERKS_ _ZN12_GLOBAL__N_13runEv _ZlsIiERSoS0_T_ _ZN4shop5OrdercvbEv _Z4callPFPFvvEiE _Z4callM3fooKFivE
_Z4callRA5_KcPA2_A3_i _Z1fIJidEEvDpRKT_ _Z1fILb1ELi42ELln3EXadL_Z1gvEEEvv _ZZ4mainENKUliE0_clEi _ZN1AB5cxx111fB3nowEv
_ZTv0_n24_N1A1fEv _ZGVZ1fvE1x _Z1fv.constprop.0.cold _ZNSt6vectorIiSaIiEE9push_backERKi _Z1gIZ1fIbET_jS0_EUlvE_bEET0_S0_S2_
_ZN61_$LT$alloc..vec..Vec$LT$T$GT$$u20$as$u20$core..fmt..Debug$GT$3fmt17h0123456789abcdefE
"""

# Of functions, for recordings.
NAMES = (b"main", b"</script>", b"a;b\n", b"\xe2\x80\xa8\"\\", b"\xff\0")


def uleb(n):
    return bytes([n & 127 | 128]) + uleb(n >> 7) if n > 127 else bytes([n])


def unwind_tables(ra, factor, augmentation, programs, shared):
    """.eh_frame_hdr and .eh_frame, as they lie at 0x10000; each program is of 64 bytes of code from there on."""
    at, table, frames = 0x10000, b"", b""
    header_len = 12 + 8 * len(programs)

    def entry(body):
        body += bytes(-len(body) % 4)
        return len(body).to_bytes(4, "little") + body

    frames += entry(b"\0\0\0\0\1" + augmentation[0] + b"\0" + b"\1" + bytes([factor & 127, ra]) + augmentation[1] + shared)
    for i, program in enumerate(programs):
        here = header_len + len(frames)
        table += (64 * i).to_bytes(4, "little") + here.to_bytes(4, "little")
        body = (here + 4 - header_len).to_bytes(4, "little")
        body += (64 * i - here - 8).to_bytes(4, "little", signed=True) + (64).to_bytes(4, "little") + b"\0" + program
        frames += entry(body)
    header = b"\1\x1b\x03\x3b" + (header_len - 4).to_bytes(4, "little") + len(programs).to_bytes(4, "little") + table
    return len(header).to_bytes(2, "little") + header + frames


PLT = bytes.fromhex("0f0b 770880003f1a3b2a332422")
UNWIND = (
    bytes.fromhex("41 0e10 8602 43 0d06 0a 4a c6 0c0708 41 0b 0204 c6"), bytes.fromhex("0e10 46 0e18 4a") + PLT,
    bytes.fromhex("45 0c0a00 49 10060276 00 44 0f0376 7806 0a 5e 0c0a00 45 0c0708 44 0b"), bytes.fromhex("0710 030500 2e10 0806"),
    bytes.fromhex("110677 120704 1306 140601 0506 02 0606 0906 03 160602 7708"))


def line_tables():
    """.debug_line of versions 5 and 3, and .debug_line_str."""
    opcodes = bytes.fromhex("000101010100000001000001")
    program = (b"\0\x09\2" + (0x1000).to_bytes(8, "little") + bytes.fromhex("01 14 5b 03e400 01 0402 0210 83 08 090400 90 0208")
               + b"\0\1\1" + b"\0\x09\2" + (0x1100).to_bytes(8, "little") + bytes.fromhex("15 0408 59 0220 000101"))
    texts = b"/src\0a.c\0b.h\0"

    def unit(version, rest, sizes=b""):
        head = b"\1" + (b"\1" if version >= 4 else b"") + b"\1\xfb\x0e\x0d" + opcodes + rest
        body = version.to_bytes(2, "little") + sizes + len(head).to_bytes(4, "little") + head + program
        return len(body).to_bytes(4, "little") + body

    five = unit(5, b"\1\1\x1f\1" + bytes(4) + b"\2\1\x1f\2\x0b\2" + b"\5\0\0\0\0" + b"\x09\0\0\0\0", b"\x08\0")
    three = unit(3, b"/src\0\0" + b"a.c\0\1\0\0" + b"b.h\0\1\0\0" + b"\0")
    return len(five + three).to_bytes(2, "little") + five + three + texts


def codec_seeds():
    """(codec, case, bytes)"""
    frames, cuts = bytes.fromhex(FRAMES), b"\x01\x02\x03"
    yield "h2", "server", b"\x80" + cuts + frames
    yield "h2", "client", b"\x81" + cuts + PREFACE + frames
    yield "h2", "written", b"\x83" + cuts + bytes(i * 7 % 256 for i in range(512))
    settings, answer = bytes.fromhex("000000 04 00 00000000"), bytes.fromhex(
        "000001 01 04 00000001 88  000003 00 00 00000001 616263  000005 01 05 00000001 0f0d 01 30 be")
    yield "session", "answer", b"\x81\xc0\x09" + settings + bytes([len(answer)]) + answer + b"\xc0\xf0"
    yield "session", "frames", b"\x8f\xbf\x81\xc0" + b"".join(
        bytes([len(frames[i:i + 100])]) + frames[i:i + 100] + b"\xc0" for i in range(0, len(frames), 100)) + b"\xe5"
    blocks = [bytes.fromhex(block) for block in BLOCKS]
    yield "hpack", "blocks", b"\0" + b"".join(len(b).to_bytes(2, "big") + b for b in blocks)
    yield "hpack", "reduced", bytes.fromhex("00 f0a0 0400 aa")  # and no update of the table follows
    yield "hpack", "fields", b"\1" + b"\4\1a\1b" * 40 + b"\xf0\x50" + b"\5\1a\1c" * 8
    for i, text in enumerate(TEXTS):
        yield "hpack", f"text{i}", b"\2" + bytes.fromhex(text)
    for i in range(len(UNWIND)):
        yield "cfi", f"x86_64-{i}", b"\0" + unwind_tables(16, -8, (b"zR", b"\1\x1b"), UNWIND[i:] + UNWIND[:i], b"\x0c\7\x08\x90\1")
    yield "cfi", "signal", b"\0" + unwind_tables(16, -8, (b"zRS", b"\1\x1b"), [bytes.fromhex("0f0477a00106")], b"\x0c\7\x08\x90\1")
    yield "cfi", "aarch64", b"\1" + unwind_tables(30, -8, (b"zR", b"\1\x1b"), [bytes.fromhex("41 2d 0e20 9d04 9e03 48 de dd 0e00 2d")], b"\x0c\x1f\0")
    for i, name in enumerate(MANGLED.split()):
        yield "demangle", str(i), name.encode()
    yield "lines", "both", b"\0" + line_tables()
    for level in 0, 1, 9:
        text = bytes(i * i % 251 for i in range(400)) + b"lines " * 100
        yield "lines", f"packed{level}", b"\1" + len(text).to_bytes(2, "little") + zlib.compress(text, level)
    yield "commands", "two", bytes.fromhex("0a190a0450726f6612060a016b12013512090a016b12042d3132330a030a0158")
    frame = struct.pack("<IIIIIHHQ", 40, 1, 1, 0, 3, 4, 3, 0) + b"mainapy\0"
    thread = struct.pack("<IIiI", 24, 2, 5, 6) + b"worker\0\0"
    sample = struct.pack("<IIiiQQQQII", 64, 3, 5, 0, 1, 2, 9, 5, 1, 2) + struct.pack("<II", 1, 1)
    yield "gather", "profile", frame + thread + sample
    yield "gather", "again", frame + sample + struct.pack("<II", 8, 99) + sample + frame + thread + sample
    yield "carrier", "good", CARRIER
    yield "carrier", "short", b"1-YQ-YQ==-0-YQ=-YWI-YWI=-YQ=="
    yield "config", "raw", b"\0".join(ENTRIES)
    yield "config", "many", b"\0".join(ENTRIES) + b"\0" + b"\2\xff" * 4
    for case, value in ("good", b"7"), ("flags", b"true"), ("bad", b"\xffno\x01\x08"), ("long", b"x\x01\xff"):
        yield "config", case, b"".join(bytes([i]) + value + b"\0" for i in range(0x80, 0xb0))
    rows = re.findall(r'^SW_LAYOUT\(.*?", "[A-Z]*", "((?:[^"\\\\]|\\\\.)*)", ".*"\)$', LAYOUTS.read_text(), re.M)
    for i, line in enumerate([*rows, *LOG_LINES]):
        yield "log_read", str(i), line.encode().decode("unicode_escape").encode("latin-1")
    for i, text in enumerate(LOG_WRITES):
        yield "log_lines", str(i), b"".join(bytes([how, len(one)]) + one for how, one in text)
    frames = b"".join(bytes([1 | kind << 1, 7, 9, len(name)]) + name + b"\4a/b." for kind in range(4) for name in NAMES)
    yield "recording", "frames", b"\x08" + frames + b"\x02\x09\x01\4main\3\0\1\2" * 3 + b"\x1c\x07\xff\0\2t1\3s.1\2\3\5"
    yield "recording", "limit", b"\0" + frames * 9 + b"\0\1\0\1t\1\xff"
    for i, text in enumerate(TEXTS_OF_KEYS):
        yield "texts", str(i), text


def corpus_seeds():
    """(fuzzer, case, bytes)"""
    for file in sorted(CORPUS.glob("*.txt")):
        for i, line in enumerate(file.read_text().split()):
            yield file.stem, f"kept-{i}", base64.b64decode(line)


def unescape(text):
    return ESCAPE.sub(lambda m: NAMED.get(m[1]) or bytes([int(m[1][1:], 16)]), text)


def operation(text):
    """The fuzzer's form of what stands after the letter of the side."""
    if text == b".":
        return FINISH
    if text.startswith(b"~"):
        return SKIP + min(int(text[1:]), 2 ** 64 - 1).to_bytes(8, "little")
    times, _, rest = text.partition(b" ")
    return (unescape(rest) * int(times[1:] or 1)).replace(b"\xff", LITERAL)


def seed(script):
    out, side = CUTS, b">"
    for line in script.split(b"\n"):
        if line[:1] not in (b">", b"<") or len(line) < 2:
            continue
        if line[:1] != side:
            out += TURN
            side = line[:1]
        out += operation(line[1:])
    return out


def main():
    if len(sys.argv) != 2 or sys.argv[1].startswith("-"):
        sys.exit(__doc__)
    for golden in sorted(PARSERS.glob("*/*.bytes")):
        folder = pathlib.Path(sys.argv[1]) / golden.parent.name
        folder.mkdir(parents=True, exist_ok=True)
        (folder / golden.stem).write_bytes(seed(golden.read_bytes()))
    for codec, case, content in [*codec_seeds(), *corpus_seeds()]:
        folder = pathlib.Path(sys.argv[1]) / codec
        folder.mkdir(parents=True, exist_ok=True)
        (folder / case).write_bytes(content)


main()
