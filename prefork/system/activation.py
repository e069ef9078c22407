"""Activation: the descriptors that the service manager opened, or kept, and passed to us when it started us.

They come from number 3 on, named in ``LISTEN_FDNAMES``: sockets of a socket unit, and what an earlier run of ours gave
it to keep (``FDSTORE``). The protocol is that of sd_listen_fds(3). It must not know what a name means.
Invariant: what was passed is ours once: the variables are gone from the environment, no program that we start gets the
descriptors unasked, and whoever takes one is the only one who does.
Read next: ``notify.py``, the other direction.
"""

import contextlib
import os
from collections.abc import Mapping, MutableMapping

FIRST = 3  # SD_LISTEN_FDS_START
_VARIABLES = ("LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES", "LISTEN_PIDFDID")
_UNNAMED = "unknown"  # as systemd calls what has no name


class Passed:
    """What was passed and is not taken yet.

    :param by_name: descriptors by the name they came under, in their order.
    """

    def __init__(self, by_name: Mapping[str, list[int]] | None = None) -> None:
        self._numbered = {
            (name, number): fd for name, fds in (by_name or {}).items() for number, fd in enumerate(fds, 1)
        }
        self._taken: set[int] = set()

    @property
    def names(self) -> list[str]:
        """Of what is left, each once."""
        return list(dict.fromkeys(name for name, _ in self._numbered))

    def take(self, name: str, number: int = 1) -> int | None:
        """The descriptor of that name, the ``number``-th of several; ``None`` where there is none."""
        fd = self._numbered.pop((name, number), None)
        self._taken |= set() if fd is None else {fd}
        return fd

    def take_all(self, name: str) -> list[int]:
        """Every descriptor of that name that is left."""
        return [self._numbered.pop(key) for key in list(self._numbered) if key[0] == name]

    def take_number(self, fd: int) -> bool:
        """Somebody takes it by its number; false where somebody has taken it already."""
        is_free = fd not in self._taken
        self._taken.add(fd)
        self._numbered = {key: passed for key, passed in self._numbered.items() if passed != fd}
        return is_free

    def close(self) -> None:
        """Close what nobody has taken."""
        for fd in self._numbered.values():
            with contextlib.suppress(OSError):  # nobody was there under that number
                os.close(fd)
        self._numbered.clear()


def take_passed(environ: MutableMapping[str, str]) -> Passed:
    """What was passed to this process; nothing where the variables are not there, or are meant for another.

    :param environ: loses them.
    """
    pid, count, names, _ = (environ.pop(variable, "") for variable in _VARIABLES)
    if pid != str(os.getpid()) or not (count.isascii() and count.isdecimal()):
        return Passed()
    fds = range(FIRST, FIRST + int(count))
    by_name: dict[str, list[int]] = {}
    for fd, name in zip(fds, _named(names, len(fds)), strict=True):
        with contextlib.suppress(OSError):  # the count was a lie
            os.set_inheritable(fd, False)
            by_name.setdefault(name, []).append(fd)
    return Passed(by_name)


def _named(text: str, count: int) -> list[str]:
    names = text.split(":") if text else []
    return (names + [_UNNAMED] * count)[:count]
