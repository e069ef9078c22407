"""``prefork status``: what a running instance and each of its workers are doing."""

import json
import shutil
import sys
import time

import click

from prefork.cli.completing_running import services
from prefork.cli.reaching import reached, reaching
from prefork.control.client import ask_status
from prefork.report import table
from prefork.system.usage import GLANCE, Census


@click.command()
@click.argument("service", required=False, shell_complete=services)
@click.option("--json", "as_json", is_flag=True, help="Print all of it as JSON, see docs/control.md.")
@reaching
def status(name: str | None, control: str | None, timeout: str, service: str | None, as_json: bool) -> None:
    """Tell what an instance and its workers are doing, or those of one SERVICE.

    Workers are not asked, so those that are stuck are shown like all others.
    """
    with reached(name, control, timeout) as connection:
        report = ask_status(connection).of(service)
    report = report._replace(usage=Census().look(report.pids, GLANCE))
    if as_json:
        click.echo(json.dumps(report.as_plain(), indent=2))
    else:
        width = shutil.get_terminal_size((table.WIDTH, 24)).columns if sys.stdout.isatty() else table.WIDTH
        for line in table.lines(report, time.monotonic(), width):
            click.echo(line)
