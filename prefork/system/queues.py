"""How many clients wait in a listener's queue, for whom nobody has called ``accept`` or ``recv`` yet.

    kind            asked by                                    what it says
    TCP             getsockopt(TCP_INFO), and SO_MEMINFO        connections, exactly
    Unix stream     sock_diag(7), see ``unixdiag.py``           connections, exactly
    UDP             getsockopt(SO_MEMINFO), memory in use       datagrams, estimated by the size of the first
    anything else   poll(2)                                     1 where somebody waits

A system call or two each, 1 to 30 µs. It must not know who serves the queue.
Invariant: what is readable has a depth of at least 1, and asking changes nothing.
"""

import array
import fcntl
import select
import socket
import struct
import termios
from typing import NamedTuple

from prefork.system import unixdiag

_TCP_INFO_HEAD = 8  # bytes before the 32-bit words of struct tcp_info
_LENGTHS = 4  # of those words: tcpi_unacked and tcpi_sacked, for a listener sk_ack_backlog and sk_max_ack_backlog
_SO_MEMINFO = 55  # asm-generic/socket.h, Linux 4.12
_RECEIVE_MEMORY = 0  # of its words: SK_MEMINFO_RMEM_ALLOC
_DROPS = 8  # SK_MEMINFO_DROPS

# What the kernel accounts a queued datagram with besides its bytes, and the least it accounts, measured on Linux 6.18:
# 832 for up to 100 bytes, 1280 for 300, 2304 for 1000, 4352 for 3000. Powers of two and a head.
_DATAGRAM_HEAD = 256
_SMALLEST_DATAGRAM = 512


class Queue(NamedTuple):
    """:param waiting: connections, or datagrams.
    :param limit: connections that it holds at most; ``None`` where that is not said.
    :param dropped: UDP datagrams that found no room in it, ever; ``None`` of anything else.
    :param overflows: attempts to connect by TCP that found no room in it, ever; clients repeat them, and each counts.
    """

    waiting: int
    limit: int | None = None
    dropped: int | None = None
    overflows: int | None = None


def depth(listener: socket.socket) -> int:
    """How many clients wait on ``listener``.

    :raises OSError: it is closed.
    """
    return measure(listener).waiting


def measure(listener: socket.socket) -> Queue:
    """The same, and what else is known of the queue.

    :raises OSError: it is closed.
    """
    queue = _look(listener)
    return queue if queue.waiting else queue._replace(waiting=int(_is_readable(listener)))


def _look(listener: socket.socket) -> Queue:
    """Nobody waits where nothing says how many."""
    is_stream = listener.type == socket.SOCK_STREAM
    try:
        if listener.family == socket.AF_UNIX:
            return _look_unix(listener) if is_stream else Queue(0)
        return _look_tcp(listener) if is_stream else _look_udp(listener)
    except (OSError, struct.error):  # an old or emulated kernel, or a sandbox: poll tells the rest
        return Queue(0)


def _is_readable(listener: socket.socket) -> bool:
    if listener.fileno() < 0:
        raise OSError("the listener is closed")
    poll = select.poll()
    poll.register(listener, select.POLLIN)
    ready = poll.poll(0)
    if any(event & select.POLLNVAL for _, event in ready):
        raise OSError("the listener is closed")
    return bool(ready)


def _look_tcp(listener: socket.socket) -> Queue:
    offset = _TCP_INFO_HEAD + 4 * _LENGTHS
    info = listener.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, offset + 8)
    waiting, limit = struct.unpack_from("=II", info, offset)
    return Queue(waiting, limit, overflows=_drops(_memory_words(listener)))


def _look_udp(listener: socket.socket) -> Queue:
    words = _memory_words(listener)
    used = words[_RECEIVE_MEMORY]
    size = array.array("i", [0])
    if used:
        fcntl.ioctl(listener, termios.FIONREAD, size)  # of the first one, udp(7)
    waiting = max(1, round(used / _memory_of(size[0]))) if used else 0
    return Queue(waiting, dropped=_drops(words))


def _memory_words(listener: socket.socket) -> "memoryview[int]":
    return memoryview(listener.getsockopt(socket.SOL_SOCKET, _SO_MEMINFO, 64)).cast("I")


def _drops(words: "memoryview[int]") -> int | None:
    return words[_DROPS] if len(words) > _DROPS else None


def _memory_of(size: int) -> int:
    """What a queued datagram of ``size`` bytes is accounted with: its buffer is a power of two with a tail in it."""
    return _DATAGRAM_HEAD + max(_SMALLEST_DATAGRAM, 1 << (size + 400 - 1).bit_length())


def _look_unix(listener: socket.socket) -> Queue:
    found = unixdiag.ask(listener, unixdiag.QUEUE)
    return Queue(0) if found is None else Queue(*found)
