"""Small services to be loaded, in threads of the test, and a desk at which one connection is tried.

    with service(echo) as url: ...

It must not know what is tested. Invariant: when a block is left its listener is shut, and nothing waits for it.
"""

import select
import socket
import ssl
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from prefork.lab.connection import Connection
from tests.children import LIMIT

Behave = Callable[[socket.socket], None]


@contextmanager
def service(behave: Behave, path: Path | None = None, context: ssl.SSLContext | None = None) -> Iterator[str]:
    """Its URL. Each connection is given to ``behave`` in a thread of its own and closed after it."""
    family, at = (socket.AF_INET, ("127.0.0.1", 0)) if path is None else (socket.AF_UNIX, str(path))
    with socket.socket(family) as listener:
        listener.bind(at)
        listener.listen(1024)
        threading.Thread(target=_accept, args=(listener, behave, context), daemon=True).start()
        port = "" if path is not None else listener.getsockname()[1]
        yield f"unix:{path}" if path is not None else f"{'tls' if context else 'tcp'}://127.0.0.1:{port}"
        listener.shutdown(socket.SHUT_RDWR)


def _accept(listener: socket.socket, behave: Behave, context: ssl.SSLContext | None) -> None:
    while True:
        try:
            client, _ = listener.accept()
        except OSError:  # shut
            return
        client.settimeout(LIMIT)
        threading.Thread(target=_serve, args=(client, behave, context), daemon=True).start()


def _serve(client: socket.socket, behave: Behave, context: ssl.SSLContext | None) -> None:
    try:
        with client if context is None else context.wrap_socket(client, server_side=True) as connection:
            behave(connection)
    except OSError:
        pass  # a client that went, or did not believe the certificate


def answer_once(client: socket.socket) -> None:
    client.sendall(client.recv(4096))


def echo(client: socket.socket) -> None:
    """Until the client goes."""
    while data := client.recv(1 << 16):
        client.sendall(data)


@contextmanager
def datagrams(behave: Callable[[socket.socket], None], path: Path | None = None) -> Iterator[str]:
    """A datagram service: ``behave`` has its socket."""
    family, at = (socket.AF_INET, ("127.0.0.1", 0)) if path is None else (socket.AF_UNIX, str(path))
    with socket.socket(family, socket.SOCK_DGRAM) as server:
        server.bind(at)
        server.settimeout(LIMIT)
        thread = threading.Thread(target=behave, args=(server,), daemon=True)
        thread.start()
        yield f"unixgram:{path}" if path is not None else f"udp://127.0.0.1:{server.getsockname()[1]}"
        thread.join(LIMIT)


def nobody() -> str:
    """The URL of a port where nobody listens."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        return f"tcp://127.0.0.1:{unused.getsockname()[1]}"


def certificate(directory: Path) -> tuple[Path, ssl.SSLContext]:
    """A certificate for 127.0.0.1 that nobody knows, and a server's context with it."""
    key, cert = directory / "key.pem", directory / "cert.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
         "-keyout", key, "-out", cert, "-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"],
        check=True,
        capture_output=True,
    )  # fmt: skip
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    return cert, context


class Desk:
    """The owner of one connection. What is put off happens when nothing else does: time does not pass here."""

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._watched: dict[int, Connection] = {}
        self._put_off: list[Callable[[], None]] = []
        self._told: list[tuple[str, str]] = []
        self.connections = self.drops = self.pauses = 0

    def watch(self, connection: Connection, fd: int, mask: int) -> None:
        if fd in self._watched and mask:
            self._epoll.modify(fd, mask)
        elif mask:
            self._watched[fd] = connection
            self._epoll.register(fd, mask)
        else:
            del self._watched[fd]

    def opened(self) -> None:
        self.connections += 1

    def answered(self, connection: Connection) -> None:
        self._told.append(("answered", ""))

    def failed(self, connection: Connection, kind: str, text: str) -> None:
        self._told.append((kind, text))

    def dropped(self) -> None:
        self.drops += 1

    def later(self, seconds: float, call: Callable[[], None]) -> None:
        self.pauses += 1
        self._put_off.append(call)

    def outcome(self) -> tuple[str, str]:
        """Of the request under way: its kind, and why."""
        self.turn_until(lambda: bool(self._told))
        (told,) = self._told
        self._told.clear()
        return told

    def turn_until(self, is_so: Callable[[], bool]) -> None:
        while not is_so():
            events = self._epoll.poll(0 if self._put_off else LIMIT)
            assert events or self._put_off, f"nothing came within {LIMIT} s"
            for fd, mask in events:
                self._watched[fd].on_event(mask)
            if not events:
                self._put_off.pop(0)()
