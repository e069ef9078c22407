"""How a client reaches a bind, as the log names it: ``tcp://127.0.0.1:43211``, ``unix:/tmp/x.sock`` and the like.

It must not know the service under test: no line here imports the product.
Invariant: nothing here waits longer than LIMIT.
Read next: ``load.py``, many such clients at once.
"""

import socket
from typing import NamedTuple
from urllib.parse import urlsplit

LIMIT = 30.0  # seconds; only a failure ever waits so long


class Endpoint(NamedTuple):
    """Where to connect to, and by what kind of socket."""

    family: socket.AddressFamily
    kind: socket.SocketKind
    address: tuple[str, int] | str

    @property
    def is_stream(self) -> bool:
        return self.kind == socket.SOCK_STREAM

    def open(self) -> socket.socket:
        """A socket of the right kind, not connected yet; a Unix datagram one has a name that replies can go to."""
        client = socket.socket(self.family, self.kind)
        if self.family == socket.AF_UNIX and not self.is_stream:
            client.bind("")  # the kernel chooses a name in the abstract namespace, unix(7)
        return client

    def connect(self) -> socket.socket:
        client = self.open()
        try:
            client.settimeout(LIMIT)
            client.connect(self.address)
        except OSError:
            client.close()
            raise
        return client


def endpoint(url: str) -> Endpoint:
    scheme, _, rest = url.partition(":")
    if scheme in ("unix", "unixgram"):
        kind = socket.SOCK_STREAM if scheme == "unix" else socket.SOCK_DGRAM
        return Endpoint(socket.AF_UNIX, kind, "\0" + rest[1:] if rest.startswith("@") else rest)
    parts = urlsplit(url)
    host, port = parts.hostname or "", parts.port or 0
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    kind = socket.SOCK_STREAM if scheme == "tcp" else socket.SOCK_DGRAM
    return Endpoint(family, kind, (host, port))


class Question:
    """One request on its way: the line is sent, the answer is not read yet.

    :param request: a line, without its end.
    """

    def __init__(self, url: str, request: str) -> None:
        self.endpoint = endpoint(url)
        self.socket = self.endpoint.connect()
        self.socket.sendall(request.encode() + b"\n")

    def answer(self) -> str:
        """The line that comes back.

        :raises EOFError: the connection ended without a whole line; ConnectionResetError where it was reset.
        """
        received = b""
        with self.socket:
            while not received.endswith(b"\n"):
                part = self.socket.recv(65536)
                if not part:
                    raise EOFError(f"the connection ended after {received!r}")
                received += part
        return received.decode().removesuffix("\n")

    def is_lost(self) -> bool:
        """Whether the connection ends without the answer."""
        try:
            self.answer()
        except (EOFError, ConnectionError):
            return True
        return False


def ask(url: str, request: str) -> str:
    """Send one line and wait for the line that answers it."""
    return Question(url, request).answer()


def is_refused(url: str) -> bool:
    """Whether a new client is turned away before it could say anything."""
    try:
        with endpoint(url).connect() as client:
            if not endpoint(url).is_stream:
                client.send(b"anybody there?\n")
                client.recv(1)
    except (ConnectionRefusedError, FileNotFoundError, BrokenPipeError):
        return True
    except ConnectionResetError:  # it was let in, and the listener closed while it connected
        return False
    return False
