"""The lifeline: a pipe that only the master can write, so that its end of file says the master is gone.

Nobody ever writes to it. It must not know what its holders do about the news.
Invariant: a process that armed the lifeline gets one SIGIO when the last writer is gone, also while it is busy.
"""

import fcntl
import os


def create() -> tuple[int, int]:
    """The reading and the writing end, both closed by an exec unless handed over; keep the second to yourself.

    Whoever is given the reading end may open it anew, also as another user; to write nobody may.
    """
    reader, writer = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
    os.fchmod(reader, 0o444)  # a pipe's mode is its creator's alone, pipe(7), and /proc/self/fd asks for it
    return reader, writer


def arm(reader: int) -> int:
    """Ask for SIGIO at end of file, for this process alone.

    The given descriptor is closed. Install a handler for SIGIO before: by default it ends the process, which is what a
    process without anything to finish wants.

    :returns: the descriptor to poll. Where /proc is missing it is the given one, and only a poll tells of the end.
    """
    try:
        own = open_anew(reader)
    except OSError:
        return reader
    os.close(reader)
    tie(own, os.getpid())
    return own


def open_anew(reader: int) -> int:
    """An open file of its own, to be tied: ``O_ASYNC`` and the owner belong to it, and a fork shares them.

    :raises OSError: /proc is missing, proc(5); EMFILE.
    """
    return os.open(f"/proc/self/fd/{reader}", os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)


def tie(own: int, pid: int) -> None:
    """Let process ``pid``, which holds ``own`` too, get SIGIO at end of file, whatever it runs by then, fcntl(2).

    :param own: by ``open_anew``. The process keeps it open; everybody else may close it.
    """
    fcntl.fcntl(own, fcntl.F_SETOWN, pid)
    fcntl.fcntl(own, fcntl.F_SETFL, fcntl.fcntl(own, fcntl.F_GETFL) | os.O_ASYNC)


def is_cut(reader: int) -> bool:
    """Whether the last writer is gone."""
    try:
        return os.read(reader, 1) == b""
    except BlockingIOError:
        return False
