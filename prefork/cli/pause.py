"""``prefork pause``: let clients of a service queue, without closing anything."""

import click

from prefork.cli.completing_running import services
from prefork.cli.reaching import last_of, reached, reaching
from prefork.control.messages import Done, Pause


@click.command()
@click.argument("service", shell_complete=services)
@reaching
def pause(name: str | None, control: str | None, timeout: str, service: str) -> None:
    """Accept no clients of SERVICE, and let them queue.

    Requests under way are finished, nothing is closed. It lasts, over reloads too, until prefork resume.
    """
    with reached(name, control, timeout) as connection:
        reply = last_of(connection, Pause(service=service))
    if isinstance(reply, Done):
        click.echo(reply.text)
