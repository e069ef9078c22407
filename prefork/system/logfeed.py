"""The log feed: how processes that may not open the log file get it from the one that may.

A descriptor hangs in a socket pair, and whoever holds the reading end takes a copy by looking at it, without taking it
away: ``MSG_PEEK`` with ``SCM_RIGHTS``, unix(7). So a log file is opened by the master alone, whatever user its workers
run as, and wherever their root is. It must not know lines.
Invariant: there is always one descriptor to take, also while it is replaced.
"""

import contextlib
import errno
import os
import socket
import sys

_LONGEST = 20  # bytes of a packet: how manieth descriptor it brings
_INT = 4  # bytes of a descriptor's number


class Feed:
    """The giving end.

    :param fd: what hangs there from the beginning.
    """

    def __init__(self, fd: int) -> None:
        kind = socket.SOCK_SEQPACKET | socket.SOCK_NONBLOCK
        self._giver, self._taker = socket.socketpair(socket.AF_UNIX, kind)
        self._number = 0
        self._give(fd)

    @classmethod
    def resumed(cls, giver: int, taker: int, number: int) -> "Feed":
        """The feed of the image before us: what hangs there stays."""
        feed = cls.__new__(cls)
        feed._giver, feed._taker, feed._number = socket.socket(fileno=giver), socket.socket(fileno=taker), number
        for end in (feed._giver, feed._taker):
            end.setblocking(False)
        return feed

    def fileno(self) -> int:
        """The end to hand over, for ``take``."""
        return self._taker.fileno()

    @property
    def held(self) -> tuple[int, int, int]:
        """What ``resumed`` wants."""
        return self._giver.fileno(), self._taker.fileno(), self._number

    def replace(self, fd: int) -> None:
        """Hang ``fd`` there instead; whoever looks meanwhile finds one of the two."""
        self._give(fd)
        with contextlib.suppress(BlockingIOError):  # a holder of the other end has taken away what it should not
            while self._taker.recv(_LONGEST, socket.MSG_PEEK) != b"%d" % self._number:
                self._taker.recv(_LONGEST)

    def _give(self, fd: int) -> None:
        self._number += 1
        socket.send_fds(self._giver, [b"%d" % self._number], [fd])

    def close(self) -> None:
        self._giver.close()
        self._taker.close()


def take(feed: int) -> int:
    """A descriptor of one's own, closed by an exec.

    :param feed: the end that was handed over; it stays open.
    :raises OSError: EMFILE; EAGAIN where somebody else has taken it away.
    """
    with socket.socket(fileno=os.dup(feed)) as taker:
        how = socket.MSG_PEEK | socket.MSG_DONTWAIT | socket.MSG_CMSG_CLOEXEC
        _, gifts, _, _ = taker.recvmsg(_LONGEST, socket.CMSG_LEN(_INT), how)
    for level, kind, data in gifts:
        if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
            return int.from_bytes(data, sys.byteorder)
    raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
