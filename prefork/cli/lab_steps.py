"""How far a long measurement is: a bar in a terminal, otherwise a line a step; on standard error.

It must not know what a step is. Invariant: however it ends, the terminal is as it was.
"""

import sys
from contextlib import ExitStack
from typing import Any, Self

import click


class Steps:
    """:param total: how many there are."""

    def __init__(self, total: int) -> None:
        self._total = total
        self._done = 0
        self._open = ExitStack()
        self._bar: Any = None

    def begin(self, text: str) -> None:
        """The next step begins; the one before is done."""
        if self._bar is not None:
            self._bar.update(self._task, completed=self._done, description=text)
        else:
            click.echo(f"[{self._done + 1}/{self._total}] {text}", err=True)
        self._done += 1

    def __enter__(self) -> Self:
        if sys.stderr.isatty():
            from rich.console import Console
            from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

            columns = (BarColumn(20), TextColumn("{task.completed}/{task.total}"), TimeRemainingColumn())
            text = TextColumn("{task.description}", markup=False)
            bar = Progress(*columns, text, console=Console(stderr=True), transient=True)
            self._bar = self._open.enter_context(bar)
            self._task = bar.add_task("", total=self._total)
        return self

    def __exit__(self, *exception: object) -> None:
        self._open.close()
