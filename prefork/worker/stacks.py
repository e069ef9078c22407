"""Stacks: where every thread of a worker is, written into the log when the master asks for it.

It must not know why it asks. Python code writes them where any runs, with the interpreter's lock: a C handler that
reads the stacks of threads which run meanwhile crashes, sooner than later. Where none runs, stuck in C with the lock,
no stack changes either, and the C handler of a signal of its own writes them; so it does in children, which have one
thread.
Invariant: a worker that has told its last words is deaf to that signal.
"""

import faulthandler
import signal

from prefork.system import slots
from prefork.worker.protocol import DUMP_STACKS


class Stacks:
    """:param fd: of the log, the same as long as the process lives."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._asked = 0
        # what holds once the last words are told; no program would outlive the signal otherwise
        signal.signal(DUMP_STACKS, signal.SIG_IGN)
        faulthandler.register(DUMP_STACKS, file=fd, all_threads=True, chain=False)

    def is_asked(self, cell: int) -> bool:
        """Whether they were asked for since the last time.

        :param cell: ``STACKS`` of our slot.
        """
        was, self._asked = self._asked, cell
        return cell != was

    def tell(self) -> None:
        """Write them."""
        if self._asked & slots.LAST_WORDS:
            faulthandler.unregister(DUMP_STACKS)
        faulthandler.dump_traceback(self._fd, all_threads=True)
