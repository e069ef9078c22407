"""Orders become calls: one small function an order, each telling what came of it as events.

It must not decide. What cannot be done is an event as well, never an exception: a machine out of processes or
descriptors is news for the pool, not the end of the master.
Invariant: performing an order twice does no more than performing it once.
"""

import contextlib
import os
import random
import signal
import socket
import sys
import time
from collections.abc import Callable
from typing import Any

from prefork.master.hands import Child, Hands, Machine, Mold, NoticePipe
from prefork.pool import events, orders
from prefork.system import draining, processes, slots
from prefork.worker.protocol import PROTOCOL, READ_YOUR_ORDERS, Brief, Fork, Leave, OrderCell, Record, encode

now = time.monotonic
Events = list[events.Event]


def perform(order: orders.Order, hands: Hands, machine: Machine) -> Events:
    """Carry out ``order``; what came of it."""
    return _PERFORM[type(order)](order, hands, machine)


# generations


def _start_mold(order: orders.StartMold, hands: Hands, machine: Machine) -> Events:
    hands.loads.setdefault(order.generation, hands.settings)
    try:
        mold = _spawn_mold(order.generation, hands, machine)
    except OSError as error:
        return [events.MoldNotStarted(at=now(), generation=order.generation, why=f"cannot start a mold: {error}")]
    return [events.MoldStarted(at=now(), generation=order.generation, pid=mold.pid)]


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
        brief = _brief(generation, writer, hands, machine)
        keep = [theirs.fileno(), writer, machine.lifeline, hands.board.fd, hands.kick, *(fd for _, fd in brief.binds)]
        reserved = os.dup(hands.kick)  # for the pidfd: a process that could not be watched must not be started
        try:
            pid = processes.spawn([sys.executable, "-m", "prefork.worker.mold", str(theirs.fileno())], os.environ, keep)
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


def _brief(generation: int, notices: int, hands: Hands, machine: Machine) -> Brief:
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
        preload=settings.preload,
        binds=[(str(listener.address), listener.socket.fileno()) for listener in hands.listeners],
        lifeline=machine.lifeline,
        notices=notices,
        scoreboard=hands.board.fd,
        lanes=hands.board.lanes,
        kick=hands.kick,
        balance=settings.balance,
        drain=settings.graceful_timeout,
        descriptors=machine.descriptors,
        chdir=settings.chdir,
        pythonpath=list(settings.pythonpath),
        log_file=machine.log_file,
        log_level=machine.log_level,
    )


def _send(mold: Mold, record: Record) -> str:
    """:returns: why it could not be sent, or nothing."""
    try:
        mold.pair.send(encode(record))
    except OSError as error:
        return error.strerror or str(error)
    return ""


def _dismiss_mold(order: orders.DismissMold, hands: Hands, machine: Machine) -> Events:
    mold = hands.molds.get(order.generation)
    if mold is not None:
        _send(mold, Leave())
    return [events.MoldDismissed(at=now(), generation=order.generation)]


def _kill_mold(order: orders.KillMold, hands: Hands, machine: Machine) -> Events:
    mold = hands.molds.get(order.generation)
    if mold is not None and not mold.how:
        processes.tell(mold.pidfd, signal.SIGKILL)
    return [events.MoldDismissed(at=now(), generation=order.generation, why=order.why)]


def _settle(order: orders.SettleGeneration, hands: Hands, machine: Machine) -> Events:
    hands.settle(order.generation)
    return [events.GenerationSettled(at=now(), generation=order.generation)]


def _abandon(order: orders.AbandonGeneration, hands: Hands, machine: Machine) -> Events:
    hands.abandon(order.generation)
    return [events.GenerationAbandoned(at=now(), generation=order.generation, why=order.why)]


def _fail(order: orders.FailService, hands: Hands, machine: Machine) -> Events:
    return [events.ServiceFailed(at=now(), why=order.why)]


# workers


def _spawn_worker(order: orders.SpawnWorker, hands: Hands, machine: Machine) -> Events:
    settings = hands.loads[order.generation]
    jitter = random.randint(0, settings.max_requests_jitter)
    max_requests = settings.max_requests + jitter if settings.max_requests else 0
    ordered = events.WorkerOrdered(
        at=now(),
        slot=order.slot,
        order=order.order,
        generation=order.generation,
        cause=order.cause,
        max_requests=max_requests,
    )
    hands.line(order.slot).orders[slots.PHASE] = OrderCell.SERVE
    why = _order_fork(Fork(order.slot, order.order, max_requests), hands.molds.get(order.generation), hands)
    if why:
        return [ordered, events.WorkerNotForked(at=now(), slot=order.slot, order=order.order, why=why)]
    return [ordered]


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


def _retire_worker(order: orders.RetireWorker, hands: Hands, machine: Machine) -> Events:
    hands.line(order.slot).orders[slots.PHASE] = OrderCell.DRAIN if order.drain else OrderCell.RETIRE
    _tell(order, hands, READ_YOUR_ORDERS)
    return [events.WorkerRetired(at=now(), slot=order.slot, order=order.order, why=order.why)]


def _kill_worker(order: orders.KillWorker, hands: Hands, machine: Machine) -> Events:
    requests, under_way = hands.account(order.slot, order.order)
    why = order.why
    for request in under_way:
        why += f"; it was serving {request.peer} #{request.number} for {now() - request.since:.1f} s"
    _tell(order, hands, signal.SIGKILL)
    return [events.WorkerKilled(at=now(), slot=order.slot, order=order.order, why=why, requests=requests)]


def _tell(order: orders.RetireWorker | orders.KillWorker, hands: Hands, signum: int) -> None:
    child: Child | None = hands.children.get(order.slot)
    if child is not None and child.order == order.order:
        processes.tell(child.pidfd, signum)


# the door


def _refuse_new(order: orders.RefuseNew, hands: Hands, machine: Machine) -> Events:
    for listener in hands.listeners:
        if not listener.address.is_inherited:  # it would be refused for everybody who holds it, and for ever
            draining.refuse_new(listener.socket)
    return [events.DoorRefused(at=now())]


def _shut_door(order: orders.ShutDoor, hands: Hands, machine: Machine) -> Events:
    hands.close_listeners()
    return [events.DoorShut(at=now())]


_PERFORM: dict[type[orders.Order], Callable[[Any, Hands, Machine], Events]] = {
    orders.StartMold: _start_mold,
    orders.DismissMold: _dismiss_mold,
    orders.KillMold: _kill_mold,
    orders.SettleGeneration: _settle,
    orders.AbandonGeneration: _abandon,
    orders.FailService: _fail,
    orders.SpawnWorker: _spawn_worker,
    orders.RetireWorker: _retire_worker,
    orders.KillWorker: _kill_worker,
    orders.RefuseNew: _refuse_new,
    orders.ShutDoor: _shut_door,
}
