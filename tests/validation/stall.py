"""The open loop against a service that stands still on purpose, and the closed loop beside it."""

import os
import signal
import threading
import time
from collections.abc import Callable

from prefork.control.report import Report
from prefork.lab import generators
from prefork.lab.load import Latencies, Load, Result
from prefork.lab.subjects import Subject

RATE, SECONDS, STALL = 200, 10.0, 1.0


def workers_of(report: Report) -> list[int]:
    return [worker.pid for workers in report.workers.values() for worker in workers if worker.pid is not None]


def stalled(load: Load, pids: list[int]) -> Result:
    """The load, with all workers stopped for ``STALL`` in the midst of it."""

    def stall() -> None:
        time.sleep(load.warm_up + SECONDS / 2)
        try:
            for pid in pids:
                os.kill(pid, signal.SIGSTOP)
            time.sleep(STALL)
        finally:
            for pid in pids:
                os.kill(pid, signal.SIGCONT)

    thread = threading.Thread(target=stall)
    thread.start()
    try:
        result, _ = generators.run(load)
    finally:
        thread.join()
    return result


def expected(percent: float) -> float:
    """Seconds, if nothing else took any: a share STALL / SECONDS of all starts falls into the stall, evenly."""
    return max(0.0, STALL - (1 - percent) * SECONDS)


def section() -> str:
    """A line a loop."""
    common: dict[str, object] = {"send": b"a line\n", "reply": "line", "duration": SECONDS, "warm_up": 0.5}
    found: dict[str, Result] = {}
    with Subject.start("prefork", "tests.validation.services:Line", 2) as subject:
        report = subject.status()
        assert report is not None
        pids = workers_of(report)
        open_loop = Load(url=subject.url, rate=RATE, clients=500, arrivals="constant", **common)  # type: ignore[arg-type]
        closed_loop = Load(url=subject.url, clients=1, **common)  # type: ignore[arg-type]
        found["open loop, from the intended start"] = stalled(open_loop, pids)
        found["closed loop, one client"] = stalled(closed_loop, pids)
    points: list[tuple[str, Callable[[Latencies], float], float]] = [
        ("p90", lambda seen: seen.p90, 0.90),
        ("p99", lambda seen: seen.p99, 0.99),
        ("p99.9", lambda seen: seen.p999, 0.999),
        ("maximum", lambda seen: seen.maximum, 1.0),
    ]
    lines = [
        f"{SECONDS:g} s, {RATE} requests a second, all workers stopped by SIGSTOP for {STALL:g} s in their midst.",
        "",
        "| | requests | " + " | ".join(name for name, _, _ in points) + " |",
        "|---|---" + "|---" * len(points) + "|",
        "| by arithmetic | | " + " | ".join(f"{expected(share):.3f} s" for _, _, share in points) + " |",
    ]
    for name, result in found.items():
        assert result.latency is not None
        figures = " | ".join(f"{pick(result.latency):.3f} s" for _, pick, _ in points)
        lines.append(f"| {name} | {result.requests} | {figures} |")
    return "\n".join([*lines, ""])
