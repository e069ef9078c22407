"""Reforking, the master's hands: a worker is called to become a mold, and answers over the pair that it would have.

The pair goes over the summons, which all workers hold, and only the one whose order cell says so takes it. It must not
decide whom to call, nor what follows.
Invariant: one call at a time is open, and it ends by an answer or by the end of its pair: the worker is gone, or the
pair was taken back before it took it.
Read next: ``prefork/worker/promotion.py``, the worker's side; ``molding.py``, the molds that began as such.
"""

import socket
import time
from collections.abc import Hashable, Iterator, Set

from prefork.master.hands import Call, Events, Hands, Machine, Mold
from prefork.master.translate import understand
from prefork.pool import events, orders
from prefork.system import processes, slots
from prefork.worker import protocol
from prefork.worker.protocol import PACKET_MAX, READ_YOUR_ORDERS, Declined, OrderCell, Promoted, encode

now = time.monotonic


def call(order: orders.CallWorker, hands: Hands, machine: Machine) -> Events:
    """Tell a worker to become the mold of a generation, or say why it cannot be told."""
    child = hands.children.get(order.slot)
    if hands.call is not None or child is None or child.order != order.order:
        why = "a call before it is not answered yet" if hands.call is not None else "the worker chosen is gone"
        return [events.ReforkAbandoned(at=now(), generation=0, why=why)]
    try:
        hands.call = _open_call(order, hands)
        machine.poller.add(hands.call.pair.fileno(), hands.call)
    except OSError as error:
        end_call(hands, machine)
        return [events.ReforkAbandoned(at=now(), generation=0, why=f"cannot call: {error.strerror or error}")]
    hands.loads[order.generation] = hands.loads[hands.settled]
    hands.line(order.slot).orders[slots.PHASE] = OrderCell.PROMOTE
    processes.tell(child.pidfd, READ_YOUR_ORDERS)
    return [events.WorkerCalled(at=now(), slot=order.slot, order=order.order, generation=order.generation)]


def _open_call(order: orders.CallWorker, hands: Hands) -> Call:
    """:raises OSError: EMFILE, ENOBUFS."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with theirs:
        try:
            ours.setblocking(False)
            packet = encode(protocol.Call(order.slot, order.order, order.generation))
            hands.summons.give(packet, theirs.fileno())
        except OSError:
            ours.close()
            raise
    return Call(order.slot, order.order, order.generation, ours)


def abandon(order: orders.AbandonRefork, hands: Hands, machine: Machine) -> Events:
    """Call back whoever was called. If it has accepted already, a mold comes that nobody needs."""
    if hands.call is not None:
        _let_serve(hands.call, hands)
        hands.summons.take_back()
    return [events.ReforkAbandoned(at=now(), generation=order.generation, why=order.why)]


def _let_serve(call: Call, hands: Hands) -> None:
    cells = hands.line(call.slot).orders
    child = hands.children.get(call.slot)
    if child is not None and child.order == call.order and cells[slots.PHASE] == OrderCell.PROMOTE:
        cells[slots.PHASE] = OrderCell.SERVE
        processes.tell(child.pidfd, READ_YOUR_ORDERS)


def end_call(hands: Hands, machine: Machine) -> None:
    """Nothing more will come over the pair."""
    ended, hands.call = hands.call, None
    if ended is not None:
        machine.poller.remove(ended.pair.fileno())
        ended.pair.close()
    hands.summons.take_back()


def read_answer(ready: Set[Hashable], has_messages: bool, hands: Hands, machine: Machine) -> Iterator[events.Event]:
    """What the called worker says, if it says anything. One that accepts is a mold of ours from here on."""
    call = hands.call
    if call is None or not (has_messages or call in ready):
        return
    try:
        packet = call.pair.recv(PACKET_MAX)
    except BlockingIOError:
        return
    except ConnectionError:
        packet = b""
    match understand(packet, hands) if packet else None:
        case Promoted():
            yield from _promote(call, hands, machine)
            return
        case Declined(why):
            pass
        case _:
            why = "it went away" if not packet else "it answered something unreadable"
    _let_serve(call, hands)
    end_call(hands, machine)
    yield events.ReforkAbandoned(at=now(), generation=call.generation, why=f"worker {call.slot}: {why}")


def _promote(call: Call, hands: Hands, machine: Machine) -> Iterator[events.Event]:
    """The same process under the same pidfd, which names a mold now."""
    child = hands.children.pop(call.slot)
    hands.call = None
    mold = hands.molds[call.generation] = Mold(call.generation, child.pid, child.pidfd, call.pair)
    for fd, key in ((child.pidfd, mold), (call.pair.fileno(), call.pair)):
        machine.poller.remove(fd)
        machine.poller.add(fd, key)
    hands.bury(call.slot, call.order)
    yield events.WorkerPromoted(at=now(), slot=call.slot, order=call.order, generation=call.generation)
