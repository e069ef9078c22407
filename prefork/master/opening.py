"""Before the first fork: everything that can fail for a user's reason, all of it undone if one part fails.

Invariant: when this raises, no socket, path or name is left.
"""

import contextlib
import errno
import itertools
import logging
import os
import socket
from collections.abc import Iterator

from prefork.address import Address, describe_peer
from prefork.config.settings import NO_CONTROL, Instance, Service
from prefork.control.messages import address_of
from prefork.control.server import BACKLOG, Server
from prefork.errors import BindError, NameTakenError, UsageError
from prefork.master.hands import LANES, SLOTS, Hands
from prefork.master.scale import scale_for
from prefork.system import sockets
from prefork.system.logfile import LogFile, set_up
from prefork.system.slots import Scoreboard
from prefork.system.wakeup import Poller

logger = logging.getLogger("prefork.master")

_REMEDIES = {
    errno.EADDRINUSE: "stop what listens there, or choose another",
    errno.EACCES: "choose a port from 1024 on or a path you may write, or start with the privilege",
    errno.EADDRNOTAVAIL: "choose an address this machine has",
    errno.ENOENT: "make its directory first",
    errno.EEXIST: "choose another path, or remove it",
    errno.EROFS: "choose a path on a file system that can be written",
    errno.EBADF: "let whoever starts us leave it open under that number, as a shell does by 3<&0",
    errno.ENOTSOCK: "give the number of a listening socket",
    errno.EINVAL: "let whoever starts us bind it, and listen",
}


def hold_name(settings: Instance) -> tuple[str, socket.socket]:
    """Hold the instance's name; one that was not given but derived is numbered until it is free.

    :raises NameTakenError: the given name belongs to a running instance.
    """
    for number in itertools.count(1):
        name = settings.name if number == 1 else f"{settings.name}-{number}"
        holder = sockets.hold_name(name)
        if holder is not None:
            return name, holder
        if settings.is_named:
            raise NameTakenError(
                f"an instance named {name!r} runs already for this user; choose another name, or stop it"
            )
    raise AssertionError("unreachable")


def open_log(settings: Instance, name: str) -> LogFile:
    """Send the log where the settings say, signed by the instance's name.

    :raises UsageError: the file cannot be opened.
    """
    try:
        return set_up(settings.log_file, settings.log_level, name)
    except OSError as error:
        remedy = "give a path that this user may write, or none for standard error"
        raise UsageError(f"log_file: cannot open {settings.log_file}: {error.strerror}; {remedy}") from None


def open_control(settings: Instance, name: str, poller: Poller) -> Server | None:
    """The control socket; ``None`` where none is wanted, or where it cannot be made, which is no reason to fail."""
    address = settings.control_address or address_of(name, os.getuid())
    if settings.control == NO_CONTROL:
        return None
    try:
        listener = sockets.open_listener(address, BACKLOG)
        try:
            return Server(listener, poller)
        except OSError:
            listener.socket.close()
            sockets.remove_path(listener)
            raise
    except OSError as error:
        why = (error.strerror or str(error)).lower()
        remedy = _REMEDIES.get(error.errno or 0, "choose another path")
        lacking = "without it signals steer this instance, and prefork status, reload, refork, stop and scale do not"
        logger.warning("control: cannot listen on %s: %s; %s; %s", address.path, why, remedy, lacking)
        return None


@contextlib.contextmanager
def open_all(settings: Instance) -> Iterator[dict[str, Hands]]:
    """The hands of every service, all its listeners open; closed again when the block ends.

    :raises BindError: an address cannot be bound, with the reason and what to try.
    """
    with contextlib.ExitStack() as undo:
        all_hands: dict[str, Hands] = {}
        for name, service in settings.service.items():
            board = Scoreboard.create(SLOTS, max(LANES, *service.at_once))
            hands = Hands(name, service, [], board, scale=scale_for(service))
            undo.callback(hands.close_listeners)
            undo.callback(hands.remove_paths)
            for address in service.addresses:
                hands.listeners.append(_open(name, address, service))
            all_hands[name] = hands
        yield all_hands


def _open(name: str, address: Address, service: Service) -> sockets.Listener:
    try:
        listener = sockets.open_listener(address, service.backlog)
    except (OSError, LookupError) as error:
        number = error.errno if isinstance(error, OSError) else None
        why = (error.strerror if isinstance(error, OSError) else "") or str(error)
        remedy = _REMEDIES.get(number or 0, "choose another address")
        raise BindError(f"{name}: cannot listen on {address}: {why.lower()}; {remedy}") from None
    if not address.is_inherited:
        sockets.keep_alive(listener.socket, service.keepalive or 0.0)
    highest = sockets.highest_backlog()
    if address.is_stream and service.backlog > highest:
        text = "%s: backlog %d is cut to %d by net.core.somaxconn; raise that, or lower backlog"
        logger.warning(text, name, service.backlog, highest)
    name_of_it = f", which is {describe_peer(listener.socket.getsockname())}" if address.is_inherited else ""
    logger.info("%s: listening on %s%s", name, listener.address, name_of_it)
    return listener


def refuse_restarts(before: Instance, after: Instance) -> None:
    """Refuse a reload that would change what only a restart can change.

    :raises UsageError: naming what it is.
    """
    for what in ("name", "log_file", "log_level", "control"):
        if getattr(before, what) != getattr(after, what):
            change = f"from {getattr(before, what)!r} to {getattr(after, what)!r}"
            raise UsageError(f"{what} changes {change}; restart for it")
    if set(before.service) != set(after.service):
        changed = ", ".join(sorted(set(before.service) ^ set(after.service)))
        raise UsageError(f"a reload in this version cannot add or remove services ({changed}); restart for it")
    for name, service in after.service.items():
        if service.bind != before.service[name].bind or service.backlog != before.service[name].backlog:
            raise UsageError(f"[service.{name}] changes its bind or backlog; restart for it in this version")
        if service.weighs and not before.service[name].weighs:
            raise UsageError(f"[service.{name}] limits memory, which it did not before; restart for it in this version")
        room = max(LANES, *before.service[name].at_once)
        if max(service.at_once) > room:
            raise UsageError(f"[service.{name}] wants more than {room} requests at once in a worker; restart for it")
