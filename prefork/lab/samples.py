"""What every request of a load took, kept raw: one row each, from the generator's memory to the parent's.

It must not know sockets. Invariant: a row is written once, when its request is over; none is dropped or thinned out.
"""

import os
from array import array
from typing import Any

import numpy as np
import numpy.typing as npt

ANSWERED = 0
"""The kind of what was answered rightly; every other kind is an error."""
KINDS = (
    "answered", "refused", "reset", "timeout", "closed", "wrong", "status", "lost", "unsent", "unfinished", "tls",
    "descriptors",
)  # fmt: skip
ROW = np.dtype([("intended", "f8"), ("started", "f8"), ("ended", "f8"), ("kind", "u1")])
"""Seconds since the measured time began, and the index of a kind's name."""


class Samples:
    """Rows and the names of their kinds.

    :param rows: of dtype ``ROW``, in no order that says anything.
    :param kinds: names by number; the first is ``answered``.
    """

    def __init__(self, rows: npt.NDArray[Any], kinds: list[str]) -> None:
        self.rows = rows
        self.kinds = kinds

    @property
    def answered(self) -> npt.NDArray[Any]:
        """The rows of what was answered rightly."""
        good: npt.NDArray[Any] = self.rows[self.rows["kind"] == ANSWERED]
        return good

    @property
    def latencies(self) -> npt.NDArray[np.float64]:
        """Of what was answered rightly, in seconds from the intended start."""
        good = self.answered
        return np.asarray(good["ended"] - good["intended"], dtype=np.float64)

    @property
    def services(self) -> npt.NDArray[np.float64]:
        """Of what was answered rightly, in seconds from when it was begun."""
        good = self.answered
        return np.asarray(good["ended"] - good["started"], dtype=np.float64)

    @property
    def errors(self) -> dict[str, int]:
        """How many of each kind, the most frequent first."""
        counts = np.bincount(self.rows["kind"], minlength=len(self.kinds))[1:]
        named = zip(self.kinds[1:], counts.tolist(), strict=False)
        return {name: count for name, count in sorted(named, key=lambda pair: -pair[1]) if count}


class Tape:
    """The generator's end: rows gather in arrays, cheaply, and go to a file now and then.

    :param fd: a file in memory that the parent reads too.
    """

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self.zero = 0.0  # when the measured time begins, on the monotonic clock
        self._times = array("d")
        self._codes = array("B")
        self.kinds = list(KINDS)

    def write(self, intended: float, started: float, ended: float, kind: int = ANSWERED) -> None:
        self._times.extend((intended, started, ended))
        self._codes.append(kind)

    def code(self, kind: str) -> int:
        """The number of a kind; a new one is added."""
        if kind not in self.kinds:
            self.kinds.append(kind)
        return self.kinds.index(kind)

    def flush(self) -> None:
        if not self._codes:
            return
        rows = np.empty(len(self._codes), ROW)
        times = np.frombuffer(self._times, "f8").reshape(-1, 3) - self.zero
        rows["intended"], rows["started"], rows["ended"] = times[:, 0], times[:, 1], times[:, 2]
        rows["kind"] = np.frombuffer(self._codes, "u1")
        self._times, self._codes = array("d"), array("B")
        left = memoryview(rows.tobytes())
        while left:
            left = left[os.write(self._fd, left) :]


class Reel:
    """The parent's end of a tape: what has come to it since the last look."""

    def __init__(self) -> None:
        self.fd = os.memfd_create("prefork-load")
        self._seen = 0

    def rows(self) -> npt.NDArray[Any]:
        """All there are."""
        return self._read(0)

    def news(self) -> npt.NDArray[Any]:
        return self._read(self._seen)

    def _read(self, start: int) -> npt.NDArray[Any]:
        whole = os.fstat(self.fd).st_size // ROW.itemsize * ROW.itemsize
        data = os.pread(self.fd, whole - start, start) if whole > start else b""
        self._seen = start + len(data) // ROW.itemsize * ROW.itemsize
        return np.frombuffer(data[: self._seen - start], ROW)

    def close(self) -> None:
        os.close(self.fd)
