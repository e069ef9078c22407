"""Status as a table for people: the instance, each service, each worker, a line each.

It must not know where a snapshot comes from.
Invariant: columns are aligned, and what is not there takes no line.
"""

from collections.abc import Iterator, Mapping, Sequence

from prefork.control.messages import ServiceStatus, Snapshot, WorkerStatus

_HEAD = ("slot", "pid", "gen", "state", "for", "requests", "errors", "memory", "now")
_LEFT = {"state", "now"}  # columns of text; numbers stand to the right
_ENDS = {
    "refused": "a reload was refused",
    "abandoned": "generation {} was given up",
    "serves": "generation {} failed its probation, with nothing to go back to",
}
SHOWN_AT_ONCE = 3  # requests of one worker


def lines(snapshot: Snapshot, workers: Mapping[str, Sequence[WorkerStatus]]) -> Iterator[str]:
    yield f"{snapshot.name} [{snapshot.pid}]  prefork {snapshot.package}  up {age(snapshot.uptime_seconds)}"
    for service in snapshot.services:
        yield ""
        yield from _tell_service(service)
        yield from _align(list(_rows(workers.get(service.name, ()))))


def _tell_service(service: ServiceStatus) -> Iterator[str]:
    yield f"{service.name}  {service.target}  {' '.join(service.binds)}"
    wanted = f"{service.ready} of {service.wanted} workers ready"
    least, most = service.configured
    if least != most:
        wanted += f" (between {least} and {most})"
    elif service.wanted != least:
        wanted += f" ({least} configured)"
    generation = f"generation {service.generation}"
    if service.coming is not None:
        generation += f", {service.coming} is coming"
    if service.probation_seconds is not None:
        generation += f", on probation for {age(service.probation_seconds)}"
    counts = [f"{number} {what}" for number, what in _others(service) if number]
    served = f"{service.requests} request{'s' * (service.requests != 1)}, {service.errors} failed"
    yield "  " + "; ".join([service.phase, generation, ", ".join([wanted, *counts]), served])
    if service.failed:
        yield f"  failed: {_last_line(service.failed)}"
    if service.degraded is not None:
        lack = service.degraded
        wait = f"next try in {age(lack.next_try_seconds)}" if lack.next_try_seconds else "trying again"
        yield f"  degraded: {_last_line(lack.why)}; {lack.failures} in a row, {wait}"
    load = service.last_load
    if load is not None and load.why:
        yield f"  {age(load.ago_seconds)} ago {_ENDS[load.outcome].format(load.generation)}: {_last_line(load.why)}"


def _others(service: ServiceStatus) -> list[tuple[int, str]]:
    orphaned = (service.orphaned, f"dead but for {'their' if service.orphaned > 1 else 'its'} children")
    return [(service.busy, "busy"), (service.starting, "starting"), (service.retiring, "retiring"), orphaned]


def _rows(workers: Sequence[WorkerStatus]) -> Iterator[tuple[str, ...]]:
    hidden = None if any(worker.memory for worker in workers) else _HEAD.index("memory")
    for row in (_HEAD, *map(_row, workers)):
        yield tuple(cell for column, cell in enumerate(row) if column != hidden)


def _row(worker: WorkerStatus) -> tuple[str, ...]:
    doing = [f"{r.peer} #{r.number} for {age(r.age_seconds)} {r.label}".rstrip() for r in worker.current]
    if len(doing) > SHOWN_AT_ONCE:
        doing = [*doing[:SHOWN_AT_ONCE], f"and {len(doing) - SHOWN_AT_ONCE} more"]
    pid = "-" if worker.pid is None else str(worker.pid)
    memory = f"{worker.memory.bytes / 2**20:.1f}M" if worker.memory else "-"
    figures = (str(worker.requests), str(worker.errors), memory)
    now = _plain(", ".join(doing) or worker.why)
    return str(worker.slot), pid, str(worker.generation), worker.state, age(worker.state_seconds), *figures, now


def _align(rows: list[tuple[str, ...]]) -> Iterator[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        columns = zip(rows[0], row, widths, strict=True)
        cells = [cell.ljust(width) if head in _LEFT else cell.rjust(width) for head, cell, width in columns]
        yield "  " + "  ".join(cells).rstrip()


def _last_line(text: str) -> str:
    """Of a traceback that is the part that matters."""
    return _plain(text.rstrip().rpartition("\n")[2].strip())


def _plain(text: str) -> str:
    """What an application says may not steer a terminal."""
    return text if text.isprintable() else text.encode("unicode_escape").decode()


def age(seconds: float) -> str:
    """A duration in its two largest units: ``2d 4h``, ``3m 20s``, ``0.25s``."""
    if seconds < 10:
        return f"{seconds:.2f}s".replace(".00s", "s")
    whole = int(seconds)
    for unit, size, below, smaller in (("d", 86400, "h", 3600), ("h", 3600, "m", 60), ("m", 60, "s", 1)):
        if whole >= size:
            rest = whole % size // smaller
            return f"{whole // size}{unit}" + (f" {rest}{below}" if rest else "")
    return f"{whole}s"
