"""Promotion: how a worker becomes the mold of the next generation, with all that it has imported and cached.

At rest, between two requests, it takes the call and declines, or leaves its slot for good: its life as a worker ends as
any worker's does, but for the process. What it has open as a worker is closed, so that those it forks get only what a
fresh mold would hand on. It must not know who comes after it, nor when it is called.
Invariant: whoever has declined serves on as if nobody had asked; whoever has accepted never writes to its slot again.
Read next: ``mold.py``, what it then is; ``prefork/pool/reforking.py``, who decides.
"""

import os
import signal
import socket
from collections.abc import Sequence
from typing import Any, NamedTuple

from prefork.system import summons
from prefork.system.wakeup import Wakeup, forget_inherited_handlers
from prefork.worker import forksafety, hooks
from prefork.worker.application import Application
from prefork.worker.badge import Badge
from prefork.worker.concurrency import Children, Concurrency, Sync, Threads
from prefork.worker.protocol import Brief, Call, Declined, Fork, Promoted, Record, decode, encode


class Called(NamedTuple):
    """What came with the call.

    :param pair: over which a mold speaks with the master.
    """

    generation: int
    pair: socket.socket

    def answer(self, record: Record) -> None:
        try:
            self.pair.send(encode(record))
        except OSError:
            pass  # the master is gone, which the lifeline tells


class Promotion(NamedTuple):
    """What a worker takes along that is a mold from here on."""

    brief: Brief
    pair: socket.socket
    app: Application


def take(fd: int, order: Fork) -> Called | None:
    """The call to this worker; ``None`` where it was taken back, or there is none.

    :param fd: where calls are, of whichever worker; one to somebody who is no more is thrown away.
    """
    while (taken := summons.take(fd)) is not None:
        packet, pair = taken
        call = decode(packet)
        if isinstance(call, Call) and (call.slot, call.order) == (order.slot, order.order):
            return Called(call.generation, socket.socket(fileno=pair))
        os.close(pair)
    return None


def comes_to_rest(concurrency: Concurrency) -> bool:
    """Whether there is a moment at which nothing of it is under way, once it takes no more."""
    return isinstance(concurrency, Sync | Children)


def why_not(concurrency: Concurrency, brief: Brief) -> str:
    """Why the process cannot be forked from; nothing where it can. Threads are named: a fork would lose them."""
    if not comes_to_rest(concurrency):
        how = "in threads" if isinstance(concurrency, Threads) else "as its server says"
        return f"it handles requests {how}, and only one that does so in sync or fork mode can"
    if brief.privileges.chroot:
        return "it has changed its root, and its successors could not do so again"
    threads = forksafety.threads()
    return f"it has threads besides its main one: {', '.join(threads)}" if threads else ""


def decline(called: Called | None, why: str) -> None:
    """Say so to whoever waits for it, if anybody does."""
    if called is not None:
        called.answer(Declined(why))
        called.pair.close()


def go_through(
    called: Called, brief: Brief, app: Application, servers: Sequence[Any], badge: Badge, wakeup: Wakeup
) -> Promotion:
    """Accept, and end the life as a worker, which takes no more clients already.

    :param servers: they are closed, and the listeners kept.
    """
    called.answer(Promoted())
    binds = [(address, os.dup(fd)) for address, fd in brief.binds]
    hooks.stop(app, servers, badge)
    for server in servers:
        if isinstance(sock := getattr(server, "socket", None), socket.socket):
            sock.close()  # else whoever is forked from us would hold the listener twice
    wakeup.close()
    signal.signal(signal.SIGUSR1, signal.SIG_IGN)  # as of a mold that loads; by default it would end us
    forget_inherited_handlers()
    signal.setitimer(signal.ITIMER_REAL, 0)  # an alarm that nobody handles any more would end us
    return Promotion(brief._replace(generation=called.generation, binds=binds), called.pair, app)
