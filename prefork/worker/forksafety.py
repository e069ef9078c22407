"""Fork safety: what a process has that is no good to those it forks: threads, event loops, open sockets.

A mold tells of it by name before its first fork, once a generation, and forks all the same: much of it does no harm.
It must not know what the application is, nor import anything for the question's sake.
Invariant: nothing here changes what it looks at; what it cannot name is counted.
Sources: fork(2) on threads; epoll(7) on sets that a fork shares; lessons of whoever shared a database connection.
"""

import gc
import logging
import os
import socket
import stat
import sys
import threading
from collections import Counter
from collections.abc import Collection, Iterable
from typing import Any, NamedTuple

from prefork.address import describe_peer

_STANDARD = (0, 1, 2)  # descriptors that others opened for us: journald's are sockets
_DEEP = 8  # steps from a socket up to the module that holds it; an attribute may be two, for its dict is one
_WIDE = 1000  # objects looked at a step
_REMEDY = "in worker_start or in the first request, or run with preload = false"

logger = logging.getLogger("prefork.mold")


class Found(NamedTuple):
    """What was found, each by the name its owner would know it by."""

    threads: list[str]
    loops: list[str]
    sockets: list[str]


def look(known: Collection[int]) -> Found:
    """What is there now.

    :param known: inodes of sockets that were there before, see ``open_sockets``.
    """
    return Found(threads(), loops(), [_describe(fd) for fd, inode in open_sockets().items() if inode not in known])


def warn(found: Found, when: str) -> None:
    """Tell of it, a line each kind.

    :param when: how the log says since when it is there.
    """
    if found.threads:
        logger.warning(
            "threads started %s do not survive a fork: %s; start them %s", when, _list(found.threads), _REMEDY
        )
    if found.loops:
        text = (
            "event loops made %s are one and the same in all workers, which take each other's events: %s; make them %s"
        )
        logger.warning(text, when, _list(found.loops), _REMEDY)
    if found.sockets:
        text = "sockets opened %s are shared by all workers, which read each other's replies: %s; open them %s"
        logger.warning(text, when, _list(found.sockets), _REMEDY)


def _list(names: Iterable[str]) -> str:
    return ", ".join(names)


def threads() -> list[str]:
    """Names of all threads but the main one; of those that ``threading`` does not know, how many."""
    others = [thread for thread in threading.enumerate() if thread is not threading.main_thread()]
    unknown = len(_tasks() - {os.getpid()} - {thread.native_id for thread in others})
    names = Counter(thread.name for thread in others)
    named = [f"{name} ({count} times)" if count > 1 else name for name, count in names.items()]
    return named + ([f"{unknown} of native code"] if unknown else [])


def _tasks() -> set[int]:
    """The kernel's numbers of our threads, proc(5); of the main one it is the pid."""
    try:
        return {int(name) for name in os.listdir("/proc/self/task")}
    except OSError:
        return set()


def loops() -> list[str]:
    """The event loops of asyncio that are not closed; epoll sets where whoever made them says nothing else."""
    asyncio = sys.modules.get("asyncio")
    kind = getattr(asyncio, "AbstractEventLoop", None)
    # by type: asking isinstance would make proxies and lazy objects of the application come to life
    found = [one for one in gc.get_objects() if issubclass(type(one), kind)] if kind is not None else []
    names = [f"{type(one).__name__}{' (running)' * one.is_running()}" for one in found if not one.is_closed()]
    return names or [f"the epoll set of descriptor {fd}" for fd in _descriptors("anon_inode:[eventpoll]")]


def _descriptors(kind: str) -> list[int]:
    """Those whose link in /proc says ``kind``."""
    found = []
    for name in os.listdir("/proc/self/fd"):
        try:
            if os.readlink(f"/proc/self/fd/{name}") == kind:
                found.append(int(name))
        except FileNotFoundError:  # the one that lists them
            pass
    return sorted(found)


def open_sockets() -> dict[int, int]:
    """Inodes of our sockets, by descriptor; of those that reach nobody else there is nothing to tell.

    A pair, which has no name at either end, is the process' own affair, as an event loop's. A Unix datagram socket
    without a name, as ``logging``'s to the system log, only sends, and whole records: sharing it does no harm.
    """
    found = {}
    for name in os.listdir("/proc/self/fd") if os.path.isdir("/proc/self/fd") else ():
        fd = int(name)
        try:
            status = os.fstat(fd)
            if fd not in _STANDARD and stat.S_ISSOCK(status.st_mode) and _reaches_others(fd):
                found[fd] = status.st_ino
        except OSError:  # the one that lists them
            pass
    return found


def _reaches_others(fd: int) -> bool:
    with socket.socket(fileno=os.dup(fd)) as sock:
        if sock.family != socket.AF_UNIX:
            return True
        return bool(sock.getsockname()) or (sock.type != socket.SOCK_DGRAM and bool(_peer(sock)))


def _describe(fd: int) -> str:
    with socket.socket(fileno=os.dup(fd)) as sock:
        family = sock.family.name.removeprefix("AF_").lower() if hasattr(sock.family, "name") else str(sock.family)
        kind = {socket.SOCK_STREAM: "stream", socket.SOCK_DGRAM: "datagram"}.get(sock.type, "raw")
        local, peer = describe_peer(sock.getsockname()), _peer(sock)
    ends = f"{local} to {describe_peer(peer)}" if peer else local
    holder = _holder(fd)
    return f"{family} {kind} {ends} (descriptor {fd}{f', in {holder}' if holder else ''})"


def _peer(sock: socket.socket) -> Any:
    try:
        return sock.getpeername()
    except OSError:
        return None


def _holder(fd: int) -> str:
    """``module.name`` of what holds the socket, where that is Python's and not far away."""
    objects: list[Any] = [
        one for one in gc.get_objects() if issubclass(type(one), socket.socket) and one.fileno() == fd
    ]
    seen = {id(objects)}
    for _ in range(_DEEP):
        seen.update(map(id, objects))
        for one in objects:
            if type(one) is dict and (name := _name_in_module(one, seen)):
                return name
        objects = [one for one in gc.get_referrers(*objects) if id(one) not in seen][:_WIDE] if objects else []
        seen.add(id(objects))
    return ""


def _name_in_module(namespace: dict[Any, Any], wanted: set[int]) -> str:
    module = sys.modules.get(str(namespace.get("__name__")))
    if module is None or module.__dict__ is not namespace:
        return ""
    return next((f"{module.__name__}.{name}" for name, value in namespace.items() if id(value) in wanted), "")
