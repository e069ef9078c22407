"""How a command of the lab ends before its time: by ^C, by TERM, or with its terminal (HUP).

What ^C means where nothing is said here, 130, is the whole command line's, see ``__init__.py``. It must not know what
is measured.
Invariant: no signal ends a command before its ``with`` blocks are left, and so nothing that it started stays; it exits
with 128 and the signal's number, as shells tell it.
"""

import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import Any, NoReturn

ENDING = (signal.SIGTERM, signal.SIGHUP)


def ends_in_order(command: Callable[..., None]) -> Callable[..., None]:
    """A command that leaves nothing when it is told to end. What is ignored, as HUP under nohup, stays so."""

    @wraps(command)
    def run(*arguments: Any, **flags: Any) -> None:
        before = {signum: signal.getsignal(signum) for signum in (*ENDING, signal.SIGINT)}
        for signum in ENDING:
            if before[signum] is signal.SIG_DFL:
                signal.signal(signum, _end)
        try:
            command(*arguments, **flags)
        finally:
            for signum, handler in before.items():
                signal.signal(signum, handler)

    return run


def _end(signum: int, frame: object) -> NoReturn:
    """Once is enough: what it started is being stopped."""
    for one in (*ENDING, signal.SIGINT):
        signal.signal(one, signal.SIG_IGN)
    sys.exit(128 + signum)


class Stop:
    """Whether ^C was typed; a second one ends at once."""

    def __init__(self) -> None:
        self._is_asked = False

    def __call__(self) -> bool:
        return self._is_asked

    def ask(self, *_: object) -> None:
        if self._is_asked:
            raise KeyboardInterrupt
        self._is_asked = True


@contextmanager
def asked_to_stop() -> Iterator[Stop]:
    """The first ^C asks, so that what was measured can be told."""
    stop = Stop()
    before = signal.signal(signal.SIGINT, stop.ask)
    try:
        yield stop
    finally:
        signal.signal(signal.SIGINT, before)
