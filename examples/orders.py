"""Orders over HTTP, and one that is never found: what it takes to see which request is stuck, and where.

    prefork run examples.orders:Handler -b tcp://127.0.0.1:9000 -w 3 --admin tcp://127.0.0.1:9190
    curl http://127.0.0.1:9000/orders/7
    curl http://127.0.0.1:9000/orders/13 &
    prefork status

The tour (docs/tour.md) goes on from here. Point at ``label``: whatever the protocol, it says what a worker is doing.
"""

import json
import threading
from http.server import BaseHTTPRequestHandler
from typing import Any

_stock = threading.Lock()


class Handler(BaseHTTPRequestHandler):
    """``GET /orders/N``."""

    server: Any

    def do_GET(self) -> None:
        number = self.path.rpartition("/")[2]
        self.server.worker.label(f"order {number}")
        body = json.dumps(find(number)).encode() + b"\n"
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments: object) -> None:
        """The access log of whoever serves us will do."""


def find(number: str) -> dict[str, str]:
    """An order, once the stock is counted."""
    with _stock:
        if number == "13":
            count_again()
        return {"order": number, "state": "sent"}


def count_again() -> None:
    """Somebody forgot that we hold the lock."""
    with _stock:
        pass
