"""Settings and counters of the kernel, as it tells them in ``/proc``: one number each, by the name sysctl(8) and ``ss``
know them by.

It must not know what is too little. Invariant: looking changes nothing, and what is not told is an ``OSError``.
Sources: proc(5); the kernel's ip-sysctl.rst and snmp_counter.rst.
"""

import errno
from collections.abc import Iterator

SETTINGS = "/proc/sys"
COUNTERS = "/proc/net"


def setting(name: str) -> list[int]:
    """``net.core.somaxconn``: its number, or the numbers of one that has several.

    :raises OSError: the kernel has none of that name, or does not tell.
    """
    path = f"{SETTINGS}/{name.replace('.', '/')}"
    with open(path) as file:
        text = file.read()
    try:
        return [int(word) for word in text.split()]
    except ValueError:
        raise OSError(errno.EINVAL, "it is no number", path) from None


def counters() -> dict[str, int]:
    """Of this network namespace since it began, by group and name: ``TcpExt.ListenOverflows``, ``Udp.RcvbufErrors``.

    :raises OSError: the kernel does not tell.
    """
    return {name: number for table in ("netstat", "snmp") for name, number in _pairs(f"{COUNTERS}/{table}")}


def _pairs(path: str) -> Iterator[tuple[str, int]]:
    """Of a file of two rows a group: the names, and the numbers below them."""
    with open(path) as file:
        rows = file.read().splitlines()
    for names, numbers in zip(rows[::2], rows[1::2], strict=False):
        group, *columns = names.split()
        for column, number in zip(columns, numbers.split()[1:], strict=False):
            yield f"{group.rstrip(':')}.{column}", int(number)
