"""Molds: fresh interpreters that load a generation once and then only fork workers on order.

A mold is started by exec, gets our descriptors and its brief, and speaks through a socket pair. This is the only file
of the master that knows it; everybody else asks through ``hands.Molding``.
Invariant: an order to fork ends by an answer or by the end of the pair, never by the mold's death alone.
Read next: ``prefork/worker/mold.py``, what runs on the other side.
"""

import contextlib
import os
import signal
import socket
import sys
import time
from collections.abc import Hashable, Iterator, Set

from prefork.master import reforking
from prefork.master.hands import Child, Events, Hands, Machine, Mold, NoticePipe
from prefork.master.translate import born, understand
from prefork.pool import events
from prefork.system import processes
from prefork.worker.protocol import (
    PACKET_MAX,
    PROTOCOL,
    Born,
    Brief,
    Failed,
    Fork,
    Leave,
    Loaded,
    NotForked,
    Record,
    encode,
)

now = time.monotonic


class FreshInterpreters:
    """``hands.Molding``: a new interpreter a generation, so that a reload sees every change of the code."""

    def start(self, generation: int, hands: Hands, machine: Machine) -> Events:
        try:
            mold = _spawn_mold(generation, hands, machine)
        except OSError as error:
            return [events.MoldNotStarted(at=now(), generation=generation, why=f"cannot start a mold: {error}")]
        return [events.MoldStarted(at=now(), generation=generation, pid=mold.pid)]

    def dismiss(self, generation: int, hands: Hands) -> Events:
        mold = hands.molds.get(generation)
        if mold is not None:
            _send(mold, Leave())
        return [events.MoldDismissed(at=now(), generation=generation)]

    def kill(self, generation: int, why: str, hands: Hands) -> Events:
        mold = hands.molds.get(generation)
        if mold is not None and not mold.how:
            processes.tell(mold.pidfd, signal.SIGKILL)
        return [events.MoldDismissed(at=now(), generation=generation, why=why)]

    def fork(self, generation: int, fork: Fork, hands: Hands, machine: Machine) -> Events:
        why = _order_fork(fork, hands.molds.get(generation), hands)
        if why:
            return [events.WorkerNotForked(at=now(), slot=fork.slot, order=fork.order, why=why)]
        return []

    def read_messages(
        self, ready: Set[Hashable], has_messages: bool, hands: Hands, machine: Machine
    ) -> Iterator[events.Event]:
        yield from reforking.read_answer(ready, has_messages, hands, machine)
        for mold in list(hands.molds.values()):
            if has_messages or mold.pair in ready:
                yield from _read_pair(mold, hands, machine)

    def reap(self, ready: Set[Hashable], hands: Hands, machine: Machine) -> Iterator[events.Event]:
        for mold in list(hands.molds.values()):
            if mold in ready:
                yield from _reap_mold(mold, hands, machine)


# orders


def _spawn_mold(generation: int, hands: Hands, machine: Machine) -> Mold:
    """Exec a fresh interpreter and hand it our descriptors and its brief."""
    with contextlib.ExitStack() as on_error, contextlib.ExitStack() as always:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        on_error.callback(ours.close)
        always.callback(theirs.close)
        ours.setblocking(False)
        reader, writer = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        on_error.callback(os.close, reader)
        always.callback(os.close, writer)
        brief = brief_for(generation, writer, hands, machine)._replace(summons=hands.summons.takers)
        keep = [theirs.fileno(), writer, machine.lifeline, hands.board.fd, hands.kick, brief.summons]
        keep += [fd for _, fd in brief.binds]
        keep += machine.logs.feeds
        # what lies in the working directory is imported only by who has given up its privileges
        argv = [sys.executable, *(["-P"] if brief.privileges.uid != -1 else [])]
        argv += ["-m", "prefork.worker.mold", str(theirs.fileno())]
        reserved = os.dup(hands.kick)  # for the pidfd: a process that could not be watched must not be started
        try:
            pid = processes.spawn(argv, os.environ, keep)
        finally:
            os.close(reserved)
        pidfd = processes.open_pidfd(pid)
        assert pidfd is not None, "an uncollected child has a pidfd"
        on_error.callback(os.close, pidfd)
        mold, pipe = Mold(generation, pid, pidfd, ours), NoticePipe(reader)
        machine.poller.add(reader, pipe)
        machine.poller.add(ours.fileno(), ours)
        machine.poller.add(pidfd, mold)
        on_error.pop_all()
    hands.molds[generation] = mold
    hands.pipes.add(pipe)
    _send(mold, brief)
    return mold


def brief_for(generation: int, notices: int, hands: Hands, machine: Machine) -> Brief:
    """What a mold and its workers must know.

    :param notices: the writing end of the notice pipe.
    """
    settings = hands.loads[generation]
    threads, children = settings.at_once
    return Brief(
        protocol=PROTOCOL,
        instance=machine.instance,
        service=hands.name,
        generation=generation,
        target=settings.target,
        handler=settings.handler,
        concurrency=settings.concurrency or "",
        threads=threads,
        children=children,
        worker_start=settings.worker_start,
        worker_stop=settings.worker_stop,
        health=settings.health,
        preload=settings.preload,
        binds=[(listener.address, listener.socket.fileno()) for listener in hands.listeners],
        lifeline=machine.lifeline,
        notices=notices,
        scoreboard=hands.board.fd,
        lanes=hands.board.lanes,
        kick=hands.kick,
        balance=settings.balance,
        drain=settings.graceful_timeout,
        timeout=settings.timeout or 0.0,
        keeps_timed_out=settings.on_timeout == "keep",
        idle_timeout=settings.idle_timeout or 0.0,
        refork_after=settings.refork_after,
        titles=settings.titles,
        descriptors=settings.privileges.rlimits.get("nofile", [machine.descriptors])[0],
        chdir=settings.chdir,
        pythonpath=list(settings.pythonpath),
        logs=machine.logs,
        privileges=settings.privileges,
    )


def _order_fork(fork: Fork, mold: Mold | None, hands: Hands) -> str:
    """:returns: why it cannot be, or nothing."""
    if mold is None:
        return "its mold is gone"
    try:
        mold.unborn[fork.order] = os.dup(hands.kick)
    except OSError as error:
        return error.strerror or str(error)
    why = _send(mold, fork)
    if why:
        mold.end_order(fork.order)
    return why


def _send(mold: Mold, record: Record) -> str:
    """:returns: why it could not be sent, or nothing."""
    try:
        mold.pair.send(encode(record))
    except OSError as error:
        return error.strerror or str(error)
    return ""


# news


def _read_pair(mold: Mold, hands: Hands, machine: Machine) -> Iterator[events.Event]:
    while not mold.is_closed:
        try:
            packet = mold.pair.recv(PACKET_MAX)
        except BlockingIOError:
            return
        except ConnectionError:
            packet = b""
        if packet:
            record = understand(packet, hands)
            yield from () if record is None else _tell_mold(record, mold, hands, machine)
        else:
            mold.is_closed = True
            machine.poller.remove(mold.pair.fileno())
            yield from _mold_gone(mold, hands)


def _tell_mold(record: Record, mold: Mold, hands: Hands, machine: Machine) -> Iterator[events.Event]:
    match record:
        case Loaded():
            mold.is_loaded = True
            yield events.MoldLoaded(at=now(), generation=mold.generation)
        case Failed(why):
            yield events.MoldBroken(at=now(), generation=mold.generation, why=why)
        case NotForked(slot, order, why) if mold.end_order(order):
            yield events.WorkerNotForked(at=now(), slot=slot, order=order, why=why)
        case Born(slot, order, pid) if mold.end_order(order):  # both the newborn and its mold say so
            yield from born(Child(slot, order, pid, -1), hands, machine)


def _reap_mold(mold: Mold, hands: Hands, machine: Machine) -> Iterator[events.Event]:
    ended = processes.reap(mold.pidfd)
    if ended is not None:
        mold.how = str(machine.oom_kills.explain(ended))
        machine.poller.remove(mold.pidfd)
        os.close(mold.pidfd)
        yield from _mold_gone(mold, hands)


def _mold_gone(mold: Mold, hands: Hands) -> Iterator[events.Event]:
    if mold.is_closed and mold.how:
        hands.forget_mold(mold)
        yield events.MoldGone(at=now(), generation=mold.generation, how=mold.how)
