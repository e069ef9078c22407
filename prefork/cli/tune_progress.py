"""How far a command of the lab is: a line a step on standard error, and on a terminal a bar below them.

It must not know what the steps are. Invariant: however it ends, the bar is gone.
"""

import sys
import time
from types import TracebackType
from typing import Self

import click
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn


class Steps:
    """:param seconds: that all of it may take."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._begun = time.monotonic()
        self._bar: Progress | None = None
        if sys.stderr.isatty():
            columns = (TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn())
            self._bar = Progress(*columns, console=Console(stderr=True), transient=True)
            self._task = self._bar.add_task("at most", total=seconds)

    def say(self, line: str) -> None:
        """One step is done."""
        self.move(time.monotonic() - self._begun)
        if self._bar is None:
            click.echo(line, err=True)
        else:
            self._bar.console.print(line, markup=False, highlight=False)

    def move(self, seconds: float) -> None:
        """:param seconds: of all are over."""
        if self._bar is not None:
            self._bar.update(self._task, completed=min(seconds, self._seconds))

    def __enter__(self) -> Self:
        if self._bar is not None:
            self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()
