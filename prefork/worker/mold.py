"""The mold: the template process of a generation. It imports the application once, then only forks workers on order.

Started by exec (``python -m prefork.worker.mold FD``), it shares nothing with the master but descriptors: the first
packet on socket FD is its ``Brief``. It forks twice, so that the worker becomes the master's child and outlives its
mold. It must not know how many workers there should be.
Invariant: every order is answered by ``Born`` or ``NotForked``, or the socket pair reaches its end of file.
Read next: ``worker.py``, what the second fork becomes.
"""

import contextlib
import gc
import logging
import os
import select
import signal
import socket
import sys
import traceback
import warnings
from collections.abc import Callable, Collection
from typing import NoReturn

from prefork.errors import NotLoadedError
from prefork.system import lifeline, processes, slots, stdio, titles
from prefork.system.logfile import Log
from prefork.system.logs import heed_level, set_up
from prefork.worker import application, capture, forksafety, privileges, worker
from prefork.worker.application import Application
from prefork.worker.promotion import Promotion
from prefork.worker.protocol import (
    PACKET_MAX,
    PROTOCOL,
    READ_YOUR_ORDERS,
    Born,
    Brief,
    Failed,
    Fork,
    Loaded,
    NotForked,
    Record,
    decode,
    encode,
    protocol_of,
    tail,
)

logger = logging.getLogger("prefork.mold")
_ALL_SIGNALS = signal.valid_signals()


def main() -> NoReturn:
    """Serve the orders that come over the socket whose number is the first argument.

    Whoever is forked comes back to here, and so does a worker that becomes a mold: however often that happens, no frame
    of the life before is left on the stack.
    """
    try:
        mold = _load()
        while True:
            order = mold.serve()
            promotion = worker.live(mold.brief, order, mold.app, mold.log)
            mold = _promote(promotion, mold.log)
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(70)


def _load() -> "_Mold":
    """The first life of this process: a fresh interpreter, and the application."""
    pair = socket.socket(fileno=int(sys.argv[1]))
    packet = pair.recv(PACKET_MAX)
    if protocol_of(packet) != PROTOCOL:
        answer = Failed(
            f"the installed prefork speaks protocol {PROTOCOL}, the running master {protocol_of(packet)}; "
            "run prefork upgrade"
        )
        _send(pair, answer)
        os._exit(1)
    brief = decode(packet)
    assert isinstance(brief, Brief)
    # by default SIGIO ends a process: a mold still importing dies with its master
    brief = brief._replace(lifeline=lifeline.arm(brief.lifeline))
    if lifeline.is_cut(brief.lifeline):
        os._exit(0)
    for fd in (pair.fileno(), *_descriptors(brief)):
        os.set_inheritable(fd, False)  # programs the application starts get none of ours
    titles.set_title(f"mold {brief.label} g{brief.generation} loading")
    signal.signal(signal.SIGUSR1, signal.SIG_IGN)  # nothing to reopen yet
    app: Application | None = None
    known = set(forksafety.open_sockets().values())
    show = _hide_while_loading([pair.fileno(), *_descriptors(brief)])
    try:
        log = set_up(brief.logs, brief.who("mold"))
        known.update(os.fstat(fd).st_ino for fd in log.sockets)
        if brief.logs.captures:
            capture.begin(log)
        privileges.give_up(brief.privileges)
        application.enter_home(brief)
        if brief.preload:
            app = application.load_for(brief)
    except NotLoadedError as error:
        _fail(pair, str(error))
    except BaseException as error:
        _fail(pair, application.describe(error))
    show()
    _warn_of_what_is_shared(known, "while importing")
    return _Mold(brief, pair, app, log)


def _promote(promotion: Promotion, log: Log) -> "_Mold":
    """The next life of a process that was a worker."""
    brief, pair, app = promotion
    titles.set_title(f"mold {brief.label} g{brief.generation} loading")
    log.sign(brief.who("mold"))
    threads = forksafety.threads()
    if threads:
        _fail(pair, f"the worker that became its mold started threads when it was told to stop: {', '.join(threads)}")
    gc.collect()  # what is still open of its life as a worker
    known = {os.fstat(fd).st_ino for fd in [*log.sockets, *(fd for _, fd in brief.binds)]}
    _warn_of_what_is_shared(known, "at work")
    return _Mold(brief, pair, app, log)


def _descriptors(brief: Brief) -> list[int]:
    fds = [brief.lifeline, brief.notices, brief.scoreboard, brief.kick, brief.summons]
    fds += [fd for _, fd in brief.binds]
    return [*fds, *brief.logs.feeds]


def _hide_while_loading(fds: list[int]) -> Callable[[], None]:
    """Processes that the application forks while it is imported get none of ours either.

    One that lived on with our pair would say for ever that somebody is under way, and with a listener, that it serves.

    :returns: what to call when loading is over.
    """
    hidden = list(fds)

    def hide() -> None:
        if hidden:
            null = os.open(os.devnull, os.O_RDWR)
            for fd in hidden:
                os.dup2(null, fd, inheritable=False)
            os.close(null)

    os.register_at_fork(after_in_child=hide)
    return hidden.clear


def _warn_of_what_is_shared(known: Collection[int], when: str) -> None:
    """Say by name what no worker should have from us; the interpreter would say of each fork that there are threads.

    Python 3.12.1 says it even of a process without threads, for it miscounts the fields of /proc/self/stat where the
    process has a title with spaces.
    """
    warnings.filterwarnings("ignore", "This process .* is multi-threaded", DeprecationWarning)
    try:
        forksafety.warn(forksafety.look(known), when)
    except Exception:  # objects of the application were asked: what they raise is no reason not to serve
        logger.exception("cannot tell what workers would share")


def _fail(pair: socket.socket, why: str) -> NoReturn:
    _send(pair, Failed(tail(why, PACKET_MAX // 16)))
    os._exit(1)


def _send(pair: socket.socket, record: Record) -> None:
    with contextlib.suppress(OSError):  # a full pair or a master that is gone: its end of file says more
        pair.send(encode(record))


class _Mold:
    """A mold that has loaded: it waits for orders, and for nothing else."""

    def __init__(self, brief: Brief, pair: socket.socket, app: Application | None, log: Log) -> None:
        self.brief = brief
        self.app = app
        self.log = log
        self._pair = pair
        self._births, self._births_in = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        self._poll = select.poll()
        for fd in (pair.fileno(), brief.lifeline):
            self._poll.register(fd, select.POLLIN)

    def serve(self) -> Fork:
        """Obey until told to leave.

        :returns: in a newborn worker alone, the order it was born by.
        """
        # what is frozen is never visited by a collection, so its pages stay shared, gc.freeze
        gc.collect()
        gc.freeze()
        signal.signal(signal.SIGIO, signal.SIG_IGN)  # from here on the poll tells it
        for signum in (signal.SIGINT, signal.SIGHUP):
            signal.signal(signum, signal.SIG_IGN)
        signal.signal(signal.SIGUSR1, lambda signum, frame: self.log.reopen())
        board = slots.Scoreboard(self.brief.scoreboard, self.brief.lanes)
        signal.signal(READ_YOUR_ORDERS, lambda signum, frame: heed_level(board.header[slots.LOG_LEVEL]))
        heed_level(board.header[slots.LOG_LEVEL])
        # where the application ignores its children, ours could not be waited for; its workers ignore theirs again
        self._ignores_children = signal.signal(signal.SIGCHLD, signal.SIG_DFL) is signal.SIG_IGN
        titles.set_title(f"mold {self.brief.label} g{self.brief.generation}")
        _send(self._pair, Loaded())
        while True:
            for fd, _ in self._poll.poll():
                if fd == self._pair.fileno():
                    born_by = self._obey()
                    if born_by is not None:
                        return born_by
                elif lifeline.is_cut(self.brief.lifeline):
                    self._outlive_master()

    def _obey(self) -> Fork | None:
        try:
            packet = self._pair.recv(PACKET_MAX)
        except ConnectionResetError:  # the master died with something of ours unread
            packet = b""
        if not packet:
            self._outlive_master()
        order = decode(packet)
        if not isinstance(order, Fork):
            os._exit(0)
        return order if self._fork(order) else None

    def _fork(self, order: Fork) -> bool:
        """Fork twice. The process between tells the worker's pid through a pipe and ends at once.

        :returns: whether we are the worker.
        """
        stdio.flush()
        capture.end()
        signal.pthread_sigmask(signal.SIG_BLOCK, _ALL_SIGNALS)
        try:
            between = os.fork()
        except OSError as error:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, _ALL_SIGNALS)
            _send(self._pair, NotForked(order.slot, order.order, error.strerror or str(error)))
            return False
        if between == 0:
            self._fork_again(order)
            return True
        _, status = os.waitpid(between, 0)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _ALL_SIGNALS)
        try:
            pid = int.from_bytes(os.read(self._births, 4), "little")
        except BlockingIOError:
            code = os.waitstatus_to_exitcode(status)
            if code <= 0:  # killed: nobody knows whether it had forked; only the end of the pair will tell
                os._exit(1)
            _send(self._pair, NotForked(order.slot, order.order, os.strerror(code)))
            return False
        _send(self._pair, Born(order.slot, order.order, pid))
        return False

    def _fork_again(self, order: Fork) -> None:
        """Only the worker comes back from here."""
        try:
            pid = os.fork()
        except OSError as error:
            os._exit(min(error.errno or 1, 255))
        if pid:
            os.write(self._births_in, pid.to_bytes(4, "little"))
            os._exit(0)
        _send(self._pair, Born(order.slot, order.order, os.getpid()))
        self._pair.close()  # its end of file tells the master that nobody is under way any more
        os.close(self._births)
        os.close(self._births_in)
        if self._ignores_children:
            signal.signal(signal.SIGCHLD, signal.SIG_IGN)

    def _outlive_master(self) -> NoReturn:
        """The master is gone: workers end by themselves within the drain limit; then kill what is left, stuck in C.

        Not only our own: the slots name also those whose mold was sent away or died.
        """
        self._pair.close()
        for _, fd in self.brief.binds:
            os.close(fd)
        titles.set_title(f"mold {self.brief.label} g{self.brief.generation} orphaned")
        board = slots.Scoreboard(self.brief.scoreboard, self.brief.lanes)
        deadline = worker.now() + self.brief.drain + worker.ORPHAN_GRACE
        poll = select.poll()
        left = {pidfd for pid, started in board.processes() if (pidfd := _open_if_same(pid, started)) is not None}
        for pidfd in left:
            poll.register(pidfd, select.POLLIN)
        while left and (seconds := deadline - worker.now()) > 0:
            for pidfd, _ in poll.poll(seconds * 1000):
                poll.unregister(pidfd)
                left.discard(pidfd)
        for pidfd in left:
            processes.tell(pidfd, signal.SIGKILL)
        os._exit(0)


def _open_if_same(pid: int, started: int) -> int | None:
    """A pidfd, if the pid still names the process that wrote it."""
    pidfd = processes.open_pidfd(pid)
    if pidfd is not None and (not started or processes.started(pid) != started):
        os.close(pidfd)
        return None
    return pidfd


if __name__ == "__main__":
    main()
