"""The parent of generators: starts them, lets all begin at one instant, watches, and puts together what they measured.

It must not know how requests are sent (``generator.py``) nor what to think of the figures (``load_judging.py``).
Invariant: however it ends, no generator is left, and what comes of a load comes of all of its generators.
Read next: ``generator.py``; ``outcome.py``, from samples to a result.
"""

import os
import selectors
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack

import msgspec
import numpy as np
import numpy.typing as npt

from prefork.errors import CommandError, UsageError
from prefork.lab import busy, leash
from prefork.lab.aim import aim_of
from prefork.lab.load import Load, Result
from prefork.lab.load_checks import check
from prefork.lab.outcome import merged, result_of
from prefork.lab.reports import Failed, Finished, Order, Ready, Report, State
from prefork.lab.samples import ANSWERED, Reel, Samples
from prefork.system import cpus

HEAD_START = 0.05  # seconds from the order to begin to the beginning, so that all have read it
LOOK = 0.25  # seconds from one progress to the next
PATIENCE = 30.0  # seconds a generator may take to start; only a failure takes so long


class Progress(msgspec.Struct, frozen=True):
    """How a load goes.

    :param at_seconds: of the measured time; negative in the warm-up.
    :param requests: answered rightly so far.
    :param rate: of those since the last progress, a second.
    :param p50: of those, in seconds; ``None`` where there are none, as ``p99``.
    :param in_flight: begun and not over, or due and without a connection.
    """

    at_seconds: float
    requests: int
    failed: int
    rate: float
    p50: float | None
    p99: float | None
    in_flight: int


class Generator:
    """One of them, from outside."""

    def __init__(self, load: Load, part: int) -> None:
        self.reel = Reel()
        self._errors = os.memfd_create("prefork-load-errors")
        leashed = [sys.executable, "-I", "-S", leash.__file__, str(os.getpid())]  # for while it does not listen to us
        self._process = subprocess.Popen(
            [*leashed, sys.executable, "-m", "prefork.lab.generator"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            pass_fds=[self.reel.fd],
            process_group=0,  # ^C in the terminal is for the parent
        )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._stdin, self._stdout = self._process.stdin, self._process.stdout
        self._pending = b""
        self.report: Report | None = None  # the last one
        self._write(msgspec.json.encode(Order(load, part, load.processes, self.reel.fd)))

    @property
    def pid(self) -> int:
        return self._process.pid

    def fileno(self) -> int:
        return self._stdout.fileno()

    def begin(self, at: float) -> None:
        self._write(repr(at).encode())

    def stop(self) -> None:
        """It ends soon and tells what it has."""
        self._stdin.close()

    def hear(self) -> bool:
        """Take what it says; whether there may be more.

        :raises UsageError: the load is wrong.
        :raises CommandError: it cannot go on, or has died.
        """
        data = os.read(self.fileno(), 1 << 16)
        *lines, self._pending = (self._pending + data).split(b"\n")
        for line in lines:
            self.report = msgspec.json.decode(line, type=Report)
        if isinstance(self.report, Failed):
            raise (UsageError if self.report.is_usage else CommandError)(self.report.text)
        if not data and not isinstance(self.report, Finished):
            raise CommandError(f"a generator of the load has died ({self._end()}); try it again, or with less load")
        return bool(data)

    def close(self) -> None:
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()
        self._stdout.close()
        try:
            self._stdin.close()
        except BrokenPipeError:
            pass
        self.reel.close()
        os.close(self._errors)

    def _write(self, line: bytes) -> None:
        try:
            self._stdin.write(line + b"\n")
            self._stdin.flush()
        except BrokenPipeError:
            pass  # its end of the talk tells

    def _end(self) -> str:
        """How it died, in its own last words if it had some."""
        code = self._process.wait()
        said = os.pread(self._errors, 1 << 16, 0).decode(errors="replace").strip()
        return said.rpartition("\n")[2] or (f"killed by signal {-code}" if code < 0 else f"exit {code}")


def run(
    load: Load,
    watch: Callable[[Progress], None] | None = None,
    stop: Callable[[], bool] = lambda: False,
    begun: Callable[[float], object] = lambda zero: None,
) -> tuple[Result, Samples]:
    """Carry a load out.

    :param watch: is told how it goes, some times a second.
    :param stop: asked some times a second whether to end now, with what there is.
    :param begun: is told once when the measured time begins, an instant of the monotonic clock that is to come.
    :raises UsageError: the load is wrong; nothing was sent.
    :raises CommandError: nobody can be reached, or a generator has died.
    """
    check(load)
    aim = aim_of(load.url)
    with ExitStack() as stack:
        crew = []
        for part in range(load.processes):
            generator = Generator(load, part)
            stack.callback(generator.close)
            crew.append(generator)
        _wait_ready(crew)
        start = time.monotonic() + HEAD_START
        for generator in crew:
            generator.begin(start)
        begun(start + load.warm_up)
        meanwhile = busy.Window(start + load.warm_up, start + load.warm_up + load.duration)
        watched = _Watched(crew, start + load.warm_up, watch)
        is_stopped = _wait_finished(crew, watched, meanwhile, stop)
        busy_share = meanwhile.share()
        ends = [generator.report for generator in crew if isinstance(generator.report, Finished)]
        samples = merged([(generator.reel.rows(), end.kinds) for generator, end in zip(crew, ends, strict=True)])
    result = result_of(
        load,
        samples,
        ends,
        is_stopped=is_stopped,
        busy=busy_share,
        cpus=cpus.usable().amount,
        is_here=busy.is_here(aim),
    )
    return result, samples


def _wait_ready(crew: list[Generator]) -> None:
    with selectors.DefaultSelector() as selector:
        for one in crew:
            selector.register(one, selectors.EVENT_READ, one)
        deadline = time.monotonic() + PATIENCE
        while selector.get_map():
            events = selector.select(deadline - time.monotonic())
            if not events and time.monotonic() >= deadline:
                raise CommandError(f"a generator of the load was not ready within {PATIENCE:g} s; try it again")
            for key, _ in events:
                generator: Generator = key.data
                generator.hear()
                if isinstance(generator.report, Ready):
                    selector.unregister(generator)


def _wait_finished(
    crew: list[Generator], watched: "_Watched", meanwhile: busy.Window, stop: Callable[[], bool]
) -> bool:
    """Whether it was told to stop before."""
    is_stopped = False
    with selectors.DefaultSelector() as selector:
        for one in crew:
            selector.register(one, selectors.EVENT_READ, one)
        while selector.get_map():
            for key, _ in selector.select(min(LOOK / 2, meanwhile.look(time.monotonic()))):
                generator: Generator = key.data
                if not generator.hear():
                    selector.unregister(generator)
            watched.look()
            if not is_stopped and stop():
                is_stopped = True
                for one in crew:
                    one.stop()
    return is_stopped


class _Watched:
    """What somebody who watches is told.

    :param zero: when the measured time begins.
    """

    def __init__(self, crew: list[Generator], zero: float, watch: Callable[[Progress], None] | None) -> None:
        self._crew = crew
        self._zero = zero
        self._watch = watch
        self._next = time.monotonic() + LOOK
        self._last = time.monotonic()
        self._requests = self._failed = 0

    def look(self) -> None:
        now = time.monotonic()
        if self._watch is None or now < self._next:
            return
        rows = np.concatenate([generator.reel.news() for generator in self._crew])
        good = rows[rows["kind"] == ANSWERED]
        latencies: npt.NDArray[np.float64] = good["ended"] - good["intended"]
        p50, p99 = np.percentile(latencies, (50, 99)).tolist() if len(latencies) else (None, None)
        self._requests += len(good)
        self._failed += len(rows) - len(good)
        states = [generator.report for generator in self._crew if isinstance(generator.report, State)]
        self._watch(
            Progress(
                at_seconds=now - self._zero,
                requests=self._requests,
                failed=self._failed,
                rate=len(good) / (now - self._last),
                p50=p50,
                p99=p99,
                in_flight=sum(state.in_flight + state.waiting for state in states),
            )
        )
        self._last, self._next = now, now + LOOK
