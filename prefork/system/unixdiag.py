"""What the kernel knows of a Unix socket and no call on it tells, asked by the socket's inode, sock_diag(7).

It must not know what an answer is for. Invariant: asking changes nothing, and where the kernel does not tell, it is
``None`` or an error, never a guess.
"""

import os
import socket
import struct
from typing import NamedTuple

_NETLINK_SOCK_DIAG = 4
_SOCK_DIAG_BY_FAMILY = 20
_NLM_F_REQUEST = 1
_ALL_STATES = 0xFFFFFFFF
_NO_COOKIE = 0xFFFFFFFF
_MESSAGE = struct.Struct("=IHHII")  # struct nlmsghdr
_REQUEST = struct.Struct("=BBHIIIII")  # struct unix_diag_req
_ANSWER = 16  # bytes of struct unix_diag_msg, before the attributes


class Question(NamedTuple):
    """:param show: the bit that asks for it, UDIAG_SHOW_…; ``attribute``: the number under which it is answered."""

    show: int
    attribute: int


FILE = Question(0x02, 1)  # inode, cut to 32 bits, and device of the path it is bound to, as the kernel numbers it
QUEUE = Question(0x10, 4)  # of a listener: its length, and its limit


def ask(sock: socket.socket, question: Question) -> tuple[int, int] | None:
    """The two numbers of the answer; ``None`` where there is none.

    :raises OSError, struct.error: an old or emulated kernel, or a sandbox.
    """
    inode = os.fstat(sock.fileno()).st_ino
    request = _REQUEST.pack(
        socket.AF_UNIX, 0, 0, _ALL_STATES, inode & 0xFFFFFFFF, question.show, _NO_COOKIE, _NO_COOKIE
    )
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, _NETLINK_SOCK_DIAG) as kernel:
        kernel.send(_MESSAGE.pack(_MESSAGE.size + len(request), _SOCK_DIAG_BY_FAMILY, _NLM_F_REQUEST, 1, 0) + request)
        answer = kernel.recv(4096)
    kind = _MESSAGE.unpack_from(answer)[1]
    if kind != _SOCK_DIAG_BY_FAMILY:
        return None
    place = _MESSAGE.size + _ANSWER
    while place + 4 <= len(answer):
        length, attribute = struct.unpack_from("=HH", answer, place)
        if attribute == question.attribute:
            first, second = struct.unpack_from("=II", answer, place + 4)
            return first, second
        place += (max(length, 4) + 3) & ~3
    return None
