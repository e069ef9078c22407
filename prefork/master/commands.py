"""Commands: what operators want to be run when a service is ready, was reloaded, or was given up.

They are programs, for the master runs nobody's code. Each has a time limit and a process group of its own, ends with
the master, and its output goes into the log. Of each kind at most one runs for a service; of those that come meanwhile
the last one follows.
It must not know the rules. Invariant: whatever a command does, the master never waits for it.
Read next: ``docs/commands.md``; ``loop.py``, who tells what happened.
"""

import logging
import os
import time
from collections.abc import Collection, Hashable, Iterable, Mapping
from typing import NamedTuple

from msgspec import Struct, field

from prefork.config.service import Service
from prefork.master.hands import Machine
from prefork.pool import events, probation
from prefork.pool.records import Pool
from prefork.system import processes

logger = logging.getLogger("prefork.master")
now = time.monotonic

LONGEST_LINE = 2000  # bytes of output that become one line of the log
MOST_LINES = 200  # of one run, after which its output is closed
WHY_MAX = 20_000  # characters, of which the last are kept: execve(2) refuses a longer environment
MERCY = 1.0  # seconds after a kill in which the kernel has to report the end


class Occasion(NamedTuple):
    """What a command may be wanted for.

    :param kind: ``ready``, ``reload`` or ``failed``.
    :param outcome: of a reload: ``serves``, ``abandoned`` or ``refused``.
    """

    kind: str
    generation: int
    outcome: str = ""
    why: str = ""


def occasion(before: Pool, event: events.Event) -> Occasion | None:
    """What the news is an occasion for."""
    reforked = [number for number, generation in before.generations.items() if generation.is_reforked]
    match event:
        case events.GenerationEvent(generation=generation) if generation in reforked:
            return None  # the same code, though it serves from another process
        case events.GenerationSettled(generation=generation) if not before.serving:
            return Occasion("ready", generation)
        case events.GenerationSettled(generation=generation) if probation.begin(before, event) is None:
            return Occasion("reload", generation, "serves")
        case events.ProbationEnded(generation=generation, why=why):
            return Occasion("reload", generation, "serves", why)
        case events.GenerationRolledBack(generation=generation, why=why):
            return Occasion("reload", generation, "abandoned", why)
        case events.GenerationAbandoned(generation=generation, why=why) if before.serving:
            return Occasion("reload", generation, "abandoned", why)
        case events.ReloadRefused(why=why):
            return Occasion("reload", before.serving, "refused", why)
        case events.ServiceFailed(why=why) if not before.failed:
            return Occasion("failed", before.newest, why=why)
    return None


def _is_reforked(pool: Pool, number: int) -> bool:
    generation = pool.generations.get(number)
    return generation is not None and generation.is_reforked


class Order(Struct, eq=False):
    """A command that is wanted."""

    service: str
    settings: Service
    occasion: Occasion

    @property
    def name(self) -> str:
        return f"on_{self.occasion.kind}"

    @property
    def key(self) -> tuple[str, str]:
        return self.service, self.occasion.kind


class Output(Struct, eq=False):
    """The reading end of what a run prints.

    :param reader: -1 once it is closed.
    """

    reader: int
    remainder: bytes = b""
    lines: int = 0


class Run(Struct, eq=False):
    """A command that runs."""

    order: Order
    pid: int
    pidfd: int
    output: Output
    deadline: float
    next: Order | None = None
    killed_at: float | None = None


class Commands(Struct, eq=False):
    """:param name: of the instance."""

    name: str
    machine: Machine
    _runs: dict[tuple[str, str], Run] = field(default_factory=dict)

    def learn(self, before: Pool, event: events.Event, settings: Service) -> None:
        """Run what is wanted at this news.

        :param settings: that hold after it.
        """
        what = occasion(before, event)
        if what is None or not getattr(settings, f"on_{what.kind}"):
            return
        order = Order(before.name, settings, what)
        run = self._runs.get(order.key)
        if run is None:
            self._start(order)
        else:
            run.next = order

    def obey(self, keys: Collection[Hashable]) -> None:
        """See to those that have printed something, ended, or take too long.

        :param keys: what the wait brought.
        """
        for run in list(self._runs.values()):
            if run.output in keys:
                self._read(run)
            if run in keys:
                self._reap(run)
            elif run.killed_at is None and now() >= run.deadline:
                limit = run.order.settings.command_timeout
                logger.warning(
                    "%s is killed: it takes longer than command_timeout, %g s",
                    _who(run),
                    limit,
                    extra=_extra(run.order),
                )
                self._kill(run)

    @property
    def until(self) -> float | None:
        """When the next one is due to be killed, or to have died of it."""
        return min((_due(run) for run in self._runs.values()), default=None)

    @property
    def running(self) -> list[Run]:
        return list(self._runs.values())

    def resume(self, runs: Iterable[Run]) -> None:
        """Go on with what the image before us has started."""
        for run in runs:
            self._runs[run.order.key] = run
            self._heed(run)

    def finish(self, *, is_hurried: bool) -> None:
        """Nothing is served any more: end what runs, but for a command that tells of a failure.

        :param is_hurried: that one too.
        """
        for run in self._runs.values():
            run.next = None
            if run.killed_at is None and (is_hurried or run.order.occasion.kind != "failed"):
                self._kill(run)

    @property
    def are_over(self) -> bool:
        """Whether all have ended, or were killed and cannot be waited for any longer."""
        return all(run.killed_at is not None and now() >= _due(run) for run in self._runs.values())

    def _start(self, order: Order) -> None:
        argv = getattr(order.settings, order.name)
        try:
            reader, writer = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
            try:
                os.set_blocking(writer, True)
                pid = processes.launch(argv, _environment(self.name, order), writer, self.machine.descriptors)
            except OSError:
                os.close(reader)
                raise
            finally:
                os.close(writer)
        except OSError as error:
            logger.warning("%s: %s cannot be run: %s", order.service, order.name, error.strerror, extra=_extra(order))
            return
        pidfd = processes.open_pidfd(pid)
        assert pidfd is not None, "an uncollected child has a pidfd"
        run = Run(order, pid, pidfd, Output(reader), now() + order.settings.command_timeout)
        self._runs[order.key] = run
        self._heed(run)
        logger.debug("%s: %s", _who(run), " ".join(argv))

    def _heed(self, run: Run) -> None:
        self.machine.helpers.add(run.pid)
        self.machine.poller.add(run.pidfd, run)
        if run.output.reader != -1:
            self.machine.poller.add(run.output.reader, run.output)

    def _read(self, run: Run) -> None:
        output = run.output
        while output.reader != -1:
            try:
                chunk = os.read(output.reader, LONGEST_LINE)
            except BlockingIOError:
                return
            *lines, output.remainder = (output.remainder + chunk).split(b"\n")
            if len(output.remainder) >= LONGEST_LINE or not chunk:
                lines.append(output.remainder)
                output.remainder = b""
            _print(run, lines)
            if not chunk:
                self._close(run)
            elif output.lines > MOST_LINES:
                logger.warning(
                    "%s prints more than %d lines, and nobody reads on", _who(run), MOST_LINES, extra=_extra(run.order)
                )
                self._close(run)

    def _close(self, run: Run) -> None:
        if run.output.reader != -1:
            self.machine.poller.remove(run.output.reader)
            os.close(run.output.reader)
            run.output.reader = -1

    def _reap(self, run: Run) -> None:
        ended = processes.reap(run.pidfd)
        if ended is None:
            return
        self._read(run)
        _print(run, [run.output.remainder])
        self._close(run)  # whoever it has left behind talks to nobody
        if ended.code != 0 and run.killed_at is None:
            logger.warning("%s %s", _who(run), ended, extra=_extra(run.order))
        self.machine.poller.remove(run.pidfd)
        os.close(run.pidfd)
        self.machine.helpers.discard(run.pid)
        del self._runs[run.order.key]
        if run.next is not None:
            self._start(run.next)

    def _kill(self, run: Run) -> None:
        run.killed_at = now()
        processes.kill_group(run.pidfd, run.pid)


def _who(run: Run) -> str:
    return f"{run.order.service}: {run.order.name} [{run.pid}]"


def _extra(order: Order) -> dict[str, object]:
    """What log lines carry."""
    return {"service": order.service, "generation": order.occasion.generation, "event": order.name}


def _due(run: Run) -> float:
    return run.deadline if run.killed_at is None else run.killed_at + MERCY


def _print(run: Run, lines: list[bytes]) -> None:
    for line in lines:
        if run.output.lines < MOST_LINES and line.strip():
            text = line.decode(errors="backslashreplace").rstrip()
            logger.info("%s: %s", _who(run), text, extra=_extra(run.order))
        run.output.lines += 1


def _environment(name: str, order: Order) -> Mapping[str, str]:
    occasion = order.occasion
    told = {
        "NAME": name,
        "SERVICE": order.service,
        "EVENT": occasion.kind,
        "GENERATION": str(occasion.generation),
        "OUTCOME": occasion.outcome,
        "WHY": occasion.why[-WHY_MAX:].replace("\0", " "),
    }
    return {**os.environ, **{f"PREFORK_{key}": value for key, value in told.items()}}
