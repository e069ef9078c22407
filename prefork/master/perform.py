"""Orders become calls: one small function an order, each telling what came of it as events.

It must not decide. What cannot be done is an event as well, never an exception: a machine out of processes or
descriptors is news for the pool, not the end of the master.
Invariant: performing an order twice does no more than performing it once.
Read next: ``molding.py``, where workers are forked.
"""

import random
import signal
import time
from collections.abc import Callable
from typing import Any

from prefork.config.service import Service
from prefork.master import dumping, reforking
from prefork.master.hands import Child, Events, Hands, Machine
from prefork.pool import events, orders
from prefork.pool.records import MemoryLimits
from prefork.system import draining, processes, slots
from prefork.worker.protocol import READ_YOUR_ORDERS, Fork, OrderCell

MEMORY_JITTER = 0.05  # of a limit

now = time.monotonic
# what is ordered because time is up
_Strike = (
    orders.InterruptRequests | orders.TellSlowRequests | orders.ExpelWorker | orders.DumpWorker | orders.KillWorker
)


def perform(order: orders.Order, hands: Hands, machine: Machine) -> Events:
    """Carry out ``order``; what came of it. A limit does not strike whoever is stopped, and that comes of it then."""
    if isinstance(order, _Strike) and not (isinstance(order, orders.KillWorker) and order.is_final):
        child = _child(order, hands)
        if child is not None and processes.is_stopped(child.pid):
            return [events.WorkerStoodStill(at=now(), slot=order.slot, order=order.order)]
    return _PERFORM[type(order)](order, hands, machine)


# generations


def _start_mold(order: orders.StartMold, hands: Hands, machine: Machine) -> Events:
    hands.loads.setdefault(order.generation, hands.settings)
    return machine.molding.start(order.generation, hands, machine)


def _dismiss_mold(order: orders.DismissMold, hands: Hands, machine: Machine) -> Events:
    return machine.molding.dismiss(order.generation, hands)


def _kill_mold(order: orders.KillMold, hands: Hands, machine: Machine) -> Events:
    return machine.molding.kill(order.generation, order.why, hands)


def _settle(order: orders.SettleGeneration, hands: Hands, machine: Machine) -> Events:
    probation = (hands.loads[order.generation].probation or 0.0) if hands.settled else 0.0
    hands.settle(order.generation, keeps_the_last=probation > 0)
    return [events.GenerationSettled(at=now(), generation=order.generation, probation=probation)]


def _end_probation(order: orders.EndProbation, hands: Hands, machine: Machine) -> Events:
    hands.forget_before(order.generation)
    return [events.ProbationEnded(at=now(), generation=order.generation, why=order.why)]


def _roll_back(order: orders.RollBack, hands: Hands, machine: Machine) -> Events:
    hands.roll_back(order.generation, order.back_to)
    generation, back_to = order.generation, order.back_to
    return [events.GenerationRolledBack(at=now(), generation=generation, back_to=back_to, why=order.why)]


def _abandon(order: orders.AbandonGeneration, hands: Hands, machine: Machine) -> Events:
    hands.abandon(order.generation)
    return [events.GenerationAbandoned(at=now(), generation=order.generation, why=order.why)]


def _fail(order: orders.FailService, hands: Hands, machine: Machine) -> Events:
    return [events.ServiceFailed(at=now(), why=order.why)]


def _ask_refork(order: orders.AskRefork, hands: Hands, machine: Machine) -> Events:
    return [events.ReforkAsked(at=now(), slot=order.slot, order=order.order, requests=order.requests)]


def _declare_emergency(order: orders.DeclareEmergency, hands: Hands, machine: Machine) -> Events:
    return [events.EmergencyDeclared(at=now(), why=order.why)]


# how the service is


def _forget_failures(order: orders.ForgetFailures, hands: Hands, machine: Machine) -> Events:
    return [events.FailuresForgotten(at=now())]


def _call_degraded(order: orders.CallDegraded, hands: Hands, machine: Machine) -> Events:
    return [events.ServiceDegraded(at=now(), why=order.why, failures=order.failures, next_try=order.next_try)]


def _call_healthy(order: orders.CallHealthy, hands: Hands, machine: Machine) -> Events:
    return [events.ServiceRecovered(at=now())]


# workers


def _tell_pause(order: orders.TellPause, hands: Hands, machine: Machine) -> Events:
    """The cell first: whoever is being born meanwhile finds it before its first client."""
    hands.board.header[slots.PAUSED] = order.is_paused
    for child in hands.children.values():
        if child.reads_orders:  # from that board
            processes.tell(child.pidfd, READ_YOUR_ORDERS)
    return [events.PauseTold(at=now(), is_paused=order.is_paused)]


def _size_pool(order: orders.SizePool, hands: Hands, machine: Machine) -> Events:
    return [events.PoolSized(at=now(), count=order.count, why=order.why)]


def _spawn_worker(order: orders.SpawnWorker, hands: Hands, machine: Machine) -> Events:
    settings = hands.loads[order.generation]
    max_requests = settings.max_requests and settings.max_requests + random.randint(0, settings.max_requests_jitter)
    max_age = settings.max_age and settings.max_age + random.uniform(0, settings.max_age_jitter)
    ordered = events.WorkerOrdered(
        at=now(),
        slot=order.slot,
        order=order.order,
        generation=order.generation,
        cause=order.cause,
        max_requests=max_requests,
        max_age=max_age,
        memory=_memory_limits(settings),
    )
    cells = hands.line(order.slot).orders
    cells[slots.PHASE] = OrderCell.SERVE
    cells[slots.INTERRUPT] = cells[slots.STACKS] = cells[slots.STACKS_OF] = 0
    fork = Fork(order.slot, order.order, max_requests)
    return [ordered, *machine.molding.fork(order.generation, fork, hands, machine)]


def _memory_limits(settings: Service) -> MemoryLimits:
    """A worker's own, up to a twentieth lower: a limit of memory is a most, and siblings shall not reach it at once."""
    part = 1 - random.uniform(0, MEMORY_JITTER)
    return MemoryLimits(int(settings.memory_soft * part), int(settings.memory_hard * part), settings.memory_measure)


def _retire_worker(order: orders.RetireWorker, hands: Hands, machine: Machine) -> Events:
    hands.line(order.slot).orders[slots.PHASE] = OrderCell.DRAIN if order.drain else OrderCell.RETIRE
    child = _child(order, hands)
    if child is not None:
        processes.tell(child.pidfd, READ_YOUR_ORDERS if child.reads_orders else signal.SIGTERM)
    return [events.WorkerRetired(at=now(), slot=order.slot, order=order.order, why=order.why, reason=order.reason)]


def _interrupt_requests(order: orders.InterruptRequests, hands: Hands, machine: Machine) -> Events:
    hands.line(order.slot).orders[slots.INTERRUPT] = order.number
    child = _child(order, hands)
    if child is not None:
        processes.tell(child.pidfd, READ_YOUR_ORDERS)
    _, under_way = hands.account(order.slot, order.order)
    why = ", ".join(_whose(request) for request in under_way if request.number <= order.number)
    return [events.RequestsInterrupted(at=now(), slot=order.slot, order=order.order, number=order.number, why=why)]


def _tell_slow_requests(order: orders.TellSlowRequests, hands: Hands, machine: Machine) -> Events:
    why = _ask_for_stacks(order, hands, order.number)
    return [events.SlowRequestsTold(at=now(), slot=order.slot, order=order.order, number=order.number, why=why)]


def _expel_worker(order: orders.ExpelWorker, hands: Hands, machine: Machine) -> Events:
    requests, _ = hands.account(order.slot, order.order)
    cells = hands.line(order.slot).orders
    cells[slots.STACKS] |= slots.LAST_WORDS
    if cells[slots.PHASE] == OrderCell.SERVE:
        cells[slots.PHASE] = OrderCell.RETIRE
    whose = _ask_for_stacks(order, hands)
    return [
        events.WorkerExpelled(
            at=now(),
            slot=order.slot,
            order=order.order,
            why=order.why,
            whose=whose,
            reason=order.reason,
            requests=requests,
        )
    ]


def _ask_for_stacks(
    order: orders.TellSlowRequests | orders.ExpelWorker, hands: Hands, number: int | None = None
) -> str:
    """:param number: of the newest request that they are asked for; ``None`` for all.
    :returns: whose those requests are.
    """
    _, under_way = hands.account(order.slot, order.order)
    whose = [request for request in under_way if number is None or request.number <= number]
    cells = hands.line(order.slot).orders
    cells[slots.STACKS_OF] = max((request.number for request in whose), default=0)
    cells[slots.STACKS] += 1
    child = _child(order, hands)
    if child is not None:
        processes.tell(child.pidfd, READ_YOUR_ORDERS)
    return ", ".join(_whose(request) for request in whose)


def _dump_worker(order: orders.DumpWorker, hands: Hands, machine: Machine) -> Events:
    child = _child(order, hands)
    if child is not None and child.reads_orders:  # another version might die of that signal
        dumping.signal_to_dump(child, hands)
    return [events.WorkerDumped(at=now(), slot=order.slot, order=order.order)]


def _look_after_worker(order: orders.LookAfterWorker, hands: Hands, machine: Machine) -> Events:
    child = _child(order, hands)
    is_stopped = child is not None and processes.is_stopped(child.pid)
    became = events.WorkerStoodStill if is_stopped else events.WorkerWentOn
    return [became(at=now(), slot=order.slot, order=order.order)]


def _look_for_children(order: orders.LookForChildren, hands: Hands, machine: Machine) -> Events:
    became = events.ChildrenSeen if processes.is_group_orphaned(order.pid) else events.ChildrenGone
    return [became(at=now(), pid=order.pid)]


def _kill_children(order: orders.KillChildren, hands: Hands, machine: Machine) -> Events:
    are_killed = processes.kill_orphaned_group(order.pid)
    return [events.ChildrenGone(at=now(), pid=order.pid, are_killed=are_killed)]


def _whose(request: slots.Request) -> str:
    return f"{request.peer} #{request.number} for {now() - request.since:.1f} s"


def _kill_worker(order: orders.KillWorker, hands: Hands, machine: Machine) -> Events:
    requests, under_way = hands.account(order.slot, order.order)
    why = order.why
    for request in under_way:
        why += f"; it was serving {_whose(request)}"
    child = _child(order, hands)
    if child is not None:
        dumping.tell_last_words(child, hands)
        # with all of its process group: children that handle its requests, and what handlers started
        processes.kill_group(child.pidfd, child.pid)
    slot, number, reason = order.slot, order.order, order.reason
    return [events.WorkerKilled(at=now(), slot=slot, order=number, why=why, reason=reason, requests=requests)]


def _child(order: _Strike | orders.RetireWorker | orders.LookAfterWorker, hands: Hands) -> Child | None:
    """The process that the order is about; ``None`` where it is no more."""
    child = hands.children.get(order.slot)
    return child if child is not None and child.order == order.order else None


# the door


def _refuse_new(order: orders.RefuseNew, hands: Hands, machine: Machine) -> Events:
    for listener in hands.listeners:
        if not listener.address.is_inherited:  # it would be refused for everybody who holds it, and for ever
            draining.refuse_new(listener.socket)
    return [events.DoorRefused(at=now())]


def _shut_door(order: orders.ShutDoor, hands: Hands, machine: Machine) -> Events:
    hands.close_listeners()
    for slot in hands.children if order.drain else ():  # who is leaving already may be the last who can serve the queue
        hands.line(slot).orders[slots.PHASE] = OrderCell.DRAIN
    return [events.DoorShut(at=now())]


_PERFORM: dict[type[orders.Order], Callable[[Any, Hands, Machine], Events]] = {
    orders.StartMold: _start_mold,
    orders.DismissMold: _dismiss_mold,
    orders.KillMold: _kill_mold,
    orders.SettleGeneration: _settle,
    orders.AbandonGeneration: _abandon,
    orders.EndProbation: _end_probation,
    orders.RollBack: _roll_back,
    orders.FailService: _fail,
    orders.AskRefork: _ask_refork,
    orders.CallWorker: reforking.call,
    orders.AbandonRefork: reforking.abandon,
    orders.DeclareEmergency: _declare_emergency,
    orders.ForgetFailures: _forget_failures,
    orders.CallDegraded: _call_degraded,
    orders.CallHealthy: _call_healthy,
    orders.TellPause: _tell_pause,
    orders.SizePool: _size_pool,
    orders.SpawnWorker: _spawn_worker,
    orders.RetireWorker: _retire_worker,
    orders.InterruptRequests: _interrupt_requests,
    orders.TellSlowRequests: _tell_slow_requests,
    orders.ExpelWorker: _expel_worker,
    orders.DumpWorker: _dump_worker,
    orders.LookAfterWorker: _look_after_worker,
    orders.KillWorker: _kill_worker,
    orders.LookForChildren: _look_for_children,
    orders.KillChildren: _kill_children,
    orders.RefuseNew: _refuse_new,
    orders.ShutDoor: _shut_door,
}
