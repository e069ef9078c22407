"""Status as a table for people: the instance, each service, each worker, a line each.

It must not know where a snapshot comes from, nor look anything up.
Invariant: columns are aligned, what is not there takes no line, and none is wider than it may be.
Read next: ``units.py``, how figures are written; ``docs/status.md``, what they mean.
"""

import textwrap
from collections.abc import Iterator

from prefork.control.messages import QueueStatus, ServiceStatus, Snapshot, WorkerStatus
from prefork.control.report import Lately, Report, lately
from prefork.report.units import age, cut, latency, plain, rate, share, size

WIDTH = 100  # characters
SHOWN_AT_ONCE = 3  # requests of one worker
_LEFT = {"state", "now"}  # columns of text; numbers stand to the right
_ENDS = {
    "refused": "a reload was refused",
    "abandoned": "generation {} was given up",
    "serves": "generation {} failed its probation, with nothing to go back to",
}


def lines(report: Report, at: float, width: int = WIDTH) -> Iterator[str]:
    """:param at: now, on the monotonic clock.
    :param width: characters of a line; text is continued on the next, of a row the end is cut.
    """
    yield from _wrapped(_headline(report, at), width)
    for service in report.snapshot.services:
        yield ""
        yield from _wrapped(f"{service.name}  {service.target}  {' '.join(service.binds)}", width)
        for line in (*_figures(service), *troubles(service), *_settings(service)):
            yield from _wrapped(f"  {line}", width)
        for row in _align(_shown([_row(service, worker, report) for worker in report.workers[service.name]])):
            yield cut(row, width)


def _wrapped(text: str, width: int) -> list[str]:
    return textwrap.wrap(plain(text), width, subsequent_indent="    ", break_on_hyphens=False)


def _headline(report: Report, at: float) -> str:
    snapshot = report.snapshot
    parts = [instance(snapshot)]
    if report.memory_bytes is not None:
        parts.append(memory(report, at))
    if snapshot.admin:
        again = f", started anew {snapshot.admin_restarts} times" if snapshot.admin_restarts else ""
        parts.append(f"admin {' '.join(snapshot.admin)}{again}")
    if snapshot.log_level not in ("", "info"):
        parts.append(f"log level {snapshot.log_level}")
    return "  ".join(parts)


def instance(snapshot: Snapshot) -> str:
    """Which one it is."""
    return f"{snapshot.name} [{snapshot.pid}]  prefork {snapshot.package}  up {age(int(snapshot.uptime_seconds))}"


def memory(report: Report, at: float) -> str:
    """What all processes use, each with its share of what several have: the sum is what the instance costs."""
    read = len(report.pids) - report.unread
    text = f"memory {size(report.memory_bytes or 0)} in {read} process{'es' * (read != 1)}"
    old = int(at - min((usage.at for usage in report.usage.values()), default=at))
    return text + (f", {report.unread} not read" if report.unread else "") + (f", up to {age(old)} ago" if old else "")


def _figures(service: ServiceStatus) -> Iterator[str]:
    served = f"{service.requests} request{'s' * (service.requests != 1)}, {service.errors} failed"
    yield "; ".join([phase(service), staff(service), served])
    is_one = len(service.queues) == 1
    queues = [f"queue {_waiting(q)}" + ("" if is_one else f" at {q.bind}") for q in service.queues]
    if queues or service.all_busy_seconds is not None:
        yield "; ".join([*saturation(service), *queues])
    found = lately(service)
    if found is not None and found.requests:
        yield f"last {age(int(found.seconds))}: {pace(found)}"


def phase(service: ServiceStatus) -> str:
    """Its phase, and whose generation serves."""
    text = f"{service.phase}; " + ("paused, clients queue; " if service.is_paused else "")
    text += f"generation {service.generation}"
    if service.coming is not None:
        text += f", {service.coming} is coming"
    if service.probation_seconds is not None:
        text += f", on probation for {age(service.probation_seconds)}"
    return text


def staff(service: ServiceStatus) -> str:
    """Its workers, counted."""
    wanted = f"{service.ready} of {service.wanted} workers ready"
    least, most = service.configured
    if least != most:
        wanted += f" (between {least} and {most})"
    elif service.wanted != least:
        wanted += f" ({least} configured)"
    dead = f"dead but for {'their' if service.orphaned > 1 else 'its'} children"
    others = (
        (service.busy, "busy"),
        (service.starting, "starting"),
        (service.retiring, "retiring"),
        (service.orphaned, dead),
    )
    return ", ".join([wanted, *(f"{number} {what}" for number, what in others if number)])


def saturation(service: ServiceStatus) -> list[str]:
    """That nobody has room, where nobody has, and for how long if that is more than a moment."""
    if service.all_busy_seconds is None:
        return []
    seconds = int(service.all_busy_seconds)
    return [f"all {service.ready} busy" + (f" for {age(seconds)}" if seconds else "")]


def _waiting(queue: QueueStatus) -> str:
    text = str(queue.waiting) if queue.limit is None else f"{queue.waiting} of {queue.limit}"
    text += f", {queue.dropped} dropped" if queue.dropped else ""
    return text + (f", overflowed {queue.overflows} times" if queue.overflows else "")


def pace(found: Lately) -> str:
    """What was served in a stretch of time."""
    parts = [f"{rate(found.rate_per_second or 0.0)}, {found.errors} failed"]
    if found.p50_seconds is not None:
        times = (("p50", found.p50_seconds), ("p90", found.p90_seconds), ("p99", found.p99_seconds))
        parts.append(", ".join(f"{name} {latency(seconds)}" for name, seconds in times))
    if found.utilisation is not None:
        parts.append(f"workers {share(found.utilisation)} busy")
    return "; ".join(parts)


def troubles(service: ServiceStatus) -> Iterator[str]:
    """What is wrong with a service, a line each."""
    if service.failed:
        yield f"failed: {_last_line(service.failed)}"
    if service.degraded is not None:
        lack = service.degraded
        wait = f"next try in {age(lack.next_try_seconds)}" if lack.next_try_seconds else "trying again"
        yield f"degraded: {_last_line(lack.why)}; {lack.failures} in a row, {wait}"
    last = service.last_load
    if last is not None and last.why:
        yield f"{age(last.ago_seconds)} ago {_ENDS[last.outcome].format(last.generation)}: {_last_line(last.why)}"


def _settings(service: ServiceStatus) -> Iterator[str]:
    if service.settings:
        yield "set: " + ", ".join(f"{name} {value}" for name, value in service.settings.items())


def _last_line(text: str) -> str:
    """Of a traceback that is the part that matters."""
    return text.rstrip().rpartition("\n")[2].strip()


# workers

Row = dict[str, str]


def _row(service: ServiceStatus, worker: WorkerStatus, report: Report) -> Row:
    """By column; what is not known is empty."""
    usage = report.usage.get(worker.pid) if worker.pid is not None else None
    row = {
        "slot": str(worker.slot),
        "pid": "-" if worker.pid is None else str(worker.pid),
        "gen": str(worker.generation),
        "state": state(worker),
        "age": "-" if worker.age_seconds is None else age(int(worker.age_seconds)),
        "requests": str(worker.requests),
        "errors": str(worker.errors),
        "busy": "-",
        "uss": "",
        "pss": "" if usage is None or usage.pss is None else size(usage.pss),
        "now": now(worker),
    }
    if worker.memory is not None:  # what its limits go by
        row[worker.memory.measure] = size(worker.memory.bytes)
    if worker.age_seconds:
        row["busy"] = share(min(1.0, busy_so_far(worker) / worker.age_seconds / service.at_once))
    return row


def state(worker: WorkerStatus) -> str:
    """For how long, where that is not as long as it serves."""
    is_ready = worker.state in ("idle", "busy")
    return worker.state if is_ready else f"{worker.state} for {age(int(worker.state_seconds))}"


def busy_so_far(worker: WorkerStatus) -> float:
    """Seconds that its requests took, with those under way."""
    return worker.busy_seconds + sum(request.age_seconds for request in worker.current)


def now(worker: WorkerStatus) -> str:
    """What it is doing and for how long, or why it leaves; what matters least is cut first."""
    doing = [f"{age(r.age_seconds)} {r.peer} #{r.number} {r.label}".rstrip() for r in worker.current]
    if len(doing) > SHOWN_AT_ONCE:
        doing = [*doing[:SHOWN_AT_ONCE], f"and {len(doing) - SHOWN_AT_ONCE} more"]
    return plain(", ".join(doing) or worker.why)


def _shown(rows: list[Row]) -> list[Row]:
    """With a head, and without columns of which nobody has anything."""
    hidden = {name for name in ("uss", "pss") if not any(row[name] for row in rows)}
    head = [{name: name for name in row} for row in rows[:1]]
    return [{name: cell for name, cell in row.items() if name not in hidden} for row in head + rows]


def _align(rows: list[Row]) -> Iterator[str]:
    widths = {name: max(len(row[name]) for row in rows) for name in (rows[0] if rows else ())}
    for row in rows:
        yield "  " + "  ".join(_cell(name, row[name], width) for name, width in widths.items()).rstrip()


def _cell(column: str, text: str, width: int) -> str:
    return text.ljust(width) if column in _LEFT else (text or "-").rjust(width)
