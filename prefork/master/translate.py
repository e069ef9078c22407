"""Facts become events: what the wait brought, read from the kernel and told in the words of the pool.

It must not decide, and it changes nothing but what is in our hands. In one batch messages come first, then the
scoreboard, then deaths, then signals: otherwise "boot failed, with this traceback" would arrive after the death.
Invariant: a death is news only when the kernel says so, never because of a message.
"""

import logging
import os
import signal
import time
from collections.abc import Hashable, Iterable, Iterator, Mapping

from prefork.master.hands import Call, Child, Hands, Machine, Mold, NoticePipe, known_pids
from prefork.pool import events
from prefork.pool.records import Phase, Pool, State
from prefork.system import kick, processes, slots
from prefork.system.bell import Bell
from prefork.system.wakeup import Wakeup
from prefork.worker.protocol import PACKET_MAX, PIPE_BUF, Broken, Left, LogMoved, Ready, Record, StateCell, Stop, decode

logger = logging.getLogger("prefork.master")
now = time.monotonic
News = tuple[str, events.Event]  # the service's name, and what happened there


def translate(
    keys: list[Hashable], machine: Machine, all_hands: Mapping[str, Hands], pools: Mapping[str, Pool], heard: set[int]
) -> Iterator[News]:
    """The events behind the ready descriptors.

    :param keys: what is readable.
    :param heard: signals that arrived.
    """
    ready = set(keys)
    # everything is read together: what one process wrote on two channels, or just before it died, belongs in that order
    has_messages = signal.SIGCHLD in heard or any(isinstance(key, Mold | Child | NoticePipe | Call) for key in keys)
    for name, hands in all_hands.items():
        for event in _translate_one(ready, has_messages, hands, pools[name], machine, heard):
            yield name, event
    if any(isinstance(key, Bell) and key.answer() for key in keys):
        for name in pools:
            yield name, events.StopAsked(at=now(), phase=Phase.DRAINING)
    if signal.SIGCHLD in heard or machine.has_waiting_strangers:
        _reap_strangers(machine, all_hands, pools)


def _translate_one(
    ready: set[Hashable], has_messages: bool, hands: Hands, pool: Pool, machine: Machine, heard: set[int]
) -> Iterator[events.Event]:
    yield from machine.molding.read_messages(ready, has_messages, hands, machine)
    for pipe in list(hands.pipes):
        if has_messages:
            yield from _read_pipe(pipe, hands, machine)
    yield from _read_states(hands, pool)
    yield from machine.molding.reap(ready, hands, machine)
    for child in list(hands.children.values()):
        if child in ready or (child in machine.unadopted and signal.SIGCHLD in heard):
            yield from _reap_child(child, hands, pool, machine)


# messages


def born(child: Child, hands: Hands, machine: Machine) -> Iterator[events.Event]:
    """A worker has its pid: from here on the kernel tells of its end."""
    yield events.WorkerBorn(at=now(), slot=child.slot, order=child.order, pid=child.pid)
    pidfd = processes.open_pidfd(child.pid)
    if pidfd is None:
        yield events.WorkerExited(at=now(), slot=child.slot, order=child.order, how="is gone")
        return
    child.pidfd = pidfd
    hands.children[child.slot] = child
    machine.poller.add(pidfd, child)
    if machine.has_reopened:
        processes.tell(pidfd, signal.SIGUSR1)


def _read_pipe(pipe: NoticePipe, hands: Hands, machine: Machine) -> Iterator[events.Event]:
    while True:
        try:
            chunk = os.read(pipe.reader, PACKET_MAX)
        except BlockingIOError:
            return
        if not chunk:  # the mold and all its workers are gone
            machine.poller.remove(pipe.reader)
            hands.forget_pipe(pipe)
            return
        *lines, pipe.remainder = (pipe.remainder + chunk).split(b"\n")
        pipe.remainder = pipe.remainder[-PIPE_BUF:]  # no record is longer, whatever else somebody writes there
        for line in lines:
            record = understand(line, hands)
            yield from () if record is None else _tell_worker(record, machine)


def understand(packet: bytes, hands: Hands) -> Record | None:
    """A record, or ``None``: the application runs beside our descriptors, and a stray write must not end the master."""
    try:
        return decode(packet)
    except ValueError as error:
        logger.warning(
            "%s: something unreadable came from a process of ours, and is passed over: %s", hands.name, error
        )
        return None


def _tell_worker(record: Record, machine: Machine) -> Iterator[events.Event]:
    match record:
        case Ready(slot, order):
            yield events.WorkerReady(at=now(), slot=slot, order=order)
        case Broken(slot, order, why):
            yield events.WorkerBroken(at=now(), slot=slot, order=order, why=why)
        case Left(slot, order, requests, why, is_sound):
            yield events.WorkerLeft(
                at=now(), slot=slot, order=order, why=why, requests=requests, is_sound=bool(is_sound)
            )
        case LogMoved() if machine.log_files is not None:
            machine.log_files.suspect()
        case Stop():
            yield events.StopAsked(at=now(), phase=Phase.DRAINING)


def _read_states(hands: Hands, pool: Pool) -> Iterator[events.Event]:
    """Workers whose notice did not fit into the pipe have it in their slot as well."""
    for worker in pool.in_state(State.STARTING):
        totals = hands.line(worker.slot).totals
        if worker.pid is not None and totals[slots.ORDER] == worker.order and totals[slots.STATE] == StateCell.READY:
            yield events.WorkerReady(at=now(), slot=worker.slot, order=worker.order)


# deaths


def _reap_child(child: Child, hands: Hands, pool: Pool, machine: Machine) -> Iterator[events.Event]:
    try:
        ended = processes.reap(child.pidfd)
    except ChildProcessError:
        machine.poller.remove(child.pidfd)
        if machine.adopts:  # dead, but the process between lives: SIGCHLD comes when it is ours
            machine.unadopted.add(child)
            return
        ended = processes.Ending()  # somebody else in this process waits for every child, or for none
    if ended is None:
        return
    ended = machine.oom_kills.explain(ended)
    machine.poller.remove(child.pidfd)
    machine.unadopted.discard(child)
    hands.forget_child(child)
    kick.kick(hands.kick)  # the kernel may have woken it alone for a client that it never accepted
    requests, under_way = hands.account(child.slot, child.order)
    hands.bury(child.slot, child.order)
    yield events.WorkerExited(
        at=now(),
        slot=child.slot,
        order=child.order,
        how=str(ended),
        requests=requests,
        cut_off=len(under_way),
        is_crash=ended.signal is not None,
        is_starved=bool(ended.starved),
    )
    worker = pool.workers.get(child.slot)
    is_killed = worker is not None and worker.state is State.KILLED  # by us, with all its group
    if under_way and not is_killed and processes.is_group_orphaned(child.pid):
        yield events.ChildrenLeft(at=now(), pid=child.pid)


def _reap_strangers(machine: Machine, all_hands: Mapping[str, Hands], pools: Mapping[str, Pool]) -> None:
    """Collect ended processes that the kernel gave to us and that we never started.

    While an order to fork is open, an unknown pid may be that newborn: strangers wait until none is.
    """
    machine.has_waiting_strangers = any(w.pid is None for pool in pools.values() for w in pool.workers.values())
    known = known_pids(all_hands.values()) | machine.helpers
    while not machine.has_waiting_strangers and (pid := processes.peek_dead_child()) is not None:
        if pid in known:  # it is collected by its own pidfd; who died behind it is seen after that
            machine.has_waiting_strangers = True
        elif processes.reap_pid(pid) is not None:
            machine.strangers += 1


# what operators ask by signals

_STOPS = {signal.SIGTERM: Phase.DRAINING, signal.SIGINT: Phase.QUICK, signal.SIGQUIT: Phase.QUICK}


def stops_asked(heard: Iterable[int], pools: Mapping[str, Pool], all_hands: Mapping[str, Hands]) -> Iterator[News]:
    """TERM stops gracefully, and for good, a second one now; INT and QUIT stop quickly."""
    for signum, phase in _STOPS.items():
        if signum in heard:
            for name in pools:
                is_second = signum == signal.SIGTERM and all(pool.is_stopping for pool in pools.values())
                shuts_door = signum == signal.SIGTERM and all_hands[name].has_own_door
                yield name, events.StopAsked(at=now(), phase=Phase.NOW if is_second else phase, shuts_door=shuts_door)


def scaling_asked(heard: Iterable[int], pools: Mapping[str, Pool]) -> Iterator[News]:
    """TTIN and TTOU: one worker more or less, unless the terminal sent them to a process in its background."""
    by = (signal.SIGTTIN in heard) - (signal.SIGTTOU in heard)
    if by and _is_in_background():
        logger.warning("TTIN and TTOU are passed over in the background of a terminal, which sends them itself")
    elif by:
        for name in pools:
            yield name, events.ScaleAsked(at=now(), by=by)


def _is_in_background() -> bool:
    try:
        terminal = os.open("/dev/tty", os.O_RDONLY | os.O_NOCTTY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        return os.tcgetpgrp(terminal) != os.getpgrp()
    except OSError:
        return False
    finally:
        os.close(terminal)


def wakeup_signals(keys: list[Hashable]) -> set[int]:
    """The signals that arrived, if the wakeup pipe is among the ready."""
    return next((key.read() for key in keys if isinstance(key, Wakeup)), set())
