"""What operators ask through the control socket, and what they are answered, at once or when it has come true.

Requests become events, as signals do; the outcome is read from the same news as everybody else's. It must not decide,
nor know sockets. There may be no control socket; then nobody asks.
Invariant: every command is answered once, and by what became of it: a reload by the generation that it asked for.
Read next: ``loop.py``, who is steered; ``prefork/control/server.py``, how requests arrive and replies leave.
"""

import logging
import os
import re
import socket
import time
from collections.abc import Hashable, Iterable, Iterator, Mapping
from functools import partial
from typing import Protocol

from prefork import __version__
from prefork.config.service import MOST_WORKERS
from prefork.control.messages import (
    Command,
    Done,
    Dump,
    Events,
    Failed,
    LogLevel,
    Pause,
    Ping,
    Pong,
    Progress,
    Recycle,
    Refork,
    Refused,
    Reload,
    ReopenLogs,
    Reply,
    Resume,
    Scale,
    Snapshot,
    Status,
    Stop,
    Told,
    Upgrade,
    Workers,
)
from prefork.control.server import Client, Server
from prefork.master import pausing
from prefork.master.chronicle import Chronicle
from prefork.master.dumping import Dumping
from prefork.master.hands import Hands
from prefork.master.recycles import Recycles
from prefork.master.reforks import Reforks
from prefork.master.reloads import GIVEN_UP, STOPPING, Reloads
from prefork.pool import events
from prefork.pool.records import Phase, Pool, State
from prefork.report import log
from prefork.system.logs import LEVELS

logger = logging.getLogger("prefork.master")
now = time.monotonic


class Steered(Protocol):
    """A master, as operators see it."""

    @property
    def pools(self) -> Mapping[str, Pool]: ...

    def learn(self, name: str, event: events.Event) -> str:
        """:returns: what the log says of it."""

    def reload(self) -> str:
        """:returns: why it was refused, or nothing."""

    def refork(self, name: str) -> str:
        """:returns: why it was refused, or nothing."""

    def upgrade(self) -> str:
        """:returns: why it was refused, or nothing."""

    def reopen_logs(self) -> None: ...

    def set_log_level(self, level: str) -> None: ...

    @property
    def hands(self) -> Mapping[str, Hands]: ...

    def tell_status(self) -> Iterator[Workers | Snapshot]: ...


class Followed(Protocol):
    """What the image before us left to those who follow."""

    @property
    def history(self) -> list[Told]: ...

    @property
    def following(self) -> list[Client]: ...

    @property
    def upgraded(self) -> Told: ...


class Operators:
    """:param name: of the instance.
    :param server: ``None`` where there is no control socket.
    :param followed: ``None`` at a start.
    :ivar chronicle: what they may follow.
    """

    def __init__(self, name: str, server: Server | None, followed: Followed | None = None) -> None:
        self._name = name
        self._server = server
        self.chronicle = Chronicle(server, followed.history if followed is not None else ())
        if followed is not None:
            for client in followed.following:
                self.chronicle.go_on(client)
            self.keep(followed.upgraded)
        self._reloads = Reloads()
        self._reforks = Reforks()
        self._recycles = Recycles()
        self._stopping: list[tuple[Client, bool]] = []  # and whether to tell how far it is
        self._upgrading: dict[Client, bool] = {}  # likewise
        self._dumping = Dumping()
        self._to_stop: dict[str, int] = {}  # workers of each service, when a stop was asked for

    @property
    def _under_way(self) -> tuple[Reloads, Reforks, Recycles]:
        """Who waits for what will become of something."""
        return self._reloads, self._reforks, self._recycles

    @property
    def has_more(self) -> bool:
        """Whether some of them could be served at once, without news."""
        return self._server is not None and self._server.has_more

    def admit_onlooker(self, connection: socket.socket) -> Client | None:
        """The admin process, which may look and nothing else.

        :param connection: one end of a pair, ours from here on.
        :returns: ``None`` where it cannot be heard; the connection is closed then.
        """
        if self._server is None:
            connection.close()
            return None
        return self._server.admit_onlooker(connection)

    def obey(self, keys: list[Hashable], master: Steered) -> None:
        """Carry out what is asked.

        :param keys: what the wait brought.
        """
        try:
            self._obey(keys, master)
        except Exception:
            self._give_up()

    def _obey(self, keys: list[Hashable], master: Steered) -> None:
        if self._server is None:
            return
        for client, stacks in self._dumping.go_on():
            self._answer(client, stacks)
        for client, request in self._server.hear(keys):
            match request:
                case Ping():
                    self._server.answer(client, Pong(name=self._name, pid=os.getpid(), package=__version__))
                case Status():
                    self._server.answer_in_parts(client, master.tell_status())
                case Events(follow=False):
                    self._server.answer_in_parts(client, self.chronicle.tell_last(request.last))
                case Events():
                    self.chronicle.follow(client, request.last)
                case _ if client.may_only_look:
                    self._server.answer(client, Refused(why="the admin process may only look"))
                case _:
                    who = f"process {client.peer.pid} of user {client.peer.uid}"
                    self.say(logging.INFO, "asked", f"{who} asks for: {_spoken(request)}")
                    self._command(client, request, master)

    def _command(self, client: Client, request: Command, master: Steered) -> None:
        assert self._server is not None
        match request:
            case Reload(progress=progress):
                reply = self._reload(client, progress, master)
            case Refork(service=service, progress=progress):
                reply = self._refork(client, service, progress, master)
            case Upgrade(progress=progress):
                reply = self._upgrade(client, progress, master)
            case Stop(now=is_now, progress=progress):
                reply = self._stop(client, Phase.NOW if is_now else Phase.DRAINING, progress, master)
            case Scale():
                reply = _scale(request, master)
            case ReopenLogs():
                master.reopen_logs()
                reply = Done(text="log files are open anew, and all processes are told")
            case LogLevel(level=level):
                reply = _set_log_level(level, master)
            case Dump():
                reply = self._dump(client, request, master)
            case Recycle() | Pause() | Resume():
                reply = self._steer(client, request, master)
        if reply is not None:
            self._server.answer(client, reply)

    def _reload(self, client: Client, progress: bool, master: Steered) -> Reply | None:
        assert self._server is not None
        if any(pool.is_stopping and not pool.failed for pool in master.pools.values()):
            return Failed(why=STOPPING)
        why = master.reload()
        if why:
            return Failed(why=why)
        reply = self._reloads.begin(client, progress, master.pools)
        if reply is None:
            self._server.wait(client)
        return reply

    def _refork(self, client: Client, service: str, progress: bool, master: Steered) -> Reply | None:
        assert self._server is not None
        if not service and len(master.pools) > 1:
            return Refused(why=f"there are several services: {', '.join(master.pools)}; say which")
        name = service or next(iter(master.pools))
        why = _no_service(name, master)
        if not why and (refusal := master.refork(name)):
            why = f"{name}: {refusal}"
        if why:
            return Refused(why=why)
        self._reforks.begin(client, progress, name)
        self._server.wait(client)
        return None

    def _upgrade(self, client: Client, progress: bool, master: Steered) -> Reply | None:
        assert self._server is not None
        why = master.upgrade()
        if why:
            return Refused(why=f"upgrade refused: {why}")
        self._upgrading[client] = progress
        self._server.wait(client)
        return None

    @property
    def upgrading(self) -> dict[Client, bool]:
        """Who waits for the outcome of an upgrade, and whether to tell how far it is."""
        return self._upgrading

    def tell_upgrade(self, text: str) -> None:
        """How far it is."""
        for client in [client for client, has_progress in self._upgrading.items() if has_progress]:
            if self._server is not None:
                self._server.tell(client, Progress(text=text))

    def refuse_upgrade(self, why: str) -> None:
        """It was tried; everything serves on as it was."""
        upgrading, self._upgrading = self._upgrading, {}
        for client in upgrading:
            self._answer(client, Failed(why=f"upgrade refused, everything serves on as it was: {why}"))

    def go_on(self, upgrading: Mapping[Client, bool], text: str, why: str, pools: Mapping[str, Pool]) -> None:
        """The next image is here, and reloads.

        :param upgrading: whose waiting it goes on with.
        :param text: what became of the upgrade.
        :param why: the reload is refused, or nothing.
        """
        for client, has_progress in upgrading.items():
            reply = Failed(why=f"{text}; {why}") if why else self._reloads.begin(client, has_progress, pools, [text])
            if reply is not None:
                self._answer(client, reply)

    def _steer(self, client: Client, request: Recycle | Pause | Resume, master: Steered) -> Reply | None:
        """What concerns one service."""
        assert self._server is not None
        why = _no_service(request.service, master)
        if why:
            return Refused(why=why)
        pool, learn = master.pools[request.service], partial(master.learn, request.service)
        if not isinstance(request, Recycle):
            return pausing.ask(request, pool, learn)
        reply = self._recycles.begin(client, request, pool, learn)
        if reply is None:
            self._server.wait(client)
        return reply

    def _stop(self, client: Client, phase: Phase, progress: bool, master: Steered) -> Reply | None:
        assert self._server is not None
        self._stopping = [(other, wants) for other, wants in self._stopping if not other.is_gone]
        self._stopping.append((client, progress))
        self._to_stop = {name: max(self._to_stop.get(name, 0), len(p.workers)) for name, p in master.pools.items()}
        self._server.wait(client)
        for name in list(master.pools):
            master.learn(name, events.StopAsked(at=now(), phase=phase))
        return None

    def _dump(self, client: Client, request: Dump, master: Steered) -> Reply | None:
        assert self._server is not None
        name = request.service or next(iter(master.pools))
        if not request.service and len(master.pools) > 1:
            return Refused(why=f"there are several services: {', '.join(master.pools)}; say which")
        why = _no_service(name, master)
        if why:
            return Refused(why=why)
        children = master.hands[name].children
        child = children.get(request.who) or next((c for c in children.values() if c.pid == request.who), None)
        if child is None:
            return Refused(why=f"{name} has no worker {request.who}, by slot or by pid; status tells which it has")
        if not child.reads_orders:
            return Refused(
                why=f"{name}: worker {child.slot} is of another version, and is not asked; reload replaces it"
            )
        self._dumping.begin(client, master.hands[name], child)
        self._server.wait(client)
        return None

    @property
    def due(self) -> float | None:
        """When to look without news."""
        return self._dumping.due

    # what happens

    def keep(self, told: Told) -> None:
        """It was told: tell whoever follows."""
        try:
            self.chronicle.keep(told)
        except Exception:
            self._give_up()

    def say(self, level: int, event: str, text: str) -> None:
        """Something that concerns the whole instance: into the log, and to whoever follows.

        :param event: what kind of thing it is, as ``reload-refused``.
        """
        self.keep(log.say(level, event, text))

    # what becomes of it

    def learn(self, name: str, event: events.Event, after: Pool, text: str) -> None:
        """Tell whoever waits for this news.

        :param text: what the log says of it; empty where it says nothing.
        """
        if self._stopping or not all(under_way.are_over for under_way in self._under_way):
            try:
                self._learn(name, event, after, text)
            except Exception:
                self._give_up()

    def _learn(self, name: str, event: events.Event, after: Pool, text: str) -> None:
        for under_way in self._under_way:
            self._tell_all(under_way.learn(name, event, after, text))
        self._tell_progress(name, event, after, text)

    def _tell_all(self, replies: Iterable[tuple[Client, Reply]]) -> None:
        for client, reply in replies:
            if isinstance(reply, Progress) and self._server is not None:
                self._server.tell(client, reply)
            else:
                self._answer(client, reply)

    def tell_savings(self, name: str, text: str) -> None:
        """A refork of the service is over, and this is what it was good for."""
        self._tell_all(self._reforks.tell_savings(name, text))

    def hurry(self) -> None:
        """Another image is about to go on, which would not know who waits for what."""
        self._tell_all(self._dumping.give_up("an upgrade came meanwhile; ask again"))
        self._tell_all(self._reloads.hurry())
        self._tell_all(self._reforks.hurry())
        self._tell_all(self._recycles.hurry())

    def _tell_progress(self, name: str, event: events.Event, after: Pool, text: str) -> None:
        done: int | None = None
        total: int | None = None
        match event:
            case events.GenerationEvent() if text:
                pass
            case events.WorkerReady():
                total = after.wanted.count
                done = sum(w.generation == after.newest for w in after.in_state(State.READY))
                text = f"{done} of {total} workers of generation {after.newest} are ready"
                done = min(done, total)
            case events.WorkerExited() if after.is_stopping:
                left = len(after.workers)
                total = max(left, self._to_stop.get(name, 0))
                done = total - left
                text = f"{left} worker{'s' * (left != 1)} left"
            case _:
                return
        watching = self._reloads.watching + self._reforks.watching
        watching += [client for client, wants in self._stopping if wants]
        for client in watching:
            if self._server is not None:
                progress = Progress(text=f"{name}: {text}", service=name, done=done, total=total)
                self._server.tell(client, progress)

    def _answer(self, client: Client, reply: Reply) -> None:
        if self._server is not None:
            self._server.answer(client, reply)

    def _give_up(self) -> None:
        """A fault of ours: the services are worth more than the control socket."""
        logger.exception("control: internal error; the socket is closed, signals go on working; please report it")
        server, self._server = self._server, None
        self._stopping, self._upgrading = [], {}
        self._dumping = Dumping()
        for under_way in self._under_way:
            under_way.forget()
        if server is not None:
            server.close()

    def say_farewell(self, text: str) -> None:
        """Everything is over: who asked for it hears how it went, and then the end of the connection."""
        for client, _ in self._stopping:
            self._answer(client, Done(text=text))


def _spoken(request: Command) -> str:
    """As its command is called."""
    return re.sub("(?<!^)(?=[A-Z])", "-", type(request).__name__).lower()


def _no_service(name: str, master: Steered) -> str:
    return "" if name in master.pools else f"there is no service {name!r}; there is {', '.join(master.pools)}"


def _set_log_level(level: str, master: Steered) -> Reply:
    if level not in LEVELS:
        return Refused(why=f"log level {level!r} is none of {', '.join(LEVELS)}")
    master.set_log_level(level)
    return Done(text=f"log level: {level}, in all processes")


def _scale(request: Scale, master: Steered) -> Reply:
    why = _no_service(request.service, master)
    if why:
        return Refused(why=why)
    pool = master.pools[request.service]
    if pool.is_stopping:
        return Refused(why=f"{pool.name}: {GIVEN_UP}" if pool.failed else STOPPING)
    count = pool.wanted.bounds.least + request.by if request.to is None else request.to
    if not 0 <= count <= MOST_WORKERS:
        return Refused(why=f"{count} workers: a service has between 0 and {MOST_WORKERS}")
    if request.to is None:
        text = master.learn(pool.name, events.ScaleAsked(at=now(), by=request.by))
    else:
        text = master.learn(pool.name, events.CountAsked(at=now(), count=request.to))
    return Done(text=f"{pool.name}: {text or f'workers wanted: {count}, as before'}")
