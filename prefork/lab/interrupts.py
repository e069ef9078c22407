"""Interrupts that wait: ^C and other signals that end a command, held back while something is half begun or half ended.

A handler that raises does so between any two instructions, also between a process having started and its number being
known. Held back by handlers and not by the signal mask, which is each thread's own: numpy's threads would hear them,
and the handler runs in the main thread all the same. It must not know what is begun.
Invariant: what came meanwhile is heard when it is over, once each.
"""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

_HELD = (signal.SIGTERM, signal.SIGHUP, signal.SIGINT)


@contextmanager
def held() -> Iterator[None]:
    """Their handlers run afterwards; in other threads than the main one there are none."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    came: dict[int, None] = {}
    before = {signum: signal.getsignal(signum) for signum in _HELD}
    raising = {signum: handler for signum, handler in before.items() if callable(handler)}
    for signum in raising:
        signal.signal(signum, lambda number, _: came.setdefault(number))
    try:
        yield
    finally:
        for signum, handler in raising.items():
            signal.signal(signum, handler)
        for number in came:
            signal.raise_signal(number)
