"""Summons: one process gives a descriptor to one of many, who all hold the other end of a socket pair.

Whoever takes a packet has it alone, unix(7) on SOCK_SEQPACKET and SCM_RIGHTS. It must not know what is given, nor whom
it is for: that stands in the packet.
Invariant: nothing here waits, and a descriptor is given once: it is taken, or taken back.
"""

import errno
import os
import socket
import sys

_ROOM = 4096  # bytes of a packet


class Summons:
    """The giver's hold of both ends, made when somebody first asks for the takers' one."""

    def __init__(self) -> None:
        self._ends: tuple[socket.socket, socket.socket] | None = None

    @property
    def takers(self) -> int:
        """The end that takers inherit.

        :raises OSError: EMFILE.
        """
        if self._ends is None:
            self._ends = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_NONBLOCK)
        return self._ends[1].fileno()

    def give(self, packet: bytes, fd: int) -> None:
        """:raises OSError: ENOBUFS, ETOOMANYREFS: the kernel has no room for it; ENOTCONN: nobody could take it."""
        if self._ends is None:
            raise OSError(errno.ENOTCONN, os.strerror(errno.ENOTCONN))
        socket.send_fds(self._ends[0], [packet], [fd])

    def take_back(self) -> None:
        """Close what nobody has taken."""
        while self._ends is not None and (taken := take(self._ends[1].fileno())) is not None:
            os.close(taken[1])

    def close(self) -> None:
        for end in self._ends or ():
            end.close()
        self._ends = None


def take(fd: int) -> tuple[bytes, int] | None:
    """A packet and the descriptor that came with it; ``None`` where nothing is there.

    :param fd: the takers' end.
    """
    with socket.socket(fileno=os.dup(fd)) as end:
        try:
            # not recv_fds, which forgets the flags that it is given
            packet, ancillary, _, _ = end.recvmsg(_ROOM, socket.CMSG_SPACE(4), socket.MSG_CMSG_CLOEXEC)
        except (BlockingIOError, ConnectionError):
            return None
    for _, _, content in ancillary:
        return packet, int.from_bytes(content[:4], sys.byteorder)
    return None  # the other end is gone, or we have no room for one more descriptor
