"""Workers forked from the very process that is their master: nothing is loaded, for it is all here.

A second ``hands.Molding``, for a master inside somebody's program. A generation begins and ends in name only: its
workers have the code the process has.
Invariant: a child never returns into the master's stack, nor keeps what belongs to the master.
Read next: ``plain.py``, the master that uses it; ``molding.py``, the other way.
"""

import _thread
import contextlib
import gc
import logging
import os
import signal
import sys
import threading
import time
import traceback
import warnings
from collections.abc import Callable, Hashable, Iterator, Set
from typing import Any, NoReturn

from prefork.master.hands import Child, Events, Hands, Machine, NoticePipe
from prefork.master.molding import brief_for
from prefork.master.translate import born
from prefork.pool import events
from prefork.system import stdio
from prefork.system.logfile import Log, LogFile
from prefork.system.logline import Who, tell_stack
from prefork.worker import worker
from prefork.worker.protocol import Brief, Fork

now = time.monotonic


class ThisProcess:
    """``hands.Molding``: each worker is a fork of the process we are in.

    :param application: what ``worker.live`` serves.
    :param settle_in: called in each newborn worker; gives the brief as it holds there.
    """

    def __init__(self, application: Any, settle_in: Callable[[Brief, Fork], Brief]) -> None:
        self._application = application
        self._settle_in = settle_in
        self._forking_thread: int | None = None
        self._writer: int | None = None  # of the notice pipe, from the first generation on

    def start(self, generation: int, hands: Hands, machine: Machine) -> Events:
        if self._writer is None:
            try:
                reader, self._writer = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
            except OSError as error:
                return [events.MoldNotStarted(at=now(), generation=generation, why=f"cannot open a pipe: {error}")]
            pipe = NoticePipe(reader)
            hands.pipes.add(pipe)
            machine.poller.add(reader, pipe)
        return [
            events.MoldStarted(at=now(), generation=generation, pid=os.getpid()),
            events.MoldLoaded(at=now(), generation=generation),
        ]

    def dismiss(self, generation: int, hands: Hands) -> Events:
        how = "is replaced: nobody is forked from it any more"
        return [
            events.MoldDismissed(at=now(), generation=generation),
            events.MoldGone(at=now(), generation=generation, how=how),
        ]

    def kill(self, generation: int, why: str, hands: Hands) -> Events:
        return self.dismiss(generation, hands)

    def fork(self, generation: int, fork: Fork, hands: Hands, machine: Machine) -> Events:
        assert self._writer is not None, "a generation has started"
        brief = brief_for(generation, self._writer, hands, machine)
        stdio.flush()
        before = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        try:
            # for the pidfd: a process that could not be watched must not be started
            reserved = os.dup(hands.kick)
            try:
                pid = self._fork()
            finally:
                os.close(reserved)
            if pid == 0:
                self._become_worker(brief, fork, hands, machine)
            # before the signals come in again: a handler of the program's may raise
            return _watch(pid, fork, hands, machine)
        except OSError as error:
            why = error.strerror or str(error)
            return [events.WorkerNotForked(at=now(), slot=fork.slot, order=fork.order, why=why)]
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)

    def read_messages(
        self, ready: Set[Hashable], has_messages: bool, hands: Hands, machine: Machine
    ) -> Iterator[events.Event]:
        yield from ()

    def reap(self, ready: Set[Hashable], hands: Hands, machine: Machine) -> Iterator[events.Event]:
        yield from ()

    def is_forking(self) -> bool:
        """Whether the child we find ourselves in is a worker, and not one that the program forks for itself."""
        return self._forking_thread == threading.get_ident()

    def close(self) -> None:
        if self._writer is not None:
            os.close(self._writer)
            self._writer = None

    def _fork(self) -> int:
        self._forking_thread = threading.get_ident()
        try:
            with warnings.catch_warnings():  # of threads the log has warned, once and by name
                warnings.filterwarnings("ignore", "This process .* is multi-threaded", DeprecationWarning)
                return os.fork()
        finally:
            self._forking_thread = None

    def _become_worker(self, brief: Brief, fork: Fork, hands: Hands, machine: Machine) -> NoReturn:
        try:
            gc.freeze()  # what no collection visits stays shared with the program
            _leave_to_the_master(hands, machine)
            _close_terminal()
            worker.live(self._settle_in(brief, fork), fork, self._application, _ProgramLog())
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(70)


def _watch(pid: int, fork: Fork, hands: Hands, machine: Machine) -> Events:
    """:raises OSError: it cannot be watched; it has been killed."""
    try:
        return list(born(Child(fork.slot, fork.order, pid, -1), hands, machine))
    except OSError:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        with contextlib.suppress(ChildProcessError):
            os.waitpid(pid, 0)
        raise


def _leave_to_the_master(hands: Hands, machine: Machine) -> None:
    machine.close()
    for child in hands.children.values():
        os.close(child.pidfd)
    for pipe in hands.pipes:
        os.close(pipe.reader)


def _close_terminal() -> None:
    """What a handler reads from standard input is the null device's, as under ``prefork run``."""
    if sys.__stdin__ is not None and not sys.__stdin__.closed:
        null = os.open(os.devnull, os.O_RDONLY)
        os.dup2(null, 0)
        os.close(null)


class _ProgramLog(LogFile):
    """The log is the program's own business: nobody signs its lines or reopens its files."""

    def sign(self, who: Who) -> None:
        pass

    def warn(self, name: str, text: str, *args: object, stack: str = "", **extra: object) -> None:
        """By the program's handlers, in a thread, which may wait for their locks; without one nobody hears it."""
        told = (logging.getLogger(name), stack, text, *args)
        with contextlib.suppress(RuntimeError):
            _thread.start_new_thread(tell_stack, told, extra)

    def reopen(self, teller: Log | None = None) -> None:
        pass
