"""A feed that the test holds, and what it may tell: the page is served and fed as the admin process does it.

    with Feed() as feed, browser.open(feed.url, script=STAGED) as tab:
        Stage(feed, tab).show(service([worker(1), worker(2, "busy", request())]))

Invariant: who comes later is told what was told before, as those who listen were.
Read next: ``test_page.py``.
"""

import json
import threading
import time
from collections.abc import Sequence
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any, Self

import msgspec

from prefork.control.messages import (
    ProcessStatus,
    QueueStatus,
    Recent,
    RequestStatus,
    ServiceStatus,
    Snapshot,
    Told,
    WorkerStatus,
)
from prefork.control.report import Report
from prefork.histogram import NOTHING, bucket
from prefork.socketserver import ThreadingTCPServer
from prefork.system.usage import Usage
from tests.page.browser import Tab

PAGE = Path(__file__).parents[2] / "prefork" / "admin" / "page.html"
NOW = 1_790_000_000.0  # seconds of Unix time, when all of it happens
# the page's clock stands still unless it is told to skip; what is announced is kept
STAGED = """
let moment = performance.now();
performance.now = () => moment;
const skip = (seconds) => { moment += seconds * 1000; };
const heard = [];
document.addEventListener("DOMContentLoaded", () => new MutationObserver(() => {
  heard.push(document.getElementById("announcement").textContent);
}).observe(document.getElementById("announcement"), { childList: true, characterData: true, subtree: true }));
"""
_TYPES = {"/": "text/html; charset=utf-8", "/feed": "text/event-stream"}


class Feed:
    """Serves ``/`` and ``/feed``, as docs/control.md has it.

    :ivar url: of the page.
    :ivar asked: the paths that somebody asked for.
    """

    def __enter__(self) -> Self:
        self._told: list[bytes] = []
        self._shown = b""
        self._news = threading.Condition()
        self._epoch = 0  # listeners of an earlier one are hung up
        self._is_open = True
        self.asked: list[str] = []
        self._server = ThreadingTCPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/"
        self._thread = threading.Thread(target=self._server.serve_forever, name="feed", daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self.hang_up(is_open=False)
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def show(self, report: dict[str, Any]) -> None:
        """The instance is like this now."""
        with self._news:
            self._shown = _event("status", report)
            self._news.notify_all()

    def tell(
        self, text: str, level: str = "info", event: str = "worker-exited", at: float = NOW, service: str = "echo"
    ) -> None:
        """Something happened."""
        told = msgspec.to_builtins(Told(at=at, level=level, event=event, text=text, service=service))
        with self._news:
            self._told.append(_event("told", told))
            self._news.notify_all()

    def hang_up(self, is_open: bool = True) -> None:
        """End every connection of listeners.

        :param is_open: whether they are welcome again.
        """
        with self._news:
            self._epoch += 1
            self._is_open = is_open
            self._news.notify_all()

    def reopen(self) -> None:
        with self._news:
            self._is_open = True

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        feed = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.path = self.path.partition("?")[0]
                feed.asked.append(self.path)
                if self.path not in _TYPES or (self.path == "/feed" and not feed._is_open):
                    self.send_error(503 if self.path == "/feed" else 404)
                    return
                self.send_response(200)
                self.send_header("Content-Type", _TYPES[self.path])
                self.end_headers()
                if self.path == "/":
                    self.wfile.write(PAGE.read_bytes())
                else:
                    self.wfile.write(b"retry: 100\n\n")
                    feed._stream(self)

            def log_message(self, *args: object) -> None:
                """A failing test shows the page instead."""

        return Handler

    def _stream(self, listener: BaseHTTPRequestHandler) -> None:
        told, shown, epoch = 0, b"", self._epoch
        while True:
            with self._news:
                while epoch == self._epoch and told == len(self._told) and shown is self._shown:
                    self._news.wait()
                if epoch < self._epoch:
                    return
                news = self._told[told:] if shown is self._shown else [*self._told[told:], self._shown]
                told, shown = len(self._told), self._shown
            try:
                listener.wfile.write(b"".join(news))
            except OSError:
                return  # it has left


class Stage:
    """The page, and the feed that it listens to."""

    def __init__(self, feed: Feed, tab: Tab) -> None:
        self.feed = feed
        self.tab = tab
        self._days = 0

    def show(self, *services: tuple[ServiceStatus, Sequence[WorkerStatus]]) -> None:
        """Let the page show these, each time a day older, by which it is known that it does."""
        self._days += 1
        self.feed.show(instance(*services, uptime=86_400 * self._days))
        self.tab.wait_text("#facts", f"up {self._days}\u00a0d")

    def sees(self, selector: str = "body") -> str:
        """What can be seen of an element, with plain spaces."""
        return self.tab.text(selector).replace("\u00a0", " ")

    def wait_still(self) -> None:
        """Wait until no colour changes any more."""
        self.tab.evaluate("Promise.all(document.getAnimations().map(one => one.finished)).then(() => 0)")

    def heard(self) -> list[str]:
        """What was announced so far."""
        announced: list[str] = self.tab.evaluate("heard")
        return announced


def _event(kind: str, data: dict[str, Any]) -> bytes:
    return f"event: {kind}\ndata: {json.dumps(data)}\n\n".encode()


# what it may tell


def instance(*services: tuple[ServiceStatus, Sequence[WorkerStatus]], uptime: float = 12_345.0) -> dict[str, Any]:
    """A report as clients have it; every process weighs the same."""
    names = [status.name for status, _ in services]
    processes = [
        ProcessStatus(kind="master", pid=100),
        *(ProcessStatus(kind="mold", pid=200 + n, service=name, generation=1) for n, name in enumerate(names)),
        ProcessStatus(kind="admin", pid=300),
    ]
    snapshot = Snapshot(
        name="shop",
        pid=100,
        package="0.1.0",
        uptime_seconds=uptime,
        services=[status for status, _ in services],
        log_level="info",
        processes=processes,
    )
    report = Report(snapshot, {status.name: list(workers) for status, workers in services})
    usage = {pid: Usage(12 << 20, 5 << 20, 1.25, at=time.monotonic()) for pid in report.pids}
    return report._replace(usage=usage).as_plain()


def service(
    workers: Sequence[WorkerStatus], name: str = "echo", milliseconds: Sequence[float] = (1.2, 1.3, 40), **changes: Any
) -> tuple[ServiceStatus, Sequence[WorkerStatus]]:
    """A service with these workers.

    :param milliseconds: that the requests of the last minute took.
    :param changes: of the record.
    """
    counts = list(NOTHING)
    for took in milliseconds:
        counts[bucket(int(took * 1e6))] += 1
    ready = [w for w in workers if w.state in ("idle", "busy")]
    busy = sum(w.state == "busy" for w in workers)
    requests = sum(w.requests for w in workers)
    recent = Recent(seconds=60, requests=len(milliseconds), errors=0, busy_seconds=busy * 60, service_times=counts)
    status = ServiceStatus(
        name=name,
        target=f"shop:{name.title()}",
        binds=["tcp://127.0.0.1:9000"],
        mode="prefork",
        concurrency="sync",
        phase="healthy",
        generation=1,
        coming=None,
        configured=(len(workers), len(workers)),
        wanted=len(workers),
        starting=sum(w.state == "starting" for w in workers),
        ready=len(ready),
        retiring=sum(w.state == "retiring" for w in workers),
        orphaned=0,
        busy=busy,
        idle=len(ready) - busy,
        requests=requests,
        errors=sum(w.errors for w in workers),
        queues=[QueueStatus(bind="tcp://127.0.0.1:9000", waiting=0, limit=2048)],
        recent=recent,
        settings={"timeout": "30s"},
        started=len(workers),
    )
    return msgspec.structs.replace(status, **changes), workers


def worker(slot: int, state: str = "idle", *current: RequestStatus, **changes: Any) -> WorkerStatus:
    """A worker; one with a request under way is busy."""
    status = WorkerStatus(
        slot=slot,
        pid=1000 + slot,
        generation=1,
        state="busy" if current else state,
        state_seconds=600,
        age_seconds=600,
        requests=40 * slot,
        current=list(current),
    )
    return msgspec.structs.replace(status, **changes)


def request(peer: str = "10.0.0.7:51022", number: int = 1841, age: float = 0.004, label: str = "") -> RequestStatus:
    return RequestStatus(peer=peer, number=number, age_seconds=age, label=label)
