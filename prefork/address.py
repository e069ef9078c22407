"""Where a service listens, as the record that everything but its user reads; and how a client's address is shown.

It must not know sockets: opening one is ``system/sockets.py``.
Read next: ``binds.py``, how its user writes it.
"""

import os
from typing import NamedTuple

DEFAULT_MODE = 0o660


class Address(NamedTuple):
    """One bind.

    :param scheme: ``tcp``, ``udp``, ``unix``, ``unixgram``; ``fd`` or ``systemd`` for a listener that was inherited.
    :param host: a name or an address, without brackets; empty for Unix sockets.
    :param port: 0 lets the kernel choose.
    :param fd: number of the inherited descriptor; -1 where there is none.
    :param name: that systemd gave the listener; ``number`` says which of several of that name, from 1.
    :param path: of a Unix socket; one that begins with ``@`` lives in the abstract namespace.
    :param v6only: whether ``[::]`` refuses IPv4 clients; ``None`` leaves it to the kernel.
    :param mode: permission bits of a Unix socket's path.
    :param user: owner of that path by name or number; empty leaves it alone.
    :param group: group of that path by name or number; empty leaves it alone.
    """

    scheme: str
    host: str = ""
    port: int = 0
    path: str = ""
    v6only: bool | None = None
    mode: int = DEFAULT_MODE
    user: str = ""
    group: str = ""
    fd: int = -1
    name: str = ""
    number: int = 1

    @property
    def is_unix(self) -> bool:
        return self.scheme in ("unix", "unixgram")

    @property
    def is_stream(self) -> bool:
        return self.scheme in ("tcp", "unix")

    @property
    def is_abstract(self) -> bool:
        return self.path.startswith("@")

    @property
    def is_inherited(self) -> bool:
        """Whether somebody else may hold the socket too: it is never shut for new clients, merely left alone."""
        return self.scheme in ("fd", "systemd")

    def __str__(self) -> str:
        if self.scheme == "fd":
            return f"fd:{self.fd}"
        if self.scheme == "systemd":
            return f"systemd:{self.name}" + (f":{self.number}" if self.number > 1 else "")
        if self.is_unix:
            options = [f"mode={self.mode:04o}"] if self.mode != DEFAULT_MODE else []
            options += [f"{key}={value}" for key, value in (("user", self.user), ("group", self.group)) if value]
            return f"{self.scheme}:{self.path}" + ("?" + "&".join(options) if options else "")
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}:{self.port}" + ("" if self.v6only is None else f"?v6only={self.v6only:d}")


def describe_peer(peer: object) -> str:
    """A client's address as the log and the titles show it: ``10.0.0.7:51022``, ``[::1]:9``, a path, or ``unix``."""
    if isinstance(peer, tuple) and len(peer) >= 2:
        host, port = peer[0], peer[1]
        return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    if not peer:  # a Unix client that has no name, as nearly all
        return "unix"
    name = os.fsencode(peer) if isinstance(peer, str | bytes) else b""
    text = name.replace(b"\0", b"@").decode(errors="backslashreplace") or "unix"
    # a client chooses its path: no byte of it may break a title or a log line
    return text if text.isprintable() else text.encode("unicode_escape").decode()
