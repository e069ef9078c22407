"""Who is at an address already: asked of the kernel's tables; of the network, by trying to bind to it.

It must not know whose address it is. Invariant: nobody is connected to, nothing is removed, and what is bound is closed
again before anybody could be queued by it.
Sources: proc(5) on ``/proc/net``; bind(2). Read next: ``sockets.py``, where a listener is opened in earnest.
"""

import contextlib
import os
import socket
import stat
from collections.abc import Iterator
from typing import Literal, NamedTuple

from prefork.address import Address
from prefork.system.sockets import kind_of

_TABLES = {"tcp": ("tcp", "tcp6"), "udp": ("udp", "udp6")}
_LISTENS = {"tcp": "0A", "udp": "07"}  # the states of a TCP socket that listens, and of a UDP socket that is bound


class Holder(NamedTuple):
    """:param pid: 0 where it is not ours to see. ``program`` likewise is empty."""

    pid: int
    program: str

    def __str__(self) -> str:
        return f"{self.program} [{self.pid}]" if self.pid else "somebody whom this user cannot see"


def refusal(address: Address) -> OSError | None:
    """Why an address of the network cannot be bound now; ``None`` where it can. A port of 0 always can."""
    try:
        family, kind, proto, _, place = socket.getaddrinfo(
            address.host, address.port, type=kind_of(address), flags=socket.AI_PASSIVE
        )[0]
        with socket.socket(family, kind, proto) as probe:
            if address.v6only is not None:
                probe.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, int(address.v6only))
            if address.is_stream:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(place)
    except UnicodeError:
        return socket.gaierror(socket.EAI_NONAME, "Name or service not known")
    except OSError as error:
        return error
    return None


def holder_of_port(scheme: str, port: int) -> Holder:
    """Who has the port, of all addresses of the machine."""
    inodes = set(_inodes(scheme, port))
    return next(_holders(inodes), Holder(0, ""))


def _inodes(scheme: str, port: int) -> Iterator[str]:
    for table in _TABLES[scheme]:
        with contextlib.suppress(OSError), open(f"/proc/net/{table}") as rows:
            for row in rows:
                fields = row.split()
                if fields[1].endswith(f":{port:04X}") and fields[3] == _LISTENS[scheme]:
                    yield fields[9]


def _holders(inodes: set[str]) -> Iterator[Holder]:
    """Processes with one of these sockets open, the oldest first."""
    wanted = {f"socket:[{inode}]" for inode in inodes}
    for pid in sorted(int(name) for name in os.listdir("/proc") if name.isdecimal()) if wanted else ():
        with contextlib.suppress(OSError):
            if any(_link(f"/proc/{pid}/fd/{fd}") in wanted for fd in os.listdir(f"/proc/{pid}/fd")):
                with open(f"/proc/{pid}/comm") as file:
                    yield Holder(pid, file.read().strip())


def _link(path: str) -> str:
    try:
        return os.readlink(path)
    except OSError:
        return ""


Occupancy = Literal["nothing", "served", "stale", "no socket"]


def occupancy(path: str) -> Occupancy:
    """What is at the path of a Unix socket. ``stale``: a socket that nobody of this network namespace serves.

    :raises OSError: it cannot be seen.
    """
    try:
        if not stat.S_ISSOCK(os.lstat(path).st_mode):
            return "no socket"
    except FileNotFoundError:
        return "nothing"
    return "served" if os.path.realpath(path) in _served_paths() else "stale"


def _served_paths() -> set[str]:
    """Paths, or names, that sockets of this network namespace are bound to."""
    with open("/proc/net/unix", "rb") as rows:
        paths = [fields[7] for row in rows if len(fields := row.split(None, 7)) == 8]
    return {os.path.realpath(os.fsdecode(path.rstrip(b"\n"))) for path in paths if path.startswith(b"/")}


def is_served_by_name(name: str) -> bool:
    """Whether somebody has this name of the abstract namespace, ``@name``."""
    with open("/proc/net/unix", "rb") as rows:
        return any(row.split(None, 7)[7:] == [os.fsencode(name) + b"\n"] for row in rows)
