"""What every end-to-end test stands on: a network of its own where that is allowed, a gate, short paths for sockets."""

import ctypes
import fcntl
import socket
import struct
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.end_to_end.harness import Application, Gate

_CLONE_NEWNET = 0x40000000
_SIOCSIFFLAGS = 0x8914
_IFF_UP = 0x1


@pytest.fixture(scope="package", autouse=True)
def _own_network() -> Iterator[None]:
    """A network namespace with nothing but a loopback, for root; others share the machine's.

    Tens of thousands of connections a second would fill the machine's connection tracking and lose packets, and a test
    that runs beside us would take ports that we expect to be free.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    with open("/proc/thread-self/ns/net") as home:
        is_apart = libc.unshare(_CLONE_NEWNET) == 0
        try:
            if is_apart:
                _raise_loopback()
            yield
        finally:
            if is_apart and libc.setns(home.fileno(), _CLONE_NEWNET) != 0:
                raise OSError(ctypes.get_errno(), "cannot return to the machine's network")


def _raise_loopback() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        fcntl.ioctl(any_socket, _SIOCSIFFLAGS, struct.pack("16sH14x", b"lo", _IFF_UP))


@pytest.fixture
def short_path() -> Iterator[Path]:
    """A directory whose name leaves room for a socket's: a Unix socket's path has at most 107 bytes."""
    with tempfile.TemporaryDirectory(prefix="prefork-") as directory:
        yield Path(directory)


@pytest.fixture
def gate(short_path: Path) -> Iterator[Gate]:
    with Gate(short_path / "gate") as gate:
        yield gate


@pytest.fixture
def application(tmp_path: Path) -> Application:
    return Application(tmp_path).write("1")
