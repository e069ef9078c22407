"""The application of the tests: a line in, a line out, and some first words that make trouble on demand.

It runs inside the workers under test. It must not know the product: its handlers stand on the standard library.
Invariant: whatever waits, waits for the other end of a socket that the test holds, never for time.
Read next: ``harness.py``, the test's end of the gate.
"""

import ctypes
import os
import re
import signal
import socket
import socketserver
import sys
import threading
from collections.abc import Callable


def pass_gate(path: str, news: str = "") -> None:
    """Tell the test at ``path`` which process is here, then wait until it lets us pass or goes away."""
    try:
        with socket.socket(socket.AF_UNIX) as gate:
            gate.connect(path)
            gate.sendall(f"{os.getpid()} {news}\n".encode())
            gate.recv(1)
    except OSError:
        pass  # nobody minds the gate any more


def tell(path: str, news: object = "") -> None:
    """Tell the test at ``path`` which process is here, and go on."""
    with socket.socket(socket.AF_UNIX) as gate:
        gate.connect(path)
        gate.sendall(f"{os.getpid()} {news}\n".encode())


def _pid(rest: str) -> str:
    return str(os.getpid())


def _hold(path: str) -> str:
    """Say besides who the parent is and which thread this is: how a worker handles its requests."""
    pass_gate(path, f"{os.getppid()} {threading.get_ident()}")
    return str(os.getpid())


def _stubborn(path: str) -> str:
    """Wait at the gate, take whatever is an Exception for a reason to wait on, and answer what else ends it."""
    while True:
        try:
            pass_gate(path)
        except Exception:
            continue
        except BaseException:
            return "too slow"


def _spin(path: str) -> str:
    tell(path)
    while True:
        sum(range(100))


def _exit(code: str) -> str:
    os._exit(int(code))


def _segfault(rest: str) -> str:
    ctypes.string_at(0)
    return "still alive"


def _raise(text: str) -> str:
    raise ValueError(text)


def _system_exit(text: str) -> str:
    sys.exit(text)


def _out_of_memory(text: str) -> str:
    raise MemoryError(text)


def _ignore_term(rest: str) -> str:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    return str(os.getpid())


def _stuck_in_c(path: str) -> str:
    """Never come back, with the interpreter's lock held: no Python code of this process runs again."""
    mutex = ctypes.create_string_buffer(64)  # zeroes are a mutex that nobody holds
    lock = ctypes.PyDLL(None).pthread_mutex_lock
    lock(mutex)
    tell(path)
    lock(mutex)
    return "never"


def _deaf(path: str) -> str:
    """Wait at the gate with every signal blocked that can be."""
    signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    pass_gate(path)
    return str(os.getpid())


def _daemon(path: str) -> str:
    """Leave a stranger behind: a grandchild, held at the gate, whose parent has gone."""
    child = os.fork()
    if child == 0:
        if os.fork() == 0:
            os.setsid()
            pass_gate(path)
        os._exit(0)
    os.waitpid(child, 0)
    return str(os.getpid())


def _helper(path: str) -> str:
    """Wait for a child of the handler's own, which waits at the gate."""
    child = os.fork()
    if child == 0:
        pass_gate(path)
        os._exit(0)
    os.waitpid(child, 0)
    return str(os.getpid())


def _open_files(rest: str) -> str:
    return str(len(os.listdir("/proc/self/fd")))


def _process(rest: str) -> str:
    """What the worker's surroundings are: its process group, its standard input, and the signals it ignores."""
    with open("/proc/self/status") as status:
        ignored = int(re.findall(r"^SigIgn:\s*(\w+)", status.read(), re.MULTILINE)[0], 16)
    names = sorted(s.name for s in (signal.SIGINT, signal.SIGHUP) if ignored >> (s - 1) & 1)
    return f"{os.getpid()} {os.getpgrp()} {os.readlink('/proc/self/fd/0')} {','.join(names)}"


_LEAKED: list[bytes] = []


def _leak(size: str) -> str:
    """Keep so many MiB for good."""
    _LEAKED.append(b"x" * (int(size) << 20))
    return str(os.getpid())


def _leak_and_hold(rest: str) -> str:
    size, _, path = rest.partition(" ")
    _leak(size)
    return _hold(path)


COMMANDS: dict[str, Callable[[str], str]] = {
    "pid": _pid,
    "hold": _hold,
    "stubborn": _stubborn,
    "spin": _spin,
    "exit": _exit,
    "segfault": _segfault,
    "raise": _raise,
    "system-exit": _system_exit,
    "out-of-memory": _out_of_memory,
    "ignore-term": _ignore_term,
    "stuck-in-c": _stuck_in_c,
    "deaf": _deaf,
    "daemon": _daemon,
    "helper": _helper,
    "leak": _leak,
    "leak-and-hold": _leak_and_hold,
    "open-files": _open_files,
    "process": _process,
}


class Line:
    """Answers a line: by a command if its first word is one, else in capitals."""

    version = "none"

    def answer(self, line: bytes) -> bytes:
        word, _, rest = line.decode().rstrip("\n").partition(" ")
        if word == "version":
            reply = self.version
        elif word in COMMANDS:
            reply = COMMANDS[word](rest)
        else:
            reply = line.decode().rstrip("\n").upper()
        return reply.encode() + b"\n"


class Stream(Line, socketserver.StreamRequestHandler):
    def handle(self) -> None:
        line = self.rfile.readline()
        if line:
            self.wfile.write(self.answer(line))


class Datagram(Line, socketserver.DatagramRequestHandler):
    def handle(self) -> None:
        self.wfile.write(self.answer(self.rfile.read()))
