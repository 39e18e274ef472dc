"""A real headless Chromium, driven over its debugging pipe: no further package is needed."""

import base64
import contextlib
import json
import os
import pathlib
import shutil
import signal
import subprocess
import time

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--remote-debugging-pipe",
    "--window-size=1200,900",
]


def find_browser():
    """Path of a Chromium, from JAXHPO_BROWSER or the PATH, or None."""
    named = os.environ.get("JAXHPO_BROWSER")
    return named or next(filter(None, map(shutil.which, NAMES)), None)


@contextlib.contextmanager
def open_browser(folder):
    """A browser with one page; the test is skipped where there is none."""
    path = find_browser()
    if path is None:
        pytest.skip("no Chromium found: apt-get install chromium, or set JAXHPO_BROWSER")
    profile = pathlib.Path(folder) / "profile"
    to_read, to_write = os.pipe()
    from_read, from_write = os.pipe()
    # The browser reads commands from descriptor 3 and writes answers to descriptor 4.
    script = f'exec "$@" 3<&{to_read} 4>&{from_write}'
    command = ["bash", "-c", script, "browser", path, *FLAGS, f"--user-data-dir={profile}"]
    process = subprocess.Popen(
        [*command, "about:blank"],
        pass_fds=(to_read, from_write),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    os.close(to_read)
    os.close(from_write)
    try:
        yield Page(to_write, from_read)
    finally:
        os.close(to_write)
        os.close(from_read)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait(timeout=20)


class Page:
    """One page: go somewhere, wait for it, ask it, take its picture."""

    def __init__(self, write, read):
        self._write, self._read, self._buffer, self._count = write, read, b"", 0
        self.errors = []
        self._session = None
        target = self._call("Target.createTarget", url="about:blank")["targetId"]
        attached = self._call("Target.attachToTarget", targetId=target, flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Network"):
            self._call(f"{domain}.enable")

    def go(self, url, until, seconds=60):
        """Opens a page and waits until a JavaScript expression is true."""
        self._call("Page.navigate", url=url)
        self.wait(until, seconds)

    def wait(self, until, seconds=60):
        deadline = time.monotonic() + seconds
        while not self.ask(f"Boolean({until})"):
            assert time.monotonic() < deadline, f"not true within {seconds} s: {until}"
            time.sleep(0.2)

    def ask(self, expression):
        """Value of a JavaScript expression."""
        answer = self._call("Runtime.evaluate", expression=expression, returnByValue=True)
        return answer["result"].get("value")

    def picture(self, path, whole=False):
        """Writes a screenshot; of the whole page, or of its window."""
        data = self._call("Page.captureScreenshot", format="png", captureBeyondViewport=whole)
        pathlib.Path(path).write_bytes(base64.b64decode(data["data"]))

    def _call(self, method, **params):
        self._count += 1
        message = {"id": self._count, "method": method, "params": params}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._write, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._receive()
            if answer.get("id") == self._count:
                assert "error" not in answer, answer
                return answer["result"]
            self._note(answer)

    def _receive(self):
        while b"\0" not in self._buffer:
            chunk = os.read(self._read, 1 << 20)
            assert chunk, "the browser has ended"
            self._buffer += chunk
        line, self._buffer = self._buffer.split(b"\0", 1)
        return json.loads(line)

    def _note(self, event):
        if event.get("method") == "Runtime.exceptionThrown":
            self.errors.append(event["params"]["exceptionDetails"])
        if event.get("method") == "Network.requestWillBeSent":
            url = event["params"]["request"]["url"]
            if not url.startswith(("file:", "data:", "about:", "http://127.0.0.1", "blob:")):
                self.errors.append(f"the page asked the network for {url}")


def picture_path(name, folder):
    """Where a screenshot goes: the folder of JAXHPO_SCREENSHOTS, else the test's own."""
    folder = pathlib.Path(os.environ.get("JAXHPO_SCREENSHOTS", folder))
    folder.mkdir(parents=True, exist_ok=True)
    return folder / name
