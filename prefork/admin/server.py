"""The server: HTTP on the listener that the master has opened, by our own framework, a thread a request.

Everything has a bound: how many are served at once, how long a request may take to come and an answer to leave, how
much of it is read, how many may follow the feed. It must not know what is answered.
Invariant: a client that sends slowly, or reads slowly, has gone after ``LIMIT``, whatever it does.
Read next: ``pages.py`` and ``feed.py``, what is answered.
"""

import io
import logging
import socket
import sys
import threading
import time
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from typing import Any

from prefork import __version__
from prefork.address import describe_peer
from prefork.admin import feed
from prefork.admin.pages import PLAIN, Answer, Pages, say
from prefork.admin.watcher import MORE_THREADS, Watcher
from prefork.servers.listening import StreamServer
from prefork.servers.threading import ThreadingMixIn

logger = logging.getLogger("prefork.admin")

LIMIT = 5.0  # seconds, for a request to come, and for an answer, or one event of the feed, to leave
MOST_BYTES = 16384  # of a request
MOST_REQUESTS = 32  # at once, feeds among them
MOST_FEEDS = 16


class Handler(BaseHTTPRequestHandler):
    """One request a connection."""

    server: "Server"
    default_request_version = "HTTP/1.0"  # of what cannot be read: its answer has headers all the same
    command = requestline = ""  # of a request whose first line has no end
    request_version = default_request_version

    def setup(self) -> None:
        super().setup()
        self.rfile.close()
        self.rfile = io.BufferedReader(_Bounded(self.connection, time.monotonic() + LIMIT))

    def handle_one_request(self) -> None:
        try:
            super().handle_one_request()
        except _TooLongError as error:
            self.send_error(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, str(error))

    def parse_request(self) -> bool:
        try:
            return super().parse_request()
        except (_TooLongError, OSError):
            raise
        except Exception as error:  # headers are taken for a mail's, where a strange charset or number raises anything
            self.log_error("headers that cannot be read: %r", error)
            self.send_error(HTTPStatus.BAD_REQUEST, "the headers cannot be read")
            return False

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        if path == "/feed":
            self._feed()
        else:
            self._answer(self.server.pages.answer(path))

    do_HEAD = do_GET  # noqa: N815

    def _answer(self, answer: Answer) -> None:
        self._begin(answer.status, answer.kind, ("Content-Length", str(len(answer.body))))
        if self.command != "HEAD":
            self.wfile.write(answer.body)

    def _feed(self) -> None:
        if not self.server.feeds.acquire(blocking=False):
            self._answer(say(HTTPStatus.SERVICE_UNAVAILABLE, f"{MOST_FEEDS} follow the feed already; close one"))
            return
        try:
            self._begin(HTTPStatus.OK, "text/event-stream")
            if self.command != "HEAD":
                for event in feed.stream(self.server.watcher):
                    self.wfile.write(event)
        finally:
            self.server.feeds.release()

    def _begin(self, status: HTTPStatus, kind: str, *headers: tuple[str, str]) -> None:
        self.connection.settimeout(LIMIT)  # of each write, socket.sendall
        self.send_response(status)
        for name, value in (("Content-Type", kind), ("Cache-Control", "no-store"), *headers):
            self.send_header(name, value)
        self.send_header("X-Content-Type-Options", "nosniff")
        self.end_headers()

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """What the standard library finds wrong with a request, in one line."""
        self.close_connection = True
        status = HTTPStatus(code)
        if status is HTTPStatus.NOT_IMPLEMENTED:  # so it calls a method that it does not find
            status, message = HTTPStatus.METHOD_NOT_ALLOWED, "only GET and HEAD; nothing can be changed here"
        answer = say(status, message or status.phrase.lower())
        self._begin(status, PLAIN, ("Allow", "GET, HEAD"), ("Content-Length", str(len(answer.body))))
        if self.command != "HEAD":
            self.wfile.write(answer.body)

    def version_string(self) -> str:
        return f"prefork/{__version__}"

    def log_message(self, format: str, *arguments: Any) -> None:  # noqa: A002  the documented name
        logger.debug(
            "%s: %s", describe_peer(self.client_address), (format % arguments).encode("unicode_escape").decode()
        )


class _TooLongError(Exception):
    """A request that does not end within ``MOST_BYTES``."""


class _Bounded(io.RawIOBase):
    """What a client sends, until a moment, and up to an amount. Whoever reads on has a ``_TooLongError``."""

    def __init__(self, connection: socket.socket, until: float) -> None:
        self._connection = connection
        self._until = until
        self._left = MOST_BYTES

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        seconds = self._until - time.monotonic()
        if seconds <= 0:
            raise TimeoutError(f"the request has not come within {LIMIT:g} s")
        if not self._left:
            raise _TooLongError(f"a request may have {MOST_BYTES} bytes")
        self._connection.settimeout(seconds)
        count = self._connection.recv_into(buffer, min(len(buffer), self._left))
        self._left -= count
        return count


class Server(ThreadingMixIn, StreamServer):
    """:param listener: bound, listening and non-blocking, TCP or Unix."""

    daemon_threads = True
    max_threads = MOST_REQUESTS

    def __init__(self, listener: socket.socket, watcher: Watcher) -> None:
        super().__init__(listener, Handler)
        self.watcher = watcher
        self.pages = Pages(watcher)
        self.feeds = threading.BoundedSemaphore(MOST_FEEDS)

    def process_request(self, request: Any, client_address: Any) -> None:
        """Let a thread do the rest; without one the client is closed."""
        try:
            super().process_request(request, client_address)
        except RuntimeError as error:  # what threading says for want of threads
            logger.warning("no thread for %s: %s; it is closed; %s", describe_peer(client_address), error, MORE_THREADS)
            self.shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that hung up, or was too slow, is nobody's news."""
        error = sys.exception()
        if isinstance(error, OSError):
            logger.debug("%s: %s", describe_peer(client_address), error)
        else:
            super().handle_error(request, client_address)
