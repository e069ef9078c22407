"""``prefork stop``: end a running instance, and wait until it is gone."""

import click

from prefork.cli.reaching import has_watcher, last_of, reached, reaching
from prefork.control.client import ConnectionEnded
from prefork.control.messages import Done, Stop


@click.command()
@click.option("--now", is_flag=True, help="Kill what is left instead of waiting for it.")
@reaching
def stop(name: str | None, control: str | None, timeout: str, now: bool) -> None:
    """Stop an instance, and wait until it is gone.

    New clients are refused, what is queued is served.
    """
    with reached(name, control, timeout) as connection:
        try:
            reply = last_of(connection, Stop(now=now, progress=has_watcher()))
        except ConnectionEnded:
            if not connection.has_heard:
                raise
            reply = Done(text="it is gone, and has not said how it ended")
        connection.wait_end()
    if isinstance(reply, Done):
        click.echo(reply.text)
