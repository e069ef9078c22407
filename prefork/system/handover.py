"""Handing over: a process becomes another program, and leaves it descriptors and a note of what they are.

It must not know what the note says. The note is a memfd, so that it needs no file and goes with its last reader.
Invariant: an exec that fails leaves the process as it was; of its descriptors only the named ones survive one that does
not.
Sources: execve(2), memfd_create(2).
"""

import os
from collections.abc import Iterable, Mapping
from typing import NoReturn


def create_note() -> int:
    """:raises OSError: EMFILE, ENFILE, ENOMEM."""
    return os.memfd_create("prefork-book", os.MFD_CLOEXEC)


def write(note: int, text: bytes) -> None:
    """Let the note say this, and nothing else.

    :raises OSError: ENOMEM.
    """
    os.ftruncate(note, 0)
    done = 0
    while done < len(text):
        done += os.pwrite(note, text[done:], done)


def read(note: int) -> bytes:
    """:raises OSError: EBADF, or ESPIPE where it is no note."""
    size = os.fstat(note).st_size
    text = b""
    while len(text) < size and (part := os.pread(note, size - len(text), len(text))):
        text += part
    return text


def open_to_read(note: int) -> int:
    """Another descriptor of the note, by which it cannot be changed, proc(5)."""
    return os.open(f"/proc/self/fd/{note}", os.O_RDONLY | os.O_CLOEXEC)


def become(argv: list[str], env: Mapping[str, str], keep: Iterable[int]) -> NoReturn:
    """Replace the program of this process by another, with the same pid, children and signal mask.

    :param keep: descriptors it finds under the same numbers.
    :raises OSError: it cannot be; nothing has changed.
    """
    closed_by_exec = [fd for fd in keep if not os.get_inheritable(fd)]
    try:
        for fd in closed_by_exec:
            os.set_inheritable(fd, True)
        os.execve(argv[0], argv, env)
    finally:
        for fd in closed_by_exec:
            os.set_inheritable(fd, False)


def take_back(fds: Iterable[int]) -> None:
    """In the program it became: no program that this one starts gets the descriptors unasked."""
    for fd in fds:
        os.set_inheritable(fd, False)
