"""Leaving: what this image of the master holds and knows becomes the book of the next, which it then becomes.

It must not know whether it should.
Invariant: an exec that fails changes nothing: no signal is lost, no descriptor is open to programs that are started.
Read next: ``book.py``, what is written; ``resuming.py``, the other side.
"""

import os
import signal
import sys
from collections.abc import Iterable, Mapping
from typing import NamedTuple, NoReturn

from msgspec.structs import replace

from prefork import __version__
from prefork.config.instance import Instance
from prefork.control.server import Client
from prefork.master import book
from prefork.master.admin import Admin
from prefork.master.chronicle import Chronicle
from prefork.master.commands import Order, Run
from prefork.master.hands import Hands
from prefork.master.logs import Held
from prefork.master.opening import Opened
from prefork.pool.records import Pool
from prefork.system import handover, stdio
from prefork.system.logfeed import Feed
from prefork.system.sockets import Listener
from prefork.system.wakeup import Wakeup
from prefork.worker.protocol import PROTOCOL


class Command(NamedTuple):
    """How a program is started anew as it was: its arguments and its environment.

    :param argv: the interpreter by its path.
    """

    argv: list[str]
    env: dict[str, str]


def own_command() -> Command:
    """How this process was started. Later changes of ``os.environ`` do not change it."""
    return Command([sys.executable, *sys.orig_argv[1:]], dict(os.environ))


class Known(NamedTuple):
    """What the loop knows.

    :param waiting: who waits for the outcome of the upgrade, and whether to tell how far it is.
    :param chronicle: with whoever follows it.
    :param runs: commands that run.
    """

    settings: Instance
    pools: Mapping[str, Pool]
    started_at: float
    waiting: Mapping[Client, bool]
    chronicle: Chronicle
    runs: Iterable[Run]


class _Kept:
    """The descriptors that are handed over."""

    def __init__(self) -> None:
        self.fds: set[int] = set()

    def keep(self, fd: int) -> int:
        if fd > 2:  # standard input, output and error stay open by themselves
            self.fds.add(fd)
        return fd

    def keep_listener(self, bind: str, listener: Listener) -> book.Listening:
        return book.Listening(bind, str(listener.address), self.keep(listener.socket.fileno()), listener.inode)

    def keep_feed(self, feed: Feed) -> tuple[int, int, int]:
        giver, taker, number = feed.held
        return self.keep(giver), self.keep(taker), number

    def keep_access(self, held: Held) -> book.AccessHeld:
        return book.AccessHeld(self.keep(held.log.fileno()), self.keep_feed(held.feed))

    def hold_service(self, hands: Hands, pool: Pool) -> book.ServiceHeld:
        generations = {worker.slot: worker.generation for worker in pool.workers.values()}
        return book.ServiceHeld(
            listeners=[self.keep_listener(*pair) for pair in zip(hands.settings.bind, hands.listeners, strict=True)],
            kick=self.keep(hands.kick),
            workers=[
                book.WorkerHeld(child.slot, child.order, generations[child.slot], child.pid, self.keep(child.pidfd))
                for child in hands.children.values()
            ],
            molds=[
                book.MoldHeld(mold.generation, mold.pid, -1 if mold.how else self.keep(mold.pidfd))
                for mold in hands.molds.values()
            ],
            serving=pool.serving,
            last_generation=pool.last_generation,
            next_order=pool.next_order,
            scaled=pool.wanted.scaled,
        )

    def know_service(self, hands: Hands, pool: Pool) -> book.ServiceKnown:
        return book.ServiceKnown(
            pool=pool,
            settings=book.plain(hands.settings),
            loads={number: book.plain(settings) for number, settings in hands.loads.items()},
            settled=hands.settled,
            past=hands.past,
            board=self.keep(hands.board.fd),
            lanes=hands.board.lanes,
            needed=hands.meter.window,
            pipes=[book.PipeHeld(self.keep(pipe.reader), pipe.remainder) for pipe in hands.pipes],
            pairs=[
                book.PairHeld(m.generation, self.keep(m.pair.fileno()), m.is_loaded, m.how, m.is_closed)
                for m in hands.molds.values()
            ],
            foreign=[child.order for child in hands.children.values() if not child.reads_orders],
        )

    def hold_client(self, client: Client, waiting: Mapping[Client, bool]) -> book.ClientHeld:
        fd, text = self.keep(client.connection.fileno()), client.input.decode("latin-1")
        progress = waiting.get(client, False)
        return book.ClientHeld(fd, text, waits=client in waiting, progress=progress, follows=client.is_following)

    def hold_admin(self, bind: str, admin: Admin) -> book.AdminHeld:
        pid, pidfd = admin.process
        listening = self.keep_listener(bind, admin.listener)
        return book.AdminHeld(listening, admin.restarts, pid, pidfd if pidfd == -1 else self.keep(pidfd))

    def hold_run(self, run: Run) -> book.RunHeld:
        output = run.output
        return book.RunHeld(
            service=run.order.service,
            order=_known(run.order),
            pid=run.pid,
            pidfd=self.keep(run.pidfd),
            reader=output.reader if output.reader == -1 else self.keep(output.reader),
            remainder=output.remainder,
            lines=output.lines,
            deadline=run.deadline,
            killed_at=run.killed_at,
            next=None if run.next is None else _known(run.next),
        )


def _known(order: Order) -> book.OrderKnown:
    return book.OrderKnown(book.plain(order.settings), order.occasion)


def compose(opened: Opened, wakeup: Wakeup, known: Known, mask: Iterable[int]) -> tuple[bytes, set[int]]:
    """The book, and the descriptors that it names."""
    kept = _Kept()
    control = opened.control
    log_files = opened.log_files
    body = book.Body(
        instance=book.plain(known.settings),
        services={name: kept.know_service(hands, known.pools[name]) for name, hands in opened.hands.items()},
        strangers=opened.machine.strangers,
        has_reopened=opened.machine.has_reopened,
        feed=kept.keep_feed(log_files.log.feed),
        access=None if log_files.access is None else kept.keep_access(log_files.access),
        runs=[kept.hold_run(run) for run in known.runs],
        history=known.chronicle.remembered,
    )
    pid_file = opened.pid_file
    header = book.Header(
        pid=os.getpid(),
        package=__version__,
        body=book.BODY,
        protocol=PROTOCOL,
        name=opened.name,
        holder=kept.keep(opened.holder.fileno()),
        lifeline=(kept.keep(opened.lifeline[0]), kept.keep(opened.lifeline[1])),
        log=kept.keep(log_files.log.log.fileno()),
        signals=kept.keep(wakeup.fileno()),
        mask=[int(signum) for signum in mask],
        limit=opened.machine.descriptors,
        started_at=known.started_at,
        control=None if control is None or control.listener is None else kept.keep_listener("", control.listener),
        clients=[] if control is None else [kept.hold_client(one, known.waiting) for one in control.lasting],
        services={name: kept.hold_service(hands, known.pools[name]) for name, hands in opened.hands.items()},
        descriptors=[],
        pid_file=None if pid_file is None else book.PidFileHeld(pid_file.path, kept.keep(pid_file.fileno())),
        admin=None if opened.admin is None else kept.hold_admin(known.settings.admin, opened.admin),
        runs=[book.RunPid(held.pid, held.pidfd) for held in body.runs],
    )
    return book.write(replace(header, descriptors=sorted(kept.fds)), body), kept.fds


def become(command: Command, note: int, opened: Opened, wakeup: Wakeup, known: Known) -> NoReturn:
    """Become the next image. It hears the signals that arrive from here on, and those that nobody has obeyed yet.

    :param note: the book is written there.
    :raises OSError: it cannot be; nothing has changed.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    try:
        text, kept = compose(opened, wakeup, known, before)
        handover.write(note, text)
        stdio.flush()
        env = {**command.env, book.VARIABLE: f"resume {note}"}
        handover.become(command.argv, env, [note, *kept])
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
