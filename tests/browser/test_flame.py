"""The flame graph in a real browser: what it shows is what was recorded."""

import re
import time

import pytest
from browser import Browser, missing
from example import lines
from made import Made

ROW = 19

# Events of scrolling come before the frame that shows it.
DRAWN = "return new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))"


def ms(n):
    return int(n * 1e6)


def shop():
    return Made.of(lines())


def small():
    """Two threads, recursion, and one function in two lines."""
    made = Made(program="small.py")
    native = made.frame("memcpy", "native", 0, "/lib/libc.so.6", 16)
    waiting = made.frame("fetch", "await", 9, "/app/net.py")
    other = made.frame("work", line=7)
    made.add(ms(40), "main", "work", "fib", "fib", "fib")
    made.add(ms(20), "main", "work", native)
    made.add(ms(10), "main", other, "fibber")
    made.add(ms(30), "main", waiting, tid=2, thread="pool")
    made.add(ms(100), "main", "idle", tid=2, thread="pool")
    return made.end(missed=2, lost=1)


def percent(part, whole):
    return f"{100 * part / whole:.2f} %"


def number(text):
    """Nanoseconds, or samples, that the page told."""
    value, unit = re.fullmatch(r"([\d,.]+)(?: (\S+))?", text).groups()
    return float(value.replace(",", "")) * {"s": 1e9, "ms": 1e6, "µs": 1e3, "ns": 1, None: 1}[unit]


def table(browser):
    """{function: (self, self %, total, total %)} as shown."""
    while browser.run("return !document.getElementById('more').hidden"):
        browser.run("document.getElementById('more').click()")
    rows = browser.run("return [...document.querySelectorAll('#top tbody tr')].map((row) => "
                       "[...row.cells].slice(0, 4).map((cell) => cell.textContent)"
                       ".concat(row.querySelector('button').textContent))")
    return {row[4]: row[:4] for row in rows}


def assert_table(browser, expected, whole, exact=False):
    shown = table(browser)
    assert shown.keys() == expected.keys()
    for name, (alone, total) in expected.items():
        assert shown[name][1] == percent(alone, whole), name
        assert shown[name][3] == percent(total, whole), name
        for text, weight in ((shown[name][0], alone), (shown[name][2], total)):
            assert number(text) == weight if exact else abs(number(text) - weight) <= weight * 0.006, name


def graph(browser):
    """Where the graph is, and what can be seen of it."""
    return browser.run("const box = document.getElementById('canvas').getBoundingClientRect();"
                       "return [box.left, box.top, box.width, box.height]")


def place(browser, made, path, by_thread=True, row=None, view=None):
    """The middle of a frame, in pixels."""
    left, top, width, _ = graph(browser)
    placed = made.layout(by_thread)
    begin, whole = placed[view or ()]
    first, wide = placed[path]
    return (left + (first + wide / 2 - begin) / whole * width,
            top + ((len(path) if row is None else row) + 0.5) * ROW)


def pixel(browser, x, y):
    left, top, *_ = graph(browser)
    return browser.run("return [...document.getElementById('canvas').getContext('2d')"
                       ".getImageData(arguments[0], arguments[1], 1, 1).data]", int(x - left), int(y - top))


def search(browser, text):
    return browser.run("const box = document.getElementById('search'); box.value = arguments[0]; box.onchange();"
                       "return document.getElementById('matched').textContent", text)


def crumbs(browser):
    return browser.run("return [...document.querySelectorAll('#path button')].map((button) => button.textContent)")


@pytest.mark.parametrize("make", [small, shop])
def test_the_table_tells_what_was_recorded(page, make):
    made = make()
    assert_table(page(made), made.by_function(), made.total())


def test_title_and_totals_are_honest(page):
    browser = page(small())
    assert browser.title() == "CPU time of small.py"
    assert browser.text("#program") == "small.py"
    facts = browser.text("#facts")
    assert "CPU time · pid 17 · 2026-11-22 00:00:00 UTC · 2 s, every 10 ms" in facts
    assert browser.text("#totals") == "5 samples taken of 7 due · 2 missed (28.57 %) · 1 lost (14.29 %)"


def test_every_frame_is_where_it_should_be(page):
    made = small()
    browser = page(made)
    tree, whole = made.tree(), made.total()
    for path, weight in tree.items():
        browser.move(*place(browser, made, path))
        tip = browser.text("#tip").split("\n")
        assert tip[0] == (path[-1] if path else "all"), path
        assert percent(weight, whole) in tip, path
        alone = sum(w for _, thread, *_, w, stack in made.samples if (thread, *(f[3] for f in stack)) == path)
        assert percent(alone, whole) in tip, path
    browser.move(*place(browser, made, ("MainThread", "main", "work", "memcpy")))
    assert "/lib/libc.so.6" in browser.text("#tip")
    browser.move(*place(browser, made, ("pool", "main", "fetch")))
    assert "/app/net.py:9" in browser.text("#tip")
    browser.move(5, 5)
    assert browser.run("return document.getElementById('tip').hidden")


def test_zoom_by_click_and_back(page):
    made = small()
    browser = page(made)
    browser.click_at(*place(browser, made, ("MainThread", "main")))
    assert crumbs(browser) == ["all", "MainThread", "main"]
    assert_table(browser, made.by_function(["MainThread"]), ms(70))
    # the children fill the width now
    browser.move(*place(browser, made, ("MainThread", "main", "work", "memcpy"), view=("MainThread",)))
    assert browser.text("#tip").split("\n")[0] == "memcpy"
    assert percent(20, 70) + " of view" in browser.text("#tip")
    assert search(browser, "memcpy") == percent(20, 70) + " matched"
    browser.keys("Escape")
    assert browser.run("return document.getElementById('search').value") == ""
    assert crumbs(browser) == ["all", "MainThread", "main"]
    browser.keys("Backspace")
    assert crumbs(browser) == ["all", "MainThread"]
    browser.click_at(*place(browser, made, ("MainThread", "main", "work", "fib"), view=("MainThread",)))
    assert crumbs(browser) == ["all", "MainThread", "main", "work", "fib"]
    browser.click("#path button", 2)
    assert crumbs(browser) == ["all", "MainThread", "main"]
    browser.keys("Escape")
    assert crumbs(browser) == ["all"]
    assert_table(browser, made.by_function(), made.total())


def test_search_says_how_much_is_meant(page):
    made = small()
    browser = page(made)
    whole = made.total()
    assert search(browser, "FIB") == percent(ms(50), whole) + " matched"  # recursion once; and fibber
    assert search(browser, "=fib") == percent(ms(40), whole) + " matched"
    assert search(browser, "/^fib|memc/") == percent(ms(70), whole) + " matched"
    assert search(browser, "net.py") == percent(ms(30), whole) + " matched"  # files, too
    assert search(browser, "pool") == percent(ms(130), whole) + " matched"  # threads, too
    assert search(browser, "nowhere") == "0.00 % matched"
    assert search(browser, "/(/") == "no expression"
    assert search(browser, "") == ""


def test_what_is_found_is_lit_and_the_rest_is_dim(page):
    made = small()
    browser = page(made)
    path = ("MainThread", "main", "work", "memcpy")
    x, y = place(browser, made, path)
    y += ROW / 2 - 3  # below the letters
    before = pixel(browser, x, y)
    search(browser, "memcpy")
    assert pixel(browser, x, y) == [0xd6, 0x40, 0x9f, 255]
    assert browser.run("return document.querySelector('tr.found button').textContent") == "memcpy"
    search(browser, "idle")
    dim = pixel(browser, x, y)
    assert max(dim[:3]) - min(dim[:3]) < max(before[:3]) - min(before[:3])
    search(browser, "")
    assert pixel(browser, x, y) == before


def test_colours_tell_python_native_and_await(page):
    made = small()
    browser = page(made)
    hues = {}
    for name, path in {"python": ("MainThread", "main"), "native": ("MainThread", "main", "work", "memcpy"),
                       "await": ("pool", "main", "fetch")}.items():
        x, y = place(browser, made, path)
        hues[name] = pixel(browser, x, y + ROW / 2 - 3)
    red, green, blue, _ = hues["python"]
    assert blue > green > red
    red, green, blue, _ = hues["native"]
    assert red > green > blue
    red, green, blue, _ = hues["await"]
    assert blue > green and red > green
    legend = browser.text("#legend").split("\n")
    assert legend == [f"Python {percent(150, 200)}", f"native {percent(20, 200)}", f"await {percent(30, 200)}"]


def test_threads_can_be_left_out(page):
    made = small()
    browser = page(made)
    assert browser.text("#threads summary") == "All threads (2)"
    browser.click("#threads summary")
    assert browser.text("#threads-list").split("\n") == ["pool", "65.00 %", "MainThread", "35.00 %"]
    browser.click("#threads-list input", 0)
    assert browser.text("#threads summary") == "1 of 2 threads"
    assert_table(browser, made.by_function(["MainThread"]), ms(70))
    browser.click("#threads-none")
    assert browser.run("return document.getElementById('empty').hidden") is False
    assert table(browser) == {}
    browser.click("#threads-all")
    assert_table(browser, made.by_function(), made.total())
    browser.keys("Escape")
    assert browser.run("return document.getElementById('threads').open") is False


def test_samples_instead_of_time(page):
    made = small()
    browser = page(made)
    browser.keys("s")
    assert_table(browser, made.by_function(count=True), len(made.samples), exact=True)
    browser.click("#unit")
    assert_table(browser, made.by_function(), made.total())


def test_threads_together(page):
    made = small()
    browser = page(made)
    browser.keys("t")
    for path in [("main",), ("main", "idle"), ("main", "work"), ("main", "work", "fib", "fib")]:
        browser.move(*place(browser, made, path, by_thread=False))
        assert browser.text("#tip").split("\n")[0] == path[-1]
        assert percent(made.tree(False)[path], made.total()) in browser.text("#tip")


def test_lines_apart(page):
    browser = page(small())
    names = "return [...document.querySelectorAll('#top tbody tr')].map((row) => row.cells[5].textContent).sort()"
    assert "/app/x.py:1–7" in browser.run(names)
    browser.keys("l")
    assert "/app/x.py:1–7" not in browser.run(names)
    assert "/app/x.py:7" in browser.run(names)


def test_flames_upwards(page):
    made = small()
    browser = page(made)
    depth = max(len(path) for path in made.tree())
    browser.keys("i")
    for path in [(), ("pool",), ("MainThread", "main", "work", "fib", "fib", "fib")]:
        browser.move(*place(browser, made, path, row=depth - len(path)))
        assert browser.text("#tip").split("\n")[0] == (path[-1] if path else "all")


def test_walking_by_keys(page):
    browser = page(small())
    browser.run("document.getElementById('canvas').focus()")
    seen = []
    for key in ("Down", "Down", "Right", "Down", "Down", "Left", "Up"):
        browser.keys(key)
        seen.append(browser.text("#tip").split("\n")[0])
    assert seen == ["all", "pool", "MainThread", "main", "work", "work", "main"]
    browser.keys("Enter")
    assert crumbs(browser) == ["all", "MainThread", "main"]
    browser.keys("/")
    assert browser.run("return document.activeElement.id") == "search"


HOSTILE = ["</script><script>window.hacked = 1</script>", "<img src=x onerror='window.hacked = 2'>", '"];window.hacked = 3;//',
           "\u2028window.hacked = 4\u2029", "'-->", "<!--<script>", "\\u003c/script\\u003e", "\\", "&lt;b&gt;", "a\nb\tc", "\u202edesrever",
           "\U0001f525 \u6f22\u5b57", "__proto__", "constructor", "@RECORDING@", "$&", "=x", "/x/", "x" * 3000, b"\xff\xfe\x80", b"\xed\xa0\x80", b"nul\x00l"]


def test_names_cannot_harm_the_page(page):
    made = Made(program="</title><script>window.hacked = 5</script>")
    for i, name in enumerate(HOSTILE):
        frame = made.frame(name, ("python", "native", "await", "note")[i % 4], file=name)
        made.add(ms(i + 1), "main", frame, thread=name if i % 2 else "MainThread", task=name, tid=i)
    browser = page(made.end())
    assert browser.run("return window.hacked === undefined && document.scripts.length === 2 && document.images.length === 0")
    assert browser.text("#program") == "</title><script>window.hacked = 5</script>"
    shown = table(browser)
    for name in HOSTILE[:3] + ["\\", "&lt;b&gt;", "\U0001f525 \u6f22\u5b57", "__proto__", "constructor", "@RECORDING@", "$&", "=x"]:
        assert name in shown, name
    for name in ("???", "nul?l", "a\ufffdb\ufffdc", "\ufffddesrever", "x" * 1021 + "..."):
        assert name in shown, name
    assert len(shown) == len(HOSTILE)  # with main; two of them are ??? in UTF-8
    assert search(browser, "=" + HOSTILE[0]) == percent(ms(1), made.total()) + " matched"


@pytest.mark.parametrize("kept", [0.3, 0.6, 0.9])
def test_a_file_that_was_cut_short_says_so(chromium, tmp_path, kept):
    shop().write(tmp_path / "whole.html")
    whole = (tmp_path / "whole.html").read_bytes()
    (tmp_path / "cut.html").write_bytes(whole[:int(len(whole) * kept)])
    chromium.open(tmp_path / "cut.html")
    assert "cut short" in chromium.text("body")
    chromium.open(tmp_path / "whole.html")
    assert "cut short" not in chromium.text("body")
    chromium.complaints()


def test_nothing_was_recorded(page):
    browser = page(Made().end())
    assert browser.run("return document.getElementById('empty').hidden") is False
    browser.keys("i", "t", "l", "s", "Escape", "Backspace")
    assert "0 samples taken of 0 due" in browser.text("#totals")


def test_a_very_deep_stack(page):
    made = Made()
    made.add(ms(5), *(f"f{i}" for i in range(3000)))
    browser = page(made.end())
    browser.run("const graph = document.getElementById('graph'); graph.scrollTop = graph.scrollHeight")
    browser.run(DRAWN)
    left, top, _, height = graph(browser)
    browser.move(left + 50, top + height - ROW / 2)
    assert browser.text("#tip").split("\n")[0] == "f2999"
    browser.run("document.getElementById('canvas').focus({preventScroll: true})")
    browser.keys(*["Down"] * 60)  # out of what could be seen, which scrolls
    browser.run(DRAWN)
    assert browser.text("#tip").split("\n")[0] == "f58"
    browser.keys("Escape", "i")
    browser.run("document.getElementById('graph').scrollTop = 0")
    browser.run(DRAWN)
    browser.move(left + 50, graph(browser)[1] + ROW / 2)
    assert browser.text("#tip").split("\n")[0] == "f2999"


def test_a_hundred_thousand_stacks(page):
    """Stays usable: few elements, and work in bounds. The times are printed, not judged."""
    made = Made()
    for i in range(100_000):
        made.add(ms(1) + i % 7, "main", f"a{i % 10}", f"b{i % 100}", f"c{i % 1000}", f"d{i // 50}", f"e{i % 5000}",
                 thread=f"w{i % 4}", tid=i % 4)
    begin = time.monotonic()
    browser = page(made.end())
    opened = time.monotonic()
    assert search(browser, "=e77") == percent(made.by_function()["e77"][1], made.total()) + " matched"
    found = time.monotonic()
    left, top, width, _ = graph(browser)
    browser.click_at(left + width / 3, top + 3.5 * ROW)
    assert len(crumbs(browser)) == 4
    print(f"opened in {opened - begin:.2f} s, searched in {found - opened:.2f} s, zoomed in {time.monotonic() - found:.2f} s")
    assert browser.run("return document.querySelectorAll('*').length") < 2000


def test_letters_are_searched_as_they_come(page):
    browser = page(small())
    browser.keys("/", *"memcpy")
    browser.wait(lambda: browser.text("#matched") == percent(ms(20), ms(200)) + " matched")
    browser.keys("Escape")
    assert browser.text("#matched") == ""


@pytest.mark.skipif(missing() is not None, reason=str(missing()))
def test_zoom_that_glides_arrives(tmp_path):
    made = small()
    made.write(tmp_path / "profile.html")
    with Browser(calm=False) as browser:
        browser.open(tmp_path / "profile.html")
        browser.click_at(*place(browser, made, ("MainThread", "main")))
        x, y = place(browser, made, ("MainThread", "main", "work", "memcpy"), view=("MainThread",))

        def there():
            browser.move(x + 1, y)
            browser.move(x, y)
            return browser.text("#tip").split("\n")[0] == "memcpy"
        browser.wait(there)
        assert browser.complaints() == []


@pytest.mark.skipif(missing() is not None, reason=str(missing()))
def test_dark_and_narrow(tmp_path):
    small().write(tmp_path / "profile.html")
    with Browser(420, 900, dark=True) as browser:
        browser.open(tmp_path / "profile.html")
        ground = browser.run("return getComputedStyle(document.body).backgroundColor")
        assert max(map(int, re.findall(r"\d+", ground))) < 60
        assert browser.run("return document.documentElement.scrollWidth <= innerWidth")
        made = small()
        x, y = place(browser, made, ("pool", "main"))
        assert sum(pixel(browser, x, y + ROW / 2 - 3)[:3]) < 400
        assert browser.complaints() == []
