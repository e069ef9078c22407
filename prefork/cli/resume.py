"""``prefork resume``: accept the clients of a paused service again."""

import click

from prefork.cli.completing_running import services
from prefork.cli.reaching import last_of, reached, reaching
from prefork.control.messages import Done, Resume


@click.command()
@click.argument("service", shell_complete=services)
@reaching
def resume(name: str | None, control: str | None, timeout: str, service: str) -> None:
    """Accept clients of SERVICE again; those who queue come first."""
    with reached(name, control, timeout) as connection:
        reply = last_of(connection, Resume(service=service))
    if isinstance(reply, Done):
        click.echo(reply.text)
