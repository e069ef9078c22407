"""Resuming: from the book of the image before us to a master that goes on where that one stopped.

Pid, children, listeners, scoreboard, name and control socket are the same; only the code is new. Before that, a child
tries all of it that changes nothing. It must not know when to upgrade.
Invariant: every descriptor of the book is in somebody's hands again, and closed to programs that are started.
Read next: ``leaving.py``, who wrote the book; ``loop.py``, who goes on.
"""

import contextlib
import logging
import os
import signal
import socket
import time
from collections.abc import Callable, Iterator, MutableMapping
from typing import NamedTuple

import msgspec

from prefork import __version__
from prefork.binds import parse
from prefork.config.instance import Instance
from prefork.config.service import Service
from prefork.control.messages import Told
from prefork.control.server import Client, Server
from prefork.errors import BindError, Exit, UsageError
from prefork.master import book, opening
from prefork.master.admin import Admin
from prefork.master.book import Body, Header, OrderKnown, RunHeld, ServiceHeld, ServiceKnown
from prefork.master.commands import Order, Output, Run
from prefork.master.hands import Child, Hands, Machine, Mold, NoticePipe
from prefork.master.loglevel import resume_level
from prefork.master.logs import Held, LogFiles
from prefork.master.opening import Opened
from prefork.master.scale import scale_for
from prefork.master.upgrading import Verdict
from prefork.pool.records import Bounds, Generation, Pool, Stage, State, Wanted, Worker
from prefork.pool.rules import decide
from prefork.pool.wishes import Readings
from prefork.report import log as log_lines
from prefork.system import handover, processes, titles
from prefork.system.activation import Passed
from prefork.system.logfeed import Feed
from prefork.system.logfile import LogFile
from prefork.system.logline import Who
from prefork.system.logs import set_up
from prefork.system.pidfile import PidFile
from prefork.system.slots import Scoreboard
from prefork.system.sockets import Listener, remove_path

logger = logging.getLogger("prefork.master")
now = time.monotonic


class Left(NamedTuple):
    """What the image before us left.

    :param is_trial: we are its child, and only try.
    :param note: the descriptor of the book.
    :param body: ``None`` where this version cannot read it.
    """

    is_trial: bool
    note: int
    header: Header
    body: Body | None


class Resumed(NamedTuple):
    """What the loop goes on with.

    :param heard: the signals that came, and that nobody has obeyed.
    :param waiting: who asked for the upgrade, and whether to tell how far it is.
    :param following: who follows what happens; ``history``, what that was lately; ``upgraded``, what it is now.
    :param runs: commands that run.
    :param text: what became of it so far.
    """

    pools: dict[str, Pool]
    started_at: float
    heard: set[int]
    waiting: dict[Client, bool]
    following: list[Client]
    history: list[Told]
    upgraded: Told
    runs: list[Run]
    text: str


def find_left(environ: MutableMapping[str, str]) -> Left | None:
    """What the image before us left; ``None`` at a start. Its variable is taken out of the environment.

    :raises UsageError: the variable names nothing of ours.
    """
    value = environ.pop(book.VARIABLE, None)
    if value is None:
        return None
    how, _, note = value.partition(" ")
    try:
        left = Left(how == "try", int(note), *book.read(handover.read(int(note))))
        if left.header.pid == {"try": os.getppid(), "resume": os.getpid()}.get(how):
            return left
    except (ValueError, OSError):
        pass
    raise UsageError(f"environment {book.VARIABLE}: {value!r} is between one master and the next; unset it")


# the child


def try_out(left: Left, reread: Callable[[], Instance]) -> Exit:
    """Do all of it that changes nothing, and print the verdict. An access log that is new to the master is made, empty.

    :raises PreforkError: what we find does not fit together.
    """
    titles.set_title(f"trial {left.header.name}")
    settings = reread()
    if left.body is not None:
        opening.refuse_restarts(_settings(left.body), settings)
    else:
        _refuse_other_binds(left.header, settings)
        if left.header.admin is None:
            with opening.open_admin(settings, Passed()):
                """It is free."""
    for name, service in settings.service.items():
        hands = Hands(name, service, [], opening.create_board(service), scale=scale_for(service))
        if left.body is not None:
            _remember(hands, left.body.services[name])
        decide(_pool(left, name, service), Readings({}), hands.policy, now())
    if left.body is None:
        opening.open_access(settings.logs)
    verdict = Verdict(package=__version__, reads_body=left.body is not None)
    print(msgspec.json.encode(verdict).decode(), flush=True)
    return Exit.STOPPED


def _refuse_other_binds(header: Header, settings: Instance) -> None:
    """:raises UsageError: what the configuration says now is not where we listen."""
    held = {name: [listener.bind for listener in service.listeners] for name, service in header.services.items()}
    configured = {name: list(service.bind) for name, service in settings.service.items()}
    if held != configured:
        raise UsageError(f"services or binds are {configured} now, and the master has {held}; restart for it")
    admin = header.admin.listening.bind if header.admin is not None else ""
    if header.admin is not None and admin != settings.admin:
        raise UsageError(f"admin changes from {admin!r} to {settings.admin!r}; restart for it")


# the next image


@contextlib.contextmanager
def resume(left: Left, reread: Callable[[], Instance]) -> Iterator[tuple[Opened, Resumed]]:
    """Take over what was left; given back when the block ends. Signals come in again when it begins.

    :param reread: the settings, where they cannot be read from the book.
    """
    header, body = left.header, left.body
    handover.take_back([left.note, *header.descriptors])
    os.close(left.note)
    if body is None:
        _drop_unknown(header)
    settings = reread() if body is None else _settings(body)
    with contextlib.ExitStack() as at_last, socket.socket(fileno=header.holder) as holder:
        pid_file = None if header.pid_file is None else PidFile(header.pid_file.path, header.pid_file.fd)
        if pid_file is not None:
            at_last.callback(pid_file.close)
        log_files = _take_logs(left, settings)
        at_last.callback(log_files.close)
        titles.set_title(f"master {header.name}")
        processes.become_subreaper()
        opening.raise_descriptors(settings)
        machine = opening.make_machine(settings, header.name, header.lifeline[0], header.limit, log_files)
        if body is not None:
            machine.strangers, machine.has_reopened = body.strangers, body.has_reopened
        with contextlib.ExitStack() as undo:
            all_hands: dict[str, Hands] = {}
            for name, service in settings.service.items():
                hands = all_hands[name] = _take(left, name, service, machine)
                undo.callback(hands.close_listeners)
                undo.callback(hands.remove_paths)
            resume_level(machine, all_hands)
            control, waiting, following = _take_control(header, settings, machine)
            if control is not None:
                at_last.callback(control.close)
            admin = _take_admin(header, settings, machine, undo)
            pools = {name: _pool(left, name, service) for name, service in settings.service.items()}
            text = f"version {__version__} goes on from version {header.package}"
            history = [] if body is None else body.history
            if body is None:
                text += ", whose book it cannot read: its workers are replaced, and their figures begin anew"
            upgraded = log_lines.say(logging.INFO, "upgraded", f"upgrade: {text}")
            heard = _heard(header.signals)
            signal.pthread_sigmask(signal.SIG_SETMASK, header.mask)
            ends = header.lifeline
            opened = Opened(
                settings, header.name, holder, pid_file, ends, log_files, machine, all_hands, control, admin
            )
            runs = [] if body is None else [_run(held) for held in body.runs]
            yield opened, Resumed(pools, header.started_at, heard, waiting, following, history, upgraded, runs, text)


def _drop_unknown(header: Header) -> None:
    """Close what only the body would explain, and end the commands that nobody would wait for any more."""
    for run in header.runs:
        processes.kill_group(run.pidfd, run.pid)  # it is reaped like a stranger
        os.close(run.pidfd)
    for fd in set(header.descriptors) - header.named:
        os.close(fd)


def _take_logs(left: Left, settings: Instance) -> LogFiles:
    """The log that is open. An access log that is not is opened; where it cannot be any more, it goes into the log."""
    header, body, logs = left.header, left.body, settings.logs
    log = set_up(logs, Who("master", header.name), fd=header.log)
    held = Held(log, None if body is None else Feed.resumed(*body.feed))
    if body is not None and body.access is not None:
        file = LogFile(logs.access, body.access.fd, logs.form)
        return LogFiles(held, Held(file, Feed.resumed(*body.access.feed)))
    try:
        access = opening.open_access(logs)
    except UsageError as error:
        logger.warning("%s; until the next start or upgrade its lines go into the log", error)
        access = None
    return LogFiles(held, None if access is None else Held(access))


def _settings(body: Body) -> Instance:
    services = {name: book.service_of(known.settings) for name, known in body.services.items()}
    return book.instance_of(body.instance, services)


def _heard(reader: int) -> set[int]:
    """The signals that nobody has obeyed; children may have died meanwhile whom no pidfd of ours names."""
    heard = {int(signal.SIGCHLD)}
    with contextlib.suppress(BlockingIOError):
        while chunk := os.read(reader, 4096):
            heard.update(chunk)
    os.close(reader)
    return heard


def _take(left: Left, name: str, service: Service, machine: Machine) -> Hands:
    held = left.header.services[name]
    known = None if left.body is None else left.body.services[name]
    listeners = [Listener(parse(one.address), _socket(one.fd), one.inode) for one in held.listeners]
    board = opening.create_board(service) if known is None else Scoreboard(known.board, known.lanes)
    hands = Hands(name, service, listeners, board, scale=scale_for(service), kick=held.kick)
    for one in held.workers:
        reads_orders = known is not None and one.order not in known.foreign
        child = Child(one.slot, one.order, one.pid, one.pidfd, reads_orders)
        hands.children[one.slot] = child
        machine.poller.add(one.pidfd, child)
    if known is None:
        hands.loads, hands.settled = {held.serving: service}, held.serving
        _send_molds_away(held)
    else:
        _remember(hands, known)
        _take_molds(hands, held, known, machine)
    return hands


def _socket(fd: int) -> socket.socket:
    taken = socket.socket(fileno=fd)
    taken.setblocking(False)  # as it is, and Python knows it too
    return taken


def _remember(hands: Hands, known: ServiceKnown) -> None:
    hands.loads = {number: book.service_of(settings) for number, settings in known.loads.items()}
    hands.settled = known.settled
    hands.past = known.past
    hands.meter.window = known.needed


def _take_molds(hands: Hands, held: ServiceHeld, known: ServiceKnown, machine: Machine) -> None:
    for mold_held, pair in zip(held.molds, known.pairs, strict=True):
        mold = Mold(
            mold_held.generation,
            mold_held.pid,
            mold_held.pidfd,
            _socket(pair.pair),
            is_loaded=pair.is_loaded,
            how=pair.how,
            is_closed=pair.is_closed,
        )
        hands.molds[mold.generation] = mold
        if not mold.is_closed:
            machine.poller.add(mold.pair.fileno(), mold.pair)
        if not mold.how:
            machine.poller.add(mold.pidfd, mold)
    for held_pipe in known.pipes:
        pipe = NoticePipe(held_pipe.reader, held_pipe.remainder)
        hands.pipes.add(pipe)
        machine.poller.add(pipe.reader, pipe)


def _run(held: RunHeld) -> Run:
    output = Output(held.reader, held.remainder, held.lines)
    order = _order(held.service, held.order)
    following = None if held.next is None else _order(held.service, held.next)
    return Run(order, held.pid, held.pidfd, output, held.deadline, following, held.killed_at)


def _order(service: str, known: OrderKnown) -> Order:
    return Order(service, book.service_of(known.settings), known.occasion)


def _send_molds_away(held: ServiceHeld) -> None:
    """We do not speak their language. Nobody is being born of them, and they have no clients."""
    for mold in held.molds:
        if mold.pidfd >= 0:
            processes.tell(mold.pidfd, signal.SIGKILL)  # it is reaped like a stranger
            os.close(mold.pidfd)


def _take_control(
    header: Header, settings: Instance, machine: Machine
) -> tuple[Server | None, dict[Client, bool], list[Client]]:
    """The control socket with its clients; those of them that wait for the upgrade, and those that follow."""
    if header.control is None:
        return opening.open_control(settings, header.name, machine.poller), {}, []
    address = opening.control_address(settings, header.name)
    server = Server(Listener(address, _socket(header.control.fd), header.control.inode), machine.poller)
    waiting: dict[Client, bool] = {}
    following: list[Client] = []
    for held in header.clients:
        connection, heard = socket.socket(fileno=held.fd), held.input.encode("latin-1")
        client = server.adopt(connection, heard, waits=held.waits, follows=held.follows)
        if client is not None and held.waits:
            waiting[client] = held.progress
        if client is not None and held.follows:
            following.append(client)
    return server, waiting, following


def _take_admin(header: Header, settings: Instance, machine: Machine, undo: contextlib.ExitStack) -> Admin | None:
    """Its listener, and the process of the image before us, which is to go; from nothing, where that knew of none."""
    if header.admin is None:
        return _open_admin(settings, machine, undo)
    held = header.admin.listening
    listener = Listener(parse(held.address), _socket(held.fd), held.inode)
    undo.callback(remove_path, listener)
    undo.callback(listener.socket.close)
    admin = Admin(listener, machine, header.admin.restarts)
    if header.admin.pidfd != -1:
        admin.send_away(header.admin.pid, header.admin.pidfd)
    return admin


def _open_admin(settings: Instance, machine: Machine, undo: contextlib.ExitStack) -> Admin | None:
    """Where the image before us knew of none. It was free when it was tried; the services are worth more than it."""
    try:
        listener = undo.enter_context(opening.open_admin(settings, Passed()))
    except BindError as error:
        logger.warning("%s; nobody can look at this instance over HTTP; restart for it", error)
        return None
    return None if listener is None else Admin(listener, machine)


# the books


def _pool(left: Left, name: str, service: Service) -> Pool:
    if left.body is not None:
        return left.body.services[name].pool
    return _pool_of(name, left.header.services[name], service)


def _pool_of(name: str, held: ServiceHeld, service: Service) -> Pool:
    """What the header alone tells: workers that serve, of a generation whose mold is lost.

    A reload then replaces them like any others, and where it fails they serve on.
    """
    moment = now()
    configured = Bounds(*service.bounds)
    wanted = Wanted(service.count, configured, scaled=held.scaled, generation=held.last_generation, since=moment)
    why = "its mold was of another version"
    return Pool(
        name,
        msgspec.structs.replace(wanted, count=wanted.bounds.clip(service.count + held.scaled)),
        serving=held.serving,
        last_generation=held.last_generation,
        generations={held.serving: Generation(held.serving, Stage.LOST, moment, why=why, losses=1)},
        workers={
            w.slot: Worker(w.slot, w.order, w.generation, State.READY, moment, moment, ready_at=0.0, pid=w.pid)
            for w in held.workers
        },
        next_order=held.next_order,
    )
