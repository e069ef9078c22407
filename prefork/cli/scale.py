"""``prefork scale``: give a service more or fewer workers, until its configuration says otherwise."""

import click

from prefork.cli.completing_running import services
from prefork.cli.reaching import last_of, reached, reaching
from prefork.control.messages import Done, Scale
from prefork.errors import UsageError


@click.command(context_settings={"ignore_unknown_options": True})
@click.argument("service", shell_complete=services)
@click.argument("workers", metavar="N|+N|-N")
@reaching
def scale(name: str | None, control: str | None, timeout: str, service: str, workers: str) -> None:
    """Give SERVICE so many workers, or so many more.

    It lasts, over reloads too, until the configured number itself changes.
    """
    digits = workers[1:] if workers[:1] in ("+", "-") else workers
    if not (digits.isascii() and digits.isdecimal()) or len(digits) > 9:
        raise UsageError(f"{workers!r} is no number of workers; write it as 6, +2 or -1")
    request = Scale(service=service, by=int(workers)) if workers != digits else Scale(service=service, to=int(workers))
    with reached(name, control, timeout) as connection:
        reply = last_of(connection, request)
    if isinstance(reply, Done):
        click.echo(reply.text)
