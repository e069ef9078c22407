"""A client of HTTP as small as it gets: one request a connection, over any kind of bind.

    reply = fetch(admin, "/healthz")
    with Feed(admin) as feed:
        kind, data = feed.event()

It must not know the product. Invariant: nothing here waits longer than LIMIT.
"""

import json
from types import TracebackType
from typing import Any, NamedTuple, Self

from tests.end_to_end.clients import endpoint


class Reply(NamedTuple):
    """:param headers: by name in small letters."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def text(self) -> str:
        return self.body.decode().removesuffix("\n")

    def json(self) -> Any:
        return json.loads(self.body)


def request(method: str, path: str, *headers: str, body: bytes = b"") -> bytes:
    """One whose answer ends with its connection."""
    lines = [f"{method} {path} HTTP/1.0", *headers, *([f"Content-Length: {len(body)}"] if body else []), "", ""]
    return "\r\n".join(lines).encode() + body


class Inquiry:
    """A request on its way: as much of it is sent as was given, the answer is not read yet."""

    def __init__(self, url: str, sent: bytes) -> None:
        self.socket = endpoint(url).connect()
        self.socket.sendall(sent)

    def reply(self) -> Reply:
        """:raises EOFError: the connection ended without an answer."""
        parts = []
        with self.socket:
            while part := self.socket.recv(65536):
                parts.append(part)
        received = b"".join(parts)
        head, end, body = received.partition(b"\r\n\r\n")
        if not end:
            raise EOFError(f"the connection ended after {received!r}")
        return Reply(*_read_head(head), body)


def fetch(url: str, path: str, method: str = "GET") -> Reply:
    """:raises EOFError: the connection ended without an answer."""
    return Inquiry(url, request(method, path)).reply()


def _read_head(head: bytes) -> tuple[int, dict[str, str]]:
    first, *lines = head.decode().split("\r\n")
    headers = dict(line.split(": ", 1) for line in lines)
    return int(first.split()[1]), {name.lower(): value for name, value in headers.items()}


class Feed:
    """Server-sent events, as they come.

    :ivar retry: what the feed says of coming again, once the first event is there.
    """

    def __init__(self, url: str) -> None:
        self._connection = endpoint(url).connect()
        self._connection.sendall(b"GET /feed HTTP/1.0\r\nAccept: text/event-stream\r\n\r\n")
        self._file = self._connection.makefile("rb")
        lines = iter(self._file.readline, b"\r\n")
        self.status, self.headers = _read_head(b"".join(lines).removesuffix(b"\r\n"))
        self.retry = ""

    def event(self) -> tuple[str, Any]:
        """The next event, and its data.

        :raises EOFError: the feed has ended.
        """
        fields: dict[str, str] = {}
        while line := self._file.readline():
            if line == b"\n":
                self.retry = fields.get("retry", self.retry)
                if "event" in fields:
                    return fields["event"], json.loads(fields["data"])
                fields = {}
            else:
                name, _, value = line.decode().rstrip("\n").partition(": ")
                fields[name] = value
        raise EOFError("the feed has ended")

    def wait_for(self, kind: str) -> Any:
        """The data of the next event of that kind."""
        while True:
            found, data = self.event()
            if found == kind:
                return data

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()
        self._connection.close()
