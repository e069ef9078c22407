"""The application of the faults: a line in, a line out, and first words that break the process they are said to.

It runs inside the workers under test, and must not know the product: it stands on ``tests/end_to_end/apps.py``.
Invariant: whatever waits, waits for the other end of a socket that the test holds, never for time.
"""

import os
import signal
import socketserver
import threading
from collections.abc import Callable

from tests.end_to_end import apps


class _OfItsOwn(BaseException):
    """One that nobody has heard of."""


def _cancelled() -> BaseException:
    import asyncio  # as an application that has an event loop somewhere

    return asyncio.CancelledError()


RAISED: dict[str, Callable[[], BaseException]] = {
    "Exception": Exception,
    "KeyError": KeyError,
    "OSError": OSError,
    "StopIteration": StopIteration,
    "TimeoutError": TimeoutError,
    "BlockingIOError": BlockingIOError,
    "ConnectionResetError": ConnectionResetError,
    "ChildProcessError": ChildProcessError,
    "RecursionError": RecursionError,
    "AssertionError": AssertionError,
    "ExceptionGroup": lambda: ExceptionGroup("several", [ValueError("one")]),
    "BaseExceptionGroup": lambda: BaseExceptionGroup("several", [KeyboardInterrupt()]),
    "CancelledError": _cancelled,
    "GeneratorExit": GeneratorExit,
    "KeyboardInterrupt": KeyboardInterrupt,
    "SystemExit": lambda: SystemExit(3),
    "of its own": _OfItsOwn,
}


class Trouble(apps.Stream):
    """A first word of ours breaks something; all others are those of ``apps``."""

    server: socketserver.TCPServer

    def answer(self, line: bytes) -> bytes:
        word, _, rest = line.decode().rstrip("\n").partition(" ")
        match word:
            case "raise-one":
                raise RAISED[rest]()
            case "close-listener":
                self.server.socket.close()
            case "close-every-descriptor":
                os.closerange(3, 1000)
            case "hoard-descriptors":
                _hoard_descriptors()
            case "devour-memory":
                _devour_memory()
            case "leave-strays":
                _leave_strays(rest)
            case "deaf-to-term":
                signal.signal(signal.SIGTERM, signal.SIG_IGN)
                apps.pass_gate(rest)
            case _:
                return super().answer(line)
        return f"{os.getpid()}\n".encode()


_hoard: list[int] = []


def _hoard_descriptors() -> None:
    """Take all there are, and the one that this request gives back as well."""
    while _hoard_one():
        pass
    threading.Thread(target=_hoard_the_last, daemon=True).start()


def _hoard_one() -> bool:
    try:
        _hoard.append(os.open(os.devnull, os.O_RDONLY))
    except OSError:
        return False
    return True


def _hoard_the_last() -> None:
    while not _hoard_one():
        os.sched_yield()


def _devour_memory() -> None:
    eaten = []
    while True:
        eaten.append(b"\1" * (1 << 24))


def _leave_strays(path: str) -> None:
    """Grandchildren that lose their parent: one ends at once, one in a session of its own waits at the gate."""
    child = os.fork()
    if child == 0:
        if os.fork() == 0:
            os._exit(3)
        if os.fork() == 0:
            os.setsid()
            apps.pass_gate(path)
            os._exit(0)
        os._exit(0)
    os.waitpid(child, 0)
