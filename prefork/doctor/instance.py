"""Checks of a running instance: what it says of itself, and whether what it runs is what is installed.

It must not read anything. Read next: ``facts.py``; ``checks.py``, the order they are made in.
"""

from prefork.control.messages import ServiceStatus
from prefork.doctor.facts import Facts
from prefork.doctor.findings import Findings, bites, fine, note
from prefork.report.units import age

_NEARLY = 0.8
_LONG = 1.0  # seconds in which nobody had room


def health(facts: Facts) -> Findings:
    """Services that are degraded, failed or paused."""
    if facts.running is None:
        return
    for service in facts.running.report.snapshot.services:
        where = f"{service.name}: {service.phase}, {service.ready} of {service.wanted} workers ready"
        if service.failed or service.phase == "failed":
            why = f"it serves nobody: {_last_line(service.failed)}"
            yield bites(where, why, f"prefork reload -n {facts.running.report.snapshot.name}")
        elif service.degraded is not None:
            why = f"replacements are tried ever more slowly: {_last_line(service.degraded.why)}"
            yield bites(where, why, f"prefork events -n {facts.running.report.snapshot.name} --last 50")
        elif service.is_paused:
            why = "an operator paused it; clients queue"
            yield note(where, why, f"prefork resume {service.name} -n {facts.running.report.snapshot.name}")
        else:
            yield fine(where)


def generations(facts: Facts) -> Findings:
    """Whether what serves is what was deployed last."""
    if facts.running is None:
        return
    for service in facts.running.report.snapshot.services:
        load = service.last_load
        name = facts.running.report.snapshot.name
        old = _of_old_generation(facts, service)
        if load is not None and load.outcome != "serves":
            why = f"generation {service.generation} serves, which is older: {_last_line(load.why)}"
            outcome = {"abandoned": "given up"}.get(load.outcome, load.outcome)
            shown = f"{service.name}: the last reload, {age(load.ago_seconds)} ago, was {outcome}"
            yield bites(shown, why, f"prefork reload -n {name}")
        elif old:
            why = "they finish what they have, or are stuck in it; status says in what, dump where"
            shown = f"{service.name}: {old} workers of a generation before {service.generation}"
            yield note(shown, why, f"prefork status {service.name} -n {name}")
        else:
            yield fine(f"{service.name}: generation {service.generation} alone")


def _of_old_generation(facts: Facts, service: ServiceStatus) -> int:
    assert facts.running is not None
    workers = facts.running.report.workers.get(service.name, [])
    return sum(worker.generation < service.generation for worker in workers)


def queues(facts: Facts) -> Findings:
    """Clients that wait, and datagrams that were dropped."""
    if facts.running is None:
        return
    name = facts.running.report.snapshot.name
    for service in facts.running.report.snapshot.services:
        grow = (f"prefork scale {service.name} +1 -n {name}", f"prefork tune --live {service.name} -n {name}")
        troubled = False
        for queue in service.queues:
            if queue.limit and queue.waiting > _NEARLY * queue.limit:
                troubled = True
                yield bites(f"{queue.bind}: {queue.waiting} of {queue.limit} wait", "the next are turned away", *grow)
            if queue.dropped:
                troubled = True
                why = "they found no room in the queue, and nobody was told"
                yield bites(f"{queue.bind}: {queue.dropped} datagrams dropped", why, *grow)
        if (service.all_busy_seconds or 0) > _LONG:
            troubled = True
            shown = f"{service.name}: all {service.ready} busy for {age(service.all_busy_seconds or 0)}"
            yield note(shown, "clients wait, however short their requests are", *grow)
        if not troubled:
            yield fine(f"{service.name}: nobody waits for long")


def version(facts: Facts) -> Findings:
    """Whether the running version is the installed one, and its program is still there."""
    if facts.running is None:
        return
    snapshot = facts.running.report.snapshot
    upgrade = f"prefork upgrade -n {snapshot.name}"
    if snapshot.package != facts.installed:
        why = "a reload starts workers of the version that is installed, under a master of another"
        yield note(f"{snapshot.package} runs, {facts.installed} is installed", why, upgrade)
    elif facts.running.has_lost_program:
        why = "it was replaced or removed under it; new molds are started from what is there now"
        yield note(f"the interpreter of {snapshot.package} is no longer the file it was", why, upgrade)
    else:
        yield fine(f"{snapshot.package}, as installed")


def admin(facts: Facts) -> Findings:
    """Whether the admin process stays."""
    if facts.running is None or not facts.running.report.snapshot.admin:
        return
    again = facts.running.report.snapshot.admin_restarts
    if again:
        why = "monitors see gaps; the log says what it died of"
        yield note(
            f"started anew {again} times", why, f"prefork events -n {facts.running.report.snapshot.name} --last 200"
        )
    else:
        yield fine("never had to be started anew")


def _last_line(text: str) -> str:
    return text.rstrip().rpartition("\n")[2]
