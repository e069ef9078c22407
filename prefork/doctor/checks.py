"""All checks, in the order in which they are made and shown: from what runs down to the machine.

A check is a function of the facts, named after what it looks at, and its docstring says so to users: ``docs/doctor.md``
has them all. To add one, write it in the file of its topic, and add it here.
It must not read anything. Invariant: a check that lacks a fact is skipped, with the reason, and no other is.
"""

from collections.abc import Callable
from typing import NamedTuple

from prefork.doctor import clock, code, instance, limits, network, places, unit
from prefork.doctor.facts import Facts, UnknownError
from prefork.doctor.findings import Finding, Findings, skipped

Check = Callable[[Facts], Findings]


class Group(NamedTuple):
    title: str
    checks: tuple[Check, ...]


GROUPS = (
    Group("instance", (instance.health, instance.generations, instance.queues, instance.version, instance.admin)),
    Group("application", (code.loading, code.before_the_fork, code.python)),
    Group("places", (places.name, places.addresses, places.lost_sockets, places.files, limits.disk)),
    Group(
        "unit",
        (
            unit.programs,
            unit.type_of_start,
            unit.identity,
            unit.sandbox,
            unit.stop_signal,
            unit.stop_timeout,
            unit.restart,
            unit.watchdog,
            unit.out_of_memory,
        ),
    ),
    Group(
        "limits",
        (
            limits.open_files,
            limits.files_of_the_machine,
            limits.processes,
            limits.memory,
            limits.cpus,
            limits.core_files,
        ),
    ),
    Group(
        "network",
        (
            network.backlog,
            network.turned_away,
            network.full_queues,
            network.handshakes,
            network.migration,
            network.datagrams,
            network.outgoing_ports,
            network.tracked_connections,
        ),
    ),
    Group(
        "machine",
        (
            limits.kernel_calls,
            limits.overcommit,
            limits.huge_pages,
            limits.swap,
            clock.clock,
            clock.time_of_day,
            clock.sleep,
        ),
    ),
)


def name_of(check: Check) -> str:
    """As operators read it: ``open files``."""
    return check.__name__.replace("_", " ")


def examine(facts: Facts) -> dict[str, list[Finding]]:
    """What all checks find, by group; of a check that has nothing to look at, nothing."""
    return {
        group.title: found for group in GROUPS if (found := [f for check in group.checks for f in _make(check, facts)])
    }


def _make(check: Check, facts: Facts) -> list[Finding]:
    found: list[Finding] = []
    try:
        found.extend(check(facts))
    except UnknownError as error:
        found.append(skipped(str(error)))
    return [finding._replace(about=name_of(check)) for finding in found]
