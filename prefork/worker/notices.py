"""The worker's end of the notice pipe: rare news to the master, written whole or not at all, never waiting.

Invariant: a notice that does not fit into the pipe is dropped, for the slot holds the same state.
"""

import os

from prefork.worker.protocol import PIPE_BUF, Broken, Left, Record, encode, tail


class Notices:
    """:param fd: the non-blocking writing end."""

    def __init__(self, fd: int) -> None:
        self._fd = fd

    def send(self, record: Record) -> None:
        line = encode(record) + b"\n"
        while len(line) > PIPE_BUF and isinstance(record, Broken | Left):
            record = record._replace(why=tail(record.why, len(record.why) // 2))
            line = encode(record) + b"\n"
        try:
            os.write(self._fd, line)
        except OSError:
            pass  # full: the slot says it too; no reader: the master is gone, which the lifeline tells
