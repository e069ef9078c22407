"""Stacks: where every thread of a worker is, written where the master can read it, and told in the log.

It must not know who asks. Python code writes them where any runs, with the interpreter's lock: a C handler that reads
the stacks of threads which run meanwhile crashes, sooner than later. Where none runs, stuck in C with the lock, no
stack changes either, and the C handler of a signal of its own writes them; what it wrote the master tells. Children
have one thread, and write theirs into the log.
Invariant: what the scratch holds once a question is answered are the stacks of after the question; a worker that has
told its last words is deaf to that signal.
Read next: ``prefork/master/dumping.py``, the reader.
"""

import faulthandler
import fcntl
import os
import signal

from prefork.system import slots
from prefork.system.logfile import Log
from prefork.worker.protocol import DUMP_STACKS

MOST = 100_000  # bytes of stacks that are told


class Stacks:
    """:param log: gets what is told; its descriptor, the same as long as the process lives, what children write."""

    def __init__(self, log: Log) -> None:
        self._log = log
        self._asked = 0
        self.scratch = os.memfd_create("prefork-stacks", os.MFD_CLOEXEC)
        fcntl.fcntl(self.scratch, fcntl.F_SETFL, os.O_APPEND | os.O_RDWR)
        # what holds once the last words are told; no program would outlive the signal otherwise
        signal.signal(DUMP_STACKS, signal.SIG_IGN)
        faulthandler.register(DUMP_STACKS, file=self.scratch, all_threads=True, chain=False)

    def is_asked(self, cell: int) -> bool:
        """Whether they were asked for since the last time.

        :param cell: ``STACKS`` of our slot.
        """
        was, self._asked = self._asked, cell
        return cell != was

    def write(self) -> None:
        """Write them into the scratch."""
        if self._asked & slots.LAST_WORDS:
            faulthandler.unregister(DUMP_STACKS)
        os.ftruncate(self.scratch, 0)
        faulthandler.dump_traceback(self.scratch, all_threads=True)

    def tell(self) -> None:
        """Tell in the log what was written; past the application's handlers, for we are in a signal handler."""
        text = os.pread(self.scratch, MOST, 0).decode(errors="replace")
        what = "the stacks of this worker, for the master asked"
        self._log.warn("prefork.worker", what, stack=text, event="stacks")

    def belong_to_child(self) -> None:
        """In a child that handles one request: the scratch is its parent's."""
        faulthandler.register(DUMP_STACKS, file=self._log.fileno(), all_threads=True, chain=False)

    def close(self) -> None:
        """The process is no worker any more."""
        faulthandler.unregister(DUMP_STACKS)
        os.close(self.scratch)
