"""A report: a whole snapshot of an instance, and what its processes use, as clients of the control socket have it.

It must not know how it came, nor who is shown it.
Invariant: what is not known is ``None``, never 0.
Read next: ``messages.py``, the records in it; ``docs/control.md``, the same for users.
"""

import time
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import msgspec
from msgspec.structs import replace

from prefork.control.messages import VERSION, ServiceStatus, Snapshot, WorkerStatus
from prefork.errors import CommandError
from prefork.histogram import percentile
from prefork.system.usage import Usage


class Lately(NamedTuple):
    """What was served in the last minute or so, in figures of people; ``None`` where there is nothing to go by.

    :param seconds: how long that is.
    :param utilisation: the share of their time that workers were busy, from 0 to 1.
    :param p50_seconds: of the service time; at least half of all requests took no longer.
    """

    seconds: float
    requests: int
    errors: int
    rate_per_second: float | None
    utilisation: float | None
    p50_seconds: float | None
    p90_seconds: float | None
    p99_seconds: float | None


def lately(service: ServiceStatus) -> Lately | None:
    """``None`` of a master that does not tell."""
    recent = service.recent
    if recent is None:
        return None
    room = (service.ready + service.retiring) * service.at_once * recent.seconds
    return Lately(
        recent.seconds,
        recent.requests,
        recent.errors,
        recent.requests / recent.seconds if recent.seconds else None,
        min(1.0, recent.busy_seconds / room) if room else None,
        *(percentile(recent.service_times, share) for share in (0.5, 0.9, 0.99)),
    )


class Report(NamedTuple):
    """See above.

    :param workers: of each service.
    :param usage: by pid, of those that somebody has looked up; see ``prefork/system/usage.py``.
    """

    snapshot: Snapshot
    workers: dict[str, list[WorkerStatus]]
    usage: Mapping[int, Usage] = MappingProxyType({})

    def of(self, service: str | None) -> "Report":
        """As if there were this service only; of all for ``None``.

        :raises CommandError: there is none of that name.
        """
        if service is None:
            return self
        if service not in self.workers:
            raise CommandError(f"there is no service {service!r}; there is {', '.join(self.workers)}")
        services = [status for status in self.snapshot.services if status.name == service]
        processes = [process for process in self.snapshot.processes if process.service in ("", service)]
        snapshot = replace(self.snapshot, services=services, processes=processes)
        return self._replace(snapshot=snapshot, workers={service: self.workers[service]})

    @property
    def pids(self) -> list[int]:
        """Of all processes, workers last."""
        others = [process.pid for process in self.snapshot.processes]
        return others + [w.pid for workers in self.workers.values() for w in workers if w.pid is not None]

    def as_plain(self) -> dict[str, Any]:
        """As ``prefork status --json`` prints it."""
        moment = time.monotonic()
        plain: dict[str, Any] = msgspec.to_builtins(self.snapshot)
        del plain["kind"]
        for process in plain["processes"]:
            process["usage"] = self._plain_usage(process["pid"], moment)
        for service, status in zip(plain["services"], self.snapshot.services, strict=True):
            found = lately(status)
            service["recent"] = None if found is None else _rounded(found._asdict())
            del service["service_times"]
            service["workers"] = msgspec.to_builtins(self.workers[service["name"]])
            for worker in service["workers"]:
                worker["usage"] = self._plain_usage(worker["pid"], moment)
        return {"version": VERSION, **plain, "memory": self._plain_memory(moment)}

    @property
    def memory_bytes(self) -> int | None:
        """What all processes use together; ``None`` where none was looked up."""
        known = [usage.pss for usage in self.usage.values() if usage.pss is not None]
        return sum(known) if known else None

    @property
    def unread(self) -> int:
        """How many of the processes are not in that sum."""
        return sum(pid not in self.usage or self.usage[pid].pss is None for pid in self.pids)

    def _plain_usage(self, pid: int | None, moment: float) -> dict[str, Any] | None:
        usage = self.usage.get(pid) if pid is not None else None
        if usage is None:
            return None
        figures = {"pss_bytes": usage.pss, "uss_bytes": usage.uss, "cpu_seconds": usage.cpu_seconds}
        return _rounded({**figures, "ago_seconds": moment - usage.at})

    def _plain_memory(self, moment: float) -> dict[str, Any] | None:
        if self.memory_bytes is None:
            return None
        oldest = min(usage.at for usage in self.usage.values())
        count = len(self.pids)
        figures = {"pss_bytes": self.memory_bytes, "processes": count, "unread": self.unread}
        return _rounded({**figures, "ago_seconds": moment - oldest})


def _rounded(figures: Mapping[str, Any]) -> dict[str, Any]:
    return {name: round(value, 6) if isinstance(value, float) else value for name, value in figures.items()}
