"""It says the time and hangs up (RFC 867): one ``handle`` for two transports.

    prefork run examples.daytime:Stream   -b tcp://127.0.0.1:9013
    prefork run examples.daytime:Datagram -b udp://127.0.0.1:9013

    python -m examples.say tcp://127.0.0.1:9013 ''
    python -m examples.say udp://127.0.0.1:9013 ''

What the client says is not even read. A stream is shut down when ``handle`` returns; all that a datagram handler wrote
is one datagram.
"""

from datetime import UTC, datetime
from typing import Any

from prefork.socketserver import DatagramRequestHandler, StreamRequestHandler


class Daytime:
    wfile: Any

    def handle(self) -> None:
        self.wfile.write(f"{datetime.now(UTC):%A, %B %d, %Y %H:%M:%S-UTC}\r\n".encode())


class Stream(Daytime, StreamRequestHandler):
    """The time at once, then the end of file."""


class Datagram(Daytime, DatagramRequestHandler):
    """The time for any datagram, however empty."""
