"""What a shell may complete of what runs: instances, and the services and slots of the one that is meant.

The running instance is asked, for a moment: whoever presses a key waits for it. It must not know which shell that is.
Invariant: what cannot be found is left out, and nothing is printed.
"""

import contextlib
import os

import click
from click.shell_completion import CompletionItem

from prefork.cli.completing import fitting
from prefork.control.client import ask_status, connect, find
from prefork.control.messages import WorkerStatus
from prefork.control.report import Report
from prefork.errors import PreforkError
from prefork.system import sockets

LIMIT = 0.5  # seconds


def instances(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Those that run, and that we may steer."""
    with contextlib.suppress(OSError):
        own = os.getuid()
        return fitting(sorted({name for uid, name in sockets.held_names() if own in (uid, 0)}), incomplete)
    return []


def services(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Of the instance that was named before, or the only one."""
    report = _report(context)
    return [] if report is None else fitting(report.workers, incomplete)


def slots(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Of the service that was named before, or of all."""
    report = _report(context)
    if report is None:
        return []
    return fitting(_slots(report, report.workers.get(context.params.get("service") or "")), incomplete)


def workers(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """``[SERVICE] SLOT`` as one argument: a service where none was named, and its slots."""
    report = _report(context)
    if report is None:
        return []
    named = report.workers.get(next(iter(context.params.get("worker") or ()), ""))
    services = [] if named is not None or len(report.workers) == 1 else fitting(report.workers, incomplete)
    return services + fitting(_slots(report, named), incomplete)


def _slots(report: Report, named: list[WorkerStatus] | None) -> list[str]:
    workers = [w for found in report.workers.values() for w in found] if named is None else named
    return sorted({str(worker.slot) for worker in workers}, key=int)


def _report(context: click.Context) -> Report | None:
    given = context.params
    with (
        contextlib.suppress(PreforkError, OSError),
        connect(find(given.get("name"), given.get("control")), LIMIT) as it,
    ):
        return ask_status(it)
    return None
