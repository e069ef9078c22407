"""How a load goes, while it does: two live lines in a terminal, elsewhere a line now and then. On standard error.

It must not know what is measured. Invariant: when it is left, the terminal has a line of its own again.
"""

import time
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from prefork.lab.generators import Progress
from prefork.lab.load import Load
from prefork.report.units import age, latency, rate

SELDOM = 5.0  # seconds from one line to the next where nobody watches
BAR = 24  # characters


class Screen:
    """:param console: where to; its own knowledge of being a terminal decides."""

    def __init__(self, load: Load, console: Console | None = None) -> None:
        self._load = load
        self._console = console or Console(stderr=True, highlight=False)
        self._live = Live(console=self._console, transient=True, auto_refresh=False)
        self._next = time.monotonic() + SELDOM

    def __enter__(self) -> Self:
        if self._console.is_terminal:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._console.is_terminal:
            self._live.stop()

    def show(self, progress: Progress) -> None:
        if self._console.is_terminal:
            self._live.update(self._picture(progress), refresh=True)
        elif time.monotonic() >= self._next:
            self._next = time.monotonic() + SELDOM
            self._console.print(f"{self._when(progress)}  {figures(progress)}", markup=False, soft_wrap=True)

    def _picture(self, progress: Progress) -> Table:
        load = self._load
        by_time = max(0.0, progress.at_seconds) / load.duration
        by_count = (progress.requests + progress.failed) / load.requests if load.requests else 0.0
        grid = Table.grid(padding=(0, 2))
        bar = ProgressBar(total=1.0, completed=min(1.0, max(by_time, by_count)), width=BAR)
        failed = f"   {progress.failed} failed" if progress.failed else ""
        grid.add_row(bar, Text(self._when(progress)), Text(figures(progress)), Text(failed, style="red"))
        return grid

    def _when(self, progress: Progress) -> str:
        if progress.at_seconds < 0:
            return "warming up"
        if progress.at_seconds > self._load.duration:
            return "waiting for the last"
        return age(int(progress.at_seconds))


def figures(progress: Progress) -> str:
    """In one line."""
    return (
        f"{rate(progress.rate)}  p50 {latency(progress.p50)}  p99 {latency(progress.p99)}  "
        f"{progress.in_flight} in flight"
    )
