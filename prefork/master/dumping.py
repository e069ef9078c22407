"""Dumping: where a worker is, read by the master from the scratch that the worker wrote its stacks into.

A worker that runs Python code writes them as soon as it reads its orders. One that does not answer is stuck in C: a
signal makes its C handler write them, where it has one thread; reading the stacks of others that run meanwhile could
crash it. What a worker says of its scratch is believed only if it is a memory file like our own.
It must not decide who is dumped. Invariant: nothing here waits, and nobody is harmed by being looked at.
Read next: ``prefork/worker/stacks.py``, the writer; ``operators.py``, who asks.
"""

import contextlib
import logging
import os
import stat
import time
from collections.abc import Iterator

from msgspec import Struct

from prefork.control.messages import Done, Failed, Reply
from prefork.control.server import Client
from prefork.master.hands import Child, Hands
from prefork.system import processes, slots
from prefork.system.logline import tell_stack
from prefork.worker.protocol import DUMP_STACKS, READ_YOUR_ORDERS

PATIENCE = 1.0  # seconds in which Python code answers, and as many again for the C handler
LOOK = 0.05  # seconds from one look at what a C handler writes to the next
MOST = 30_000  # bytes of stacks: more would not fit into what waits for a client
logger = logging.getLogger("prefork.master")
now = time.monotonic


class Dump(Struct, eq=False):
    """Somebody waits for the stacks of a worker.

    :param asked: the value that ``STACKS_TOLD`` will have.
    :param until: when to look without news.
    :param signalled_at: when the C handler was asked as well; 0 before that.
    :param seen: bytes of the scratch at the last look.
    """

    client: Client
    hands: Hands
    child: Child
    asked: int
    until: float
    signalled_at: float = 0.0
    seen: int = 0


class Dumping:
    """Those who wait."""

    def __init__(self) -> None:
        self._dumps: list[Dump] = []

    def begin(self, client: Client, hands: Hands, child: Child) -> None:
        """Ask the worker."""
        cells = hands.line(child.slot).orders
        cells[slots.STACKS] += 1
        self._dumps.append(Dump(client, hands, child, cells[slots.STACKS], now() + PATIENCE))
        processes.tell(child.pidfd, READ_YOUR_ORDERS)

    @property
    def due(self) -> float | None:
        """When to look without news."""
        return min((dump.until for dump in self._dumps), default=None)

    def go_on(self) -> Iterator[tuple[Client, Reply]]:
        """The answers that are known by now."""
        for dump in self._dumps[:]:
            reply = None if dump.client.is_gone else _look(dump)
            if reply is not None or dump.client.is_gone:
                self._dumps.remove(dump)
            if reply is not None:
                yield dump.client, reply

    def give_up(self, why: str) -> Iterator[tuple[Client, Reply]]:
        """Nobody will look any more."""
        dumps, self._dumps = self._dumps, []
        for dump in dumps:
            yield dump.client, Failed(why=why)


def _look(dump: Dump) -> Reply | None:
    """The answer, if it is known."""
    who, totals = f"worker {dump.child.slot} [{dump.child.pid}]", dump.hands.line(dump.child.slot).totals
    if dump.hands.children.get(dump.child.slot) is not dump.child:
        return Failed(why=f"{who} ended meanwhile")
    if totals[slots.ORDER] == dump.child.order and totals[slots.STACKS_TOLD] >= dump.asked:
        return _reply(dump, who, 0, "")
    if now() < dump.until:
        return None
    if not dump.signalled_at:
        return _ask_c_handler(dump, who)
    try:
        size = len(read_scratch(dump.child, dump.hands))
    except OSError as error:
        return Failed(why=_unreadable(who, error))
    if dump.child.told < size == dump.seen:
        return _reply(dump, who, dump.child.told, " (stuck in C: no Python code of it runs)")
    if now() > dump.signalled_at + PATIENCE:
        return Failed(why=f"{who} does not answer: it hears no signals, or is stuck in the kernel")
    dump.seen = size
    dump.until = now() + LOOK
    return None


def _ask_c_handler(dump: Dump, who: str) -> Reply | None:
    if processes.is_stopped(dump.child.pid):
        return Failed(why=f"{who} is stopped, by a signal or a debugger; it answers when it goes on")
    if _count_threads(dump.child.pid) != 1:
        why = "it is stuck in C, and has threads, which reading their stacks from a signal could crash"
        return Failed(why=f"{who} does not answer: {why}")
    signal_to_dump(dump.child, dump.hands)
    dump.signalled_at = now()
    dump.until = dump.signalled_at + LOOK
    return None


def signal_to_dump(child: Child, hands: Hands) -> None:
    """Let its C handler write the stacks, behind what the scratch has already."""
    with contextlib.suppress(OSError):
        child.told = len(read_scratch(child, hands))
    processes.tell(child.pidfd, DUMP_STACKS)


def _count_threads(pid: int) -> int:
    try:
        return len(os.listdir(f"/proc/{pid}/task"))
    except OSError:
        return 0


def _reply(dump: Dump, who: str, skip: int, how: str) -> Reply:
    try:
        text = read_scratch(dump.child, dump.hands)[skip:]
    except OSError as error:
        return Failed(why=_unreadable(who, error))
    return Done(text=f"{who}{how}\n{_cut(text)}")


def _cut(text: bytes) -> str:
    tail = "" if len(text) <= MOST else "\n… the log has the rest"
    return text[:MOST].decode(errors="replace").rstrip() + tail


def _unreadable(who: str, error: OSError) -> str:
    why = error.strerror or str(error)
    return f"the stacks of {who} cannot be read by the master: {why}; where it told them, the log has them"


def read_scratch(child: Child, hands: Hands) -> bytes:
    """What the worker wrote into its scratch.

    :raises OSError: it has none, or we may not look: /proc is missing, or CAP_SYS_PTRACE for another user's process.
    """
    number = hands.line(child.slot).totals[slots.SCRATCH] - 1
    if number < 0:
        raise FileNotFoundError(2, "it has no scratch yet")
    path = f"/proc/{child.pid}/fd/{number}"
    _refuse_odd_file(os.stat(path), hands)  # before it is opened: a worker chooses the number
    fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    try:
        _refuse_odd_file(os.fstat(fd), hands)
        return os.pread(fd, 2 * MOST, 0)
    finally:
        os.close(fd)


def _refuse_odd_file(found: os.stat_result, hands: Hands) -> None:
    """Memory files are all on one device, which nobody can mount, so what is there was never anybody's secret on disk.

    :raises OSError: it is none.
    """
    if not stat.S_ISREG(found.st_mode) or found.st_dev != os.fstat(hands.board.fd).st_dev:
        raise PermissionError(1, "what it calls its scratch is no memory file")


def tell_last_words(child: Child, hands: Hands) -> None:
    """Before a kill: what a C handler wrote since the last question, which no Python code of the worker has told."""
    cells, totals = hands.line(child.slot).orders, hands.line(child.slot).totals
    if not cells[slots.STACKS] & slots.LAST_WORDS or totals[slots.STACKS_TOLD] == cells[slots.STACKS]:
        return
    with contextlib.suppress(OSError):
        text = read_scratch(child, hands)[child.told :]
        extra = {"service": hands.name, "slot": child.slot, "worker_pid": child.pid, "event": "stacks"}
        if text:
            what = "%s: the stacks of worker %d [%d]"
            tell_stack(logger, _cut(text), what, hands.name, child.slot, child.pid, **extra)
