"""Before the first fork: everything that can fail for a user's reason, all of it undone if one part fails.

Invariant: when this raises, no socket, path or name is left.
"""

import contextlib
import errno
import itertools
import logging
import os
import socket
import time
from collections.abc import Iterator

from msgspec import Struct

from prefork.address import Address, describe_peer
from prefork.config.instance import NO_CONTROL, Instance
from prefork.config.service import Service
from prefork.config.settings import setting_names
from prefork.control.messages import address_of
from prefork.control.server import BACKLOG, Server
from prefork.errors import BindError, NameTakenError, UsageError
from prefork.master import keeping
from prefork.master.admin import Admin
from prefork.master.hands import LANES, SLOTS, Hands, Machine
from prefork.master.logs import Held, LogFiles
from prefork.master.molding import FreshInterpreters
from prefork.master.scale import scale_for
from prefork.system import lifeline, limits, processes, sockets, titles
from prefork.system.activation import Passed
from prefork.system.logfile import LogFile
from prefork.system.logline import Who
from prefork.system.logs import INTO_LOG, Logs, open_access_file, set_up
from prefork.system.notify import Notifier
from prefork.system.pidfile import PidFile
from prefork.system.slots import Scoreboard
from prefork.system.wakeup import Poller

LET_GO_LIMIT = 2.0  # seconds that the service manager may take to close what it is told to forget
logger = logging.getLogger("prefork.master")
now = time.monotonic

_OF_MASTER = ("name", "control", "admin", "pid", "access_log", "capture_output")  # and how it logs
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


class Opened(Struct, eq=False):
    """Everything a master stands on.

    :param holder: of the instance's name.
    :param lifeline: both ends.
    :param pid_file: ``None`` where there is none, as there may be no ``control`` socket.
    """

    settings: Instance
    name: str
    holder: socket.socket
    pid_file: PidFile | None
    lifeline: tuple[int, int]
    log_files: LogFiles
    machine: Machine
    hands: dict[str, Hands]
    control: Server | None
    admin: Admin | None = None


@contextlib.contextmanager
def open_instance(settings: Instance, passed: Passed, notifier: Notifier | None) -> Iterator[Opened]:
    """All of it, from nothing or from what the service manager passed; given back when the block ends.

    :param notifier: tells that manager what it keeps in vain.
    :raises NameTakenError: another instance holds the name, or the pid file.
    :raises BindError: an address cannot be bound.
    :raises UsageError: the log file or the pid file cannot be opened.
    """
    name, holder = hold_name(settings)
    with contextlib.ExitStack() as at_last, holder, hold_pid_file(settings.pid) as pid_file:
        log_files = at_last.enter_context(contextlib.closing(open_log(settings.logs, name)))
        titles.set_title(f"master {name}")
        processes.become_subreaper()
        forgotten = keeping.let_go(settings, passed)
        if notifier is not None:
            for each in forgotten:
                notifier.forget(each)
        until = now() + LET_GO_LIMIT if forgotten else 0.0
        with open_all(settings, passed, until) as all_hands, open_admin(settings, passed, until) as admin_listener:
            keeping.warn_of_unused(passed)
            ends = lifeline.create()  # the writer stays open, and unknown to all others, until we are gone
            machine = make_machine(settings, name, ends[0], raise_descriptors(settings), log_files)
            control = open_control(settings, name, machine.poller)
            if control is not None:
                at_last.callback(control.close)  # its end says that all else has ended, the name is free too
            admin = None if admin_listener is None else Admin(admin_listener, machine)
            yield Opened(settings, name, holder, pid_file, ends, log_files, machine, all_hands, control, admin)


def raise_descriptors(settings: Instance) -> int:
    """Allow as many as the master may come to hold.

    :returns: the limit before.
    """
    return limits.raise_descriptors(settings.descriptors)


def make_machine(settings: Instance, name: str, reader: int, descriptors: int, log_files: LogFiles) -> Machine:
    logs = settings.logs._replace(feed=log_files.log.feed.fileno())
    if log_files.access is not None:
        logs = logs._replace(access_feed=log_files.access.feed.fileno())
    elif logs.has_access_file:  # an upgrade could not open it
        logs = logs._replace(access=INTO_LOG)
    return Machine(name, reader, descriptors, FreshInterpreters(), logs=logs, log_files=log_files)


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


def open_log(logs: Logs, name: str) -> LogFiles:
    """Send the log where the settings say, signed by the instance's name.

    :raises UsageError: a file cannot be opened, or nobody takes the log.
    """
    try:
        log = set_up(logs, Who("master", name))
        log.reach()
    except OSError as error:
        why = error.strerror or str(error)
        if logs.to != "stderr":
            where = f"at {logs.syslog}" if logs.to == "syslog" else "on this machine"
            remedy = "start it, or leave log_to out for standard error"
            raise UsageError(f"log_to: there is no {logs.to} {where}: {why}; {remedy}") from None
        remedy = "give a path that this user may write, or none for standard error"
        raise UsageError(f"log_file: cannot open {logs.file}: {why}; {remedy}") from None
    access = open_access(logs)
    return LogFiles(Held(log), None if access is None else Held(access))


def open_access(logs: Logs) -> LogFile | None:
    """The access log, where it has a file of its own.

    :raises UsageError: that cannot be opened.
    """
    try:
        return open_access_file(logs) if logs.has_access_file else None
    except OSError as error:
        remedy = "give a path that this user may write, or log"
        raise UsageError(f"access_log: cannot open {logs.access}: {error.strerror}; {remedy}") from None


@contextlib.contextmanager
def hold_pid_file(path: str) -> Iterator[PidFile | None]:
    """Leave our pid where scripts look for it, until the block ends; nothing, where there is no path.

    :raises NameTakenError: a running process holds that file.
    :raises UsageError: it cannot be written, or holds something else.
    """
    try:
        file = PidFile(path) if path else None
    except BlockingIOError:
        raise NameTakenError(f"pid: {path} is held by a running instance; stop it, or choose another path") from None
    except FileExistsError:
        raise UsageError(f"pid: {path} holds something else than a pid; choose another path, or remove it") from None
    except OSError as error:
        remedy = "give a path that this user may write, or none"
        raise UsageError(f"pid: cannot write {path}: {error.strerror}; {remedy}") from None
    with contextlib.closing(file) if file else contextlib.nullcontext():
        yield file


def control_address(settings: Instance, name: str) -> Address:
    """Where the control socket of the instance is."""
    return settings.control_address or address_of(name, os.getuid())


def open_control(settings: Instance, name: str, poller: Poller) -> Server | None:
    """The control socket; ``None`` where none is wanted, or where it cannot be made, which is no reason to fail.

    Where there is an admin process, it is heard in any case.
    """
    address = control_address(settings, name)
    nobody_else = Server(None, poller) if settings.admin else None
    if settings.control == NO_CONTROL:
        return nobody_else
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
        lacking = "without it signals steer this instance, and no command does"
        logger.warning("control: cannot listen on %s: %s; %s; %s", address.path, why, remedy, lacking)
        return nobody_else


def create_board(service: Service) -> Scoreboard:
    return Scoreboard.create(SLOTS, max(LANES, *service.at_once))


@contextlib.contextmanager
def open_all(settings: Instance, passed: Passed, until: float = 0.0) -> Iterator[dict[str, Hands]]:
    """The hands of every service, all its listeners open; closed again when the block ends.

    :param until: till when whoever has an address may be about to leave it.
    :raises BindError: an address cannot be bound, with the reason and what to try.
    """
    with contextlib.ExitStack() as undo:
        all_hands: dict[str, Hands] = {}
        for name, service in settings.service.items():
            hands = Hands(name, service, [], create_board(service), scale=scale_for(service))
            undo.callback(hands.close_listeners)
            undo.callback(hands.remove_paths)
            for address in service.addresses:
                hands.listeners.append(_open(name, address, service, passed, until))
            keeping.tell_left_behind(name, passed)
            all_hands[name] = hands
        yield all_hands


@contextlib.contextmanager
def open_admin(settings: Instance, passed: Passed, until: float = 0.0) -> Iterator[sockets.Listener | None]:
    """Where the admin process listens; closed again when the block ends.

    :param until: as of ``open_all``.
    :raises BindError: the address cannot be bound, with the reason and what to try.
    """
    if settings.admin_address is None:
        yield None
        return
    listener = _listen("admin", settings.admin_address, sockets.DEFAULT_BACKLOG, passed, until)
    logger.info("admin: listening on %s", listener.address)
    try:
        yield listener
    finally:
        listener.socket.close()
        sockets.remove_path(listener)


def _listen(name: str, address: Address, backlog: int, passed: Passed, until: float) -> sockets.Listener:
    """:raises BindError: it cannot be."""
    try:
        if address.scheme == "systemd":
            return sockets.inherit(address, _passed(name, address, passed))
        if address.scheme == "fd" and not passed.take_number(address.fd):
            raise BindError(f"{name}: {address} is what another bind has already, by its name; leave out one of them")
        return keeping.take_listener(address, passed, backlog) or _open_anew(address, backlog, until)
    except (OSError, LookupError) as error:
        number = error.errno if isinstance(error, OSError) else None
        why = (error.strerror if isinstance(error, OSError) else "") or str(error)
        remedy = _REMEDIES.get(number or 0, "choose another address")
        raise BindError(f"{name}: cannot listen on {address}: {why.lower()}; {remedy}") from None


def _open_anew(address: Address, backlog: int, until: float) -> sockets.Listener:
    """:raises OSError, LookupError: as of ``sockets.open_listener``."""
    while True:
        try:
            return sockets.open_listener(address, backlog)
        except OSError as error:
            if error.errno != errno.EADDRINUSE or now() >= until:
                raise
        time.sleep(LET_GO_LIMIT / 100)


def _passed(name: str, address: Address, passed: Passed) -> int:
    """:raises BindError: no such socket was passed."""
    fd = passed.take(address.name, address.number)
    if fd is not None:
        return fd
    others = [name for name in passed.names if not keeping.is_ours(name)]
    if others:
        why = f"systemd passed no such socket, but {', '.join(others)}"
        remedy = f"name it by FileDescriptorName={address.name} in its socket unit"
    else:
        why, remedy = (
            "systemd passed no sockets",
            "let a socket unit start us, or bind to an address, as tcp://[::]:9000",
        )
    raise BindError(f"{name}: cannot listen on {address}: {why}; {remedy}")


def _open(name: str, address: Address, service: Service, passed: Passed, until: float) -> sockets.Listener:
    listener = _listen(name, address, service.backlog, passed, until)
    if not address.is_inherited:
        sockets.keep_alive(listener.socket, service.keepalive or 0.0)
    highest = sockets.highest_backlog()
    if address.is_stream and service.backlog > highest:
        text = "%s: backlog %d is cut to %d by net.core.somaxconn; raise that, or lower backlog"
        logger.warning(text, name, service.backlog, highest, extra={"service": name})
    name_of_it = f", which is {describe_peer(listener.socket.getsockname())}" if address.is_inherited else ""
    logger.info("%s: listening on %s%s", name, listener.address, name_of_it, extra={"service": name})
    return listener


def refuse_restarts(before: Instance, after: Instance) -> None:
    """Refuse a reload that would change what only a restart can change.

    :raises UsageError: naming what it is.
    """
    for what in (*_OF_MASTER, *(name for name in setting_names(Instance) if name.startswith("log_"))):
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
