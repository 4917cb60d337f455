"""A browser that does what a test says: Debian's chromium by its chromedriver, over WebDriver's HTTP
(https://www.w3.org/TR/webdriver2/), with nothing but the standard library."""

import base64
import json
import shutil
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path

ELEMENT = "element-6066-11e4-a52e-4f735466cecf"
KEYS = {"Escape": "\ue00c", "Enter": "\ue007", "Backspace": "\ue003", "Left": "\ue012", "Up": "\ue013",
        "Right": "\ue014", "Down": "\ue015"}


def missing():
    """What is not on this machine, or None."""
    for program in ("chromium", "chromedriver"):
        if not shutil.which(program):
            return f"there is no {program} (.ci/prepare browser)"
    return None


class Browser:
    """One at a time; `with Browser() as browser`."""

    def __init__(self, width=1280, height=1000, dark=False, calm=True):
        self.folder = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
        self.log = open(Path(self.folder.name) / "log", "w+")
        self.driver = subprocess.Popen(["chromedriver", "--port=0"], stdout=self.log, stderr=self.log)
        self.session = None
        try:
            self.port = self._port()
            self.session = self._begin(width, height, dark, calm)
        except BaseException:
            self.close()
            raise

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def _port(self):
        """Port 0 is one that the kernel chooses; chromedriver says which."""
        for _ in range(300):
            text = Path(self.log.name).read_text()
            if "started successfully on port " in text:
                return int(text.split("started successfully on port ")[1].split(".")[0])
            if self.driver.poll() is not None:
                raise RuntimeError(f"chromedriver ended: {text}")
            time.sleep(0.1)
        raise RuntimeError(f"chromedriver does not say its port: {text}")

    def _begin(self, width, height, dark, calm):
        arguments = ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars",
                     f"--user-data-dir={self.folder.name}/profile", f"--window-size={width},{height}",
                     "--force-device-scale-factor=1"]
        if calm:
            arguments.append("--force-prefers-reduced-motion")
        if dark:
            arguments.append("--blink-settings=preferredColorScheme=0")
        chosen = {"browserName": "chrome", "goog:chromeOptions": {"args": arguments, "binary": shutil.which("chromium")},
                  "goog:loggingPrefs": {"browser": "ALL"}}
        return self._ask("POST", "/session", {"capabilities": {"alwaysMatch": chosen}})["sessionId"]

    def _ask(self, method, path, body=None):
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}{path}", method=method,
                                         data=None if body is None else json.dumps(body).encode(),
                                         headers={"Content-Type": "application/json"})
        try:
            with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=90) as answer:
                return json.load(answer)["value"]
        except urllib.error.HTTPError as error:
            raise RuntimeError(f"{method} {path}: {error.read().decode()}") from None

    def ask(self, method, path, body=None):
        return self._ask(method, f"/session/{self.session}{path}", body)

    def close(self):
        try:
            if self.session:
                self._ask("DELETE", f"/session/{self.session}")
        finally:
            self.driver.terminate()
            self.driver.wait(30)
            self.log.close()
            self.folder.cleanup()

    # ---- what tests say ----

    def open(self, path):
        self.ask("POST", "/url", {"url": Path(path).resolve().as_uri()})

    def run(self, script, *arguments):
        """What the script returns; it runs in the page."""
        return self.ask("POST", "/execute/sync", {"script": script, "args": list(arguments)})

    def text(self, selector):
        return self.run("return document.querySelector(arguments[0]).innerText", selector)

    def title(self):
        return self.ask("GET", "/title")

    def complaints(self):
        """What the page's console said since the last question, and refusals by its policy. Not that the
        tests read the canvas back, which the page itself never does."""
        said = [entry["message"] for entry in self.ask("POST", "/se/log", {"type": "browser"})]
        return [message for message in said if "getImageData" not in message]

    def _pointer(self, *actions):
        self.ask("POST", "/actions", {"actions": [{"type": "pointer", "id": "mouse", "parameters": {"pointerType": "mouse"},
                                                   "actions": list(actions)}]})

    def move(self, x, y):
        """In pixels from the page's visible corner."""
        self._pointer({"type": "pointerMove", "duration": 0, "x": int(x), "y": int(y)})

    def click_at(self, x, y):
        self._pointer({"type": "pointerMove", "duration": 0, "x": int(x), "y": int(y)},
                      {"type": "pointerDown", "button": 0}, {"type": "pointerUp", "button": 0})

    def click(self, selector, nth=0):
        found = self.ask("POST", "/elements", {"using": "css selector", "value": selector})
        self.ask("POST", f"/element/{found[nth][ELEMENT]}/click", {})

    def keys(self, *keys):
        """Names of KEYS, or characters, to what has the focus."""
        actions = []
        for key in keys:
            value = KEYS.get(key, key)
            actions += [{"type": "keyDown", "value": value}, {"type": "keyUp", "value": value}]
        self.ask("POST", "/actions", {"actions": [{"type": "key", "id": "keys", "actions": actions}]})

    def wait(self, condition, seconds=30):
        """Until the function gives something true, which is returned."""
        end = time.monotonic() + seconds
        while True:
            answer = condition()
            if answer:
                return answer
            if time.monotonic() > end:
                raise AssertionError("waited in vain")
            time.sleep(0.05)

    def picture(self):
        return base64.b64decode(self.ask("GET", "/screenshot"))
