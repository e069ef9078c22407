"""The kick: an eventfd in every worker's epoll set that says "somebody try all listeners".

Exclusive wake-ups can be lost: who was woken for a client may die before it accepts, and the others sleep on.
It must not know who kicks, or why.
Invariant: after a kick at least one process that waits on it wakes.
"""

import contextlib
import os


def create() -> int:
    return os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)


def kick(fd: int) -> None:
    with contextlib.suppress(BlockingIOError):  # full after 2**64 - 2 kicks nobody read: one more says nothing new
        os.eventfd_write(fd, 1)


def answer(fd: int) -> bool:
    """Take the kick; False if somebody else was faster."""
    try:
        os.eventfd_read(fd)
    except BlockingIOError:
        return False
    return True
