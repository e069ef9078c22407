"""``prefork upgrade``: let a running instance become the version that is installed now, and wait for the outcome."""

import sys

import click

from prefork.cli.reaching import has_watcher, last_of, reached, reaching
from prefork.control.client import ConnectionEnded
from prefork.control.messages import Done, Failed, Upgrade
from prefork.errors import Exit


@click.command()
@reaching
def upgrade(name: str | None, control: str | None, timeout: str) -> None:
    """Become the installed version; wait for the outcome.

    Pid, listeners and clients stay, workers are replaced as by a reload. Exit 0 once that serves; 3, with the reason,
    where the installed version does not start or its generation is given up: what served before serves on.
    """
    with reached(name, control, timeout) as connection:
        try:
            reply = last_of(connection, Upgrade(progress=has_watcher()))
        except ConnectionEnded as error:
            reply = Failed(why=str(error))
    if isinstance(reply, Failed):
        click.echo(f"prefork: {reply.why}", err=True)  # of several lines, where it is a traceback
        sys.exit(Exit.NOT_LOADED)
    if isinstance(reply, Done):
        click.echo(reply.text)
