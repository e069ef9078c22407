"""The servers that are measured, each a process of its own beside the client: reference lines, the standard library's,
the framework's, and the workers of a master.
"""

import contextlib
import os
import re
import resource
import select
import signal
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from tests.bench import clients

SERVER_CORE, CLIENT_CORE = sorted(os.sched_getaffinity(0))[:2]


class Server(NamedTuple):
    """One that runs. ``cpu_ns`` is what all its processes were on a CPU, those that have ended included."""

    port: int
    cpu_ns: Callable[[], int]
    pids: tuple[int, ...]
    master: int = 0


def cpu_ns(*pids: int) -> Callable[[], int]:
    """Of all threads of the processes, ended ones included."""
    clocks = [(~pid << 3) | 2 for pid in pids]  # what clock_getcpuclockid(3) computes
    return lambda: sum(time.clock_gettime_ns(clock) for clock in clocks)


def serve_bare(listener: socket.socket) -> None:
    """accept, recv, send, close: the floor nobody can be under in this language."""
    while True:
        client, _ = listener.accept()
        client.sendall(client.recv(4096))
        client.shutdown(socket.SHUT_WR)
        client.close()


def serve_bare_datagrams(listener: socket.socket) -> None:
    while True:
        data, client_address = listener.recvfrom(8192)
        listener.sendto(data, client_address)


def serve_poll_then_accept(listener: socket.socket) -> None:
    """How the standard library waits, and Python's sockets with a timeout: all sleepers wake for one client."""
    listener.setblocking(False)
    poll = select.poll()
    poll.register(listener, select.POLLIN)
    while True:
        poll.poll()
        try:
            client, _ = listener.accept()
        except BlockingIOError:
            continue
        client.setblocking(True)
        client.sendall(client.recv(4096))
        client.shutdown(socket.SHUT_WR)
        client.close()


def serve_by(kind: Any, handler: Any) -> Callable[[socket.socket], None]:
    """``serve_forever`` of a class of ``socketserver``, the original's or ours."""

    def serve(listener: socket.socket) -> None:
        server = kind(listener.getsockname(), handler, bind_and_activate=False)
        server.socket.close()
        server.socket = listener
        server.serve_forever()

    return serve


@contextmanager
def forked(
    serve: Callable[[socket.socket], None], processes: int = 1, socket_type: int = socket.SOCK_STREAM
) -> Iterator[Server]:
    """So many children that serve one listener."""
    with socket.socket(socket.AF_INET, socket_type) as listener:
        listener.bind(("127.0.0.1", 0))
        if socket_type == socket.SOCK_STREAM:
            listener.listen(1024)
        port = listener.getsockname()[1]
        pids = [_fork(lambda: serve(listener)) for _ in range(processes)]
    try:
        yield Server(port, cpu_ns(*pids), tuple(pids))
    finally:
        _kill(pids)


@contextmanager
def forking(kind: Any, handler: Any) -> Iterator[Server]:
    """A server that forks a child a request: asked by a signal, it tells what it and its children used."""
    reader, writer = os.pipe()

    def tell(*_: object) -> None:
        used = 0.0
        for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN):
            usage = resource.getrusage(who)
            used += usage.ru_utime + usage.ru_stime
        os.write(writer, struct.pack("d", used))

    def serve(listener: socket.socket) -> None:
        signal.signal(signal.SIGUSR1, tell)
        serve_by(kind, handler)(listener)

    with forked(serve) as server:
        clients.ask(server.port)  # from here on it hears the signal
        pid = server.pids[0]

        def of_the_family() -> int:
            os.kill(pid, signal.SIGUSR1)
            return int(struct.unpack("d", os.read(reader, 8))[0] * 1e9)

        yield server._replace(cpu_ns=of_the_family)
    os.close(reader)
    os.close(writer)


@contextmanager
def supervised(application: str, *flags: str, workers: int = 1, scheme: str = "tcp") -> Iterator[Server]:
    """The workers of a master, pinned together to one core."""
    with started(application, *flags, "-w", str(workers), scheme=scheme) as (master, port):
        assert master.stderr is not None
        wait_for_line(master, "serves with")
        pids = workers_of(master.pid)
        for pid in pids:
            os.sched_setaffinity(pid, {SERVER_CORE})
        yield Server(port, cpu_ns(*pids), pids, master.pid)


@contextmanager
def started(application: str, *flags: str, scheme: str = "tcp") -> Iterator[tuple[subprocess.Popen[str], int]]:
    """A master that listens; whether it serves already is another question."""
    argv = [sys.executable, "-m", "prefork", "run", f"tests.bench.{application}", "-b", f"{scheme}://127.0.0.1:0"]
    with subprocess.Popen([*argv, *flags], stderr=subprocess.PIPE, text=True) as master:
        try:
            yield master, int(wait_for_line(master, "listening on").rpartition(":")[2])
        finally:
            master.terminate()
            master.communicate()


def wait_for_line(master: "subprocess.Popen[str]", text: str) -> str:
    assert master.stderr is not None
    seen = ""
    while line := master.stderr.readline():
        seen += line
        if text in line:
            return line.rstrip()
    sys.exit(f"the master ended before it said {text!r}:\n{seen}")


def workers_of(master: int) -> tuple[int, ...]:
    children = Path(f"/proc/{master}/task/{master}/children").read_text().split()
    return tuple(int(pid) for pid in children if re.match(b"prefork: worker", _command(pid)))


@contextmanager
def bare_process(*flags: str) -> Iterator[Server]:
    """See ``bare.py``."""
    argv = [sys.executable, "-m", "tests.bench.bare", *flags]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        port, pid = map(int, process.stdout.readline().split())
        try:
            yield Server(port, cpu_ns(pid), (pid,))
        finally:
            process.communicate()


def _command(pid: str) -> bytes:
    with contextlib.suppress(FileNotFoundError):
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    return b""


def _fork(serve: Callable[[], None]) -> int:
    pid = os.fork()
    if pid == 0:
        try:
            os.sched_setaffinity(0, {SERVER_CORE})
            serve()
        finally:
            os._exit(1)
    return pid


def _kill(pids: list[int]) -> None:
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
    for pid in pids:
        os.waitpid(pid, 0)
