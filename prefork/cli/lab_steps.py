"""How far a command of the lab is: a bar on a terminal, lines where there is none or each has something to tell; on
standard error.

It must not know what a step is. Invariant: however it ends, the terminal is as it was.
"""

import sys
import time
from contextlib import ExitStack
from typing import Any, Self

import click


class _Bar:
    """:param total: of what ``move`` tells.
    :param text: beside the bar.
    """

    def __init__(self, total: float, text: str = "") -> None:
        self._total = total
        self._text = text
        self._open = ExitStack()
        self._bar: Any = None  # where nobody would see it there is none

    def move(self, done: float, text: str | None = None) -> None:
        if self._bar is not None:
            self._bar.update(self._task, completed=min(done, self._total), description=text)

    def tell(self, line: str) -> None:
        """Above the bar."""
        if self._bar is None:
            click.echo(line, err=True)
        else:
            self._bar.console.print(line, markup=False, highlight=False)

    def __enter__(self) -> Self:
        if sys.stderr.isatty():
            from rich.console import Console
            from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

            columns = (BarColumn(20), TimeRemainingColumn(), TextColumn("{task.description}", markup=False))
            bar = Progress(*columns, console=Console(stderr=True), transient=True)
            self._bar = self._open.enter_context(bar)
            self._task = bar.add_task(self._text, total=self._total)
        return self

    def __exit__(self, *exception: object) -> None:
        self._open.close()


class CountedSteps(_Bar):
    """:param total: how many there are."""

    def __init__(self, total: int) -> None:
        super().__init__(total)
        self._begun = 0

    def begin(self, text: str) -> None:
        """The next step begins; the one before is done."""
        line = f"[{self._begun + 1}/{self._total}] {text}"
        self.move(self._begun, line)
        if self._bar is None:
            self.tell(line)
        self._begun += 1


class TimedSteps(_Bar):
    """:param seconds: that all of it may take."""

    def __init__(self, seconds: float) -> None:
        super().__init__(seconds, "at most")
        self._since = time.monotonic()

    def say(self, line: str) -> None:
        """One step is done."""
        self.move(time.monotonic() - self._since)
        self.tell(line)
