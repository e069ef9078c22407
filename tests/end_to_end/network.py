"""A network of one's own: a namespace with nothing but a loopback, for root; others share the machine's.

Tens of thousands of connections a second would fill the machine's connection tracking and lose packets, and a test that
runs beside us would take ports that we expect to be free, or be counted with ours. Only the calling thread, and what it
starts, is in there.
"""

import contextlib
import ctypes
import fcntl
import socket
import struct
from collections.abc import Iterator

_CLONE_NEWNET = 0x40000000
_SIOCSIFFLAGS = 0x8914
_IFF_UP = 0x1


@contextlib.contextmanager
def own_network() -> Iterator[None]:
    """:raises OSError: there is no way back."""
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


@contextlib.contextmanager
def network_of(pid: int) -> Iterator[None]:
    """The network that a process is in, for the calling thread and what it starts.

    :raises OSError: there is no way there, or back.
    """
    with open("/proc/thread-self/ns/net") as home, open(f"/proc/{pid}/ns/net") as there:
        _go(there.fileno())
        try:
            yield
        finally:
            _go(home.fileno())


def _go(namespace: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.setns(namespace, _CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), "cannot go to another network")


def _raise_loopback() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        fcntl.ioctl(any_socket, _SIOCSIFFLAGS, struct.pack("16sH14x", b"lo", _IFF_UP))
