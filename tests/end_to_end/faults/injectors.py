"""What can be done to a running service: each fault as a function, or as a context that heals when its block ends.

It must not know what is expected; that stands in the tests. Whatever is random comes from the caller's dice, so that a
seed repeats it.
Invariant: a context undoes what it did, whatever happens in its block.
"""

import contextlib
import os
import random
import resource
import shutil
import signal
import socket
import struct
import subprocess
import uuid
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

import pytest

from tests.end_to_end.clients import endpoint
from tests.end_to_end.harness import all_processes, look_until
from tests.end_to_end.test_idle import let_time_pass

WIDEST_GAP = 0.025  # seconds between two signals of a storm
TO_MASTER = (
    signal.SIGHUP,
    signal.SIGUSR1,
    signal.SIGTTIN,
    signal.SIGTTOU,
    signal.SIGCHLD,
    signal.SIGWINCH,
    signal.SIGCONT,
)
TO_MOLD = (signal.SIGHUP, signal.SIGINT, signal.SIGUSR1, signal.SIGCHLD, signal.SIGWINCH, signal.SIGCONT)
TO_WORKER = (*TO_MOLD, signal.SIGURG)
_CGROUPS = Path("/sys/fs/cgroup/memory")
_TCP_REPAIR = 19  # linux/tcp.h

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can do that")


def needs(program: str) -> pytest.MarkDecorator:
    return pytest.mark.skipif(shutil.which(program) is None, reason=f"{program} is missing")


# signals


@contextlib.contextmanager
def stopped(*pids: int) -> Iterator[None]:
    """Processes that stand still, as by a debugger, or with a machine that sleeps."""
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        for pid in pids:
            look_until(partial(_stands_still, pid), f"{pid} stands still")
        yield
    finally:
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):  # whoever would not wait has killed it
                os.kill(pid, signal.SIGCONT)


def _stands_still(pid: int) -> bool:
    """Also where it has gone instead."""
    return all(process.condition in "TZ" for process in all_processes() if process.pid == pid)


def storm(
    dice: random.Random, pick: Callable[[], int], signals: Sequence[int], count: int, gap: float = WIDEST_GAP
) -> None:
    """As many signals, at random, none to ``gap`` seconds apart, which is what a storm is.

    :param pick: whom the next is for; one who has gone by then is spared.
    """
    for _ in range(count):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pick(), dice.choice(signals))
        let_time_pass(dice.uniform(0, gap))


# calls that fail


@contextlib.contextmanager
def failing(pid: int, calls: str, error: str, when: str) -> Iterator[None]:
    """Calls of a process that fail, by strace(1).

    :param calls: separated by commas.
    :param error: the name of the errno.
    :param when: which of them, as ``1..3``.
    """
    command = ["strace", "-p", str(pid), "-e", f"trace={calls}", "-e", f"inject={calls}:error={error}:when={when}"]
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as strace:
        assert strace.stderr is not None
        try:
            said = strace.stderr.readline()
            assert "attached" in said, said
            yield
        finally:
            strace.terminate()
            strace.stderr.read()


@contextlib.contextmanager
def limited(pid: int, which: int, soft: int) -> Iterator[None]:
    """A process that may have no more of a resource than ``soft``: the soft limit alone, so that it can be lifted."""
    before, hard = resource.prlimit(pid, which)
    resource.prlimit(pid, which, (soft, hard))
    try:
        yield
    finally:
        with contextlib.suppress(ProcessLookupError):
            resource.prlimit(pid, which, (before, hard))


# memory and disks


class MemoryGroup:
    """A control group of version 1 with a memory limit, and none of the machine's own.

    :param limit: bytes.
    """

    def __init__(self, limit: int) -> None:
        self.path = _CGROUPS / f"prefork-{uuid.uuid4().hex[:12]}"
        self._limit = limit

    def enter(self) -> None:
        """The calling process, and whatever it becomes, is under the limit."""
        (self.path / "cgroup.procs").write_text(str(os.getpid()))

    @property
    def kills(self) -> int:
        """Processes that the kernel has killed for want of memory."""
        rows = dict(row.split() for row in (self.path / "memory.oom_control").read_text().splitlines())
        return int(rows["oom_kill"])

    def __enter__(self) -> "MemoryGroup":
        try:
            self.path.mkdir()
        except OSError as error:
            pytest.skip(f"no memory control group of version 1 can be made: {error}")
        (self.path / "memory.limit_in_bytes").write_text(str(self._limit))
        return self

    def __exit__(self, *exception: object) -> None:
        def is_removed() -> bool:
            with contextlib.suppress(OSError):  # EBUSY: who was in it is not quite gone
                self.path.rmdir()
            return not self.path.exists()

        look_until(is_removed, "the control group is empty")


class SmallDisk:
    """A file system with room for a few pages.

    :param directory: is mounted over.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._ballast = directory / "ballast"

    def fill(self, *files: Path) -> None:
        """Leave no byte, not even in the last pages of these files."""
        for path in (self._ballast, *files):
            with open(path, "ab", buffering=0) as file, contextlib.suppress(OSError):
                while True:
                    file.write(b"\n")

    def make_room(self) -> None:
        self._ballast.unlink()

    def __enter__(self) -> "SmallDisk":
        self.directory.mkdir()
        done = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", self.directory], capture_output=True, text=True
        )
        if done.returncode:
            pytest.skip(f"cannot mount: {done.stderr.strip()}")
        return self

    def __exit__(self, *exception: object) -> None:
        subprocess.run(["umount", self.directory], check=True)


# clients


def reset(url: str, said: bytes) -> None:
    """A client that says so much and resets its connection."""
    client = endpoint(url).connect()
    client.sendall(said)
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.close()


def garbage(url: str, dice: random.Random, most: int = 200_000) -> None:
    """A client that sends anything, perhaps much of it, and reads what comes until the other side closes."""
    with endpoint(url).connect() as client:
        kind = dice.choice(["anything", "zeroes", "a line", "TLS", "nothing"])
        size = dice.randrange(1, most)
        said = {
            "anything": dice.randbytes(size),
            "zeroes": b"\0" * size,
            "a line": b"\xff\xfe" * (size // 2) + b"\n",
            "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + dice.randbytes(32),
            "nothing": b"",
        }[kind]
        with contextlib.suppress(ConnectionError):  # whoever had enough of it closes, and leaves the rest unread
            client.sendall(said)
        with contextlib.suppress(OSError):  # ENOTCONN: so it did
            client.shutdown(socket.SHUT_WR)
        with contextlib.suppress(ConnectionError):
            while client.recv(65536):
                pass


def half_open(url: str) -> None:
    """A client whose machine vanishes: neither end nor reset is ever sent, tcp(7) on TCP_REPAIR. Needs root."""
    client = endpoint(url).connect()
    client.sendall(b"half a li")
    client.setsockopt(socket.IPPROTO_TCP, _TCP_REPAIR, 1)
    client.close()
