"""``prefork status``: what a running instance and each of its workers are doing."""

import json

import click

from prefork.cli.reaching import reached, reaching
from prefork.control.client import ask_status
from prefork.report import table


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print all of it as JSON, see docs/control.md.")
@reaching
def status(name: str | None, control: str | None, timeout: str, as_json: bool) -> None:
    """Tell what an instance and its workers are doing.

    Workers are not asked, so those that are stuck are shown like all others.
    """
    with reached(name, control, timeout) as connection:
        report = ask_status(connection)
    if as_json:
        click.echo(json.dumps(report.as_plain(), indent=2))
    else:
        for line in table.lines(report.snapshot, report.workers):
            click.echo(line)
