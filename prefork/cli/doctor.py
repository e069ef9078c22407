"""``prefork doctor``: look at a machine and what is to run, or runs, on it, and say what would bite."""

import json
import os
import shlex
import shutil
import sys
from collections.abc import Iterator
from typing import Any

import click

from prefork.cli.completing import files
from prefork.cli.completing_running import instances
from prefork.cli.run_flags import read_sources, source_flags
from prefork.config.instance import NO_CONTROL, Instance
from prefork.config.sources import DEFAULT_FILE
from prefork.control.client import ask_status, connect, find
from prefork.control.report import Report
from prefork.doctor import page
from prefork.doctor.checks import examine
from prefork.doctor.facts import Unit
from prefork.doctor.looking import look
from prefork.doctor.unit_file import read_unit
from prefork.errors import Exit, NoInstanceError, PreforkError, UsageError
from prefork.system.usage import Census

_WEIGHING = 2.0  # seconds that weighing the processes of an instance may take


@click.command()
@click.argument("target", required=False, metavar="[TARGET|NAME]", shell_complete=instances)
@click.option("--unit", metavar="UNIT", help="Look at this unit of systemd too: file or name.", shell_complete=files)
@click.option("--load/--no-load", default=True, help="Import the application, in a child.  [default: load]")
@click.option("--json", "as_json", is_flag=True, help="Print all of it as JSON.")
@source_flags
def doctor(target: str | None, config: str | None, unit: str | None, load: bool, as_json: bool, **flags: Any) -> None:
    """Say what would bite on this machine, in what is to run or runs on it, why, and by which command it is changed.

    TARGET is as of prefork run, which takes the same flags, or the NAME of an instance that runs. Without either it is
    prefork.toml in the working directory, else the one instance that runs, else the machine alone.

    \b
    prefork doctor -c prefork.toml              before it is started, or while it runs
    prefork doctor shop                         an instance that runs
    prefork doctor -c prefork.toml --unit shop.service

    Nothing is changed. Exit 1 if something would bite; 0 if not, whatever there is to note.
    """
    name = target if target is not None and ":" not in target else None
    if name is not None and flags.get("name"):
        raise UsageError(f"doctor: {name} and --name {flags['name']} both name an instance; leave one of them out")
    target = None if name is not None else target
    told_unit = None if unit is None else read_unit(unit)
    instance = _to_run(name, target, config, flags, told_unit)
    report = _running(name, instance, flags.get("control"))
    if report is not None:
        report = report._replace(usage=Census().look(report.pids, _WEIGHING))
    typed = [target, *_binds(flags)] if target is not None else ["-c", config or DEFAULT_FILE]
    facts = look(instance, report, told_unit, loads=load)._replace(source=shlex.join(typed))
    found = examine(facts)
    source = config or ("the command line" if target is not None else DEFAULT_FILE)
    title = _title(instance, report, source, facts.user)
    if as_json:
        click.echo(json.dumps(page.as_plain(title, found), indent=2))
    else:
        is_terminal = sys.stdout is not None and sys.stdout.isatty()
        width = shutil.get_terminal_size((page.WIDTH, 24)).columns if is_terminal else page.WIDTH
        for line in page.lines(title, found, width):
            click.echo(line)
    sys.exit(Exit.REFUSED if page.does_bite(found) else Exit.STOPPED)


def _binds(flags: dict[str, Any]) -> Iterator[str]:
    for bind in flags.get("bind") or ():
        yield from ("--bind", bind)


def _to_run(
    name: str | None, target: str | None, config: str | None, flags: dict[str, Any], unit: Unit | None
) -> Instance | None:
    """What is to run, where that is said, or lies here; by the unit's user and where it says, if one is given.

    :raises UsageError: it is wrong.
    """
    if target is None and config is None and (name is not None or not os.path.exists(DEFAULT_FILE)):
        return None
    instance = read_sources(target, config, flags).instance
    by_unit = {} if unit is None else dict(_of_unit(unit, instance))
    return read_sources(target, config, {**flags, **by_unit}).instance if by_unit else instance


def _of_unit(unit: Unit, instance: Instance) -> Iterator[tuple[str, str]]:
    """Settings that come to what the unit says, where nothing else says it."""
    user, directory = unit.values.get("User", ""), unit.values.get("WorkingDirectory", "")
    services = instance.service.values()
    if os.geteuid() == 0 and user and unit.has_user and "%" not in user and not any(s.user for s in services):
        yield "user", user
    if os.path.isdir(directory) and not any(service.chdir for service in services):
        yield "chdir", directory


def _running(name: str | None, instance: Instance | None, control: str | None) -> Report | None:
    """Of the instance that is named; or of one that is what is to run; or of the only one there is.

    :raises PreforkError: the named one does not run, or cannot be asked.
    """
    if name is not None:
        return _ask(name, control)
    if instance is None:
        try:
            return _ask(None, control)
        except NoInstanceError:
            return None
    path = instance.control if instance.control not in ("", NO_CONTROL) else None
    try:
        report = _ask(instance.name, path)
    except PreforkError:
        return None
    return report if _is_it(report, instance) else None


def _ask(name: str | None, control: str | None) -> Report:
    with connect(find(name, control)) as connection:
        return ask_status(connection)


def _is_it(report: Report, instance: Instance) -> bool:
    """Whether what runs is what is to run: it serves one of its targets by the same name."""
    running = {(service.name, service.target) for service in report.snapshot.services}
    return any((name, service.target) in running for name, service in instance.service.items())


def _title(instance: Instance | None, report: Report | None, source: str, user: str) -> str:
    """What was looked at, and as whom."""
    parts = []
    if report is not None:
        parts.append(f"{report.snapshot.name} [{report.snapshot.pid}], which runs")
    if instance is not None:
        parts.append(f"{instance.name} by {source}" if report is None else f"by {source}")
    return f"{', '.join(parts) or 'this machine'}, as user {user}"
