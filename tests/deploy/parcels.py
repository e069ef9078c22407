"""An HTTP application for the tests of proxies: what comes slowly, what goes slowly, and who asks.

It runs inside the workers under test, on the standard library alone; what waits, waits at the gate of the test.
Read next: ``test_proxies.py``.
"""

import os
from http.server import BaseHTTPRequestHandler
from urllib.parse import parse_qs, urlsplit

from tests.end_to_end.apps import pass_gate

BIG = 16 << 20  # bytes; more than kernel and HAProxy keep for a client that does not read


class Handler(BaseHTTPRequestHandler):
    """``/pid``, ``/client``, ``/big``; ``/hold?gate=PATH`` by GET and POST; POST elsewhere tells how much came."""

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        if url.path == "/hold":
            pass_gate(parse_qs(url.query)["gate"][0], self.command)
        answers = {
            "/client": lambda: ", ".join(self.headers.get_all("X-Forwarded-For", [])).encode(),
            "/big": lambda: b"x" * BIG,
        }
        self._answer(answers.get(url.path, lambda: str(os.getpid()).encode())())

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.path.startswith("/hold"):
            self.do_GET()
        else:
            self._answer(str(len(body)).encode())

    def _answer(self, body: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments: object) -> None:
        """Nobody reads it."""


class KeepAlive(Handler):
    """One that serves request after request of a connection, as long as its client keeps it open."""

    protocol_version = "HTTP/1.1"
