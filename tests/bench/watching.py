"""What it costs to be watched: metrics scraped each second, the live page open, titles in full; beside none of it."""

import contextlib
import re
import socket
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from tests.bench import clients
from tests.bench.measure import Contender, Options, Row, compare
from tests.bench.servers import Server, cpu_ns, supervised

SCRAPE = 1.0  # seconds from one scrape to the next
LONGER = 4  # times the requests of other figures: each round should see a scrape
LIMIT = 1.02


def watched(options: Options) -> list[Row]:
    """CPU a request of one worker that is watched, beside one that is not"""
    with ExitStack() as stack:
        enter = stack.enter_context
        off = enter(supervised("applications:Echo", "--titles", "none"))
        titled = enter(supervised("applications:Echo"))
        on, admin = enter(_watched())
        before, begin = admin.cpu_ns(), time.monotonic()
        rows = compare(
            [
                Contender("nobody looks, `titles = none`", off),
                Contender("nobody looks, titles in full", titled),
                Contender("scraped each second, the live page open, titles in full", on, LIMIT),
            ],
            clients.one_by_one,
            options._replace(requests=LONGER * options.requests),
            share=0.95,
        )
        share = (admin.cpu_ns() - before) / 1e9 / (time.monotonic() - begin)
        rows.append(Row("the admin process: CPU", f"{1000 * share:.1f} ms a second"))
        rows.append(Row("the admin process: memory (PSS)", f"{_proportional(admin.pids[0]):.1f} MiB"))
        return rows


@contextmanager
def _watched() -> Iterator[tuple[Server, Server]]:
    """A worker whose master has an admin process, somebody who scrapes it, and somebody who looks at the page."""
    port = _free_port()
    with supervised("applications:Echo", "--admin", f"tcp://127.0.0.1:{port}") as server, ExitStack() as stack:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/healthz") as answer:  # from here on it has its title
            answer.read()
        (pid,) = _admins_of(server.master)
        stack.enter_context(_looking_at(f"http://127.0.0.1:{port}/feed"))
        stack.enter_context(_scraping(f"http://127.0.0.1:{port}/metrics"))
        yield server, Server(port, cpu_ns(pid), (pid,))


@contextmanager
def _scraping(url: str) -> Iterator[None]:
    is_over = threading.Event()

    def scrape() -> None:
        while not is_over.wait(SCRAPE):
            with urllib.request.urlopen(url) as answer:
                answer.read()

    thread = threading.Thread(target=scrape, daemon=True)
    thread.start()
    yield
    is_over.set()
    thread.join()


@contextmanager
def _looking_at(url: str) -> Iterator[None]:
    def read() -> None:
        with contextlib.suppress(OSError), urllib.request.urlopen(url) as answer:
            while answer.readline():
                pass

    threading.Thread(target=read, daemon=True).start()
    yield


def _admins_of(master: int) -> list[int]:
    children = Path(f"/proc/{master}/task/{master}/children").read_text().split()
    return [int(pid) for pid in children if Path(f"/proc/{pid}/cmdline").read_bytes().startswith(b"prefork: admin")]


def _proportional(pid: int) -> float:
    """MiB, proc(5)."""
    text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    return sum(int(kib) for kib in re.findall(r"^Pss: +(\d+)", text, re.MULTILINE)) / 1024


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
