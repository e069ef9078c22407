"""``prefork reload``: load configuration and code anew, and wait until the new generation serves or is given up."""

import sys

import click

from prefork.cli.reaching import has_watcher, last_of, reached, reaching
from prefork.control.client import ConnectionEnded
from prefork.control.messages import Done, Failed, Reload
from prefork.errors import Exit


@click.command()
@reaching
def reload(name: str | None, control: str | None, timeout: str) -> None:
    """Load code and settings anew; wait for the outcome.

    Exit 0 once the new generation serves, in all services; 3, with the reason, where it is given up and the old one
    serves on.
    """
    with reached(name, control, timeout) as connection:
        try:
            reply = last_of(connection, Reload(progress=has_watcher()))
        except ConnectionEnded as error:
            reply = Failed(why=str(error))
    if isinstance(reply, Failed):
        click.echo(f"prefork: {reply.why}", err=True)  # of several lines, where it is a traceback
        sys.exit(Exit.NOT_LOADED)
    if isinstance(reply, Done):
        click.echo(reply.text)
