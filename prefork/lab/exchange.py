"""Where a reply ends, in bytes that come in pieces of any size.

It must not know sockets: it is fed what arrived, and told of the end.
Invariant: however the same bytes are cut into pieces, the same reply comes of them.
Read next: ``http_talk.py``, the reader of HTTP; ``connection.py``, which feeds them.
"""

from collections.abc import Callable
from typing import Protocol

from prefork.errors import UsageError
from prefork.lab.escapes import unescaped

Ending = Callable[[bytes, int], int]
"""Of what has come, whose first so many bytes were looked at before: how many make the reply, or -1 while unknown."""

FRAMES = "eof, line, bytes=N, length=N, until=TEXT, datagram or none"
LARGEST_HEADER = 8  # bytes of a length


class Reader(Protocol):
    """Reads one reply after the other."""

    reply: bytes
    may_keep: bool  # whether the connection may carry another request, by what the reply says

    @property
    def has_surplus(self) -> bool:
        """Whether more has come than the reply."""
        ...

    def feed(self, data: bytes) -> bool:
        """Take what arrived; whether the reply is whole now."""
        ...

    def end(self) -> bool:
        """The other side has closed; whether that makes the reply whole."""
        ...

    def fault(self) -> tuple[str, str] | None:
        """What is wrong with a reply that is whole: the kind of the error, and a sentence."""
        ...

    def clear(self) -> None:
        """Forget everything: the next bytes are another connection's."""
        ...

    def turn(self) -> bool:
        """The reply is taken, the next one begins; whether it is whole already, of bytes that came with the last."""
        ...


class BytesReader:
    """A reply of bytes, of which only the end matters.

    :param is_end_enough: whether the end of the connection ends a reply.
    :param keeps: whether anybody looks at the reply; otherwise one that ends with the connection is not kept.
    """

    may_keep = True

    def __init__(self, ending: Ending, is_end_enough: bool = False, keeps: bool = True) -> None:
        self._ending = ending
        self._is_end_enough = is_end_enough
        self._keeps = keeps or not is_end_enough
        self._pending = b""
        self._has_come = False
        self.reply = b""

    def feed(self, data: bytes) -> bool:
        self._has_come = True
        if not self._keeps:
            return False
        seen = len(self._pending)
        self._pending = self._pending + data if seen else data
        return self._cut(seen)

    def end(self) -> bool:
        self.reply = self._pending
        return self._is_end_enough and self._has_come

    def fault(self) -> tuple[str, str] | None:
        return None

    @property
    def has_surplus(self) -> bool:
        return bool(self._pending)

    def clear(self) -> None:
        self._pending = b""
        self._has_come = False

    def turn(self) -> bool:
        self._has_come = bool(self._pending)
        return self._has_come and self._cut(0)

    def _cut(self, seen: int) -> bool:
        pending = self._pending
        size = self._ending(pending, seen)
        if size < 0:
            return False
        self.reply, self._pending = (pending, b"") if size == len(pending) else (pending[:size], pending[size:])
        return True


def _never(pending: bytes, seen: int) -> int:
    return -1


def _all(pending: bytes, seen: int) -> int:
    return len(pending)


def terminated(mark: bytes) -> Ending:
    """After the first ``mark``."""

    def ending(pending: bytes, seen: int) -> int:
        at = pending.find(mark, max(0, seen - len(mark) + 1))
        return at if at < 0 else at + len(mark)

    return ending


def exactly(size: int) -> Ending:
    return lambda pending, seen: size if len(pending) >= size else -1


def counted(width: int) -> Ending:
    """After as many bytes as the first ``width`` say, big-endian; those are not counted."""

    def ending(pending: bytes, seen: int) -> int:
        if len(pending) < width:
            return -1
        size = width + int.from_bytes(pending[:width], "big")
        return size if len(pending) >= size else -1

    return ending


def reader_of(reply: str, keeps: bool = True) -> BytesReader:
    """:param reply: as in ``load.Load``; of ``none`` nobody reads.
    :raises UsageError: it names no way to end a reply.
    """
    name, _, value = reply.partition("=")
    if name == "eof" and not value:
        return BytesReader(_never, is_end_enough=True, keeps=keeps)
    if name in ("datagram", "none") and not value:
        return BytesReader(_all)
    if name == "line" and not value:
        return BytesReader(terminated(b"\n"))
    if name == "until" and value:
        return BytesReader(terminated(unescaped(value, "--reply")))
    if name in ("bytes", "length") and value.isascii() and value.isdecimal() and int(value) > 0:
        if name == "bytes":
            return BytesReader(exactly(int(value)))
        if int(value) <= LARGEST_HEADER:
            return BytesReader(counted(int(value)))
        raise UsageError(f"--reply: a length has 1 to {LARGEST_HEADER} bytes, not {value}")
    raise UsageError(f"--reply: {reply!r} does not say where a reply ends; write {FRAMES}")
