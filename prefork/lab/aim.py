"""Whom a load is for: from its URL to the address that a socket connects to.

It must not know requests. Invariant: what is wrong with a URL is said before any socket is made.
"""

import socket
from typing import NamedTuple
from urllib.parse import urlsplit

from prefork.address import Address
from prefork.binds import parse
from prefork.errors import CommandError, UsageError

SCHEMES = "tcp://, tls://, unix:, udp://, unixgram:, http:// and https://"
_HTTP = {"http": ("tcp", 80), "https": ("tls", 443)}
_KINDS = {
    "tcp": socket.SOCK_STREAM,
    "unix": socket.SOCK_STREAM,
    "udp": socket.SOCK_DGRAM,
    "unixgram": socket.SOCK_DGRAM,
}


class Aim(NamedTuple):
    """See above.

    :param address: as the sockets of ``family`` take it.
    :param host: for what wants a name: HTTP, and the certificate of a TLS server.
    """

    family: int
    kind: int
    address: tuple[object, ...] | str
    is_tls: bool
    host: str
    port: int

    @property
    def is_tcp(self) -> bool:
        return self.kind == socket.SOCK_STREAM and self.family != socket.AF_UNIX

    @property
    def is_datagram(self) -> bool:
        return self.kind == socket.SOCK_DGRAM


def split_http(url: str) -> tuple[str, str]:
    """``http://HOST:PORT/PATH`` as ``tcp://HOST:PORT`` and ``/PATH``; any other URL as it is, and an empty path.

    :raises UsageError: an HTTP URL names no host, or somebody.
    """
    scheme = url.partition("://")[0]
    if scheme not in _HTTP:
        return url, ""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        host, port = None, None
    if not host or "@" in parts.netloc:
        raise UsageError(f"{url!r} wants a host, and nothing before it, as {scheme}://127.0.0.1:8000/")
    shown = f"[{host}]" if ":" in host else host
    carrier, usual = _HTTP[scheme]
    path = parts.path or "/"
    return f"{carrier}://{shown}:{port or usual}", f"{path}?{parts.query}" if parts.query else path


def is_datagram(url: str) -> bool:
    return url.startswith(("udp:", "unixgram:"))


def _parsed(url: str) -> Address:
    try:
        address = parse(url)
    except ValueError as error:
        if url.partition(":")[0] not in (*_KINDS, "fd"):
            raise UsageError(f"{url!r} is nothing to load: begin with one of {SCHEMES}") from None
        raise UsageError(str(error)) from None
    if address.scheme not in _KINDS:
        raise UsageError(f"{url!r} cannot be reached from outside: begin with one of {SCHEMES}")
    if not address.is_unix and not address.port:
        raise UsageError(f"{url!r} wants the port that is listened on, not 0; see prefork status")
    return address


def aim_of(url: str) -> Aim:
    """:raises UsageError: the URL is wrong.
    :raises CommandError: its host has no address.
    """
    is_tls = url.startswith("tls://")
    at = _parsed(url.replace("tls://", "tcp://", 1) if is_tls else url)
    kind = _KINDS[at.scheme]
    if at.is_unix:
        path = "\0" + at.path[1:] if at.is_abstract else at.path
        return Aim(socket.AF_UNIX, kind, path, False, "localhost", 0)
    try:
        family, _, _, _, address = socket.getaddrinfo(at.host, at.port, type=kind)[0]
    except (OSError, UnicodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is no name of a host"
        raise CommandError(f"{url}: the host {at.host} has no address ({why}); write it otherwise") from None
    return Aim(family, kind, address, is_tls, at.host, at.port)
