"""Whose an error of accept(2) or recvfrom(2) is: nobody's, the machine's, the listener's, or that one connection's.

It must not know what is done about it. Source: accept(2), which passes on what the network said of a connection that is
dead on arrival.
Invariant: every errno has one owner; one that nobody knows is the connection's.
"""

import errno
from enum import Enum, auto


class Owner(Enum):
    NOBODY = auto()  # nobody is there, or somebody else was faster
    MACHINE = auto()  # or this process: no descriptor or memory for a client, who still waits
    SHUT = auto()  # the listener never listened, or was shut: after shutdown(SHUT_RD) an empty Unix one says so
    LISTENER = auto()  # it is none, or is closed
    CONNECTION = auto()  # it died before we had it


_OWNERS = {
    errno.EAGAIN: Owner.NOBODY,
    errno.EMFILE: Owner.MACHINE,
    errno.ENFILE: Owner.MACHINE,
    errno.ENOBUFS: Owner.MACHINE,
    errno.ENOMEM: Owner.MACHINE,
    errno.EINVAL: Owner.SHUT,
    errno.EBADF: Owner.LISTENER,
    errno.ENOTSOCK: Owner.LISTENER,
    errno.EOPNOTSUPP: Owner.LISTENER,
}


def owner(error: OSError) -> Owner:
    if isinstance(error, BlockingIOError):  # also one that a server raises itself, without a number
        return Owner.NOBODY
    return _OWNERS.get(error.errno or 0, Owner.CONNECTION)
