"""The feed: what is and what happens, as server-sent events, for as long as somebody listens.

``status`` carries what ``prefork status --json`` prints, once a second; ``told`` carries what has happened, on
connection what is remembered of it first. It must not know sockets.
Invariant: whoever reads too slowly misses answers, never waits for the others nor lets them wait.
Read next: ``watcher.py``, where it comes from; ``page.html``, who listens.
"""

from collections.abc import Iterator

import msgspec

from prefork.admin.watcher import Watcher

HEARTBEAT = 5.0  # seconds without news, after which a comment says that we are still here
RETRY = 2000  # milliseconds, after which a listener that lost us should come again


def stream(watcher: Watcher) -> Iterator[bytes]:
    """Events without end."""
    yield f"retry: {RETRY}\n\n".encode()
    after = told_after = 0
    while True:
        seen, told = watcher.wait_news(after, told_after, HEARTBEAT)
        for number, record in told:
            told_after = number
            yield _event("told", msgspec.json.encode(record), f"id: {number}\n")
        if seen is not None:
            after = seen.number
            yield _event("status", seen.plain)
        elif not told:
            yield b": nothing new\n\n"


def _event(kind: str, data: bytes, head: str = "") -> bytes:
    return b"%sevent: %s\ndata: %s\n\n" % (head.encode(), kind.encode(), data)
