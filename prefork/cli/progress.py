"""The progress of a command that waits: a bar on the last line of the terminal, and what happens above it.

It must not know what is waited for. Invariant: however the command ends, the bar is gone and the line is empty.
"""

import os
import sys
from types import TracebackType
from typing import Self

import click

from prefork.control.messages import Progress

WIDTH = 20  # cells of the bar
COLUMNS = 80  # of a terminal that does not say
_CLEAR = "\r\x1b[K"


class Bar:
    """On standard error; nothing of it is drawn where that is no terminal."""

    def __init__(self) -> None:
        self._is_seen = sys.stderr.isatty()
        self._counts: dict[str, tuple[int, int]] = {}  # by service

    def show(self, progress: Progress) -> None:
        """What is a matter of workers moves the bar; anything else is a line above it."""
        if progress.done is not None and progress.total:
            self._counts[progress.service] = (progress.done, progress.total)
            if not self._is_seen:
                click.echo(progress.text, err=True)
        else:
            self._write(_CLEAR)
            click.echo(progress.text, err=True)
        self._draw(progress.text)

    def _draw(self, text: str) -> None:
        done = sum(done for done, _ in self._counts.values())
        total = sum(total for _, total in self._counts.values())
        if total:
            cells = WIDTH * done // total
            line = f"[{'#' * cells}{'-' * (WIDTH - cells)}] {text.partition(chr(10))[0]}"
            self._write(f"{_CLEAR}{line[: _columns() - 1]}")

    def _write(self, text: str) -> None:
        if self._is_seen:
            sys.stderr.write(text)
            sys.stderr.flush()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._counts:
            self._write(_CLEAR)


def _columns() -> int:
    """Of the terminal; some say that they have none."""
    try:
        return os.get_terminal_size(sys.stderr.fileno()).columns or COLUMNS
    except OSError:
        return COLUMNS
