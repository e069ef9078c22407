"""Keeping: what the service manager holds for us, so that a master that dies leaves it to the next.

Listeners that we opened ourselves, so that clients queue until there is a master again; and scoreboards, so that it can
say what was under way. Each has a name by which it is found again. It must not know how anything is kept.
Invariant: what is found is what was kept for the same address, or it is closed; what has no use any more is in the way
of nothing that is opened.
Read next: ``manager.py``, who gives it to be kept, and takes it out of the store before it is shut.
"""

import logging
import os
import time
from collections.abc import Iterable, Iterator
from urllib.parse import quote

from prefork.address import Address
from prefork.binds import LONGEST_FD_NAME
from prefork.config.instance import Instance
from prefork.system import processes, slots, sockets
from prefork.system.activation import Passed
from prefork.system.slots import Scoreboard
from prefork.system.sockets import Listener

_LISTENER, _BOARD = "prefork-listener-", "prefork-scoreboard-"
logger = logging.getLogger("prefork.master")
now = time.monotonic


def listener_name(address: Address) -> str:
    """Under what a listener of ours is kept; nothing where it cannot be, or somebody else holds it anyway.

    :param address: as it was asked for: where the kernel chooses the port it is a new one each time.
    """
    if address.is_inherited or not (address.is_unix or address.port):
        return ""
    name = _LISTENER + quote(str(address), safe="")
    return name if len(name) <= LONGEST_FD_NAME else ""


def board_name(service: str) -> str:
    """Under what a scoreboard is kept."""
    return _BOARD + quote(service, safe="")


def let_go(settings: Instance, passed: Passed) -> list[str]:
    """Close what was kept and has no use any more.

    :returns: the names; the manager is to close its own copies.
    """
    wanted = set(_names(settings))
    forgotten = [name for name in passed.names if is_ours(name) and name not in wanted]
    for name in forgotten:
        for fd in passed.take_all(name):
            sockets.discard(fd)
    return forgotten


def _names(settings: Instance) -> Iterator[str]:
    for name, service in settings.service.items():
        yield board_name(name)
        yield from map(listener_name, service.addresses)
    if settings.admin_address is not None:
        yield listener_name(settings.admin_address)


def is_ours(name: str) -> bool:
    """Whether a master gave it to be kept; else it is a socket unit's."""
    return name.startswith((_LISTENER, _BOARD))


def take_listener(address: Address, passed: Passed, backlog: int) -> Listener | None:
    """The listener that was kept for the address; ``None`` where there is none, or it does not fit any more."""
    name = listener_name(address)
    fd = passed.take(name) if name else None
    return None if fd is None else sockets.take_back(address, fd, backlog)


def tell_left_behind(service: str, passed: Passed) -> None:
    """Log what the workers of a master were doing that ended without a stop."""
    fd = passed.take(board_name(service))
    board = None if fd is None else Scoreboard.find(fd)
    if board is not None:
        for line in _under_way(board):
            logger.warning("%s: the master before this one ended without a stop; %s", service, line)
        board.close()
    elif fd is not None:
        os.close(fd)


def _under_way(board: Scoreboard) -> Iterable[str]:
    for number, slot in board.signed():
        pid, started = slot.totals[slots.PID], slot.totals[slots.STARTED]
        for request in slot.requests_under_way():
            what = f"{request.peer} #{request.number}{f' {request.label}' if request.label else ''}"
            if processes.started(pid) == started:
                yield f"its worker {number} [{pid}] still serves {what}, for {now() - request.since:.1f} s"
            else:
                yield f"its worker {number} [{pid}] died serving {what}, begun {now() - request.since:.1f} s ago"


def warn_of_unused(passed: Passed) -> None:
    """Close what was passed and nobody has taken."""
    for name in passed.names:
        if not is_ours(name):
            logger.warning(
                "systemd passed a socket named %s, and no bind names it; add systemd:%s, or take it out", name, name
            )
    passed.close()
