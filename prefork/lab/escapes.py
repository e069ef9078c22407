"""Bytes as people type them on a command line: ``GET / HTTP/1.0\\r\\n\\r\\n``, ``\\x00``.

Invariant: text without a backslash stands for its own UTF-8.
"""

import re

from prefork.errors import UsageError

_ESCAPE = re.compile(rb"\\(x[0-9a-fA-F]{2}|[\s\S]?)")
_LETTERS = {b"n": b"\n", b"r": b"\r", b"t": b"\t", b"0": b"\0", b"\\": b"\\"}


def unescaped(text: str, flag: str) -> bytes:
    """:raises UsageError: a backslash begins nothing we know."""

    def byte(match: re.Match[bytes]) -> bytes:
        name = match[1]
        if len(name) == 3:
            return bytes([int(name[1:], 16)])
        if name not in _LETTERS:
            shown = match[0].decode(errors="replace")
            raise UsageError(
                f"{flag}: {shown!r} is no escape; write one of \\n \\r \\t \\0 \\xHH, or \\\\ for a backslash"
            )
        return _LETTERS[name]

    return _ESCAPE.sub(byte, text.encode(errors="surrogateescape"))
