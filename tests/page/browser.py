"""A Chromium without a window, steered over its debugging pipe: JSON records, each ended by a zero byte.

    with Browser() as browser, browser.open("http://127.0.0.1:8000/") as tab:
        tab.wait("document.readyState === 'complete'")

It must not know which page it shows. The protocol: https://chromedevtools.github.io/devtools-protocol/
Invariants: the browser has ended when the ``with`` block has; nothing here waits longer than LIMIT.
Read next: ``stage.py``, the feed that such a page is shown.
"""

import base64
import contextlib
import fcntl
import json
import os
import select
import shutil
import signal
import tempfile
import time
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple, Self

import pytest

from tests.end_to_end.clients import LIMIT

needs_chromium = pytest.mark.skipif(shutil.which("chromium") is None, reason="chromium is not installed")

_QUIET = (
    "--headless",
    "--no-sandbox",  # a container has no other, and the page is ours
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--disable-extensions",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--no-proxy-server",
    "--hide-scrollbars",
    "--force-color-profile=srgb",
)
_FREE = 10  # descriptors from here on are out of the way of 3 and 4, where the browser looks for its pipe


class Browser:
    """See the module."""

    def __enter__(self) -> Self:
        self._input, self._number = b"", 0
        self._events: deque[dict[str, Any]] = deque(maxlen=1000)
        self._profile = tempfile.TemporaryDirectory(prefix="prefork-chromium-", ignore_cleanup_errors=True)
        their_requests, self._requests = _pipe()
        self._replies, their_replies = _pipe()
        self._pid = _start(self._profile.name, their_requests, their_replies)
        self._pidfd = os.pidfd_open(self._pid)
        os.close(their_requests)
        os.close(their_replies)
        return self

    def __exit__(self, *exception: object) -> None:
        self._end()
        for descriptor in (self._pidfd, self._requests, self._replies):
            os.close(descriptor)
        self._profile.cleanup()

    def _end(self) -> None:
        """Ask it to end, and kill its process group where it does not."""
        with contextlib.suppress(OSError, AssertionError):
            self.call("Browser.close")
        if not select.select([self._pidfd], [], [], LIMIT)[0]:
            os.killpg(self._pid, signal.SIGKILL)
        os.waitpid(self._pid, 0)

    @contextlib.contextmanager
    def open(self, url: str, look: "Look | None" = None, script: str = "") -> Iterator["Tab"]:
        """A tab that shows ``url``, closed in the end.

        :param look: of the screen and its user.
        :param script: run before those of the page.
        """
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        tab = Tab(self, session)
        for domain in ("Page", "Runtime", "Log"):
            tab.call(f"{domain}.enable")
        tab.call("Page.setLifecycleEventsEnabled", enabled=True)
        tab.appear(look or Look())
        if script:
            tab.call("Page.addScriptToEvaluateOnNewDocument", source=script)
        tab.go(url)
        try:
            yield tab
        finally:
            self.call("Target.closeTarget", targetId=target)

    def call(self, method: str, session: str = "", **parameters: Any) -> dict[str, Any]:
        """The result of a method of the protocol.

        :raises AssertionError: the browser refuses, or does not answer within LIMIT.
        """
        self._number += 1
        record = {"id": self._number, "method": method, "params": parameters}
        if session:
            record["sessionId"] = session
        _write_all(self._requests, json.dumps(record).encode() + b"\0")
        deadline = time.monotonic() + LIMIT
        while True:
            reply = self._read(deadline, method)
            if reply.get("id") == self._number:
                assert "error" not in reply, f"{method}: {reply['error']}"
                result: dict[str, Any] = reply["result"]
                return result
            self._events.append(reply)

    def events(self, session: str, method: str) -> list[dict[str, Any]]:
        """What a tab told of this kind, as far as it was read."""
        return [e["params"] for e in self._events if (e.get("sessionId"), e.get("method")) == (session, method)]

    def wait_event(self, session: str, method: str, **parameters: Any) -> None:
        """Wait until a tab has told this, with these parameters among others."""
        deadline = time.monotonic() + LIMIT
        while not any(parameters.items() <= told.items() for told in self.events(session, method)):
            self._events.append(self._read(deadline, method))

    def _read(self, deadline: float, what: str) -> dict[str, Any]:
        while b"\0" not in self._input:
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([self._replies], [], [], left)[0]:
                raise AssertionError(f"the browser did not answer {what} within {LIMIT:g} s")
            part = os.read(self._replies, 1 << 20)
            assert part, f"the browser ended at {what}"
            self._input += part
        line, _, self._input = self._input.partition(b"\0")
        record: dict[str, Any] = json.loads(line)
        return record


class Look(NamedTuple):
    """Of the screen and its user: its size in pixels, and what the user prefers."""

    width: int = 1280
    height: int = 900
    scheme: str = "light"
    is_touch: bool = False


PHONE = Look(360, 740, is_touch=True)


class Tab:
    """A page in the browser."""

    def __init__(self, browser: Browser, session: str) -> None:
        self._browser = browser
        self._session = session

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        return self._browser.call(method, self._session, **parameters)

    def appear(self, look: Look) -> None:
        scheme = {"name": "prefers-color-scheme", "value": look.scheme}
        size = {"width": look.width, "height": look.height}
        self.call("Emulation.setEmulatedMedia", features=[scheme])
        self.call("Emulation.setDeviceMetricsOverride", **size, deviceScaleFactor=1, mobile=look.is_touch)

    def go(self, url: str) -> None:
        """Show this, and wait until it is loaded."""
        loader = self.call("Page.navigate", url=url)["loaderId"]
        self._browser.wait_event(self._session, "Page.lifecycleEvent", loaderId=loader, name="load")

    def evaluate(self, expression: str) -> Any:
        """The value of an expression in the page; a promise is waited for."""
        answer = self.call("Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in answer, f"{expression}: {answer['exceptionDetails']}"
        return answer["result"].get("value")

    def wait(self, condition: str) -> None:
        """Wait until an expression is true; the page looks by itself, again and again."""
        look = f"new Promise(done => {{ const look = () => ({condition}) ? done() : setTimeout(look, 10); look(); }})"
        try:
            self.evaluate(look)
        except AssertionError as error:
            raise AssertionError(f"{condition}; the page shows:\n{self.text()}") from error

    def wait_text(self, selector: str, text: str) -> None:
        """Wait until an element of the page shows ``text`` somewhere in it."""
        elements = f"[...document.querySelectorAll({json.dumps(selector)})]"
        self.wait(f"{elements}.some(e => e.textContent.includes({json.dumps(text)}))")

    def text(self, selector: str = "body") -> str:
        """What can be seen of an element."""
        return str(self.evaluate(f"document.querySelector({json.dumps(selector)}).innerText"))

    def press(self, key: str, code: int) -> None:
        """Press and release a key.

        :param code: of the key on Windows, which is what the protocol goes by.
        """
        for kind in ("rawKeyDown", "keyUp"):
            self.call("Input.dispatchKeyEvent", type=kind, key=key, code=key, windowsVirtualKeyCode=code)

    def complaints(self) -> list[str]:
        """What the page's script threw, and what the browser refused it; a server that is gone is neither."""
        thrown = self._browser.events(self._session, "Runtime.exceptionThrown")
        logged = self._browser.events(self._session, "Log.entryAdded")
        refused = [one["entry"] for one in logged if one["entry"]["source"] != "network"]
        return [str(one["exceptionDetails"]) for one in thrown] + [str(entry) for entry in refused]

    def accessible(self) -> list[tuple[str, str]]:
        """What a screen reader is given, in order: role and name."""
        nodes = self.call("Accessibility.getFullAXTree")["nodes"]
        seen = [node for node in nodes if not node.get("ignored")]
        return [(node["role"]["value"], node.get("name", {}).get("value", "")) for node in seen]

    def screenshot(self, path: Path, is_whole: bool = False) -> None:
        """:param is_whole: the whole page, not only what is on the screen."""
        data = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=is_whole)["data"]
        path.write_bytes(base64.b64decode(data))


def _pipe() -> tuple[int, int]:
    """Both ends out of the way of the low descriptors."""
    ends = []
    for low in os.pipe():
        ends.append(fcntl.fcntl(low, fcntl.F_DUPFD_CLOEXEC, _FREE))
        os.close(low)
    return ends[0], ends[1]


def _start(profile: str, requests: int, replies: int) -> int:
    """The pid of a browser in a session of its own, that reads and writes its pipe as 3 and 4."""
    command = ["chromium", *_QUIET, f"--user-data-dir={profile}", "--remote-debugging-pipe", "about:blank"]
    actions = [
        (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDWR, 0),
        (os.POSIX_SPAWN_DUP2, 0, 1),
        (os.POSIX_SPAWN_DUP2, 0, 2),
        (os.POSIX_SPAWN_DUP2, requests, 3),
        (os.POSIX_SPAWN_DUP2, replies, 4),
    ]
    environment = {**os.environ, "XDG_CONFIG_HOME": profile, "XDG_CACHE_HOME": profile}  # what it keeps goes with it
    return os.posix_spawnp(command[0], command, environment, file_actions=actions, setsid=True)


def _write_all(descriptor: int, data: bytes) -> None:
    while data:
        data = data[os.write(descriptor, data) :]
