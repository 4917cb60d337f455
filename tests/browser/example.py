#!/usr/bin/env python3
"""A made profile that looks like a real one: a description for build/tests/record.

usage: example.py | build/tests/record profile.html

A shop's service: requests on an event loop, a pool that makes thumbnails, a thread that sends mail. The
same each time. Pictures in docs/pictures/ are of it (picture.py).
"""

import random

PERIOD_NS = 10_000_000
SITE = "/srv/shop/venv/lib/python3.12/site-packages"
STD = "/usr/lib/python3.12"

# name: (kind, line, file)
FRAMES = {
    "_start": ("native", 0, "/usr/bin/python3.12"),
    "__libc_start_main": ("native", 0, "/usr/lib/x86_64-linux-gnu/libc.so.6"),
    "clone3": ("native", 0, "/usr/lib/x86_64-linux-gnu/libc.so.6"),
    "<module>": ("python", 61, "/srv/shop/app.py"),
    "run": ("python", 30, f"{STD}/asyncio/runners.py"),
    "run_forever": ("python", 641, f"{STD}/asyncio/base_events.py"),
    "_run_once": ("python", 1986, f"{STD}/asyncio/base_events.py"),
    "Handle._run": ("python", 88, f"{STD}/asyncio/events.py"),
    "select": ("python", 468, f"{STD}/selectors.py"),
    "epoll_wait": ("native", 0, "/usr/lib/x86_64-linux-gnu/libc.so.6"),
    "app": ("await", 76, f"{SITE}/starlette/routing.py"),
    "Router.handle": ("await", 215, f"{SITE}/starlette/routing.py"),
    "get_cart": ("await", 112, "/srv/shop/cart.py"),
    "checkout": ("await", 140, "/srv/shop/cart.py"),
    "search": ("await", 33, "/srv/shop/search.py"),
    "price_of": ("python", 58, "/srv/shop/prices.py"),
    "discounts": ("python", 91, "/srv/shop/prices.py"),
    "rank": ("python", 71, "/srv/shop/search.py"),
    "tokenize": ("python", 18, "/srv/shop/search.py"),
    "loads": ("python", 346, f"{STD}/json/__init__.py"),
    "dumps": ("python", 238, f"{STD}/json/__init__.py"),
    "JSONEncoder.iterencode": ("python", 258, f"{STD}/json/encoder.py"),
    "encoder_listencode_dict": ("native", 0, f"{STD}/lib-dynload/_json.cpython-312-x86_64-linux-gnu.so"),
    "scanstring_unicode": ("native", 0, f"{STD}/lib-dynload/_json.cpython-312-x86_64-linux-gnu.so"),
    "Session.execute": ("python", 2365, f"{SITE}/sqlalchemy/orm/session.py"),
    "Compiled.process": ("python", 903, f"{SITE}/sqlalchemy/sql/compiler.py"),
    "Result.fetchall": ("python", 1312, f"{SITE}/sqlalchemy/engine/result.py"),
    "pq_getCopyData": ("native", 0, f"{SITE}/psycopg_binary.libs/libpq.so.5"),
    "PyUnicode_DecodeUTF8": ("native", 0, "/usr/lib/libpython3.12.so.1.0"),
    "dict_merge": ("native", 0, "/usr/lib/libpython3.12.so.1.0"),
    "list_sort_impl": ("native", 0, "/usr/lib/libpython3.12.so.1.0"),
    "gc_collect_main": ("native", 0, "/usr/lib/libpython3.12.so.1.0"),
    "SSL_read": ("native", 0, "/usr/lib/x86_64-linux-gnu/libssl.so.3"),
    "aesni_gcm_decrypt": ("native", 0, "/usr/lib/x86_64-linux-gnu/libcrypto.so.3"),
    "__memmove_avx_unaligned_erms": ("native", 0, "/usr/lib/x86_64-linux-gnu/libc.so.6"),
    "Thread._bootstrap": ("python", 1032, f"{STD}/threading.py"),
    "_worker": ("python", 93, f"{STD}/concurrent/futures/thread.py"),
    "thumbnail": ("python", 27, "/srv/shop/images.py"),
    "Image.resize": ("python", 2294, f"{SITE}/PIL/Image.py"),
    "ImagingResampleHorizontal_8bpc": ("native", 0, f"{SITE}/PIL/_imaging.cpython-312-x86_64-linux-gnu.so"),
    "ImagingResampleVertical_8bpc": ("native", 0, f"{SITE}/PIL/_imaging.cpython-312-x86_64-linux-gnu.so"),
    "Image.save": ("python", 2560, f"{SITE}/PIL/Image.py"),
    "jpeg_fdct_islow": ("native", 0, f"{SITE}/pillow.libs/libjpeg.so.62"),
    "encode_mcu_huff": ("native", 0, f"{SITE}/pillow.libs/libjpeg.so.62"),
    "send_mail": ("python", 44, "/srv/shop/mail.py"),
    "render": ("python", 1304, f"{SITE}/jinja2/environment.py"),
    "root": ("python", 19, "<template>"),
    "[futex]": ("note", 0, ""),
}

LOOP = "_start __libc_start_main <module> run run_forever _run_once"
SERVE = LOOP + " Handle._run app Router.handle"
SQL = [("Session.execute Compiled.process", 4), ("Session.execute Compiled.process dict_merge", 2),
       ("Session.execute Result.fetchall pq_getCopyData", 3), ("Session.execute Result.fetchall PyUnicode_DecodeUTF8", 5),
       ("Session.execute Result.fetchall SSL_read aesni_gcm_decrypt", 3), ("Session.execute Result.fetchall SSL_read", 1)]
JSON = [("dumps JSONEncoder.iterencode encoder_listencode_dict", 9), ("dumps JSONEncoder.iterencode", 2),
        ("loads scanstring_unicode", 4), ("loads scanstring_unicode PyUnicode_DecodeUTF8", 2)]


def below(stack, parts, weight):
    whole = sum(share for _, share in parts)
    return [(f"{stack} {part}", weight * share / whole) for part, share in parts]


def stacks():
    """(thread, task, stack, weight)"""
    main = [(f"{LOOP} select epoll_wait", 3), (f"{LOOP}", 1.6), (f"{LOOP} Handle._run", 1),
            (f"{SERVE} get_cart price_of", 6), (f"{SERVE} get_cart price_of discounts", 11),
            (f"{SERVE} get_cart price_of discounts dict_merge", 4), (f"{SERVE} checkout price_of discounts", 3),
            (f"{SERVE} search rank", 8), (f"{SERVE} search rank list_sort_impl", 6),
            (f"{SERVE} search rank tokenize", 7), (f"{SERVE} search tokenize", 3), (f"{SERVE} gc_collect_main", 2)]
    main += below(f"{SERVE} get_cart", SQL, 12) + below(f"{SERVE} checkout", SQL, 6) + below(f"{SERVE} search", SQL, 5)
    main += below(f"{SERVE} get_cart", JSON, 7) + below(f"{SERVE} search", JSON, 9)
    found = [("MainThread", f"Task-{i % 7}" if "Router" in stack else "", stack, weight)
             for i, (stack, weight) in enumerate(main)]
    pool = "clone3 Thread._bootstrap _worker thumbnail"
    for n, scale in ((0, 1.0), (1, .93)):
        found += [(f"images_{n}", "", f"{pool} {stack}", weight * scale) for stack, weight in (
            ("", 0.7), ("Image.resize ImagingResampleHorizontal_8bpc", 11), ("Image.resize ImagingResampleVertical_8bpc", 8),
            ("Image.resize", 0.5), ("Image.save jpeg_fdct_islow", 5), ("Image.save encode_mcu_huff", 6),
            ("Image.save __memmove_avx_unaligned_erms", 1.2))]
    found += [("mail", "", f"clone3 Thread._bootstrap send_mail {stack}", weight) for stack, weight in (
        ("render root", 4), ("render root gc_collect_main", 1), ("render", 1.2), ("", 0.4), ("[futex]", 0.1))]
    return found


def lines():
    chance, names = random.Random(9), list(FRAMES)
    yield f"about\tcpu\t4711\t1795305600000\t{PERIOD_NS}\t0\tpython3.12 -m uvicorn shop.app:app --port 8000"
    for name, (kind, line, file) in FRAMES.items():
        yield f"frame\t{kind}\t{line}\t64\t{name}\t{file}"
    tids, found, taken = {}, stacks(), 4936
    for i in range(taken):
        thread, task, stack, _ = chance.choices(found, [weight for *_, weight in found])[0]
        tid = tids.setdefault(thread, 4711 + len(tids))
        numbers = " ".join(str(names.index(name)) for name in stack.split())
        segment = f"{i // 40:032x}.1.17" if task else ""
        weight = PERIOD_NS + chance.randint(-90000, 90000)
        yield f"sample\t{tid}\t{weight}\t0\t{thread}\t{task}\t{segment}\t{numbers}"
    yield f"end\t30004000000\t{taken + 9}\t{taken}\t9\t0"


if __name__ == "__main__":
    print("\n".join(lines()))
